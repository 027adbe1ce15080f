# ruff: noqa: S608  every value is a parameter; what is put in is clocks, columns and marks
"""What the engine asks its tables, by hand for the same reason as the statements that change them."""

from collections.abc import Sequence

from django.db import connection

from engines.dag.models import OPEN_STATES
from engines.dag.sql import Answer, Row, ask, marks, most, now, run, seconds_until

_LOOK = "id, name, map_index, state, token, attempt, try_number"
_OPEN = ", ".join(f"'{state}'" for state in OPEN_STATES)
# As the index step_later has it: SQLite takes a partial index only where its condition is spelt out.
_LATER = "state IN ('PENDING', 'RETRYING') AND ready_at IS NOT NULL"


def find_work(*, wait: bool) -> int | None:
    """The execution of the step that has been ready longest, locked. Without `wait` (PostgreSQL)
    executions that others are busy with are passed over."""
    lock = ""
    if connection.vendor == "postgresql":
        lock = " FOR UPDATE OF e" if wait else " FOR UPDATE OF e SKIP LOCKED"
    rows = run(
        "SELECT e.id FROM dag_step s JOIN dag_execution e ON e.id = s.execution_id "
        "WHERE s.state = 'SCHEDULED' ORDER BY s.ready_at, s.id LIMIT 1" + lock
    )
    return rows[0][0] if rows else None


def anything_ready() -> bool:
    """Whether a step waits for a worker. Needs no lock."""
    return bool(run("SELECT 1 FROM dag_step WHERE state = 'SCHEDULED' LIMIT 1"))


def final_states(execution_id: int) -> list[str]:
    """The states that an execution's steps have."""
    rows = run(
        "SELECT DISTINCT state FROM dag_step WHERE execution_id = %s AND kind = 'task'",
        [execution_id],
    )
    return [row[0] for row in rows]


def few(want: int) -> int:
    """With fewer ready than this, more are made ready by who takes so many."""
    return 2 * max(want, 1)


def look(execution_id: int, max_parallel: int, want: int) -> Answer:
    """First (how many steps take a slot, "", how many of those are ready). Then (id, name, map_index,
    state, token, attempt, try_number) of up to `want` that are ready, and, if there are few of those,
    of as many as there are slots free of those that could take one: due for their next try, then those
    whose needs are met (and which are due, if they are a pass), in the order of the document."""
    free = f"LIMIT (SELECT CASE WHEN ready < {few(want)} THEN {most('%s - n', '0')} ELSE 0 END FROM busy)"
    return ask(
        # Its rows are few, and no order tempts PostgreSQL to look for them among those of others.
        f"WITH own AS (SELECT {_LOOK}, ready_at FROM dag_step WHERE execution_id = %s "
        "AND state IN ('SCHEDULED', 'RUNNING') AND NOT mapped AND kind = 'task'), "
        "busy(n, ready) AS (SELECT COUNT(*), COUNT(*) FILTER (WHERE state = 'SCHEDULED') FROM own) "
        "SELECT n, '', ready, '', 0, 0, 0 FROM busy UNION ALL "
        f"SELECT {_LOOK} FROM (SELECT {_LOOK} FROM own WHERE state = 'SCHEDULED' "
        f"ORDER BY ready_at, id LIMIT %s) a UNION ALL SELECT {_LOOK} FROM (SELECT {_LOOK} "
        "FROM dag_step "
        f"WHERE execution_id = %s AND state = 'RETRYING' AND ready_at <= {now()} AND kind = 'task' "
        f"ORDER BY ready_at {free}) b UNION ALL SELECT {_LOOK} FROM (SELECT {_LOOK} FROM dag_step "
        "WHERE execution_id = %s AND state = 'PENDING' AND waits_for = 0 "
        f"AND (ready_at IS NULL OR ready_at <= {now()}) "
        f"ORDER BY position, map_index {free}) c",
        [
            execution_id,
            max(want, 0),
            *(execution_id, max_parallel),
            *(execution_id, max_parallel),
        ],
    )


def ready_hooks(execution_id: int) -> list[Row]:
    """Rows as those of `look`: the hooks that are ready, or due for their next try."""
    return run(
        f"SELECT {_LOOK} FROM dag_step WHERE execution_id = %s AND kind = 'hook' "
        f"AND (state = 'SCHEDULED' OR state = 'RETRYING' AND ready_at <= {now()}) "
        "ORDER BY ready_at, id",
        [execution_id],
    )


def results(execution_id: int, names: Sequence[str]) -> list[Row]:
    """(name, result as JSON text or value) of the named steps."""
    return run(
        "SELECT name, result FROM dag_step WHERE execution_id = %s "
        f"AND map_index = -1 AND name IN ({marks(names)})",
        [execution_id, *names],
    )


def open_steps(execution_id: int, names: Sequence[str] | None = None) -> list[Row]:
    """(id, name, map_index, state, mapped) of every step, or of those named, that isn't final."""
    chosen = "" if names is None else f"AND name IN ({marks(names)}) "
    return run(
        "SELECT id, name, map_index, state, mapped FROM dag_step WHERE execution_id = %s "
        f"AND kind = 'task' AND state IN ({_OPEN}) {chosen}ORDER BY position, map_index",
        [execution_id, *(names or ())],
    )


def anything_open(execution_id: int) -> bool:
    return bool(
        run(
            "SELECT 1 FROM dag_step WHERE execution_id = %s AND kind = 'task' "
            f"AND state IN ({_OPEN}) LIMIT 1",
            [execution_id],
        )
    )


def overdue_executions(limit: int = 100) -> list[int]:
    """Those that have run longer than they may, and have not been stopped for it. Needs no lock."""
    rows = run(
        "SELECT id FROM dag_execution WHERE deadline_at IS NOT NULL AND ended_at IS NULL "
        f"AND deadline_at <= {now()} AND reason <> 'timeout' LIMIT %s",
        [limit],
    )
    return [row[0] for row in rows]


def executions_to_retry(limit: int = 100) -> list[int]:
    """Those with a step whose wait for its next try or pass is over, and a slot free for it, which
    hooks don't need; not those that have enough ready without it. Needs no lock."""
    rows = run(
        "SELECT e.id FROM dag_execution e JOIN (SELECT execution_id, MIN(kind) AS kind, "
        "MIN(ready_at) AS at FROM dag_step "
        f"WHERE {_LATER} AND ready_at <= {now()} GROUP BY execution_id) d ON d.execution_id = e.id "
        "WHERE d.kind = 'hook' OR (SELECT COUNT(*) < e.max_parallel AND "
        f"COUNT(*) FILTER (WHERE b.state = 'SCHEDULED') < {few(1)} FROM dag_step b WHERE "
        "b.execution_id = e.id AND b.state IN ('SCHEDULED', 'RUNNING') AND NOT b.mapped "
        "AND b.kind = 'task') ORDER BY d.at LIMIT %s",
        [limit],
    )
    return [row[0] for row in rows]


def next_later() -> tuple[float | None, bool]:
    """(seconds until the next step is due for its next try or pass, or None; whether another one is
    overdue, because its execution has no slot free). Needs no lock."""
    rows = run(
        f"SELECT (SELECT {seconds_until('MIN(ready_at)')} FROM dag_step WHERE {_LATER} "
        f"AND ready_at > {now()}), "
        f"EXISTS (SELECT 1 FROM dag_step WHERE {_LATER} AND ready_at <= {now()})"
    )
    seconds, overdue = rows[0]
    return None if seconds is None else float(seconds), bool(overdue)
