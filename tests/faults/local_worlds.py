"""The small worlds of the built-in engine (see worlds)."""

from datetime import timedelta
from typing import Any

from engines.clock import database_now
from engines.dag import leases, spool
from engines.dag.models import Execution, Step
from engines.dag.outcome import Outcome
from engines.models import Engine
from engines.states import RunState, TaskState
from runs import actions
from runs.models import ChildRun, WorkflowRun
from runs.policy import Actor
from runs.reconciler.once import once
from tests.engines.dag.driving import Hand
from tests.factories import make_engine
from tests.faults.aftermath import LONG_AGO, World, forget_workers, work
from tests.faults.worlds import MakeHub

CHAIN = {
    "title": "chain",
    "steps": [
        {"name": "a", "handler": "sleep", "with": {"seconds": 0}},
        {"name": "b", "handler": "sleep", "needs": ["a"], "with": {"seconds": 0}},
    ],
}
MANY = {
    "title": "many",
    "steps": [CHAIN["steps"][0] | {"name": f"s{number}"} for number in range(12)],
}
HOOK = {"handler": "sleep", "with": {"seconds": 0}}
HOOKED = {
    "title": "hooked",
    "steps": [CHAIN["steps"][0] | {"on_success": HOOK, "on_failure": HOOK}, CHAIN["steps"][1]],
    "on_success": HOOK,
    "on_failure": HOOK,
}


def local_submitted(make_hub: MakeHub) -> World:
    """Runs wait to be given to the built-in engine."""
    _local_runs()
    return World()


def _local_runs(definition: Any = CHAIN) -> list[WorkflowRun]:
    if not Engine.objects.exists():
        make_engine("local", name="local")
    workflow, _ = actions.post_workflow(Actor(), definition=definition)
    return [actions.start_run(Actor(), workflow) for _ in range(2)]


def local_work(make_hub: MakeHub) -> World:
    """Steps wait for a worker."""
    _local_runs()
    once()
    assert Execution.objects.count() == 2
    return World(life="worker")


def local_work_survived(make_hub: MakeHub) -> World:
    """Only the worker's child dies that has the step."""
    world = local_work(make_hub)
    world.survives = True
    return world


def local_together(make_hub: MakeHub) -> World:
    """Short steps wait for a worker, which takes several of them together."""
    _local_runs(MANY)
    once()
    return World(life="worker")


def local_together_survived(make_hub: MakeHub) -> World:
    """Only the worker's child dies that has them."""
    world = local_together(make_hub)
    world.survives = True
    return world


def local_hooked(make_hub: MakeHub) -> World:
    """Steps wait for a worker whose ends, and that of their run, begin hooks."""
    _local_runs(HOOKED)
    once()
    return World(life="worker", well=hooks_are_well)


def local_hooked_survived(make_hub: MakeHub) -> World:
    """Only the worker's child dies that ends the step, or the run."""
    world = local_hooked(make_hub)
    world.survives = True
    return world


def local_hooks_ended(make_hub: MakeHub) -> World:
    """Hooks ended after their runs, and the hub hasn't seen it."""
    _local_runs(HOOKED)
    once()
    hand = Hand()
    taken = hand.take()
    while taken is not None and taken.spec.name != "on_success":
        taken = hand.end(taken)
    assert taken is not None
    once()
    while taken is not None:
        taken = hand.end(taken)
    leases.retire(hand.worker.pk)
    return World(well=hooks_are_well)


def local_orphaned(make_hub: MakeHub) -> World:
    """A worker died with a step in its hands, and another one starts."""
    world = local_work(make_hub)
    Hand().take()
    forget_workers()
    return world


def local_orphaned_and_looked_at(make_hub: MakeHub) -> World:
    """The same, found by the look at the engine."""
    world = local_orphaned(make_hub)
    world.life = "once"
    return world


