"""Which workers have fallen silent, as this process hears it.

A heartbeat is compared with the one that was heard before, never with a clock of the database's: that may
be put forward or back, and then every worker would be lost at once, or a dead one for an hour not. How
long a heartbeat has stayed the same is measured by this process's own clock, which only runs forward;
the database's says no more than when between two looks it was. So whoever has just begun to listen
gives everybody WORKFLOWHUB_WORKER_LOST_AFTER. Called by engines.dag.leases, by any number of processes
and threads; what each has heard is its own.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError

from engines.clock import database_now
from engines.dag.models import Worker

# Whoever listens so seldom that a pause between two looks is longer than this share of
# WORKFLOWHUB_WORKER_LOST_AFTER has perhaps been stopped, together with those it listens to, or had no
# database, as they had none: the rest of the pause doesn't count.
SHARE = 1 / 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A worker's heartbeat, as it was when it was last looked at (monotonic), and for how many seconds
    it has been the same."""

    heartbeat_at: datetime
    looked_at: float
    silent: float = 0.0


class Ear:
    """What one process has heard. It may be lost at any time. Threads that listen at once may make
    each other forget something, but never count anything twice."""

    def __init__(self) -> None:
        self._heard: Mapping[UUID, Heard] = {}

    def listen(self) -> list[tuple[Worker, bool]]:
        """Every worker that hasn't ended, and whether it has been silent for too long."""
        asked_at = time.monotonic()
        try:
            asked_of = database_now()
            workers = list(Worker.objects.filter(ended_at=None))
        except DatabaseError:
            self._heard = {}  # perhaps the others had no database either
            raise
        known = self._heard
        now = {
            worker.pk: Heard(
                heartbeat_at=worker.heartbeat_at,
                looked_at=time.monotonic(),
                silent=_silence(worker, known.get(worker.pk), asked_at, asked_of),
            )
            for worker in workers
        }
        self._heard = now
        longest = settings.WORKFLOWHUB_WORKER_LOST_AFTER
        return [(worker, now[worker.pk].silent >= longest) for worker in workers]


def _silence(worker: Worker, before: Heard | None, asked_at: float, asked_of: datetime) -> float:
    """Seconds, up to when the look at the worker began: by our clock, and by the database's."""
    if before is None:
        return 0.0
    pause = max(0.0, asked_at - before.looked_at)
    pause = min(pause, SHARE * settings.WORKFLOWHUB_WORKER_LOST_AFTER)
    if before.heartbeat_at == worker.heartbeat_at:
        return before.silent + pause
    # It was heard in this pause; where the clock was put meanwhile, it is wrong by no more than that.
    return min(max(0.0, (asked_of - worker.heartbeat_at).total_seconds()), pause)


EAR = Ear()
