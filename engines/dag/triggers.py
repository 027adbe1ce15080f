# ruff: noqa: S608  every value is a parameter; what is put in is marks
"""Steps that a failure doesn't keep from starting (`trigger`): they wait for the end of their needs,
however those end. Called under the execution's lock by engines/dag/advance.py."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from engines.dag import statements
from engines.dag.graph import FAILED_STATES, StepSpec, TriggerRule
from engines.dag.held import Held
from engines.dag.sql import change, marks, run
from engines.states import TaskState


def needs_ended(held: Held, ended: Mapping[str, TaskState]) -> None:
    """These steps have just ended, and not well: what waits for their end waits for one need fewer,
    or where one failure is enough for none. Needs that end well count for every step alike, and
    `statements.meet_needs` counts them."""
    definition = held.plan.definition
    if not definition.tolerant or held.stopping:
        return
    fewer: Counter[str] = Counter()
    fired: set[str] = set()
    for name, state in ended.items():
        for follower in definition.following[name]:
            if follower not in definition.tolerant:
                continue
            rule = definition.steps[follower].trigger
            if rule == TriggerRule.ONE_FAILED and state in FAILED_STATES:
                fired.add(follower)
            else:
                fewer[follower] += 1
    if fired:
        _wait_no_more(held.plan.id, sorted(fired))
    by_count: dict[int, list[str]] = defaultdict(list)
    for name in sorted(fewer.keys() - fired):
        by_count[fewer[name]].append(name)
    for count, names in by_count.items():
        statements.meet_needs(held.plan.id, names, count)


def fires(held: Held, spec: StepSpec) -> bool:
    """Whether a step that waits for nothing more is to start: one that is there for failures only
    does if one of its needs failed."""
    if spec.trigger != TriggerRule.ONE_FAILED:
        return True
    found = run(
        "SELECT 1 FROM dag_step WHERE execution_id = %s AND map_index = -1 "
        f"AND name IN ({marks(spec.needs)}) AND state IN ({marks(FAILED_STATES)}) LIMIT 1",
        [held.plan.id, *spec.needs, *sorted(FAILED_STATES)],
    )
    return bool(found)


def drained(held: Held, name: str, map_index: int) -> bool:
    """Whether something else has failed in this attempt before: then what no failure keeps from
    starting is all that is left to start, and another failure stops only what needs it."""
    if not held.plan.definition.tolerant:
        return False  # nothing is left to start
    found = run(
        "SELECT 1 FROM dag_step WHERE execution_id = %s AND kind = 'task' AND attempt = %s "
        "AND state = 'FAILED' AND NOT (name = %s AND map_index = %s) LIMIT 1",
        [held.plan.id, held.plan.attempt, name, map_index],
    )
    return bool(found)


def _wait_no_more(execution_id: int, names: Sequence[str]) -> None:
    """The named steps may start whatever becomes of their other needs."""
    change(
        "UPDATE dag_step SET waits_for = 0 WHERE execution_id = %s "
        f"AND name IN ({marks(names)}) AND map_index = -1 AND state = 'PENDING'",
        [execution_id, *names],
    )
