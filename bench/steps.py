"""Steps of the built-in engine: many at a time, and one after the other."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

from bench.figures import Figure, percentile
from bench.hub import Client, Hub, at

TIMES = 5


def nothing(name: str, **more: Any) -> dict[str, Any]:
    """A step that does nothing, in a worker's child as every step, logged and recorded."""
    return {"name": name, "handler": "sleep", "with": {"seconds": 0}} | more


def parallel(width: int) -> dict[str, Any]:
    steps = [nothing("all", for_each=list(range(width)))]
    return {"title": f"bench-parallel-{width}", "steps": steps, "max_parallel": 1000}


def chain(length: int) -> dict[str, Any]:
    steps = [nothing(f"s{n}", needs=[f"s{n - 1}"] if n else []) for n in range(length)]
    return {"title": f"bench-chain-{length}", "steps": steps}


def measure(hub: Hub, on: str) -> Iterator[Figure]:
    client = hub.client()
    client.wait(client.start(client.workflow(chain(3))))  # connections and caches are warm
    for width in (100, 2000):
        work = f"{width:,} parallel no-op steps in one run"
        found = [_parallel(client, width) for _ in range(TIMES if width == 100 else 3)]
        yield Figure(
            work=work, measure="tasks/s", on=on, value=statistics.median(one[0] for one in found)
        )
        yield Figure(
            work=work,
            measure="POST → end, tasks/s",
            on=on,
            value=statistics.median(one[1] for one in found),
        )
    steps, gaps = _chain(client)
    work = "chain of 20 no-op steps"
    yield Figure(work=work, measure="a step, ms p50", on=on, value=statistics.median(steps))
    yield Figure(work=work, measure="gap end → start, ms p50", on=on, value=percentile(gaps, 50))
    yield Figure(work=work, measure="gap end → start, ms p99", on=on, value=percentile(gaps, 99))


def _parallel(client: Client, width: int) -> tuple[float, float]:
    """(tasks a second between the first start and the last end, and from the POST on)."""
    workflow = client.workflow(parallel(width))
    posted = time.time()
    run = client.start(workflow)
    client.wait(run)
    rows = [row for row in client.tasks(run) if row["map_index"] >= 0]
    assert len(rows) == width
    last = max(at(row["ended_at"]) for row in rows)
    first = min(at(row["started_at"]) for row in rows)
    return width / (last - first), width / (last - posted)


def _chain(client: Client) -> tuple[list[float], list[float]]:
    """Milliseconds: of a step, from the first start to the last end; from one's end to the next one's
    start."""
    steps: list[float] = []
    gaps: list[float] = []
    workflow = client.workflow(chain(20))
    for _ in range(TIMES):
        run = client.start(workflow)
        client.wait(run)
        times = sorted((at(row["started_at"]), at(row["ended_at"])) for row in client.tasks(run))
        steps.append((times[-1][1] - times[0][0]) * 1000 / len(times))
        gaps += [(times[n + 1][0] - times[n][1]) * 1000 for n in range(len(times) - 1)]
    return steps, gaps
