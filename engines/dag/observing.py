"""Executions as snapshots: what changed since a cursor, or everything about the named ones. A page of
any size costs a fixed number of cursors.

A cursor says which transactions the observer has seen: PostgreSQL's own snapshot, on SQLite the count
of transactions. So nothing is missed that commits late, and nothing is told twice.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TypeVar

from django.db import connection

from engines.base import Page, RunNotFound, RunSnapshot, TaskSnapshot
from engines.dag import cursors
from engines.dag.children import request_of
from engines.dag.models import Execution, Step
from engines.states import FINAL_RUN_STATES, RunState, TaskState

Item = TypeVar("Item")

_RUN_STATES = {state.value: state for state in RunState}
_TASK_STATES = {state.value: state for state in TaskState}


def find(external_id: str) -> RunSnapshot:
    """The whole execution. Raises RunNotFound."""
    for snapshot in _whole([external_id]):
        return snapshot
    raise RunNotFound(f"The local engine has no run {external_id}.")


def find_step(external_id: str, name: str, map_index: int) -> Step:
    """Raises RunNotFound."""
    step = Step.objects.filter(
        execution__external_id=external_id, name=name, map_index=map_index
    ).first()
    if step is None:
        raise RunNotFound(f"The local engine has no step {name} ({map_index}) in {external_id}.")
    return step


def observe(
    engine_id: int, cursor: str | None, watching: Sequence[str], page_size: int
) -> Iterator[Page]:
    """Pages of what changed since the cursor (without one: of all that hasn't ended), then of
    `watching` in full; the last one carries the next cursor. An execution that has ended is told in
    full once; of its hooks, which go on, only what changes."""
    asked = list(dict.fromkeys(watching))
    next_cursor = cursors.cursor_now()
    if cursor is None:
        unended = Execution.objects.filter(engine_id=engine_id, ended_at=None)
        ids = unended.exclude(external_id__in=asked).values_list("external_id", flat=True)
        for names in _chunks(list(ids), page_size):
            yield Page(snapshots=tuple(_whole(names)))
    else:
        executions, steps = cursors.changed_since(cursor, engine_id)
        for part in _chunks(executions, page_size):
            yield Page(snapshots=tuple(_changed(part, steps, cursor)))
    for names in _chunks(asked, page_size):
        found = tuple(_whole(names))
        known = {snapshot.external_id for snapshot in found}
        yield Page(snapshots=found, missing=tuple(name for name in names if name not in known))
    yield Page(cursor=next_cursor)


def _chunks(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]


def _whole(external_ids: Sequence[str]) -> Iterator[RunSnapshot]:
    executions = list(Execution.objects.filter(external_id__in=external_ids))
    yield from _snapshots(executions, Step.objects.filter(execution__in=executions))


def _changed(
    execution_ids: Sequence[int], steps: dict[int, list[int]], cursor: str
) -> Iterator[RunSnapshot]:
    """The changed steps of executions, and all steps of those that have ended since the cursor."""
    found = list(Execution.objects.filter(pk__in=execution_ids))
    ended = [row.pk for row in found if row.state in FINAL_RUN_STATES]
    told = cursors.seen_by(cursor, ended) if ended else set()
    whole = [row for row in found if row.pk in ended and row.pk not in told]
    parts = [row for row in found if row.pk not in ended or row.pk in told]
    numbers = [number for row in parts for number in steps.get(row.pk, [])]
    for row, snapshot in zip(parts, _snapshots(parts, _steps(numbers)), strict=True):
        # A final state comes with every task or not at all.
        yield replace(snapshot, state=None, raw_state="") if row.pk in told else snapshot
    yield from _snapshots(whole, Step.objects.filter(execution__in=whole))


def _steps(ids: Sequence[int]) -> Iterator[Step]:
    for part in _chunks(ids, connection.features.max_query_params or 30_000):
        yield from Step.objects.filter(pk__in=part).order_by(
            "execution_id", "position", "map_index"
        )


def _snapshots(executions: Iterable[Execution], steps: Iterable[Step]) -> Iterator[RunSnapshot]:
    by_execution: dict[int, list[Step]] = {}
    for step in steps:
        by_execution.setdefault(step.execution_id, []).append(step)
    for execution in executions:
        yield _snapshot(execution, by_execution.get(execution.pk, []))


def _snapshot(execution: Execution, steps: Sequence[Step]) -> RunSnapshot:
    return RunSnapshot(
        external_id=execution.external_id,
        state=_run_state(execution.state),
        raw_state=execution.state,
        attempt=execution.attempt,
        reason=execution.reason,
        error=execution.error,
        result=execution.result,
        started_at=execution.started_at,
        ended_at=execution.ended_at,
        tasks=tuple(_task(step) for step in steps),
        requests=tuple(request for step in steps if (request := request_of(step)) is not None),
    )


def _task(step: Step) -> TaskSnapshot:
    return TaskSnapshot(
        task=step.name,
        map_index=step.map_index,
        state=_task_state(step.state),
        raw_state=step.state,
        attempt=step.attempt,
        try_number=step.try_number,
        external_id=str(step.pk),
        reason=step.reason,
        error=step.error,
        worker=step.worker_name,
        inputs=step.inputs,
        result=step.result,
        message=step.message,
        progress=step.progress,
        started_at=step.started_at,
        ended_at=step.ended_at,
        parent=(step.name, -1) if step.map_index >= 0 else None,
        kind=step.kind,
        log=step.log,
    )


def _run_state(word: str) -> RunState | None:
    """None for a word that only a newer version of the hub knows."""
    return _RUN_STATES.get(word)


def _task_state(word: str) -> TaskState | None:
    return _TASK_STATES.get(word)
