"""I8 of processes: what a worker at this place left running has ended with it. Other machines are not
seen from here, nor are the processes of other accounts."""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from django.db.models import Q

from engines.clock import database_now
from engines.dag import processes
from engines.dag.models import Worker
from runs.invariants.check import JUST_NOW, Check

BURIAL_SECONDS = 10.0
MARK = f"{processes.MARKER}=".encode()


def _marked() -> Iterator[tuple[int, UUID]]:
    """(pid, worker) of every process that carries a worker's mark."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        # Gone meanwhile, somebody else's, or marked with what is no worker.
        with suppress(OSError, ValueError):
            for variable in path.read_bytes().split(b"\0"):
                if variable.startswith(MARK):
                    yield int(path.parent.name), UUID(variable[len(MARK) :].decode())


def _orphans() -> Iterator[tuple[int, Worker]]:
    marked = [(pid, worker) for pid, worker in _marked() if pid != os.getpid()]
    ended = Worker.objects.filter(
        Q(place=processes.place()) & ~Q(place=""),
        pk__in={worker for _, worker in marked},
        ended_at__lt=database_now() - JUST_NOW,
    ).in_bulk()
    for pid, worker in marked:
        if worker in ended:
            yield pid, ended[worker]


def _names() -> Iterator[str]:
    for pid, worker in _orphans():
        yield f"process {pid} goes on, and its worker {worker} has ended"


def _end() -> int:
    found = [pid for pid, _ in _orphans()]
    for pid in found:
        processes.kill(pid)
    # A busy machine takes a while to bury them.
    end = time.monotonic() + BURIAL_SECONDS
    while found and time.monotonic() < end and any(_orphans()):
        time.sleep(0.02)
    return len(found)


CHECKS = (
    Check(
        code="I8c",
        holds="No process outlives the worker that began it, on this machine.",
        remedy="Run fsck --fix: it ends them.",
        find=_names,
        mend=_end,
    ),
)
