"""Looks at what an engine's runs are doing: one batched observation, merged and written in bulk.

Nothing changed, nothing written: what was merged before is remembered as a number per run, and only a
report that differs, or whose run was changed by somebody else since, is read from the database and
merged. The memory is this process's own and may be lost at any time.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import QuerySet

from engines.base import RunSnapshot, TaskSnapshot
from engines.clock import database_now
from engines.faults import crash_point
from engines.models import Engine
from engines.states import HealthState
from runs import leases, moves
from runs.models import WorkflowRun
from runs.reconciler import metrics, outcomes
from runs.reconciler.calls import Calls
from runs.reconciler.deadlines import end_of_canceled
from runs.reconciler.facts import Case, read_cases, read_graph
from runs.reconciler.late import awaited, merge_late
from runs.reconciler.merge import Report, end_run, is_of_this_attempt, merge
from runs.reconciler.requests import Asked, requests_in
from runs.reconciler.writing import write
from runs.states import Cause, Reason, RunState, Wanted

logger = logging.getLogger("workflowhub.sync")

WATCHED = (RunState.SCHEDULED, RunState.RUNNING)  # an engine has it
CHUNK = 500
SIGHTINGS = 3  # without a run, before it is given up
VANISHED_SHARE, VANISHED_LEAST = 0.2, 10
FORGET_BEYOND = 10_000


@dataclass(slots=True)
class Memory:
    """What one process remembers of an engine between two looks. `seen`: external id -> (version of
    the run, digest of the report). `watched`: whether the engine had something of ours that went on.
    `requests`: key -> what steps ask for, until runs.reconciler.children has taken it."""

    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    cursor: str | None = None
    full_at: float = float("-inf")  # monotonic
    watched: bool = False
    requests: dict[str, Asked] = field(default_factory=dict)


def look(
    engine: Engine,
    calls: Calls,
    memory: Memory,
    *,
    asked: Sequence[WorkflowRun] = (),
    hinted: Iterable[str] = (),
    full: bool = False,
) -> bool:
    """One observation. `full` asks for every run that the engine has; else what changed, where the
    engine tells, and the runs `asked` or `hinted`. True where every run was looked at. Raises
    EngineUnavailable, EngineRejected, LeaseLost."""
    began, began_at = time.monotonic(), database_now()
    incremental = calls.adapter.observes_changes
    everything = full or incremental
    rows = WorkflowRun.objects.filter(engine=engine, state__in=WATCHED, marked=False)
    names, hints = {run.external_id for run in asked}, set(hinted)
    active = _versions(rows) if everything else _versions_of(names | hints, rows)
    hooks = set(awaited(engine)) if everything else set()
    if everything:
        memory.watched = bool(active or hooks)
    elif not memory.watched:
        memory.watched = bool(active) or rows.exists()
    watching = set(active) | hooks if full else names | (hints & {*active, *hooks})
    # Without a cursor an engine says nothing of what changed, so the first look is a full one.
    cursor = memory.cursor if incremental else None
    if not (watching or incremental and (active or hooks or full)):
        return full
    missing: list[str] = []
    new_cursor: str | None = None
    waiting: dict[str, RunSnapshot] = {}
    for page in calls.observe(cursor, sorted(watching)):
        for snapshot in page.snapshots:
            memory.requests |= requests_in(snapshot)
            known = active.get(snapshot.external_id, (0, 0))
            if memory.seen.get(snapshot.external_id) != (known[1], digest(snapshot)):
                if snapshot.external_id in waiting:
                    _merge_all(engine, calls, memory, active, waiting, began_at)
                waiting[snapshot.external_id] = snapshot
        missing += page.missing
        new_cursor = page.cursor or new_cursor
        if len(waiting) >= CHUNK:
            _merge_all(engine, calls, memory, active, waiting, began_at)
    _merge_all(engine, calls, memory, active, waiting, began_at)
    if missing:
        _count_missing(
            engine, calls, [active[name] for name in missing if name in active], len(watching)
        )
    memory.cursor = new_cursor or memory.cursor
    if asked:
        _note_looked_at(asked, calls.hold.fence, began_at)
    if everything and len(memory.seen) > FORGET_BEYOND + 2 * len(active):
        memory.seen = {name: at for name, at in memory.seen.items() if name in active}
    metrics.note("executor_poll_cycles_total")
    metrics.note("executor_poll_duration_seconds", seconds=time.monotonic() - began)
    return full


def _versions(rows: QuerySet[WorkflowRun]) -> dict[str, tuple[int, int]]:
    """External id -> (key, version)."""
    return {
        external_id: (pk, version)
        for pk, external_id, version in rows.values_list("pk", "external_id", "version")
    }


def _versions_of(names: set[str], rows: QuerySet[WorkflowRun]) -> dict[str, tuple[int, int]]:
    """The same of these only: a look at one run doesn't read ten thousand."""
    found: dict[str, tuple[int, int]] = {}
    listed = sorted(names)
    for at in range(0, len(listed), CHUNK):
        found |= _versions(rows.filter(external_id__in=listed[at : at + CHUNK]))
    return found


