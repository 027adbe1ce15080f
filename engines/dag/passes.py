# ruff: noqa: S608  every value is a parameter; what is put in is clocks
"""Steps with `repeat`: one row for each pass, made when the pass before has ended, and the step's own
row that stands for all, as in engines/dag/mapping.py.

Between two passes nothing is in memory: the end of one and the row of the next are one transaction.
"""

import json
from datetime import timedelta
from typing import Any

from engines.clock import database_now
from engines.dag import statements
from engines.dag.graph import Repeat
from engines.dag.held import Held
from engines.dag.models import Step
from engines.dag.outcome import Stop
from engines.dag.sql import Row, change, run, stamp, stamp_now
from engines.dag.templating import evaluate
from engines.dag.values import scope_of
from engines.states import TaskState

Ended = tuple[TaskState, dict[str, Any]]
"""A step's final state and the columns that say more."""


def open_passes(step_id: int, repeat: Repeat) -> None:
    """The step runs from now on, and its first pass may start."""
    statements.open_group(step_id, repeat.most)
    _begin(step_id, 0, shown(0, repeat), 0.0)


def pass_ended(held: Held, name: str, repeat: Repeat) -> Ended | None:
    """What the end of the last pass means: another one is begun (None), or the step has ended."""
    step_id, stop, map_index, state, reason, error, result = _last(held.plan.id, name)
    count = map_index + 1
    if state != TaskState.COMPLETED:
        error = f"pass {count}: {error}" if error else ""
        progress = map_index / repeat.most
        return TaskState(state), {"reason": reason, "error": error, "progress": progress}
    done = {"result": result, "progress": 1.0, "message": passes(count)}
    if repeat.until is not None:
        try:
            gave = json.loads(result or "null")
            scope = scope_of(held, name, deciding=True, result=gave, index=map_index)
            if evaluate(repeat.until, scope):
                return TaskState.COMPLETED, done
        except ValueError as problem:
            error = f"until after pass {count}: {problem}"
            return TaskState.FAILED, {"reason": "template", "error": error}
    elif count >= repeat.most:
        return TaskState.COMPLETED, done
    if held.stopping or stop:
        reason = stop or held.reason or Stop.CANCELED.value
        progress = count / repeat.most
        return TaskState.CANCELED, {"reason": reason, "error": "", "progress": progress}
    if count >= repeat.most:
        error = f"After {passes(count)} this doesn't hold yet: {repeat.until}"
        return TaskState.FAILED, {"reason": "repeat", "error": error}
    _begin(step_id, count, shown(count, repeat), repeat.delay)
    return None


def shown(map_index: int, repeat: Repeat) -> str:
    """What people read about the step while a pass waits or runs."""
    most = f"at most {repeat.most:,}" if repeat.until is not None else f"{repeat.most:,}"
    return f"Pass {map_index + 1:,} of {most}"


def passes(count: int) -> str:
    return "1 pass" if count == 1 else f"{count:,} passes"


def _begin(step_id: int, map_index: int, message: str, delay: float) -> None:
    """The row of the next pass, due after `delay` seconds. Its number says how far the step is."""
    change(
        "UPDATE dag_step SET waits_for = 1, progress = %s * 1.0 / items, message = %s, "
        f"changed = {stamp()} WHERE id = %s",
        [map_index, message, step_id],
    )
    of_step = ("execution_id", "name", "position", "attempt")
    Step.objects.create(
        **Step.objects.values(*of_step).get(pk=step_id),
        map_index=map_index,
        ready_at=database_now() + timedelta(seconds=delay) if delay else None,
        changed=stamp_now(),
    )


def _last(execution_id: int, name: str) -> Row:
    """(id and stop of the step's own row; map_index, state, reason, error and result of its last
    pass)."""
    return run(
        "SELECT s.id, s.stop, p.map_index, p.state, p.reason, p.error, p.result FROM dag_step p "
        "JOIN dag_step s ON s.execution_id = p.execution_id AND s.name = p.name "
        "AND s.map_index = -1 WHERE p.execution_id = %s AND p.name = %s AND p.map_index >= 0 "
        "ORDER BY p.map_index DESC LIMIT 1",
        [execution_id, name],
    )[0]