def local_spooled(make_hub: MakeHub) -> World:
    """A worker that died left a result on the disk."""
    world = local_work(make_hub)
    taken = Hand().take()
    assert taken is not None
    spool.keep(
        Outcome(
            execution_id=taken.plan.id,
            step_id=taken.step_id,
            token=taken.token,
            name=taken.spec.name,
            map_index=-1,
            state=TaskState.COMPLETED,
            result="null",
        )
    )
    return world


def local_cut_off(make_hub: MakeHub) -> World:
    """The database can't be reached when a worker has a result."""
    world = local_work(make_hub)
    world.given = {"changed": ["cut_off"]}
    return world


def local_retrying(make_hub: MakeHub) -> World:
    """A step waits for its next try, and its time has come."""
    world = local_work(make_hub)
    waiting = Step.objects.filter(name="a")
    waiting.update(state=TaskState.RETRYING, ready_at=database_now() - timedelta(seconds=1))
    return world


def local_canceled(make_hub: MakeHub) -> World:
    """A run whose step a worker has is to be stopped."""
    runs = _local_runs()
    once()
    Hand().take()
    once()
    for run in runs:
        actions.cancel_run(Actor(), WorkflowRun.objects.get(pk=run.pk))
    return World(ends=frozenset({RunState.CANCELED}))


def local_overdue(make_hub: MakeHub) -> World:
    """Runs whose steps a worker has have gone on for longer than they may."""
    _local_runs(HOOKED)
    once()
    while Hand().take():
        pass
    once()
    WorkflowRun.objects.update(started_at="2019-12-31T22:00Z", deadline_at=LONG_AGO)
    return World(ends=frozenset({RunState.FAILED}), well=failed_of_its_limit)


def local_child(make_hub: MakeHub) -> World:
    """A step is about to ask for a run of another workflow."""
    make_engine("local", name="local")
    actions.post_workflow(Actor(), definition=CHAIN)
    step = {"name": "ask", "handler": "workflow", "with": {"workflow": CHAIN["title"]}}
    outer, _ = actions.post_workflow(Actor(), definition={"title": "outer", "steps": [step]})
    actions.start_run(Actor(), outer)
    return World()


def local_child_ended(make_hub: MakeHub) -> World:
    """The run that a step waits for has ended at its engine."""
    world = local_child(make_hub)
    for _ in range(2):
        once()
    work()
    assert ChildRun.objects.get(answered_at=None).child is not None
    return world


def local_child_called_off(make_hub: MakeHub) -> World:
    """The run whose step waits is canceled."""
    world = local_child(make_hub)
    for _ in range(2):
        once()
    actions.cancel_run(Actor(), WorkflowRun.objects.get(parent_task_run=None))
    world.ends = frozenset({RunState.CANCELED})
    return world


def hooks_are_well(run: WorkflowRun, what: str) -> None:
    """Each end began its hook once, after itself, and the hub saw it to its end."""
    rows = {step.name: step for step in Step.objects.filter(execution__external_id=run.external_id)}
    assert set(rows) == {"a", "b", "a.on_success", "on_success"}, what
    assert {step.state for step in rows.values()} == {TaskState.COMPLETED}, what
    assert rows["a.on_success"].started_at >= rows["a"].ended_at, what
    assert rows["on_success"].started_at >= rows["b"].ended_at, what
    seen = run.task_runs.filter(kind="hook").values_list("name", "state")
    assert dict(seen) == dict.fromkeys(("a.on_success", "on_success"), TaskState.COMPLETED), what


def failed_of_its_limit(run: WorkflowRun, what: str) -> None:
    """The engine took it for a failure as well: the hooks for that began once each."""
    assert run.reason == "timeout" and "its limit of 2 h" in run.error, what
    hooks = Step.objects.filter(execution__external_id=run.external_id, kind="hook")
    rows = dict.fromkeys(("a.on_failure", "on_failure"), TaskState.COMPLETED)
    assert dict(hooks.values_list("name", "state")) == rows, what
    assert dict(run.task_runs.filter(kind="hook").values_list("name", "state")) == rows, what
