"""Merges what an engine reports of a run's tasks into a RunChange.

(attempt, try, rank of the state) of a task run only rises; a report that is late, doubled or out of
order changes nothing. What a person marked stays as it is. Tasks that we have never heard of are
added: graphs may grow while they run.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from engines.base import TaskKey, TaskSnapshot
from runs import moves
from runs.bulk import fitted
from runs.counters import Count
from runs.models import RunEvent, TaskRun, TaskTry
from runs.reconciler.facts import Case, TryKey
from runs.states import (
    FINAL_TASK_STATES,
    TASK_RANK,
    Cause,
    Reason,
    RetryMode,
    TaskState,
    task_order,
)

KINDS = frozenset(TaskRun.Kind.values)
# A try exists from the moment on when something runs; a task that never did has none.
STARTED = {TaskState.RUNNING, TaskState.RETRYING, TaskState.COMPLETED, TaskState.FAILED}


def merge_tasks(
    change: moves.RunChange,
    case: Case,
    reports: Iterable[TaskSnapshot],
    by: moves.By,
    *,
    now: datetime,
) -> bool:
    """Adds the changes of the tasks reported; True where they must be merged once more after these
    are written, because a new task's parent is itself new."""
    again = False
    tries = dict(case.tries)
    ordered = sorted(reports, key=lambda report: (report.attempt or 0, report.try_number))
    fresh: dict[TaskKey, TaskRun] = {}
    for report in ordered:
        key = (report.task, report.map_index)
        task = case.tasks.get(key) or fresh.get(key) or _new_task(case, report)
        if task.marked:
            continue
        known = not task._state.adding or key in fresh
        if _merge_one(change, case, task, report, by, tries, known=known, now=now):
            if task._state.adding:
                fresh[key] = task
            if report.parent and report.parent in fresh:
                again = True
    return again


def close_tries(change: moves.RunChange, case: Case, now: datetime) -> None:
    """A task run that has ended has no open try."""
    written = {(row.task_run_id, row.attempt, row.try_number): row for row in change.tries}
    for (name, index, attempt, number), row in case.tries.items():
        row = written.get((row.task_run_id, attempt, number), row)
        if row.state in FINAL_TASK_STATES:
            continue
        task = case.tasks[name, index]
        state = change.tasks.get(task.pk, {}).get("state", task.state)
        if state in FINAL_TASK_STATES:
            row.state, row.ended_at = state, row.ended_at or now
            row.log_complete = bool(row.log)
            change.keep_try(row)


def own_times(
    started: datetime | None, ended: datetime | None, *, earliest: datetime, now: datetime
) -> tuple[datetime | None, datetime | None]:
    """The engine's times, moved where its clock is off: never before `earliest`, never after `now`,
    and the duration kept as far as it fits, never negative."""
    if started is None or ended is None:
        return (
            min(max(started, earliest), now) if started else None,
            min(max(ended, earliest), now) if ended else None,
        )
    length = max(ended - started, started - started)
    if started >= earliest and started + length <= now:
        return started, started + length
    end = min(max(ended, earliest + length), now)
    return max(end - length, earliest), max(end, earliest)


def _merge_one(
    change: moves.RunChange,
    case: Case,
    task: TaskRun,
    report: TaskSnapshot,
    by: moves.By,
    tries: dict[TryKey, TaskTry],
    *,
    known: bool,
    now: datetime,
) -> bool:
    attempt = min(report.attempt or case.run.attempt, case.run.attempt)
    current = change.tasks.get(task.pk, {}) if task.pk else {}
    state = current.get("state", task.state)
    old = (current.get("attempt", task.attempt), current.get("try_number", task.try_number))
    new = (attempt, report.try_number)
    if _is_carried_over(case, task, report):
        return False
    if report.state is None:
        if known and old == new and state not in FINAL_TASK_STATES:
            change.move_task(task, TaskState(state), Cause.OBSERVE, by, raw_state=report.raw_state)
        return known
    started, ended = own_times(
        report.started_at, report.ended_at, earliest=_earliest(case, attempt), now=now
    )
    if known and task_order(*new, report.state) < task_order(*old, state):
        if new < old:
            _note_try(change, case, task, report, attempt, started, ended, tries, now=now)
        return True
    same_try = known and new == old
    if same_try and state in FINAL_TASK_STATES and state != report.state:
        return True
    fields = _fields(task, report, attempt, started, ended, same_try=same_try, now=now)
    parent = case.tasks.get(report.parent) if report.parent else None
    if parent is not None and task.parent_id != parent.pk:
        fields["parent_id"] = parent.pk
    _count(change, task, state if known else "", report.state, fields)
    change.move_task(
        task,
        report.state,
        Cause.OBSERVE,
        by,
        detail=report.reason,
        engine_time=report.ended_at or report.started_at,
        **fields,
    )
    _note_try(change, case, task, report, attempt, fields["started_at"], ended, tries, now=now)
    return True


