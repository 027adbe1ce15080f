"""One function per user intent: pages, the API, the admin and the commands all call these.

Each takes the Actor first, asks runs.policy, changes everything in one transaction with its event
(and an audit entry, unless it only starts a run: the run's own history has that), and raises
runs.errors (Invalid, Denied, Conflict, Stale) with nothing half done. None of them talks to an engine:
they write what is wanted, the reconciler makes it so.
"""

from runs.actions.asked import in_the_way
from runs.actions.attempts import (
    cancel_run,
    cancel_task,
    plan_retry,
    restart_run,
    retry_run,
    stop_run,
)
from runs.actions.engines import (
    create_engine,
    delete_engine,
    edit_engine,
    request_engine_job,
    request_engine_test,
)
from runs.actions.housekeeping import correct, force_state, purge
from runs.actions.limits import read_length, spelled_length
from runs.actions.looks import ask_for_look
from runs.actions.marks import mark_run, mark_task
from runs.actions.runs import edit_run, rerun, start_held_run, start_run
from runs.actions.secrets import delete_stored, edit_stored, set_secret, set_variable
from runs.actions.tokens import issue_token, revoke_token
from runs.actions.workflows import (
    edit_workflow,
    post_workflow,
    problems_said,
    read_definition,
    redeploy_workflow,
)

__all__ = [
    "ask_for_look",
    "cancel_run",
    "cancel_task",
    "correct",
    "create_engine",
    "delete_engine",
    "delete_stored",
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
    "purge",
    "problems_said",
    "read_definition",
    "read_length",
    "redeploy_workflow",
    "request_engine_job",
    "request_engine_test",
    "rerun",
    "restart_run",
    "retry_run",
    "revoke_token",
    "set_secret",
    "set_variable",
    "spelled_length",
    "start_held_run",
    "start_run",
    "stop_run",
]
