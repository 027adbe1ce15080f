"""Run timeouts: an attempt that has run longer than its workflow allows is stopped, and has failed.

The deadline is kept with the run from the moment at which its engine is seen to run it, so waiting
counts for nothing, and a later change of the workflow changes no attempt that runs. To stop it is an
intent like a person's cancel: it is committed here, the engine is asked as long as it takes, and how the
engine says that it ended is what counts. Only where that is "canceled" the run has failed instead. The
engine is told why it is asked, so that one which lets hooks follow can take it as a failure itself.

A run that is wanted to end and still has a deadline is one that was stopped by it: whoever asks for a
run's end before takes the deadline away.
"""

from datetime import datetime, timedelta

from django.conf import settings

from engines.durations import said
from engines.faults import crash_point
from engines.models import Engine
from runs import leases, moves
from runs.models import WorkflowRun
from runs.querysets import RunQuerySet
from runs.states import Cause, Reason, RunState, Wanted

BATCH = 500


def begin_to_count(change: moves.RunChange, now: datetime) -> None:
    """The run begins to run: from now on its time is limited, if its workflow says so."""
    limit = change.run.workflow.run_timeout
    if limit is not None and change.run.wanted == Wanted.RUN:
        change.set(deadline_at=now + limit)


def timed_out(run: WorkflowRun) -> bool:
    """Whether it is being stopped because it has run too long."""
    return run.deadline_at is not None and run.wanted == Wanted.CANCEL


def overdue(run: WorkflowRun) -> str:
    """What it fails of, if it is being stopped because it has run too long; else nothing."""
    if run.deadline_at is None or not timed_out(run):
        return ""
    limit = said((run.deadline_at - (run.started_at or run.created_at)).total_seconds())
    return f"The run took longer than its limit of {limit} (the workflow's run timeout)."


def end_of_canceled(run: WorkflowRun) -> tuple[RunState, str, str]:
    """(state, reason, error) of a run that its engine stopped as it was asked."""
    if error := overdue(run):
        return RunState.FAILED, Reason.TIMEOUT, error
    return RunState.CANCELED, "", ""


def stop_overdue(engine: Engine, fence: leases.Fence, now: datetime) -> datetime | None:
    """Asks for the end of the runs of an engine whose time is over. Gives the next deadline, where it
    is before the engine's runs are looked at in any case. Raises LeaseLost."""
    running: RunQuerySet = WorkflowRun.objects.filter(
        engine=engine, deadline_at__isnull=False, wanted=Wanted.RUN
    )
    running = running.order_by("deadline_at")
    soon = now + timedelta(seconds=settings.WORKFLOWHUB_POLL)
    first = running.filter(deadline_at__lte=soon).values_list("deadline_at", flat=True).first()
    if first is None or first > now:
        return first
    changes = []
    for run in running.filter(deadline_at__lte=now).select_related("workflow")[:BATCH]:
        change = moves.RunChange(run)
        change.set(wanted=Wanted.CANCEL, cancel_requested_at=now, reason=Reason.TIMEOUT)
        change.fields["next_check_at"] = now
        change.note(
            Cause.CANCEL, moves.RECONCILER, "It has run for longer than its workflow allows."
        )
        changes.append(change)
    crash_point("overdue.writing")
    moves.apply(changes, fence=fence)
    crash_point("overdue.written")
    return now  # there may be more of them, or one that comes next
