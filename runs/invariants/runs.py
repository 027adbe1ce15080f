"""I2 and I4: no run is lost, each has its attempt, and what has ended has nothing open."""

from collections.abc import Iterator

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery

from engines.clock import database_now
from runs import moves
from runs.invariants.check import ACTIVE, FINAL, JUST_NOW, MENDED_AT_ONCE, Check, names
from runs.models import RunAttempt, TaskRun, WorkflowRun
from runs.states import FINAL_TASK_STATES, Flag, RunState, Wanted

WITH_ENGINE = [RunState.SCHEDULED, RunState.RUNNING]


def _forgotten() -> QuerySet[WorkflowRun]:
    """Active, and neither watched nor due: nobody would ever look at them."""
    old = WorkflowRun.objects.filter(next_check_at=None, updated_at__lt=database_now() - JUST_NOW)
    unsent = old.filter(state=RunState.PENDING).exclude(wanted=Wanted.HOLD)
    canceling = old.filter(state__in=WITH_ENGINE, wanted=Wanted.CANCEL)
    waits = RunAttempt.objects.filter(run=OuterRef("pk"), number=OuterRef("attempt") + 1)
    ended = old.filter(Exists(waits), state__in=FINAL)
    flagged = [run.pk for run in old.active().exclude(flags={}) if _is_set_aside(run)]
    return (unsent | canceling | ended).exclude(pk__in=flagged).distinct()


def _is_set_aside(run: WorkflowRun) -> bool:
    return bool({Flag.QUARANTINED.value, Flag.SUBMIT_UNKNOWN.value} & set(run.flags))


def _make_due() -> int:
    keys = list(_forgotten().values_list("pk", flat=True))
    return WorkflowRun.objects.filter(pk__in=keys).update(next_check_at=database_now())


def _without_attempt() -> QuerySet[WorkflowRun]:
    present = RunAttempt.objects.filter(run=OuterRef("pk"), number=OuterRef("attempt"))
    return WorkflowRun.objects.filter(~Exists(present))


def _told_otherwise() -> QuerySet[RunAttempt]:
    """Present attempts of ended runs that tell another end than the run."""
    return RunAttempt.objects.filter(
        run__state__in=FINAL, run__marked=False, number=F("run__attempt")
    ).exclude(state=F("run__state"))


def _attempt_names() -> Iterator[str]:
    rows = _told_otherwise().values_list("number", "run_id", "state", "run__state")
    for number, run, state, own in rows.iterator():
        yield f"attempt {number} of run {run} is {state or 'open'}, the run is {own}"


def _tell_attempts() -> int:
    run = WorkflowRun.objects.filter(pk=OuterRef("run"))
    return RunAttempt.objects.filter(pk__in=_told_otherwise().values("pk")).update(
        state=Subquery(run.values("state")[:1]), ended_at=Subquery(run.values("ended_at")[:1])
    )


def _open_tasks() -> QuerySet[WorkflowRun]:
    # A hook may go on; runs.invariants.hooks looks after those.
    tasks = TaskRun.objects.tasks().filter(run=OuterRef("pk"))
    tasks = tasks.exclude(state__in=sorted(FINAL_TASK_STATES))
    return WorkflowRun.objects.filter(Exists(tasks), state__in=FINAL, marked=False)


def _close_tasks() -> int:
    closed = 0
    for run in _open_tasks().iterator(chunk_size=MENDED_AT_ONCE):
        change = moves.RunChange(run)
        now = database_now()
        moves.close_tasks(
            change, run.task_runs.tasks(), RunState(run.state), moves.RECONCILER, now=now
        )
        closed += moves.apply_one(change)
    return closed


def _wrong_times() -> QuerySet[WorkflowRun]:
    return WorkflowRun.objects.filter(
        Q(state__in=FINAL, ended_at=None)
        | Q(state__in=ACTIVE, ended_at__isnull=False)
        | Q(ended_at__lt=F("started_at"))
        | Q(state__in=FINAL, in_hand=True)
    )


def _fix_times() -> int:
    with transaction.atomic():
        rows = WorkflowRun.objects.filter(pk__in=_wrong_times().values("pk"))
        ended = rows.filter(state__in=FINAL)
        number = ended.filter(ended_at=None).update(ended_at=F("updated_at"))
        number += ended.filter(ended_at__lt=F("started_at")).update(ended_at=F("started_at"))
        number += ended.filter(in_hand=True).update(in_hand=False)
        return number + rows.filter(state__in=ACTIVE).update(ended_at=None)


def _settled_by_nothing() -> QuerySet[WorkflowRun]:
    """They would be missing among the open failures."""
    settled = WorkflowRun.objects.filter(resolved_by__isnull=False)
    return settled.exclude(resolved_by__state=RunState.COMPLETED)


def _open_again() -> int:
    rows = WorkflowRun.objects.filter(pk__in=_settled_by_nothing().values("pk"))
    return rows.update(resolved_by=None, version=F("version") + 1)


CHECKS = (
    Check(
        code="I2a",
        holds="Every active run is watched or due.",
        remedy="Run fsck --fix: it makes them due, and the reconciler decides.",
        find=lambda: names(_forgotten()),
        mend=_make_due,
    ),
    Check(
        code="I2b",
        holds="Every run has its present attempt.",
        remedy="Restore the rows from a backup: nothing else knows what was sent to the engine.",
        find=lambda: names(_without_attempt()),
    ),
    Check(
        code="I2c",
        holds="An ended run's attempt tells the same end.",
        remedy="Run fsck --fix: it takes over what the run says.",
        find=_attempt_names,
        mend=_tell_attempts,
    ),
    Check(
        code="I4b",
        holds="A final run has no open task.",
        remedy="Run fsck --fix: it closes them.",
        find=lambda: names(_open_tasks()),
        mend=_close_tasks,
    ),
    Check(
        code="I4c",
        holds="A run has an end if and only if it has ended, never before its start.",
        remedy="Run fsck --fix.",
        find=lambda: names(_wrong_times()),
        mend=_fix_times,
    ),
    Check(
        code="I4e",
        holds="What settled a failure has completed.",
        remedy="Run fsck --fix: the failures are open again.",
        find=lambda: names(_settled_by_nothing()),
        mend=_open_again,
    ),
)
