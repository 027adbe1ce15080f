"""Workers and the steps that they hold. A worker holds its steps as long as its heartbeat is heard;
when it isn't (engines.dag.silence), anybody may take them away (`recover`), and what it reports later
is void.

Recovery puts steps back into the queue, it never runs them.
"""

import os
import socket
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import reduce
from operator import or_
from uuid import UUID, uuid4

from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError
from django.db.models import Q, QuerySet

from engines.clock import database_now
from engines.dag import lookups, processes, silence, spool, statements
from engines.dag.advance import finish, proceed
from engines.dag.held import Held, Taker, locked
from engines.dag.models import Step, Worker
from engines.dag.outcome import Outcome, Stop, refused
from engines.dag.runlog import write_notes
from engines.faults import crash_point
from engines.states import TaskState

KEEP_WORKERS_SECONDS = 86_400
LOOK_AGAIN_SECONDS = 1.0
LOOKS = 4  # of one who has patience: a third of the silence lies between two


Try = tuple[int, int]  # a step's id, and the token of its try


def register(concurrency: int) -> Worker:
    """A new incarnation of a worker, known by a UUID of its own."""
    now = database_now()
    worker = Worker.objects.create(
        id=uuid4(),
        host=socket.gethostname()[:250],
        pid=os.getpid(),
        place=processes.place(),
        birth=processes.birth(os.getpid()),
        concurrency=concurrency,
        started_at=now,
        heartbeat_at=now,
    )
    crash_point("worker.registered")
    return worker


def beat(worker_id: UUID) -> bool:
    """Renews the worker's leases; False if it was declared lost, and must let go of its steps."""
    return bool(
        Worker.objects.filter(pk=worker_id, ended_at=None).update(heartbeat_at=database_now())
    )


def retire(worker_id: UUID) -> None:
    """The worker ends, and whatever it still holds goes back into the queue at once."""
    if Worker.objects.filter(pk=worker_id, ended_at=None).update(ended_at=database_now()):
        crash_point("retire.ended")
        _release(worker_id, Stop.DRAIN, "Its worker was stopped.")
    statements.forget_workers(KEEP_WORKERS_SECONDS)


def recover() -> int:
    """Takes the steps away from workers whose heartbeat has not been heard for too long, or that are
    seen to be dead; how many. What they left running at this place is ended."""
    count = 0
    for worker, silent in silence.EAR.listen():
        if not silent and not processes.is_dead(worker.place, worker.pid, worker.birth):
            continue
        # Its heartbeat may have been heard in this moment.
        ended = Worker.objects.filter(
            pk=worker.pk, ended_at=None, heartbeat_at=worker.heartbeat_at
        ).update(ended_at=database_now())
        crash_point("recover.ended")
        if ended and worker.place and worker.place == processes.place():
            processes.kill_leftovers(worker.pk, worker.pid, worker.birth)
    held = Step.objects.filter(
        state=TaskState.RUNNING, mapped=False, worker__ended_at__isnull=False
    )
    for worker_id in list(held.values_list("worker_id", flat=True).distinct()):
        if worker_id is not None:
            count += _release(worker_id, "lost", "Its worker was lost.")
    return count


def recover_patiently() -> int:
    """The same, for a process that has heard nobody yet: it listens for long enough itself, and so
    takes longer than WORKFLOWHUB_WORKER_LOST_AFTER."""
    count = recover()
    for _ in range(LOOKS):
        time.sleep(settings.WORKFLOWHUB_WORKER_LOST_AFTER * silence.SHARE)
        count += recover()
    return count


def promote() -> int:
    """Makes steps ready whose wait for the next try or pass is over; of how many executions."""
    due = lookups.executions_to_retry()
    for execution_id in due:
        with locked(execution_id) as held:
            if held is not None:
                proceed(held, None)
        if held is not None:
            write_notes(held)
    return len(due)


def next_retry_wait() -> float | None:
    """Seconds until the next step is due for another try or pass; None if none waits. What is overdue
    starts when its execution has a slot free, which nobody need wait for."""
    first, overdue = lookups.next_later()
    if first is not None:
        return max(first, 0.0)
    return LOOK_AGAIN_SECONDS if overdue else None


def lose(
    worker_id: UUID,
    worker_name: str | None,
    reason: str,
    error: str,
    *,
    crashed: bool = False,
    permanent: bool = False,
) -> int:
    """Ends the tries that a worker holds (with `worker_name` only those of one of its processes),
    because the process is gone; how many. `crashed`: the step brought it down itself; `permanent`: and
    would do so again."""
    steps = Step.objects.filter(worker_id=worker_id, state=TaskState.RUNNING, mapped=False)
    if worker_name is not None:
        steps = steps.filter(worker_name=worker_name)
    return _lose(steps, reason, error, crashed=crashed, permanent=permanent)


def hand_back(taker: Taker, outcomes: Sequence[Outcome]) -> int:
    """Gives back what this process holds and doesn't know of, because the answer to its taking got
    lost; how many. The tries of the outcomes are its own still."""
    steps = Step.objects.filter(
        worker_id=taker.id, worker_name=taker.name, state=TaskState.RUNNING, mapped=False
    )
    own = [Q(pk=outcome.step_id, token=outcome.token) for outcome in outcomes]
    if own:
        steps = steps.exclude(reduce(or_, own))
    return _lose(steps, Stop.DRAIN, "Its worker lost the database.", crashed=False)


