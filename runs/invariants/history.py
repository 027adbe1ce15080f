"""I3, I4 and I8: a run's history has no gap and tells its state, what is final stays, and no task run
is of no attempt."""

from collections.abc import Iterator

from django.db.models import Count, Exists, F, Max, Min, OuterRef, Subquery

from runs.invariants.check import FINAL, Check, names
from runs.models import RunEvent, TaskRun, WorkflowRun
from runs.states import Cause, TaskState

BY_HAND = [Cause.MARK, Cause.FORCE, Cause.RETRY, Cause.RESTART]


def _gaps() -> Iterator[str]:
    counted = (
        RunEvent.objects.order_by()
        .values("run_id")
        .annotate(number=Count("pk"), first=Min("seq"), last=Max("seq"))
        .exclude(number=F("run__last_seq"), first=1, last=F("run__last_seq"))
    )
    for row in counted.values_list("run_id", "number", "last").iterator():
        yield f"run {row[0]}: {row[1]} events, the last is number {row[2]}"
    silent = WorkflowRun.objects.filter(~Exists(RunEvent.objects.filter(run=OuterRef("pk"))))
    yield from names(silent)


def _fold() -> Iterator[str]:
    newest = RunEvent.objects.filter(run=OuterRef("pk"), task_run=None).exclude(new="")
    told = Subquery(newest.order_by("-seq").values("new")[:1])
    rows = WorkflowRun.objects.annotate(told=told).exclude(told=F("state"))
    for pk, state, last in rows.values_list("pk", "state", "told").iterator():
        yield f"run {pk} is {state}, and its history ends with {last}"


def _task_fold() -> Iterator[str]:
    newest = RunEvent.objects.filter(run=OuterRef("run"), task_run=OuterRef("pk")).exclude(new="")
    told = Subquery(newest.order_by("-seq").values("new")[:1])
    rows = TaskRun.objects.annotate(told=told).exclude(told=F("state"))
    # A task that nothing has happened to has no history.
    rows = rows.exclude(told=None, state=TaskState.PENDING)
    for pk, run, state, last in rows.values_list("pk", "run_id", "state", "told").iterator():
        yield f"task run {pk} of run {run} is {state}, and its history ends with {last or 'nothing'}"


def _undone() -> Iterator[str]:
    rows = (
        RunEvent.objects.filter(task_run=None, old__in=FINAL)
        .exclude(new="")
        .exclude(cause__in=BY_HAND)
    )
    for run, seq, old, new in rows.values_list("run_id", "seq", "old", "new").iterator():
        yield f"run {run}, event {seq}: {old} became {new}"


def _ahead() -> Iterator[str]:
    rows = TaskRun.objects.filter(attempt__gt=F("run__attempt"))
    for pk, number in rows.values_list("pk", "attempt").iterator():
        yield f"task run {pk} is of attempt {number}, which its run hasn't reached"


CHECKS = (
    Check(
        code="I3a",
        holds="A run's history has no gap.",
        remedy="Somebody deleted or inserted events by hand; keep the audit log.",
        find=_gaps,
    ),
    Check(
        code="I3b",
        holds="A run's history ends with its state.",
        remedy="Somebody changed the state by hand: mark the run, which writes an event.",
        find=_fold,
    ),
    Check(
        code="I3c",
        holds="A task run's history ends with its state.",
        remedy="Somebody changed the state by hand: mark the task, which writes an event.",
        find=_task_fold,
    ),
    Check(
        code="I4a",
        holds="A final state stays, within an attempt.",
        remedy="Report it: no fault may cause this.",
        find=_undone,
    ),
    Check(
        code="I8a",
        holds="No task run is of an attempt that its run never had.",
        remedy="Restore the rows from a backup, or restart the run.",
        find=_ahead,
    ),
)