def _is_carried_over(case: Case, task: TaskRun, report: TaskSnapshot) -> bool:
    """Whether this is the old end of a task that the present attempt took over as it was."""
    row = case.attempts.get(case.run.attempt)
    if task.is_hook:
        return False  # a new attempt's begins anew
    if row is None or row.mode not in {RetryMode.FAILED, RetryMode.TASK}:
        return False
    return (
        not task._state.adding
        and task.attempt < case.run.attempt
        and [task.name, task.map_index] not in row.tasks
        and task.state in FINAL_TASK_STATES
        and report.state == task.state
        and report.try_number == task.try_number
    )


def _earliest(case: Case, attempt: int) -> datetime:
    row = case.attempts.get(attempt)
    begun = (row.begun_at if row else None) or case.run.created_at
    return max(begun, case.run.created_at)


def _fields(
    task: TaskRun,
    report: TaskSnapshot,
    attempt: int,
    started: datetime | None,
    ended: datetime | None,
    *,
    same_try: bool,
    now: datetime,
) -> dict[str, Any]:
    """Columns of the task run. Within one try, what the report leaves out stays as it was, but for
    the error of a task that runs (again) or is done: it was what the task waited or was lost for."""
    final = report.state in FINAL_TASK_STATES
    if started is None and report.state in {TaskState.RUNNING, TaskState.RETRYING}:
        started = now
    if same_try:
        started = task.started_at or started
        ended = task.ended_at or ended
    if final and ended is None:
        ended = now
    if started and ended and ended < started:
        ended = started
    progress = None if report.progress is None else min(1.0, max(0.0, report.progress))
    told: dict[str, Any] = {
        "raw_state": report.raw_state,
        "external_id": report.external_id,
        "error": report.error,
        "worker": report.worker,
        "inputs": report.inputs,
        "result": report.result,
        "message": report.message,
        "progress": progress,
    }
    if same_try:
        told = {name: value for name, value in told.items() if value not in ("", None)}
    if report.state in {TaskState.RUNNING, TaskState.COMPLETED}:
        told["error"] = report.error
    return told | {
        "attempt": attempt,
        "try_number": report.try_number,
        "reason": report.reason,
        "started_at": started,
        "ended_at": ended if final else None,
    }


def _new_task(case: Case, report: TaskSnapshot) -> TaskRun:
    whole = case.tasks.get((report.task, -1))  # an item's step is known where the graph isn't read
    return TaskRun(
        run=case.run,
        task=case.graph.get(report.task) or (whole.task if whole else None),
        name=report.task,
        map_index=report.map_index,
        kind=report.kind if report.kind in KINDS else TaskRun.Kind.TASK,
    )


