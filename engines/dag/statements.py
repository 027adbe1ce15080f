# ruff: noqa: S608  every value is a parameter; what is put in is clocks, columns and marks
"""The SQL of a step's way from ready to done. Written by hand because a chain's speed is these
statements' speed; every one runs under its execution's lock unless it says otherwise.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection, transaction

from engines.dag.models import OPEN_STATES
from engines.dag.sql import (
    Answer,
    as_key,
    ask,
    before,
    begin_changes,
    begun,
    change,
    later,
    marks,
    moment,
    most,
    now,
    parts,
    run,
    stamp,
)

_OPEN = ", ".join(f"'{state}'" for state in OPEN_STATES)
_ENDED_WELL = "state = 'COMPLETED', progress = 1.0, stop = '', worker_id = NULL, deadline_at = NULL"


class Start(NamedTuple):
    """A try that begins. `inputs`: JSON text, as people may see it."""

    step_id: int
    token: int
    try_number: int
    inputs: str


class WellEnded(NamedTuple):
    """A try that has done what it was to do. `result`: JSON text. `began_ago`, `ended_ago`: seconds; None
    leaves the start as it is."""

    step_id: int
    token: int
    result: str | None
    message: str
    log: str
    began_ago: float | None
    ended_ago: float


def lock_execution(execution_id: int) -> Answer:
    """(external id, state, cancel_requested, reason) under the lock, which on SQLite is the
    transaction; no row if there is no such execution."""
    begin_changes()
    lock = " FOR UPDATE" if connection.vendor == "postgresql" else ""
    return ask(
        "SELECT external_id, state, cancel_requested, reason FROM dag_execution WHERE id = %s"
        + lock,
        [execution_id],
    )


def start_execution(execution_id: int, timeout: float | None) -> None:
    """The first step starts. `timeout` in seconds."""
    deadline = later(timeout) if timeout else "NULL"
    change(
        f"UPDATE dag_execution SET state = 'RUNNING', started_at = COALESCE(started_at, {now()}), "
        f"deadline_at = {deadline}, changed = {stamp()} WHERE id = %s",
        [execution_id],
    )


def end_step(
    step_id: int,
    token: int,
    values: dict[str, Any],
    ago: tuple[float | None, float] = (None, 0.0),
) -> Answer:
    """Ends the try that `token` stands for: (name, map_index), or no row if it is somebody else's
    by now. `values`: columns of the step; `ago`: as `Outcome.ago` gives it."""
    columns = ", ".join(f"{name} = %s" for name in values)
    ended = most(f"COALESCE(started_at, {before('%s')})", before("%s"))
    return ask(
        f"UPDATE dag_step SET {columns}, stop = '', worker_id = NULL, deadline_at = NULL, "
        f"started_at = {begun('started_at', '%s')}, "
        f"ended_at = {ended}, changed = {stamp()} "
        "WHERE id = %s AND token = %s AND state = 'RUNNING' "
        "RETURNING name, map_index",
        [*values.values(), ago[0], ago[1], ago[1], step_id, token],
    )


def end_well(ends: Sequence[WellEnded]) -> Answer:
    """Ends tries that did what they were to do: (id) of each whose token still counts."""
    if connection.vendor == "postgresql" and len(ends) > 1:
        return ask(
            f"UPDATE dag_step s SET {_ENDED_WELL}, result = v.result::jsonb, message = v.message, "
            f"log = v.log, started_at = {begun('s.started_at', 'v.began')}, "
            f"ended_at = GREATEST(s.started_at, {before('v.ended')}), changed = {stamp()} "
            "FROM UNNEST(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], "
            "%s::float[], %s::float[]) AS v(id, token, result, message, log, began, ended) "
            "WHERE s.id = v.id AND s.token = v.token AND s.state = 'RUNNING' RETURNING s.id",
            list(map(list, zip(*ends, strict=True))),
        )
    one = (
        f"UPDATE dag_step SET {_ENDED_WELL}, result = %s, message = %s, log = %s, "
        f"started_at = {begun('started_at', '%s')}, "
        f"ended_at = {most('started_at', before('%s'))}, changed = {stamp()} "
        "WHERE id = %s AND token = %s AND state = 'RUNNING' RETURNING id"
    )
    answers = [ask(one, [*end[2:], *end[:2]]) for end in ends]
    return lambda: [row for answer in answers for row in answer()]


def record_try(step_id: int) -> None:
    """Keeps how a try failed that another one follows."""
    change(
        "INSERT INTO dag_steptry (step_id, attempt, try_number, state, reason, error, "
        "worker_name, log, started_at, ended_at) SELECT id, attempt, try_number, 'FAILED', "
        "reason, error, worker_name, log, started_at, ended_at "
        "FROM dag_step WHERE id = %s ON CONFLICT DO NOTHING",
        [step_id],
    )


def meet_needs(execution_id: int, names: Sequence[str], count: int = 1) -> None:
    """One need fewer, or `count`, for each of the named steps. One that waits for none any more goes
    on waiting for none: a failure was enough."""
    change(
        f"UPDATE dag_step SET waits_for = waits_for - {int(count)} WHERE execution_id = %s "
        f"AND name IN ({marks(names)}) AND map_index = -1 AND state = 'PENDING' AND waits_for > 0",
        [execution_id, *names],
    )


def items_done(execution_id: int, name: str, count: int = 1) -> Answer:
    """So many more items of a mapped step are final: (how many are not)."""
    return ask(
        f"UPDATE dag_step SET waits_for = waits_for - {int(count)}, "
        f"progress = 1 - (waits_for - {int(count)}) * 1.0 / items, "
        f"changed = {stamp()} WHERE execution_id = %s AND name = %s AND map_index = -1 "
        "RETURNING waits_for",
        [execution_id, name],
    )


def take(starts: Sequence[Start], worker: Any, worker_name: str) -> None:
    """Starts tries for a worker, under the lock under which their steps were found ready."""
    new = (
        "state = 'RUNNING', worker_id = %s, worker_name = %s, result = NULL, error = '', "
        "reason = '', message = '', progress = NULL, log = '', stop = '', ended_at = NULL, "
        f"started_at = {moment()}, changed = {stamp()}"
    )
    if connection.vendor == "postgresql" and len(starts) > 1:
        change(
            f"UPDATE dag_step s SET {new}, token = v.token, try_number = v.try_number, "
            "inputs = v.inputs::jsonb FROM UNNEST(%s::bigint[], %s::bigint[], %s::int[], %s::text[]) "
            "AS v(id, token, try_number, inputs) WHERE s.id = v.id",
            [worker, worker_name, *map(list, zip(*starts, strict=True))],
        )
        return
    for start in starts:
        change(
            f"UPDATE dag_step SET {new}, token = %s, try_number = %s, inputs = %s WHERE id = %s",
            [worker, worker_name, start.token, start.try_number, start.inputs, start.step_id],
        )


def give_back(
    execution_id: int, worker_id: UUID, tries: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Makes steps (id, token) of a worker ready again that were taken and never begun, as the same try;
    those that it were. Not one that somebody asked to stop."""
    freed = []
    for step_id, token in tries:
        if run(
            "UPDATE dag_step SET state = 'SCHEDULED', token = token + 1, worker_id = NULL, "
            "worker_name = '', started_at = NULL, "
            f"ready_at = {moment()}, changed = {stamp()} WHERE id = %s AND token = %s "
            "AND execution_id = %s AND worker_id = %s AND state = 'RUNNING' AND stop = '' "
            "RETURNING id",
            [step_id, token, execution_id, as_key(worker_id)],
        ):
            freed.append((step_id, token))
    return freed


