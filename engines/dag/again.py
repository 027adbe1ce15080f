"""The steps of a further attempt: what is to run again begins anew, the rest is taken over as it is. It
is copied within the database, so that three items of ten thousand cost no more than the others' copy.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from engines.base import RetrySpec, RunNotFound, TaskKey
from engines.dag import hooks, mapping, rows, sql
from engines.dag.graph import Graph, StepSpec, waits_for
from engines.dag.models import Execution, Step
from engines.states import FINAL_TASK_STATES, TaskState


def new_steps(execution: Execution, graph: Graph) -> None:
    """All the steps of a first attempt."""
    rows.insert([_fresh(execution, position, step) for position, step in enumerate(graph.steps)])


def copy_steps(execution: Execution, graph: Graph, retry: RetrySpec) -> None:
    """The steps of the earlier attempt: those listed begin anew, the others keep what they are. Raises
    RunNotFound."""
    previous = Execution.objects.filter(external_id=retry.previous_external_id).first()
    if previous is None:
        raise RunNotFound(f"{retry.previous_external_id} is not here: its steps can't be kept.")
    # Hooks begin anew, at this attempt's own ends.
    found = Step.objects.filter(execution=previous).exclude(kind=hooks.HOOK).order_by()
    old: dict[TaskKey, tuple[int, TaskState]] = {
        (name, map_index): (key, TaskState(state))
        for key, name, map_index, state in found.values_list("pk", "name", "map_index", "state")
    }
    again = _again({key: state for key, (_, state) in old.items()}, retry.tasks)
    states = {
        step.name: TaskState.PENDING
        if (step.name, -1) in again or (step.name, -1) not in old
        else old[step.name, -1][1]
        for step in graph.steps
    }
    listed = {name for name, map_index in again if map_index >= 0}
    items_again = {
        step.name
        for step in graph.steps
        if step.name in listed
        and step.repeat is None  # passes begin anew: each follows from the one before
        and not any(states[need] == TaskState.PENDING for need in step.needs)
    }
    by_name: dict[str, list[TaskKey]] = defaultdict(list)
    for key in old:
        by_name[key[0]].append(key)
    new: list[Step] = []
    kept: list[int] = []
    groups: list[int] = []
    items: list[int] = []
    for position, spec in enumerate(graph.steps):
        whole = (spec.name, -1) in old
        if not whole or (states[spec.name] == TaskState.PENDING and spec.name not in items_again):
            step = _fresh(execution, position, spec)
            step.waits_for = waits_for(spec, states)
            new.append(step)
            continue
        for key in by_name[spec.name]:
            chosen = kept if key not in again else groups if key[1] < 0 else items
            chosen.append(old[key][0])
    rows.insert(new)
    _copy_kept(kept, execution, previous)
    _copy_again(groups, execution, group=True)
    _copy_again(items, execution, group=False)
    for name in items_again:
        mapping.recount(execution.pk, name)


def _fresh(execution: Execution, position: int, step: StepSpec) -> Step:
    return Step(
        execution=execution,
        name=step.name,
        position=position,
        waits_for=len(set(step.needs)),
        attempt=execution.attempt,
        changed=execution.changed,
    )


def _again(old: Mapping[TaskKey, TaskState], tasks: Sequence[TaskKey]) -> set[TaskKey]:
    """What runs again. With items of a mapped step listed, the step's own row waits for them and its
    other items are kept; with only its own row listed, or a need of it, it is expanded anew."""
    again = {key for key in tasks if key in old or key[1] == -1}
    again |= {key for key, state in old.items() if state not in FINAL_TASK_STATES}
    return again | {(name, -1) for name, map_index in again if map_index >= 0}


def _copy_kept(ids: Sequence[int], execution: Execution, previous: Execution) -> None:
    values: dict[str, Any] = {"execution_id": execution.pk, "changed": execution.changed}
    values |= {"token": 0, "worker_id": None}
    # There its files stay.
    first = "COALESCE(NULLIF(ran_in, ''), %s)"
    rows.copy(ids, {**values, "ran_in": previous.external_id}, {"ran_in": first})


def _copy_again(ids: Sequence[int], execution: Execution, *, group: bool) -> None:
    """The step's own row (`group`) runs through its items at once; they wait."""
    values = rows.fresh(
        execution=execution,
        mapped=group,
        state=TaskState.RUNNING if group else TaskState.PENDING,
        attempt=execution.attempt,
        changed=execution.changed,
    )
    for column in ("name", "map_index", "position", "items", "item"):
        del values[column]
    if group:
        del values["started_at"]
    rows.copy(ids, values, {"started_at": sql.now()} if group else {})
