"""What django-q2 calls: the doorbell (docs/decisions/0001).

Each of these may be lost, doubled, late, or killed half way without effect: they take no arguments,
and what is to be done is in our own tables, under leases that `sync --watch` uses as well. A hub
without that loop still brings every run to its end by them, a minute at a time.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial

from django.db import DatabaseError, InterfaceError, connection

from engines.models import Engine
from runs import retention
from runs.reconciler.loop import beat
from runs.reconciler.once import Summary, look_after, look_after_the_rest

logger = logging.getLogger("workflowhub.sync")

HEARTBEAT = "qcluster"
SECONDS = 35.0  # of the 55 that a task has: a call may still be under way then
AT_ONCE = 8


def sweep_all() -> str:
    """Syncs run and task states with every engine that nobody else looks after now. An engine that
    hangs keeps none of the others waiting."""
    seconds = SECONDS
    summary = Summary()
    work: list[Callable[[], None]] = [partial(look_after_the_rest, summary, seconds=seconds)]
    for engine in Engine.objects.enabled().order_by("pk"):
        work.append(partial(look_after, engine, summary, seconds=seconds))
    until = time.monotonic() + seconds
    waiting = [
        threading.Thread(target=_alone, args=(call,), name="sweep", daemon=True) for call in work
    ]
    running: list[threading.Thread] = []
    while waiting or running:
        left = until - time.monotonic()
        if left <= 0:
            break
        running = [thread for thread in running if thread.is_alive()]
        while waiting and len(running) < AT_ONCE:
            running.append(waiting.pop(0))
            running[-1].start()
        if running:
            running[0].join(min(left, 0.2))
    late = len(waiting) + sum(thread.is_alive() for thread in running)
    return f"{summary.handled} due, {len(summary.looked_at)} engines, {late} left for later"


def canary() -> None:
    """Proves that the cluster works. `up` restarts one that is wedged."""
    beat(HEARTBEAT, {})


def cleanup() -> str:
    """Deletes what is older than the settings say, and folds what may be folded."""
    report = retention.clean_up()
    return str(report)


def _alone(call: Callable[[], None]) -> None:
    """One engine's part in a thread of its own."""
    try:
        call()
    except (DatabaseError, InterfaceError) as error:
        logger.warning("A part of the sweep waits for the database: %s", error)
    except Exception:  # noqa: BLE001 - the border of a thread: nobody else would tell
        logger.exception("A part of the sweep broke")
    finally:
        connection.close()
