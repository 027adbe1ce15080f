"""Whose turn it is: of a paused workflow no attempt begins, and of one with a limit only so many runs
are at engines at a time, the oldest first, whatever engines and versions of the workflow they are for.

The limit is counted, never kept. It is counted where the intent to send a run is committed, with the
workflow's title locked (runs.actions.limits), so that two engines which take runs of one workflow at the
same moment can't pass it together. Before that a tick counts for itself, which spares it most intents
that would come to nothing.

A run whose engine can't be reached, is switched off or refuses runs lets younger ones of other engines
pass. One whose engine hangs holds its turn until that engine's breaker opens.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, FilteredRelation, OuterRef, Q

from engines.clock import database_now
from engines.faults import crash_point
from engines.models import Engine
from engines.states import HealthState
from runs import leases
from runs.actions.limits import lock_titles
from runs.models import RunAttempt, Workflow, WorkflowRun
from runs.querysets import RunQuerySet
from runs.reconciler.facts import Case
from runs.states import ACTIVE_RUN_STATES, Reason, RunState, Wanted

RELEASED = 500  # at most in one tick
WAITS = [Reason.PAUSED, Reason.QUEUED]


class Turns:
    """The turns of the runs of one tick; `cases` are those that may want one."""

    def __init__(self, cases: Iterable[Case]) -> None:
        limits = {
            case.run.workflow.title: case.run.workflow.max_active_runs
            for case in cases
            if case.run.workflow.max_active_runs is not None and wants_one(case)
        }
        counted = _count(limits)
        self._room = {
            title: most - counted[title].busy for title, most in limits.items() if most is not None
        }

    def why_not(self, case: Case) -> str:
        """The reason why the run has to wait; empty where it may begin."""
        if case.run.workflow.paused:
            return Reason.PAUSED
        room = self._room.get(case.run.workflow.title)
        return Reason.QUEUED if room is not None and room <= 0 else ""

    def take(self, case: Case) -> None:
        """The run begins."""
        if case.run.workflow.title in self._room:
            self._room[case.run.workflow.title] -= 1


def wants_one(case: Case) -> bool:
    """Whether the run would begin an attempt that no engine was asked to take yet."""
    return case.run.state == RunState.PENDING and case.attempt.sent_at is None


def turned_away(engine: Engine, cases: Collection[Case]) -> dict[int, Reason]:
    """Run -> why it may not begin after all. To be asked in the transaction that commits the intents
    to send these runs, under a lease: their workflows stay locked until its end."""
    workflows = [case.run.workflow for case in cases]
    free = [one.title for one in workflows if one.max_active_runs is None and not one.paused]
    # Always in this order: lease, workflows, runs.
    limits = lock_titles({one.title for one in workflows}, but=free)
    paused = {title for title, limit in limits.items() if limit["paused"]}
    counted = {
        title: limit["max_active_runs"]
        for title, limit in limits.items()
        if title not in paused and limit["max_active_runs"] is not None
    }
    waits = paused | counted.keys()
    may = set(_next(engine, counted, [case.run.pk for case in cases]))
    return {
        case.run.pk: Reason.PAUSED if case.run.workflow.title in paused else Reason.QUEUED
        for case in cases
        if case.run.workflow.title in waits and case.run.pk not in may
    }


def call_the_next(engine: Engine, fence: leases.Fence) -> None:
    """Makes the runs due whose turn has come: the oldest first, and no more than there is room for.
    Writes only where there are such."""
    waiting = WorkflowRun.objects.filter(
        # They are due at some time: by that they are found among all others of the engine.
        next_check_at__isnull=False,
        engine=engine,
        state=RunState.PENDING,
        reason__in=WAITS,
    ).order_by("pk")
    workflows = Workflow.objects.filter(pk__in=waiting.order_by().values("workflow"))
    rows = list(workflows.values_list("pk", "title", "max_active_runs", "paused"))
    limits = {title: most for _, title, most, paused in rows if not paused and most is not None}
    free = [pk for pk, title, _, paused in rows if not paused and title not in limits]
    keys = _next(engine, limits) if limits else []
    for version in free:
        keys += waiting.filter(workflow=version).values_list("pk", flat=True)[:RELEASED]
    if rows:
        # Those whose workflow was paused or resumed while they wait are to say so.
        wrong = Q(reason=Reason.QUEUED, workflow__paused=True) | Q(
            reason=Reason.PAUSED, workflow__paused=False
        )
        keys += waiting.filter(wrong).values_list("pk", flat=True)[:RELEASED]
    if not keys:
        return
    now = database_now()
    due: RunQuerySet = WorkflowRun.objects.filter(
        pk__in=keys, engine=engine, reason__in=WAITS, next_check_at__gt=now
    )
    if due.exists():
        with transaction.atomic():
            leases.check(fence)
            due.update(next_check_at=now)
            crash_point("turns.writing")
        crash_point("turns.written")


def anybody_waits() -> bool:
    """Whether a run waits whose turn may have come."""
    waiting = WorkflowRun.objects.filter(
        next_check_at__isnull=False, state=RunState.PENDING, reason__in=WAITS
    )
    return waiting.filter(workflow__paused=False).exists()


def _next(engine: Engine, limits: Mapping[str, int], also: Collection[int] = ()) -> list[int]:
    """The runs that may begin now: of each workflow as many as there is room for, the oldest of those
    that could. `also`: runs that could for certain."""
    now = database_now()
    counted = _count(limits)
    keys: list[int] = []
    for title, most in limits.items():
        room = min(most - counted[title].busy, RELEASED)
        if room > 0:
            could = WorkflowRun.objects.filter(
                Q(pk__in=also) | _could_begin(engine, now),
                ~Exists(_sent()),
                ended_at__isnull=True,
                state=RunState.PENDING,
                wanted=Wanted.RUN,
            ).order_by("pk")
            oldest: list[int] = []
            # Each version by itself: its open runs are read in their order, and no more than needed.
            for version in counted[title].versions:
                oldest += could.filter(workflow=version).values_list("pk", flat=True)[:room]
            keys += sorted(oldest)[:room]
    return keys


def _could_begin(engine: Engine, now: datetime) -> Q:
    """Runs that wait for nothing but their turn, as the tick of `engine` knows."""
    reachable = (
        Q(engine__enabled=True, engine__accepts_runs=True)
        & (Q(engine__breaker_until=None) | Q(engine__breaker_until__lte=now))
        & ~Q(engine__health__in=[HealthState.UNHEALTHY, HealthState.REJECTED])
    )
    return (
        Q(flags={}, reason__in=["", *WAITS])
        & (Q(failures=0) | Q(next_check_at__lte=now))
        & (Q(engine=engine) | reachable)
    )


def _sent(run: str = "") -> Any:
    return RunAttempt.objects.filter(
        run=OuterRef(f"{run}pk"), number=OuterRef(f"{run}attempt"), sent_at__isnull=False
    )


@dataclass(slots=True)
class _Counted:
    """Of a workflow's open runs: how many an engine has or was asked to take, and their versions."""

    busy: int = 0
    versions: list[int] = field(default_factory=list)


def _count(titles: Collection[str]) -> dict[str, _Counted]:
    """Title -> its open runs, of all versions."""
    found = {title: _Counted() for title in titles}
    if not found:
        return found
    are_open = Q(runs__ended_at__isnull=True, runs__state__in=sorted(ACTIVE_RUN_STATES))
    # From the workflow to its runs: SQLite would read the open runs of all workflows else.
    rows = (
        Workflow.objects.filter(title__in=found)
        .annotate(open=FilteredRelation("runs", condition=are_open))
        .order_by()
        .values_list("title", "pk")
        .annotate(number=Count("open"), busy=Count("open", filter=Q(Exists(_sent("open__")))))
    )
    for title, version, number, busy in rows:
        if number:
            found[title].busy += busy
            found[title].versions.append(version)
    return found