def make_ready(step_ids: Sequence[int]) -> None:
    """Lets any worker take the steps. A step that waited for its next try begins it. Those that get
    ready together are taken in the order of the document."""
    for part in parts(step_ids):
        change(
            f"UPDATE dag_step SET try_number = try_number + CASE state WHEN 'RETRYING' THEN 1 "
            f"ELSE 0 END, state = 'SCHEDULED', ready_at = {moment()}, ended_at = NULL, "
            f"changed = {stamp()} WHERE id IN ({marks(part)}) "
            "AND state IN ('PENDING', 'RETRYING')",
            part,
        )


def settle(step_ids: Sequence[int], state: str, reason: str, error: str) -> None:
    """Gives steps that nobody runs a final state."""
    for part in parts(step_ids):
        change(
            f"UPDATE dag_step SET state = %s, reason = %s, error = %s, token = token + 1, "
            f"worker_id = NULL, stop = '', deadline_at = NULL, ended_at = {now()}, "
            f"changed = {stamp()} WHERE id IN ({marks(part)})",
            [state, reason, error, *part],
        )


def ask_to_stop(step_ids: Sequence[int], why: str) -> None:
    """Whoever runs the steps will stop them."""
    for part in parts(step_ids):
        change(
            f"UPDATE dag_step SET stop = %s WHERE id IN ({marks(part)}) AND state = 'RUNNING'",
            [why, *part],
        )