def give_back(worker_id: UUID, tries: Sequence[Try]) -> int:
    """Makes steps of the worker ready for others that were taken, never begun, and would have to wait;
    how many. Those that somebody asked to stop end by it."""
    rows = Step.objects.filter(pk__in=[step_id for step_id, _ in tries])
    tries_of: dict[int, list[Try]] = defaultdict(list)
    for step_id, execution_id in rows.values_list("pk", "execution_id"):
        tries_of[execution_id] += [each for each in tries if each[0] == step_id]
    count = 0
    for execution_id, own in tries_of.items():
        with locked(execution_id) as held:
            if held is not None:
                count += free(held, worker_id, own)
                proceed(held, None)
        if held is not None:
            write_notes(held)
    return count


def free(held: Held, worker_id: UUID, tries: Sequence[Try]) -> int:
    """As `give_back`, for tries of one execution under its lock."""
    freed = statements.give_back(held.plan.id, worker_id, tries)
    held.left_ready |= bool(freed)
    count = len(freed)
    for step_id, token in set(tries) - set(freed):
        # Under the lock it is certain: what could not be freed was asked to stop, or isn't theirs.
        row = Step.objects.filter(
            pk=step_id, token=token, worker_id=worker_id, state=TaskState.RUNNING
        ).first()
        if row is not None:
            outcome = _ended(row.execution_id, step_id, token, row.name, row.map_index, row.stop)
            count += finish(held, replace(outcome, reason=outcome.reason or Stop.DRAIN))
    return count


def take_back(step_ids: Sequence[int]) -> int:
    """Takes running steps away from whoever had them; how many."""
    steps = Step.objects.filter(pk__in=step_ids, state=TaskState.RUNNING, mapped=False)
    return _lose(steps, "lost", "Its worker was lost.", crashed=False)


def _lose(
    steps: QuerySet[Step], reason: str, error: str, *, crashed: bool, permanent: bool = False
) -> int:
    found = list(steps.values_list("execution_id", "pk", "token", "name", "map_index", "stop"))
    for execution_id, step_id, token, name, map_index, stop in found:
        outcome = _ended(execution_id, step_id, token, name, map_index, stop)
        if not stop:
            outcome = replace(
                outcome, reason=reason, error=error, lost=not crashed, permanent=permanent
            )
        end(outcome)
    return len(found)


def _ended(
    execution_id: int, step_id: int, token: int, name: str, map_index: int, stop: str
) -> Outcome:
    """How a try ends that was asked to stop, where `stop` says so; else it was lost."""
    return Outcome(
        execution_id=execution_id,
        step_id=step_id,
        token=token,
        name=name,
        map_index=map_index,
        state=TaskState.CANCELED if stop and stop != Stop.TIMEOUT else TaskState.FAILED,
        reason=stop,
        error=_stop_error(stop) if stop else "",
        stopped=bool(stop),
        lost=not stop,
    )


def _stop_error(stop: str) -> str:
    return "The run took longer than its limit." if stop == Stop.TIMEOUT else ""


def end(outcome: Outcome) -> bool:
    """Records an outcome without taking anything; False if the try was not that worker's any
    more."""
    return bool(end_all([outcome]))


def end_all(outcomes: Sequence[Outcome]) -> int:
    """The same for several; how many were recorded. One that the database refuses fails its step."""
    by_execution: dict[int, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_execution[outcome.execution_id].append(outcome)
    return sum(_end_of_one(key, found) for key, found in by_execution.items())


def _end_of_one(execution_id: int, outcomes: Sequence[Outcome], *, again: bool = False) -> int:
    """Which of several the database refuses shows when each goes by itself. `again`: one that was
    refused, as the failure that it is."""
    count = 0
    try:
        with locked(execution_id) as held:
            if held is not None:
                count = sum(finish(held, outcome) for outcome in outcomes)
                proceed(held, None)
    except (OperationalError, InterfaceError):
        raise
    except DatabaseError as error:
        if len(outcomes) > 1:
            return sum(_end_of_one(execution_id, [outcome]) for outcome in outcomes)
        if again:
            raise
        return _end_of_one(execution_id, [refused(outcomes[0], error)], again=True)
    if held is not None:
        write_notes(held)
    return count


def record_kept(worker_id: UUID) -> int:
    """Records the outcomes that a worker, or a child of it, has left on this disk; how many counted."""
    count = 0
    for path in spool.files_of(worker_id):
        count += end_all(list(spool.read(path)))
        crash_point("spool.replayed")
        path.unlink(missing_ok=True)
    return count


def replay() -> int:
    """Records what earlier workers at this home could not; how many counted."""
    count = 0
    for path in spool.singles():
        found = list(spool.read(path))
        if found:
            count += end_all(found)
            crash_point("spool.replayed")
            path.unlink(missing_ok=True)
    left = spool.workers()
    # Those of the others are recorded before their steps are taken away.
    left -= set(Worker.objects.filter(pk__in=left, ended_at=None).values_list("pk", flat=True))
    return count + sum(map(record_kept, left))


def _release(worker_id: UUID, reason: str, error: str) -> int:
    """Takes its steps away from a worker that has ended, but for those that it has done."""
    record_kept(worker_id)
    return lose(worker_id, None, reason, error)
