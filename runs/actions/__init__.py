"""One function per user intent: pages, the API, the admin and the commands all call these.

Each takes the Actor first, asks runs.policy, changes everything in one transaction with its event
(and an audit entry, unless it only starts a run: the run's own history has that), and raises
runs.errors (Invalid, Denied, Conflict, Stale) with nothing half done. None of them talks to an engine:
they write what is wanted, the reconciler makes it so.
"""

from runs.actions.acknowledgements import acknowledge, withdraw_acknowledgement
from runs.actions.asked import in_the_way
from runs.actions.attempts import (
    cancel_run,
    cancel_task,
    plan_retry,
    restart_run,
    retry_run,
    stop_run,
)
from runs.actions.bulk import (
    ask_bulk,
    bulk_jobs,
    cancel_bulk,
    preview_bulk,
)
from runs.actions.engines import (
    create_engine,
    delete_engine,
    edit_engine,
    request_engine_job,
    request_engine_test,
)
from runs.actions.housekeeping import correct, delete_run, force_state, purge
from runs.actions.limits import read_length, spelled_length
from runs.actions.looks import ask_for_look
from runs.actions.marks import mark_run, mark_task
from runs.actions.runs import edit_run, rerun, start_held_run, start_run
from runs.actions.secrets import delete_stored, edit_stored, set_secret, set_variable
from runs.actions.tokens import issue_token, revoke_token
from runs.actions.views import (
    MOST_VIEWS,
    change_view,
    delete_view,
    require_own,
    save_view,
    set_preferences,
    views_of,
)
from runs.actions.workflows import (
    edit_workflow,
    post_workflow,
    problems_said,
    read_definition,
    redeploy_workflow,
)

__all__ = [
    "acknowledge",
    "MOST_VIEWS",
    "ask_bulk",
    "ask_for_look",
    "bulk_jobs",
    "cancel_bulk",
    "cancel_run",
    "cancel_task",
    "change_view",
    "correct",
    "create_engine",
    "delete_engine",
    "delete_run",
    "delete_stored",
    "delete_view",
    "edit_engine",
    "edit_run",
    "edit_stored",
    "edit_workflow",
    "force_state",
    "in_the_way",
    "issue_token",
    "mark_run",
    "mark_task",
    "plan_retry",
    "post_workflow",
    "preview_bulk",
    "problems_said",
    "purge",
    "read_definition",
    "read_length",
    "redeploy_workflow",
    "request_engine_job",
    "request_engine_test",
    "require_own",
    "rerun",
    "restart_run",
    "retry_run",
    "revoke_token",
    "save_view",
    "set_preferences",
    "set_secret",
    "set_variable",
    "spelled_length",
    "start_held_run",
    "start_run",
    "stop_run",
    "views_of",
    "withdraw_acknowledgement",
]
