"""The only writer of the states of runs and task runs.

A RunChange gathers what is to become of one run; `apply` writes many of them in one transaction by
compare-and-set on the run's version, with their events. A run that somebody else changed meanwhile is
left alone and its key is missing from the answer. Every change of a task run goes through its run's
version too, so a run and its tasks never disagree.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from engines.base import external_id
from engines.clock import database_now
from engines.faults import crash_point
from runs import figures, leases, resolutions
from runs.bulk import fitted, insert_rows, update_rows
from runs.changes import RECONCILER, By, Event, IllegalMove, RunChange
from runs.counters import raise_counters
from runs.models import RunAttempt, RunEvent, TaskRun, TaskTry, WorkflowRun
from runs.states import (
    FINAL_RUN_STATES,
    FINAL_TASK_STATES,
    Cause,
    Reason,
    RunState,
    TaskState,
    Wanted,
)
from runs.wakeups import wake_reconciler

__all__ = [
    "RECONCILER",
    "By",
    "IllegalMove",
    "RunChange",
    "apply",
    "apply_one",
    "begin_attempt",
    "close_tasks",
    "queue_attempt",
]


def apply(changes: Iterable[RunChange], *, fence: leases.Fence | None = None) -> set[int]:
    """Writes the changes in one transaction; returns the keys of the runs written.

    With a fence the lease is checked in that transaction. Raises leases.LeaseLost.
    """
    todo = [change for change in changes if change]
    if not todo:
        return set()
    with transaction.atomic():
        if fence:
            leases.check(fence)
        now = database_now()
        written = update_rows(
            WorkflowRun,
            [
                (
                    change.run.pk,
                    change.run.version,
                    change.fields
                    | {
                        "version": change.run.version + 1,
                        "last_seq": change.run.last_seq + len(change.events),
                        "updated_at": now,
                    },
                )
                for change in todo
            ],
        )
        won = [change for change in todo if change.run.pk in written]
        _write_attempts(won)
        _write_tasks(won, now)
        _write_events(won, now)
        resolutions.record(won, now)
        figures.record(won, now)
        raise_counters(count for change in won for count in change.counts)
        if any(
            change.fields.get("next_check_at") or _ends_child(change) or _gives_way(change)
            for change in won
        ):
            wake_reconciler()
        crash_point("moves.writing")
    crash_point("moves.written")
    for change in won:
        for name, value in change.fields.items():
            setattr(change.run, name, value)
        change.run.version += 1
        change.run.last_seq += len(change.events)
    return written


def apply_one(change: RunChange, *, fence: leases.Fence | None = None) -> bool:
    """`apply` for one run: whether it was written."""
    return not change or change.run.pk in apply([change], fence=fence)


def queue_attempt(
    run: WorkflowRun,
    *,
    mode: str,
    tasks: Sequence[tuple[str, int]],
    by: By,
    parameters: Any,
    life: str = "",
) -> RunAttempt:
    """An unsaved attempt after the run's present one, waiting for `begin_attempt`. `life`: of
    runs.restored, for its id."""
    return RunAttempt(
        run=run,
        number=run.attempt + 1,
        external_id=external_id(run.uuid, run.attempt + 1, life),
        mode=mode,
        tasks=[list(key) for key in tasks],
        actor=by.name,
        parameters=parameters,
    )


def begin_attempt(
    change: RunChange,
    attempt: RunAttempt,
    task_runs: Iterable[TaskRun],
    by: By,
    *,
    cause: Cause,
    now: datetime,
    in_place: bool,
) -> RunChange:
    """Makes the queued `attempt` the run's present one: the one way back from a final state.

    `task_runs`: those of the run; the ones that `attempt.tasks` names (all when it names none) are
    reset. `in_place`: the engine keeps one external id through retries, and there is one to keep.
    The caller saves or updates the attempt row with what is set on it here, in the same transaction.
    """
    run = change.run
    chosen = {(name, index) for name, index in attempt.tasks}
    attempt.begun_at = now
    attempt.state = RunState.PENDING
    if in_place and run.external_id:
        attempt.external_id = run.external_id
    change.events.append(
        Event(cause=cause, by=by, old=run.state, new=RunState.PENDING, detail=attempt.mode)
    )
    change.set(
        state=RunState.PENDING,
        wanted=Wanted.RUN,
        attempt=attempt.number,
        parameters=attempt.parameters,
        external_id=attempt.external_id,
        raw_state="",
        reason="",
        flags={},
        marked=False,
        error="",
        error_task="",
        fingerprint="",
        result=None,
        scheduled_at=None,
        started_at=None,
        ended_at=None,
        engine_started_at=None,
        engine_ended_at=None,
        cancel_requested_at=None,
        cancel_sent_at=None,
        deadline_at=None,
        failures=0,
        in_hand=False,
        kills=0,
        missing_since=None,
        missing_count=0,
        last_error="",
    )
    change.fields["next_check_at"] = now
    change.fields["resolved_by"] = None  # whoever settled it meanwhile
    for task in task_runs:
        if task.is_hook:
            continue  # it is of the attempt that it follows, until one of this attempt begins
        if not chosen or (task.name, task.map_index) in chosen:
            change.move_task(task, TaskState.PENDING, cause, by, **_fresh_task(attempt.number))
    return change


def close_tasks(
    change: RunChange,
    task_runs: Iterable[TaskRun],
    state: RunState,
    by: By,
    *,
    now: datetime,
    hooks: bool = True,
) -> None:
    """A final run has no open task: those that nobody reported get the end that fits the run's. So do
    the hooks of this attempt, but where the engine goes on with them (`hooks` False)."""
    ends = {
        RunState.COMPLETED: TaskState.SKIPPED,
        RunState.FAILED: TaskState.UPSTREAM_FAILED,
        RunState.CANCELED: TaskState.CANCELED,
    }
    for task in task_runs:
        known = change.tasks.get(task.pk, {})
        if known.get("state", task.state) in FINAL_TASK_STATES:
            continue
        if task.is_hook and (not hooks or task.attempt < change.run.attempt):
            continue
        end = TaskState.CANCELED if task.is_hook else ends[state]
        if known.get("state", task.state) == TaskState.RUNNING and state == RunState.FAILED:
            end = TaskState.FAILED
        change.move_task(
            task, end, Cause.OBSERVE, by, ended_at=now, reason=Reason.NOT_REPORTED, progress=None
        )


def _fresh_task(attempt: int) -> dict[str, Any]:
    return {
        "attempt": attempt,
        "try_number": 1,
        "wanted": Wanted.RUN,
        "marked": False,
        "raw_state": "",
        "reason": "",
        "error": "",
        "worker": "",
        "result": None,
        "message": "",
        "progress": None,
        "started_at": None,
        "ended_at": None,
    }


def _gives_way(change: RunChange) -> bool:
    """Whether another run of its workflow may begin now, perhaps on another engine."""
    return (
        change.fields.get("state") in FINAL_RUN_STATES
        and change.run.workflow.max_active_runs is not None
    )


def _ends_child(change: RunChange) -> bool:
    """Whether a step of another run waits for this."""
    return change.run.parent_task_run_id is not None and (
        change.fields.get("state") in FINAL_RUN_STATES
    )


def _write_attempts(changes: Sequence[RunChange]) -> None:
    rows = {
        (change.run.pk, change.fields.get("attempt", change.run.attempt)): change.attempt
        for change in changes
        if change.attempt
    }
    if not rows:
        return
    found = RunAttempt.objects.filter(run_id__in={run for run, _ in rows}).values_list(
        "pk", "run_id", "number"
    )
    update_rows(
        RunAttempt,
        [(pk, None, rows[run, number]) for pk, run, number in found if (run, number) in rows],
    )


def _write_tasks(changes: Sequence[RunChange], now: datetime) -> None:
    update_rows(
        TaskRun,
        [
            (pk, None, fields | {"updated_at": now})
            for change in changes
            for pk, fields in change.tasks.items()
        ],
    )
    insert_rows(TaskRun, (task for change in changes for task in change.new_tasks))
    tries = [row for change in changes for row in change.tries]
    for row in tries:
        # The try of a task that was new a moment ago learns its key now.
        row.task_run = row.task_run
        for column in row._meta.concrete_fields:
            if isinstance(getattr(row, column.attname), str):
                setattr(row, column.attname, fitted(column, getattr(row, column.attname)))
    TaskTry.objects.bulk_create(
        tries,
        update_conflicts=True,
        unique_fields=["task_run", "attempt", "try_number"],
        update_fields=[
            "external_id",
            "state",
            "reason",
            "error",
            "worker",
            "log",
            "log_complete",
            "started_at",
            "ended_at",
        ],
    )


def _write_events(changes: Sequence[RunChange], now: datetime) -> None:
    insert_rows(
        RunEvent,
        (
            RunEvent(
                run=change.run,
                seq=change.run.last_seq + at,
                attempt=change.fields.get("attempt", change.run.attempt),
                task_run=event.task,
                old=event.old,
                new=event.new,
                cause=event.cause,
                actor_kind=event.by.kind,
                actor=event.by.name[:200],
                detail=event.detail.replace("\x00", "\ufffd"),
                engine_time=event.engine_time,
                seen_at=now,
            )
            for change in changes
            for at, event in enumerate(change.events, start=1)
        ),
    )
