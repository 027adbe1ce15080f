"""Hooks go on when their run has ended, and when a later attempt of it has begun. What their engine
reports of them is merged all the same; everything else about such an attempt is over.

The end of a run is reported with every hook that there will be (they begin in the transaction that
records it), so the hub knows which it waits for: its own open rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from django.db.models import F, OuterRef, Q, Subquery

from engines.base import RunSnapshot, TaskSnapshot
from engines.clock import database_now
from engines.faults import crash_point
from engines.models import Engine
from runs import moves
from runs.models import RunAttempt, RunEvent, TaskRun, WorkflowRun
from runs.reconciler.calls import Calls
from runs.reconciler.facts import Case, read_cases
from runs.reconciler.merge import Report, is_of_this_attempt
from runs.reconciler.task_reports import merge_tasks
from runs.reconciler.writing import write
from runs.states import FINAL_RUN_STATES


@dataclass(frozen=True, slots=True)
class Attempt:
    run_id: int
    number: int


def awaited(engine: Engine) -> dict[str, Attempt]:
    """External id -> the attempt, of those that are over and have a hook which goes on."""
    over = Q(run__state__in=sorted(FINAL_RUN_STATES)) | Q(attempt__lt=F("run__attempt"))
    attempt = RunAttempt.objects.filter(run=OuterRef("run"), number=OuterRef("attempt"))
    rows = TaskRun.objects.open_hooks().filter(over, run__engine=engine)
    named = rows.annotate(of=Subquery(attempt.values("external_id")[:1]))
    return {
        external_id: Attempt(run_id, number)
        for external_id, run_id, number in named.values_list("of", "run_id", "attempt")
        if external_id
    }


def merge_late(
    engine: Engine, calls: Calls, reports: Mapping[str, RunSnapshot], began_at: datetime
) -> set[str]:
    """Merges the hooks that reports of attempts which are over tell of. The external ids of those
    that must be told again."""
    names = {name for name, snapshot in reports.items() if _hooks(snapshot)}
    if not names:
        return set()
    attempts = {name: at for name, at in awaited(engine).items() if name in names}
    for run_id, external_id, number in WorkflowRun.objects.filter(
        engine=engine, external_id__in=names - set(attempts)
    ).values_list("pk", "external_id", "attempt"):
        attempts[external_id] = Attempt(run_id, number)
    told: dict[int, list[str]] = {}
    for name, attempt in attempts.items():
        told.setdefault(attempt.run_id, []).append(name)
    bare = [replace(reports[name], state=None, tasks=_hooks(reports[name])) for name in attempts]
    now = database_now()
    changes = []
    for pk, case in read_cases(told, bare).items():
        change = moves.RunChange(case.run)
        for name in sorted(told[pk], key=lambda name: attempts[name].number):
            report = Report(snapshot=reports[name], began_at=began_at)
            in_place = calls.adapter.retries_in_place
            _merge(change, case, report, attempts[name].number, now, in_place=in_place)
        changes.append(change)
    crash_point("hooks.writing")
    written = write(changes, calls.hold.fence)
    crash_point("hooks.written")
    lost = {change.run.pk for change in changes if change and change.run.pk not in written}
    return {name for pk in lost for name in told[pk]}


def _merge(
    change: moves.RunChange,
    case: Case,
    report: Report,
    number: int,
    now: datetime,
    *,
    in_place: bool,
) -> None:
    present = number == case.run.attempt
    if present and not is_of_this_attempt(case, report, in_place=in_place):
        return
    hooks = [replace(task, attempt=task.attempt or number) for task in _hooks(report.snapshot)]
    if case.run.marked:
        # Nothing new is heard of it; but what goes on is seen to its end.
        going = {(task.name, task.map_index) for task in case.open_tasks()}
        hooks = [task for task in hooks if (task.task, task.map_index) in going]
    engine = case.run.engine.name if case.run.engine else ""
    by = moves.By(kind=RunEvent.ActorKind.ENGINE, name=engine)
    merge_tasks(change, case, hooks, by, now=now)


def _hooks(snapshot: RunSnapshot) -> tuple[TaskSnapshot, ...]:
    return tuple(task for task in snapshot.tasks if task.kind == TaskRun.Kind.HOOK)
