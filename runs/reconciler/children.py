"""Runs inside runs: starts the runs that steps ask for (runs.reconciler.requests), tells their engines
how those ended, and cancels those whose askers have ended.

Level-triggered like all the rest. An engine repeats a request until it is answered, and the row of a
request stays open until there is nothing more to do about it. So any of this may be cut short anywhere
and done twice. The tick of the asker's engine does it, wherever the run that was started is.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q

from engines.base import ChildOutcome, EngineRejected, EngineUnavailable, RunNotFound
from engines.clock import database_now
from engines.faults import crash_point
from engines.models import Engine
from runs import actions, leases, moves
from runs.errors import Conflict
from runs.models import ChildRun, RunAttempt, TaskRun, WorkflowRun
from runs.reconciler.backoff import full_jitter
from runs.reconciler.calls import Calls
from runs.reconciler.requests import Asked, start_all
from runs.states import (
    FINAL_RUN_STATES,
    FINAL_TASK_STATES,
    Cause,
    RunState,
    TaskState,
    Wanted,
)

logger = logging.getLogger("workflowhub.sync")

SECONDS = 5.0  # of a tick, after which nothing more is begun
FINAL = sorted(FINAL_RUN_STATES)
RUNS_NO_MORE = sorted({*FINAL_TASK_STATES, TaskState.RETRYING})


@dataclass(slots=True)
class Memory:
    """What one process remembers; it may be lost at any time. `later`: row of a request -> (failed
    answers, not before, monotonic)."""

    later: dict[int, tuple[int, float]] = field(default_factory=dict)


def tend(engine: Engine, calls: Calls, memory: Memory, reported: dict[str, Asked]) -> int:
    """Starts, cancels and answers what is due of the runs that an engine has; how many. `reported`:
    requests as they were seen, which are taken out. Raises LeaseLost and the database's errors, never
    an engine's."""
    until = time.monotonic() + SECONDS
    done = start_all(engine, calls.hold, reported, until) if reported else 0
    to_answer = []
    for row in _due(Q(parent__engine=engine)):
        if _why_void(row):
            done += _call_off(row, calls.hold.fence)
        else:
            to_answer.append(row)
    return done + _answer_all(calls, memory, to_answer, until)


def call_off(whose: Q, fence: leases.Fence) -> int:
    """Cancels the runs whose askers have ended, where their engine can't be asked; how many. `whose`
    is a condition on requests."""
    return sum(_call_off(row, fence) for row in _due(whose) if _why_void(row))


def _due(whose: Q) -> list[ChildRun]:
    """The open requests about which something is to be done. Where none is open it costs one small
    statement."""
    if not ChildRun.objects.filter(whose, answered_at=None).exists():
        return []
    task = TaskRun.objects.filter(
        run=OuterRef("parent"), name=OuterRef("task"), map_index=OuterRef("map_index")
    )
    same = Q(attempt=OuterRef("attempt"))
    moved_on = task.filter(
        Q(attempt__gt=OuterRef("attempt"))
        | (same & Q(try_number__gt=OuterRef("try_number")))
        | (same & Q(try_number=OuterRef("try_number"), state__in=RUNS_NO_MORE))
    )
    queued = RunAttempt.objects.filter(run=OuterRef("child"), number__gt=OuterRef("child__attempt"))
    void = (
        Q(parent__state__in=FINAL)
        | Q(parent__wanted=Wanted.CANCEL)
        | Q(parent__attempt__gt=F("attempt"))
        | Q(moved_on=True)
    )
    to_answer = Q(child=None) | Q(waits=False) | (Q(child__state__in=FINAL) & Q(queued=False))
    rows = (
        ChildRun.objects.filter(whose, answered_at=None)
        .annotate(moved_on=Exists(moved_on), queued=Exists(queued))
        .filter(void | to_answer)
        .select_related("parent", "child")
        .only(
            *(column.name for column in ChildRun._meta.concrete_fields),
            *(f"parent__{name}" for name in ("state", "wanted", "attempt")),
            *(f"child__{name}" for name in ("uuid", "state", "error")),  # its result may be large
        )
    )
    return list(rows.order_by("pk"))


