"""Runs of one step, started by POST, by one client and by four at once."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.figures import Figure, percentile
from bench.hub import Client, Hub, at
from bench.steps import nothing

RUNS = 100


def measure(hub: Hub, on: str) -> Iterator[Figure]:
    for clients in (1, 4):
        workflow = hub.client().workflow({"title": "bench-single", "steps": [nothing("only")]})
        times, whole = _post(hub, workflow, clients)
        work = f"{RUNS} one-step runs by POST, {clients} client{'s' * (clients > 1)}"
        yield Figure(work=work, measure="POST ms p50", on=on, value=percentile(times, 50))
        yield Figure(work=work, measure="POST ms p99", on=on, value=percentile(times, 99))
        yield Figure(work=work, measure="first POST → last end, s", on=on, value=whole)


def _post(hub: Hub, workflow: int, clients: int) -> tuple[list[float], float]:
    """(milliseconds of each POST, seconds until the last run has ended)."""
    own = threading.local()

    def start(_: int) -> tuple[int, float]:
        if not hasattr(own, "client"):
            own.client = hub.client()
            own.client.get("/health/live")  # the connection is there
        client: Client = own.client
        began = time.perf_counter()
        run = client.start(workflow)
        return run, (time.perf_counter() - began) * 1000

    began = time.time()
    with ThreadPoolExecutor(clients) as pool:
        started = list(pool.map(start, range(RUNS)))
    client = hub.client()
    ended = max(at(client.wait(run)["ended_at"]) for run, _ in started)
    return [milliseconds for _, milliseconds in started], ended - began
