"""I1, I7 and I8: the built-in engine's executions belong to live attempts, its steps to live workers,
a step to a slot, and none of them waits for nothing."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from engines.base import RunNotFound
from engines.clock import database_now
from engines.dag import leases, mending, requests
from engines.dag.models import Execution, Step
from runs.invariants.check import ACTIVE, JUST_NOW, MENDED_AT_ONCE, Check
from runs.models import RunAttempt, WorkflowRun
from runs.states import TaskState


def _stray() -> QuerySet[Execution]:
    """Executions of our own engine that still go on though their run's attempt is over."""
    # A run that was marked by hand leaves its engine alone: that is what marking means.
    live = WorkflowRun.objects.filter(
        Q(state__in=ACTIVE) | Q(marked=True),
        engine=OuterRef("engine"),
        external_id=OuterRef("external_id"),
    )
    # One that was told to stop does so when its workers have stopped its steps: I7 looks after those.
    return Execution.objects.filter(
        ~Exists(live),
        state__in=ACTIVE,
        cancel_requested=False,
        created_at__lt=database_now() - JUST_NOW,
    )


def _stray_names() -> Iterator[str]:
    for name, state in _stray().values_list("external_id", "state").iterator():
        yield f"execution {name} is {state}, and no active run has it"


def _cancel_strays() -> int:
    mended = 0
    for name in list(_stray().values_list("external_id", flat=True)):
        try:
            requests.cancel(name)
            mended += 1
        except RunNotFound:
            continue  # it went meanwhile
    return mended


def _doubled() -> Iterator[str]:
    """Two active executions for one run of ours."""
    rows = (
        Execution.objects.filter(state__in=ACTIVE)
        .order_by()
        .values("engine_id", "run_uuid")
        .annotate(number=Count("pk"))
        .filter(number__gt=1)
    )
    for row in rows:
        yield f"run {row['run_uuid']} has {row['number']} live executions"


def _unheld() -> QuerySet[Step]:
    """Steps that count as running, and that no live worker has."""
    lost = timedelta(seconds=2 * settings.WORKFLOWHUB_WORKER_LOST_AFTER)
    before = database_now() - max(lost, JUST_NOW)
    return Step.objects.filter(
        Q(worker=None) | Q(worker__ended_at__lt=before) | Q(worker__heartbeat_at__lt=before),
        # One that never began is not what an engine leaves, but a hand in the database.
        Q(started_at__lt=before) | Q(started_at=None),
        state=TaskState.RUNNING,
        mapped=False,
        request__isnull=True,
    )


def _unheld_names() -> Iterator[str]:
    rows = _unheld().values_list("execution__external_id", "name", "map_index", "worker_name")
    for execution, name, index, worker in rows.iterator():
        step = name if index < 0 else f"{name}[{index}]"
        yield f"step {step} of {execution}: {worker or 'nobody'} has it no longer"


def _take_back() -> int:
    # Where the database's clock was put forward, those that live look silent as well: it is heard.
    silent = _unheld().filter(worker__isnull=False, worker__ended_at=None).exists()
    count = leases.recover_patiently() if silent else leases.recover()
    return count + leases.take_back(list(_unheld().values_list("pk", flat=True)))


def _crowded() -> Iterator[str]:
    """Slots, which are processes of workers, that have more than the one step that they can run."""
    rows = (
        Step.objects.filter(
            state=TaskState.RUNNING,
            mapped=False,
            worker__ended_at=None,
            started_at__lt=database_now() - JUST_NOW,
        )
        .exclude(worker=None)
        .order_by()
        .values("worker_id", "worker_name")
        .annotate(number=Count("pk"))
        .filter(number__gt=1)
    )
    for row in rows:
        yield f"slot {row['worker_name']} has {row['number']} running steps"


def _stalled() -> QuerySet[Execution]:
    """Executions that go on, and of which nothing is running, ready or due at a time."""
    busy = Step.objects.filter(execution=OuterRef("pk"), kind="task").filter(
        Q(state__in=[TaskState.SCHEDULED, TaskState.RETRYING])
        | Q(state=TaskState.RUNNING, mapped=False)
        | Q(state=TaskState.PENDING, ready_at__isnull=False)
    )
    return Execution.objects.filter(
        ~Exists(busy), state__in=ACTIVE, created_at__lt=database_now() - JUST_NOW
    )


def _stalled_names() -> Iterator[str]:
    for name in _stalled().values_list("external_id", flat=True).iterator():
        yield f"execution {name} goes on, and none of its steps does"


def _push_stalled() -> int:
    return sum(mending.push(pk) for pk in list(_stalled().values_list("pk", flat=True)))


def _orphans() -> QuerySet[Execution]:
    """Ended executions of runs that the hub no longer has."""
    known = RunAttempt.objects.filter(external_id=OuterRef("external_id"))
    return Execution.objects.filter(
        ~Exists(known), ended_at__isnull=False, created_at__lt=database_now() - JUST_NOW
    )


def _orphan_names() -> Iterator[str]:
    for name in _orphans().values_list("external_id", flat=True).iterator():
        yield f"execution {name} is of a run that is gone"


def _forget_orphans() -> int:
    mended = 0
    while batch := list(_orphans().values_list("external_id", flat=True)[:MENDED_AT_ONCE]):
        number = requests.forget(batch)
        if not number:
            break
        mended += number
    return mended


CHECKS = (
    Check(
        code="I1a",
        holds="A run has at most one live execution.",
        remedy="Cancel the run, wait for its end, and restart it.",
        find=_doubled,
    ),
    Check(
        code="I1b",
        holds="An execution ends with its run.",
        remedy="Run fsck --fix: it cancels what no run stands for.",
        find=_stray_names,
        mend=_cancel_strays,
    ),
    Check(
        code="I7a",
        holds="A running step has a live worker.",
        remedy="Run fsck --fix: it listens who is silent, takes their steps back, and their retry "
        "policy decides.",
        find=_unheld_names,
        mend=_take_back,
    ),
    Check(
        code="I7b",
        holds="An execution that goes on has a step that does.",
        remedy="Run fsck --fix: it counts anew what its steps wait for, and goes on.",
        find=_stalled_names,
        mend=_push_stalled,
    ),
    Check(
        code="I7c",
        holds="A slot of a worker has at most one running step.",
        remedy="Stop that worker: what it has goes back into the queue.",
        find=_crowded,
    ),
    Check(
        code="I8b",
        holds="The built-in engine keeps nothing of runs that are gone.",
        remedy="Run fsck --fix: it forgets them.",
        find=_orphan_names,
        mend=_forget_orphans,
    ),
)
