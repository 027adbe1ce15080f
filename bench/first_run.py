"""From `manage.py up` in an empty home, dependencies installed, to the end of a first run."""

import time
from collections.abc import Iterator

from bench.figures import Figure
from bench.hub import up
from bench.steps import nothing


def measure(kind: str) -> Iterator[Figure]:
    began = time.perf_counter()
    with up(kind) as hub:
        answering = time.perf_counter() - began
        client = hub.client()
        client.wait(
            client.start(client.workflow({"title": "bench-first", "steps": [nothing("only")]}))
        )
        done = time.perf_counter() - began
    work = "a new hub, from `up` in an empty home"
    yield Figure(work=work, measure="→ answers, s", on=kind, value=answering)
    yield Figure(work=work, measure="→ first run completed, s", on=kind, value=done)
