# ruff: noqa: S608  every value is a parameter; what is put in is conditions and marks
"""What an observer has seen of this database, as a text: PostgreSQL's own snapshot, on SQLite the count
of transactions. Nothing here needs a lock."""

from collections.abc import Sequence
from typing import Any

from django.db import connection

from engines.dag.sql import run


def cursor_now() -> str:
    """Which transactions can be seen now."""
    if connection.vendor == "postgresql":
        return str(run("SELECT pg_current_snapshot()::text")[0][0])
    rows = run("SELECT value FROM dag_clock WHERE id = 1")
    return str(rows[0][0] if rows else 0)


def changed_since(cursor: str, engine_id: int) -> tuple[list[int], dict[int, list[int]]]:
    """(the engine's executions that changed or have a step that did, execution -> its changed
    steps). A cursor from a time that this database hasn't come to (it was restored from a copy)
    gives nothing."""
    if connection.vendor == "postgresql":
        seen = (
            "{0}.changed >= pg_snapshot_xmin(%s::pg_snapshot)::text::bigint "
            "AND {0}.changed < pg_snapshot_xmax(pg_current_snapshot())::text::bigint "
            "AND NOT pg_visible_in_snapshot({0}.changed::text::xid8, %s::pg_snapshot)"
        )
        values: list[Any] = [cursor, cursor, engine_id]
    else:
        seen = "{0}.changed > %s"
        values = [int(cursor), engine_id]
    steps: dict[int, list[int]] = {}
    for step_id, execution_id in run(
        "SELECT s.id, s.execution_id FROM dag_step s JOIN dag_execution e "
        f"ON e.id = s.execution_id WHERE {seen.format('s')} AND e.engine_id = %s "
        "ORDER BY s.execution_id, s.position, s.map_index",
        values,
    ):
        steps.setdefault(execution_id, []).append(step_id)
    rows = run(
        f"SELECT e.id FROM dag_execution e WHERE {seen.format('e')} AND e.engine_id = %s", values
    )
    return sorted({row[0] for row in rows} | set(steps)), steps


def seen_by(cursor: str, execution_ids: Sequence[int]) -> set[int]:
    """Those of the executions whose own last change (not that of a step) an observer has seen."""
    marks = ", ".join(["%s"] * len(execution_ids))
    if connection.vendor == "postgresql":
        seen = "pg_visible_in_snapshot(changed::text::xid8, %s::pg_snapshot)"
        values: list[Any] = [cursor]
    else:
        seen, values = "changed <= %s", [int(cursor)]
    rows = run(
        f"SELECT id FROM dag_execution WHERE {seen} AND id IN ({marks})",
        [*values, *execution_ids],
    )
    return {row[0] for row in rows}
