"""What a hub costs that has nothing to do."""

import time
from collections.abc import Iterator

import psutil

from bench.figures import Figure
from bench.hub import Hub

SETTLE, LONG = 15.0, 30.0


def measure(hub: Hub, on: str) -> Iterator[Figure]:
    """Of all the hub's processes; a server of PostgreSQL is not among them."""
    time.sleep(SETTLE)
    processes = hub.processes()
    before, began = _cpu(processes), time.monotonic()
    time.sleep(LONG)
    used = (_cpu(processes) - before) / (time.monotonic() - began)
    memory = sum(one.memory_full_info().pss for one in processes)
    yield Figure(work="idle hub", measure="% of a core", on=on, value=used * 100)
    yield Figure(work="idle hub", measure="PSS, MiB", on=on, value=memory / 2**20)


def _cpu(processes: list[psutil.Process]) -> float:
    """Seconds, user and system."""
    times = [one.cpu_times() for one in processes]
    return sum(one.user + one.system for one in times)