def end_execution(execution_id: int) -> None:
    """Puts the time on an execution whose state has just become final."""
    change(
        f"UPDATE dag_execution SET ended_at = {now()}, changed = {stamp()} WHERE id = %s",
        [execution_id],
    )


def stop_execution(execution_id: int, cancel: bool, reason: str, error: str) -> None:
    """Nothing of the execution may start any more."""
    change(
        "UPDATE dag_execution SET cancel_requested = %s, reason = %s, error = %s, "
        f"changed = {stamp()} WHERE id = %s",
        [cancel, reason, error, execution_id],
    )


def wait_for_retry(step_id: int, seconds: float) -> None:
    """The step failed and is due again after so long."""
    change(
        f"UPDATE dag_step SET failures = failures + 1, ready_at = {later(seconds)}, "
        "token = token + 1 WHERE id = %s",
        [step_id],
    )


def ready_again(step_id: int, losses: int) -> None:
    """The step's worker is gone: another may take it, as a new try."""
    change(
        f"UPDATE dag_step SET losses = losses + %s, ready_at = {now()}, token = token + 1, "
        "try_number = try_number + 1, started_at = NULL, ended_at = NULL WHERE id = %s",
        [losses, step_id],
    )


def open_group(step_id: int, items: int) -> None:
    """A mapped step runs from now on, through so many items."""
    change(
        "UPDATE dag_step SET state = 'RUNNING', mapped = %s, items = %s, waits_for = %s, "
        f"token = token + 1, started_at = {now()}, changed = {stamp()} WHERE id = %s",
        [True, items, items, step_id],
    )


def show_progress(step_id: int, token: int, message: str, progress: float | None) -> None:
    """Only while the try is still its worker's own. Needs no lock."""
    with transaction.atomic():
        begin_changes()
        change(
            f"UPDATE dag_step SET message = %s, progress = %s, changed = {stamp()} "
            "WHERE id = %s AND token = %s AND state = 'RUNNING'",
            [message, progress, step_id, token],
        )


def forget_secrets(execution_id: int) -> None:
    """Under the lock of an execution that has ended: nothing can use its secrets any more, unless a
    hook is open."""
    change(
        "UPDATE dag_execution SET secrets = '' WHERE id = %s AND secrets <> '' AND NOT EXISTS "
        f"(SELECT 1 FROM dag_step WHERE execution_id = %s AND state IN ({_OPEN}))",
        [execution_id, execution_id],
    )


def forget_workers(seconds: float) -> None:
    """Deletes the rows of workers that ended so long ago."""
    change(f"DELETE FROM dag_worker WHERE ended_at < {later(-seconds)}")


def notify(channel: str, payload: str = "") -> None:
    """PostgreSQL only: tells listeners when the transaction commits."""
    if connection.vendor == "postgresql":
        run("SELECT pg_notify(%s, %s)", [channel, payload])
