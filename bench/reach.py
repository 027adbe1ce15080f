"""How long a change at an engine behind HTTP takes to the hub's database, as its API tells it."""

import time
from collections.abc import Callable, Iterator

from bench.fake import Fake
from bench.figures import Figure, percentile
from bench.hub import Client, up

TIMES = 20
PATIENCE = 30.0


def measure(kind: str) -> Iterator[Figure]:
    """With the default settings of a hub."""
    with (
        Fake() as fake,
        up(
            kind,
            WORKFLOWHUB_ADAPTER_PACKAGES="tests.adapters",
            WORKFLOWHUB_HTTP_ALLOW="127.0.0.0/8",
        ) as hub,
    ):
        client = hub.client()
        client.post(
            "/engines",
            {"name": "fake", "kind": "remote", "config": {"url": fake.url, "submission": "A"}},
        )
        workflow = client.post(
            "/workflows",
            {"definition": {"title": "bench-reach", "tasks": [{"name": "a"}]}, "engine": "fake"},
        )["id"]
        seconds = [_once(client, fake, workflow) for _ in range(TIMES)]
    work = "change at an engine behind HTTP"
    for percent in (50, 95):
        yield Figure(
            work=work,
            measure=f"→ database, s p{percent}",
            on=kind,
            value=percentile(seconds, percent),
        )


def _once(client: Client, fake: Fake, workflow: int) -> float:
    run = client.start(workflow)
    _until(lambda: client.get(f"/workflow-runs/{run}")["state"] == "SCHEDULED")
    fake.ask("advance", 1000)
    began = time.perf_counter()
    _until(lambda: client.get(f"/workflow-runs/{run}")["state"] == "RUNNING")
    took = time.perf_counter() - began
    fake.ask("finish")
    client.wait(run)
    return took


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError("The change did not arrive.")
        time.sleep(0.01)
