"""The facts of a run as `plan` takes them."""

from django.conf import settings

from engines.models import Engine
from runs.reconciler import plan
from runs.reconciler.calls import Calls
from runs.reconciler.facts import Case
from runs.states import RetryMode, RunState, Wanted, WorkflowState


def limits() -> plan.Limits:
    return plan.Limits(
        quarantine=settings.WORKFLOWHUB_SUBMIT_QUARANTINE,
        deadline=settings.WORKFLOWHUB_ENGINE_DEADLINE,
        stuck_after=settings.WORKFLOWHUB_STUCK_AFTER,
    )


def engine_seen(engine: Engine, calls: Calls) -> plan.EngineSeen:
    adapter = calls.adapter
    return plan.EngineSeen(
        submission=adapter.submission,
        enabled=engine.enabled,
        accepts_runs=engine.accepts_runs,
        in_place=adapter.retries_in_place,
        can_cancel=engine.can("cancel_run") is True,
    )


def seen_of(case: Case, engine: plan.EngineSeen | None, waits: str = "") -> plan.Seen:
    """The facts of a run for `plan`."""
    run, attempt = case.run, case.attempt
    return plan.Seen(
        state=RunState(run.state),
        engine=engine,
        pinned=run.pinned,
        workflow=WorkflowState(run.workflow.state),
        mode=RetryMode(attempt.mode),
        sent_at=attempt.sent_at,
        accepted_at=attempt.accepted_at,
        to_ask=len(attempt.ask_first),
        keeps=case.kept is not None,
        queued=case.queued is not None,
        waits=waits,
        flags=frozenset(run.flags),
        cancel_requested_at=run.cancel_requested_at,
        cancel_sent_at=run.cancel_sent_at,
        tasks_to_cancel=sum(task.wanted == Wanted.CANCEL for task in case.open_tasks()),
    )
