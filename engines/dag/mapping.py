# ruff: noqa: S608  every value is a parameter
"""Mapped steps: one row for each item of `for_each`, and the step's own row that stands for all."""

from typing import Any

from engines.dag import rows, sql, statements
from engines.dag.graph import group_state
from engines.dag.models import OPEN_STATES, Step
from engines.dag.templating import TemplateError
from engines.states import TaskState

MAX_ITEMS = 10_000
MAX_LIST_BYTES = 8_000_000
KINDS = {str: "a text", dict: "an object", bool: "true or false"}


def items_of(value: Any) -> list[Any]:
    """The items of a rendered `for_each`. Raises TemplateError."""
    if not isinstance(value, list):
        kind = "null" if value is None else KINDS.get(type(value), "a number")
        raise TemplateError(f"for_each must give a list, and it gave {kind}.")
    if len(value) > MAX_ITEMS:
        raise TemplateError(f"for_each gave {len(value):,} items; the most is {MAX_ITEMS:,}.")
    return value


def expand(step_id: int, items: list[Any]) -> None:
    """Puts a row beneath a step for each item; the step itself is running from now on."""
    statements.open_group(step_id, len(items))
    of_step = ("execution_id", "name", "position", "attempt")
    like = Step(**Step.objects.values(*of_step).get(pk=step_id), changed=sql.stamp_now())
    if items:
        rows.insert_items(like, items)


def recount(execution_id: int, name: str) -> int:
    """Counts a mapped step's items that aren't final anew; -1 if the step isn't running."""
    left = Step.objects.filter(
        execution_id=execution_id, name=name, map_index__gte=0, state__in=OPEN_STATES
    ).count()
    changed = Step.objects.filter(
        execution_id=execution_id, name=name, map_index=-1, state=TaskState.RUNNING
    ).update(waits_for=left)
    return left if changed else -1


def group_end(execution_id: int, name: str) -> tuple[TaskState, dict[str, Any]]:
    """(state, column values) of a mapped step whose items all are final: the list of their
    results, or what went wrong."""
    of_items = "FROM dag_step WHERE execution_id = %s AND name = %s AND map_index >= 0"
    counted = sql.run(
        f"SELECT state, COUNT(*), COALESCE(SUM(LENGTH({sql.as_text('result')})), 0) {of_items} "
        "GROUP BY state",
        [execution_id, name],
    )
    state = group_state(TaskState(row[0]) for row in counted)
    count = sum(row[1] for row in counted)
    if state != TaskState.COMPLETED:
        bad = sum(row[1] for row in counted if row[0] == state)
        first = sql.run(
            f"SELECT error {of_items} AND state = %s ORDER BY map_index LIMIT 1",
            [execution_id, name, state.value],
        )
        error = f"{bad:,} of {count:,} items: {first[0][0]}" if first and first[0][0] else ""
        return state, {"error": error, "reason": "items"}
    size = sum(int(row[2]) for row in counted)
    if size > MAX_LIST_BYTES:
        error = (
            f"The results of the {count:,} items have {size:,} bytes of JSON together; the most "
            f"is {MAX_LIST_BYTES:,}. Return less for each item."
        )
        return TaskState.FAILED, {"error": error, "reason": "result"}
    rows = sql.run(f"SELECT result {of_items} ORDER BY map_index", [execution_id, name])
    results = ",".join("null" if row[0] is None else row[0] for row in rows)
    return state, {"result": f"[{results}]", "progress": 1.0}