def _why_void(row: ChildRun) -> str:
    """Why nobody waits for the answer any more; empty where somebody does."""
    parent = row.parent
    if parent.wanted == Wanted.CANCEL or parent.state == RunState.CANCELED:
        return f"run {parent.pk} was canceled"
    if parent.final:
        return f"run {parent.pk} has ended"
    if parent.attempt > row.attempt:
        return f"run {parent.pk} was started anew"
    if row.moved_on:  # type: ignore[attr-defined]
        name = row.task if row.map_index < 0 else f"{row.task}[{row.map_index}]"
        return f"step {name} of run {parent.pk} no longer waits for it"
    return ""


def _call_off(row: ChildRun, fence: leases.Fence) -> bool:
    """Closes a request that nobody waits for; its run is canceled, unless that was to go on by
    itself."""
    child = row.child if row.waits else None
    if child is not None and child.final and row.queued:  # type: ignore[attr-defined]
        return False  # a further attempt of it begins in a moment: that one is canceled
    try:
        with transaction.atomic():
            leases.check(fence)
            fresh = WorkflowRun.objects.filter(pk=child.pk).first() if child else None
            if fresh is not None and not fresh.final:
                actions.stop_run(fresh, moves.RECONCILER, f"Canceled because {_why_void(row)}.")
            ChildRun.objects.filter(pk=row.pk).update(answered_at=database_now())
            crash_point("calloff.writing")
    except Conflict:
        return False  # somebody changed it meanwhile: again with the next tick
    crash_point("calloff.written")
    return True


def _answer_all(calls: Calls, memory: Memory, rows: Sequence[ChildRun], until: float) -> int:
    waiting = {row.pk: memory.later[row.pk] for row in rows if row.pk in memory.later}
    memory.later = waiting  # the others are answered, or gone
    answered = 0
    for row in rows:
        _, due = memory.later.get(row.pk, (0, float("-inf")))
        if time.monotonic() < due:
            continue
        if calls.blocked or (answered and time.monotonic() >= until):
            break
        answered += _answer(calls, memory, row)
    return answered


def _answer(calls: Calls, memory: Memory, row: ChildRun) -> bool:
    """Tells the engine; False where it can't be asked now. What it refuses is noted, and not asked
    again."""
    refusal = ""
    try:
        calls.ask("answer", lambda: calls.adapter.answer(row.external_id, row.key, _outcome(row)))
    except (EngineUnavailable, EngineRejected, RunNotFound) as error:
        passing = isinstance(error, EngineUnavailable) or (
            isinstance(error, EngineRejected) and calls.refuses_us()
        )
        if passing:
            failures = memory.later.get(row.pk, (0, 0.0))[0] + 1
            memory.later[row.pk] = failures, time.monotonic() + full_jitter(failures)
            logger.warning("The answer to %s waits: %s", row.key, error)
            return False
        refusal = f"The engine doesn't take the answer: {error}"
    memory.later.pop(row.pk, None)
    with transaction.atomic():
        leases.check(calls.hold.fence)
        fields = {"error": refusal} if refusal else {}
        ChildRun.objects.filter(pk=row.pk).update(answered_at=database_now(), **fields)
        if refusal:
            _tell(row, refusal)
        crash_point("answer.writing")
    crash_point("answer.written")
    return True


def _tell(row: ChildRun, text: str) -> None:
    """A line in the history of the run that asked: its step may wait for ever."""
    parent = WorkflowRun.objects.get(pk=row.parent_id)
    task = TaskRun.objects.filter(run=parent, name=row.task, map_index=row.map_index).first()
    change = moves.RunChange(parent)
    change.note(Cause.TROUBLE, moves.RECONCILER, text[:500], task=task)
    moves.apply_one(change)


def _outcome(row: ChildRun) -> ChildOutcome:
    child = row.child
    if child is None:
        error = row.error or "The run that it asked for was deleted."
        return ChildOutcome(run_id=None, state=RunState.FAILED, error=error)
    if not row.waits:
        return ChildOutcome(run_id=child.pk, uuid=str(child.uuid), state=RunState.PENDING)
    return ChildOutcome(
        run_id=child.pk,
        uuid=str(child.uuid),
        state=RunState(child.state),
        result=child.result,
        error=child.error,
    )