def _note_try(
    change: moves.RunChange,
    case: Case,
    task: TaskRun,
    report: TaskSnapshot,
    attempt: int,
    started: datetime | None,
    ended: datetime | None,
    tries: dict[TryKey, TaskTry],
    *,
    now: datetime,
) -> None:
    """The row of this try where it is new or changed, and the ends of those before it."""
    state = report.state
    begun = state in STARTED or (state == TaskState.CANCELED and started)
    # A task that is ready anew says what became of the try before, whose worker was lost.
    if state is None or not (begun or state == TaskState.SCHEDULED):
        return
    if state == TaskState.RETRYING:
        state = TaskState.FAILED  # this try has; the next one is what the task waits for
        ended = ended or now
    final = state in FINAL_TASK_STATES
    _end_earlier(change, task, report, attempt, started or now, tries)
    if not begun:
        return
    key = (task.name, task.map_index, attempt, report.try_number)
    row = tries.get(key)
    if row is not None and row.state in FINAL_TASK_STATES and row.state != state:
        return
    values: dict[str, Any] = {
        "state": state,
        "external_id": report.external_id or (row.external_id if row else ""),
        "reason": report.reason,
        "error": report.error or (row.error if row else ""),
        "worker": report.worker or (row.worker if row else ""),
        "log": report.log or (row.log if row else ""),
        "started_at": (row.started_at if row else None) or started,
        "ended_at": ((row.ended_at if row else None) or ended or now) if final else None,
    }
    if values["started_at"] and values["ended_at"]:
        values["ended_at"] = max(values["started_at"], values["ended_at"])  # whatever its clock did
    # A log that the engine writes into our storage itself is whole once its try has ended.
    values["log_complete"] = (row.log_complete if row else False) or (final and bool(report.log))
    if row is not None and all(_same(row, name, value) for name, value in values.items()):
        return
    row = row or TaskTry(task_run=task, attempt=attempt, try_number=report.try_number)
    for name, value in values.items():
        setattr(row, name, value)
    _keep(change, tries, row)


def _end_earlier(
    change: moves.RunChange,
    task: TaskRun,
    report: TaskSnapshot,
    attempt: int,
    at: datetime,
    tries: dict[TryKey, TaskTry],
) -> None:
    """The tries before the one reported have failed, at `at` if nobody knows better."""
    first = 1
    if attempt > 1 < report.try_number:
        # An engine that retries in place counts on, so a later attempt needn't begin at 1.
        known = [number for _, _, of, number in _tries_of(tries, task) if of == attempt]
        first = min(known, default=report.try_number)
    for number in range(first, report.try_number):
        before = tries.get((task.name, task.map_index, attempt, number))
        if before is not None and before.state in FINAL_TASK_STATES:
            continue
        before = before or TaskTry(
            task_run=task,
            attempt=attempt,
            try_number=number,
            reason=Reason.NOT_REPORTED,
            started_at=None,
        )
        before.state = TaskState.FAILED
        if report.state == TaskState.SCHEDULED and number == report.try_number - 1:
            before.reason = report.reason or before.reason
            before.error = report.error or before.error
        ended = before.ended_at or at
        before.ended_at = max(before.started_at or ended, ended)
        before.log_complete = bool(before.log)
        _keep(change, tries, before)


def _tries_of(tries: Mapping[TryKey, TaskTry], task: TaskRun) -> list[TryKey]:
    return [key for key in tries if key[:2] == (task.name, task.map_index)]


def _same(row: TaskTry, name: str, value: Any) -> bool:
    return bool(getattr(row, name) == fitted(row._meta.get_field(name), value))


def _keep(change: moves.RunChange, tries: dict[TryKey, TaskTry], row: TaskTry) -> None:
    task = row.task_run
    tries[task.name, task.map_index, row.attempt, row.try_number] = row
    change.keep_try(row)


def _count(
    change: moves.RunChange, task: TaskRun, old: str, new: TaskState, fields: Mapping[str, Any]
) -> None:
    if task.is_hook:
        return
    app = [("app", (task.task.type if task.task else "") or "unknown")]
    was = TASK_RANK[TaskState(old)] if old else 0
    begins = {TaskState.SCHEDULED, TaskState.RUNNING, TaskState.RETRYING, TaskState.COMPLETED}
    if was == 0 and new in {*begins, TaskState.FAILED}:
        change.counts.append(Count(name="steps_submitted_total", labels=app))
    if new in FINAL_TASK_STATES and old not in FINAL_TASK_STATES:
        labels = [*app, ("status", new.lower())]
        change.counts.append(Count(name="steps_completed_total", labels=labels))
        if fields["started_at"] and fields["ended_at"]:
            seconds = (fields["ended_at"] - fields["started_at"]).total_seconds()
            change.counts.append(
                Count(name="step_execution_duration_seconds", labels=app, seconds=seconds)
            )


ENGINE = RunEvent.ActorKind.ENGINE