def _merge_all(
    engine: Engine,
    calls: Calls,
    memory: Memory,
    active: dict[str, tuple[int, int]],
    waiting: dict[str, RunSnapshot],
    began_at: datetime,
) -> None:
    """Merges and writes the reports that wait; empties `waiting`."""
    if not waiting:
        return
    calls.hold.check()  # ten thousand tasks take a while: to observe, to merge, and to write
    reports = dict(waiting)
    waiting.clear()
    ids = {active[name][0]: name for name in reports if name in active}
    others = [name for name in reports if name not in active]
    if others:
        ids |= dict(
            WorkflowRun.objects.active()
            .filter(engine=engine, external_id__in=others, marked=False)
            .values_list("pk", "external_id")
        )
    cases = read_cases(ids, [reports[name] for name in ids.values()])
    # A new attempt may have begun since, under another id.
    cases = {pk: case for pk, case in cases.items() if case.run.external_id in reports}
    going = {
        case.run.external_id for case in cases.values() if not (case.run.final or case.run.marked)
    }
    over = {name: reports[name] for name in reports if name not in going}
    untold = merge_late(engine, calls, over, began_at)
    if any(
        (task.task, task.map_index) not in case.tasks
        for case in cases.values()
        for task in reports[case.run.external_id].tasks
    ):
        read_graph(cases.values())
    again = _merge_cases(calls, cases, reports, began_at)
    if again:
        fresh = read_cases(again, [reports[cases[pk].run.external_id] for pk in again])
        fresh = {pk: case for pk, case in fresh.items() if case.run.external_id in reports}
        _merge_cases(calls, fresh, reports, began_at)
        cases |= fresh
    by_name = {case.run.external_id: case for case in cases.values()}
    for name, snapshot in reports.items():
        case = by_name.get(name)
        if case is None:
            memory.seen[name] = (0, digest(snapshot))
        elif _settled(case, snapshot, began_at, calls.adapter.retries_in_place):
            memory.seen[name] = (0 if case.run.final else case.run.version, digest(snapshot))
        else:
            memory.seen.pop(name, None)
        if case is not None and not case.run.final:
            active[name] = (case.run.pk, case.run.version)
    for name in untold:
        memory.seen.pop(name, None)


