"""What comes after a death: others go on, and then all is as if nobody had died."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.core.files.storage import storages
from django.core.management import call_command

from engines.clock import database_now
from engines.dag import leases, processes
from engines.dag.models import Execution, StepTry, Worker
from engines.models import EngineJob
from engines.states import RunState
from runs.actions import bulk
from runs.models import (
    BulkJob,
    ChildRun,
    Lease,
    RunAttempt,
    RunEvent,
    TaskRun,
    TaskTry,
    Workflow,
    WorkflowRun,
)
from runs.reconciler import jobs
from runs.reconciler.once import once
from runs.states import FINAL_RUN_STATES, Cause
from tests.engines.dag.driving import Hand
from tests.reconciler.conftest import Hub

LONG_AGO = "2020-01-01T00:00Z"


@dataclass(slots=True, kw_only=True)
class World:
    """`life` and `given`: what the process does that dies; where it `survives` only a child of it
    dies. `hub`: None where the built-in engine is the one. `again`: what its caller does, who got no
    answer. `ends`: the states that runs may end in. `attempts`: how many each has in the end. `well`:
    what else must be true of each run."""

    hub: Hub | None = None
    life: str = "once"
    survives: bool = False
    given: dict[str, Any] = field(default_factory=dict)
    again: Callable[[], object] = lambda: None
    ends: frozenset[str] = frozenset({RunState.COMPLETED})
    attempts: int = 1
    well: Callable[[WorkflowRun, str], None] = lambda run, what: None


def time_passes() -> None:
    """Leases of the dead have run out, and what waits for a while has waited."""
    Lease.objects.filter(expires_at__isnull=False).update(expires_at=LONG_AGO)
    for model in (WorkflowRun, Workflow):
        model._default_manager.filter(next_check_at__isnull=False).update(next_check_at=LONG_AGO)
    WorkflowRun.objects.filter(missing_since__isnull=False).update(missing_since=LONG_AGO)


def goes_on(world: World) -> None:
    """Others bring every run to its end."""
    forget_workers()
    for _ in range(12):
        time_passes()
        once()
        if is_over():
            break
        if world.hub is not None:
            world.hub.fake.engine.finish()
        else:
            work()


def is_over() -> bool:
    """Every run has come to its end, and there is nothing more to do about any."""
    return not (
        WorkflowRun.objects.active().exists()
        or Workflow.objects.filter(next_check_at__isnull=False).exists()
        or EngineJob.objects.filter(state__in=jobs.OPEN).exists()
        or BulkJob.objects.filter(state__in=bulk.OPEN).exists()
        or ChildRun.objects.filter(answered_at=None).exists()
        or TaskTry.objects.filter(log_complete=False).exists()
        or TaskRun.objects.open_hooks().exists()
    )


def work() -> None:
    """What another worker does of the built-in engine."""
    leases.replay()
    leases.recover()
    leases.promote()
    hand = Hand()
    hand.run_all()
    leases.retire(hand.worker.pk)


def all_is_well(world: World, what: str) -> None:
    """Each attempt of each run was started once and ended once, and nothing is left behind."""
    runs = list(WorkflowRun.objects.all())
    for run in runs:
        said = f"{what}: {run.state} {run.reason} {run.error} {run.last_error} {run.flags}"
        assert run.state in world.ends, said
        assert run.attempt <= world.attempts, said
        assert not run.in_hand and not run.flags and run.next_check_at is None, said
        ends = RunEvent.objects.filter(run=run, task_run=None, new__in=FINAL_RUN_STATES)
        assert Counter(ends.values_list("attempt", flat=True)) == Counter(range(1, run.attempt + 1))
        asked = RunEvent.objects.filter(run=run, cause=Cause.CANCEL, new="", task_run=None)
        assert asked.count() <= 1, said
    if world.hub is not None:
        assert set(world.hub.fake.engine.starts.values()) == {1}, what
        sent = RunAttempt.objects.filter(accepted_at__isnull=False).count()
        assert len(world.hub.fake.engine.starts) == sent, what
        tries = TaskTry.objects.exclude(log="")
        assert tries.exists(), what
        assert all(storages["logs"].exists(row.log) for row in tries), what
    else:
        assert Execution.objects.count() == len(runs), what
        assert not StepTry.objects.exclude(reason__in=["", "lost", "killed"]).exists(), what
    for run in runs:
        world.well(run, what)
    assert is_over(), what
    assert not Lease.objects.filter(expires_at__gt=database_now()).exists(), what
    call_command("fsck", verbosity=0)


def forget_workers() -> None:
    """Every worker is dead, which is seen at its own place."""
    Worker.objects.update(place=processes.place(), pid=0, birth="long ago")
