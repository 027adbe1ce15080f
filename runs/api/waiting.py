"""`?refresh=`: a run is made due, and the caller waits until the reconciler has looked at it.

A waiter holds no database connection. One thread of this process asks for all of them, in one
statement each time, and ends with the last. Beyond MOST_WAITERS nobody waits: the look is asked for
all the same.
"""

import threading
import time
from dataclasses import dataclass, field
from datetime import datetime

from django.db import DatabaseError, connection

from runs.actions import ask_for_look
from runs.models import WorkflowRun
from runs.policy import Actor

LONGEST_WAIT = 5  # seconds
MOST_WAITERS = 40
PAUSE = 0.05  # seconds between two questions to the database


@dataclass(slots=True, eq=False)
class _Waiter:
    run: int
    version: int
    since: datetime
    done: threading.Event = field(default_factory=threading.Event)


_waiters: set[_Waiter] = set()
_lock = threading.Lock()
_asking = False


def wait_for_look(actor: Actor, run: WorkflowRun, seconds: float) -> bool:
    """Whether the reconciler looked at the run within `seconds` of now."""
    waiter = _Waiter(run=run.pk, version=run.version, since=ask_for_look(actor, run))
    if not _join(waiter):
        return False
    try:
        if not connection.in_atomic_block:
            connection.close()
        return waiter.done.wait(seconds)
    finally:
        with _lock:
            _waiters.discard(waiter)


def _join(waiter: _Waiter) -> bool:
    global _asking
    with _lock:
        if len(_waiters) >= MOST_WAITERS:
            return False
        _waiters.add(waiter)
        if not _asking:
            _asking = True
            threading.Thread(target=_ask_for_all, name="refresh", daemon=True).start()
    return True


def _ask_for_all() -> None:
    global _asking
    try:
        while True:
            with _lock:
                if not _waiters:
                    _asking = False
                    return
                waiting = list(_waiters)
            try:
                _wake_seen(waiting)
            except DatabaseError:
                # The waiters' time runs out by itself; a new connection may do better.
                connection.close()
            time.sleep(PAUSE)
    finally:
        connection.close()


def _wake_seen(waiting: list[_Waiter]) -> None:
    columns = ("version", "next_check_at", "observed_at", "engine__observed_at")
    rows = {
        pk: facts
        for pk, *facts in WorkflowRun.objects.filter(
            pk__in={waiter.run for waiter in waiting}
        ).values_list("pk", *columns)
    }
    for waiter in waiting:
        if waiter.run not in rows or _looked(waiter, *rows[waiter.run]):
            waiter.done.set()


def _looked(
    waiter: _Waiter,
    version: int,
    due: datetime | None,
    observed: datetime | None,
    engine_observed: datetime | None,
) -> bool:
    looks = [moment for moment in (observed, engine_observed) if moment]
    return (
        version != waiter.version
        or due is None
        or due > waiter.since
        or any(moment > waiter.since for moment in looks)
    )