def _merge_cases(
    calls: Calls,
    cases: dict[int, Case],
    reports: dict[str, RunSnapshot],
    began_at: datetime,
) -> list[int]:
    """Writes what the reports change; the keys of the runs to be merged once more."""
    now = database_now()
    changes: list[moves.RunChange] = []
    again: list[int] = []
    for case in cases.values():
        report = Report(snapshot=reports[case.run.external_id], began_at=began_at)
        try:
            change, once_more = merge(
                case, report, now=now, in_place=calls.adapter.retries_in_place
            )
        except (leases.LeaseLost, DatabaseError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - one run's trouble never stops the others
            logger.exception("A report of run %s can't be merged", case.run.pk)
            change, once_more = outcomes.Failed(error=error)(case, now), False
        changes.append(change)
        if once_more:
            again.append(case.run.pk)
    calls.hold.check()
    crash_point("merge.writing")
    written = write(changes, calls.hold.fence)
    crash_point("merge.written")
    for change in changes:
        if change and change.run.pk not in written:
            change.run.version = -1  # somebody was faster: the next look merges it anew
    return [pk for pk in again if pk in written]


def _settled(case: Case, snapshot: RunSnapshot, began_at: datetime, in_place: bool) -> bool:
    """Whether the same report needn't be merged again."""
    if case.run.final or case.run.marked:
        return True
    report = Report(snapshot=snapshot, began_at=began_at)
    return case.run.version > 0 and is_of_this_attempt(case, report, in_place=in_place)


def _count_missing(
    engine: Engine, calls: Calls, missing: Sequence[tuple[int, int]], watching: int
) -> None:
    """A run that its engine doesn't know is lost after several sightings over a while. Where very
    many vanish at once it is the engine that is lost: the breaker opens and nothing is counted."""
    if len(missing) > VANISHED_LEAST and len(missing) > VANISHED_SHARE * watching:
        logger.error(
            "%s no longer knows %s of %s runs: left alone", engine.name, len(missing), watching
        )
        calls.breaker.trip(database_now())
        metrics.note("executor_errors_total", [("error_type", "MassVanishing")])
        return
    if engine.health != HealthState.HEALTHY:
        return
    now = database_now()
    after = settings.WORKFLOWHUB_LOST_AFTER
    changes = []
    rows = WorkflowRun.objects.filter(pk__in=[pk for pk, _ in missing], state__in=WATCHED)
    due: list[int] = []
    for run in rows:
        since = run.missing_since or now
        # The sightings that count are spread over the whole while.
        if now < since + timedelta(seconds=after * run.missing_count / SIGHTINGS):
            continue
        if run.missing_count >= SIGHTINGS:
            due.append(run.pk)
            continue
        change = moves.RunChange(run)
        changes.append(change.set(missing_since=since, missing_count=run.missing_count + 1))
    for case in read_cases(due).values():
        change = moves.RunChange(case.run)
        state, reason, error = end_of_canceled(case.run)
        if case.run.wanted != Wanted.CANCEL:
            state, error = RunState.FAILED, f"{engine.name} no longer knows this run."
        end_run(
            change,
            case,
            state,
            Cause.LOST,
            moves.RECONCILER,
            now=now,
            reason=reason or Reason.LOST,
            error=error,
        )
        changes.append(change)
    crash_point("missing.writing")
    write(changes, calls.hold.fence)
    crash_point("missing.written")


def _note_looked_at(runs: Sequence[WorkflowRun], fence: leases.Fence, began_at: datetime) -> None:
    """These runs were looked at: they are due no more, unless somebody asked for more meanwhile.
    It is no change of a run, so its version stays."""
    rows = WorkflowRun.objects.filter(pk__in=[run.pk for run in runs])
    with transaction.atomic():
        leases.check(fence)
        rows.update(observed_at=began_at)
        rows.filter(next_check_at__lte=began_at).update(
            next_check_at=None, failures=0, last_error=""
        )
        crash_point("look.writing")
    crash_point("look.written")


def digest(snapshot: RunSnapshot) -> int:
    """A number that differs where a report does."""
    return hash(
        (
            snapshot.state,
            snapshot.raw_state,
            snapshot.attempt,
            snapshot.reason,
            snapshot.error,
            snapshot.started_at,
            snapshot.ended_at,
            _shape(snapshot.result),
            tuple(_task_digest(task) for task in snapshot.tasks),
        )
    )


def _task_digest(task: TaskSnapshot) -> tuple[Any, ...]:
    return (
        task.task,
        task.map_index,
        task.state,
        task.raw_state,
        task.attempt,
        task.try_number,
        task.external_id,
        task.reason,
        task.error,
        task.worker,
        task.message,
        task.progress,
        task.started_at,
        task.ended_at,
        task.log,
        _shape(task.inputs),
        _shape(task.result),
    )


def _shape(value: Any) -> str:
    return "" if value is None else repr(value)
