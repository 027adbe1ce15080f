"""The tests' HTTP engine in a process of its own, so that its work is not the hub's.

with Fake(incremental=True) as fake:
    fake.url, fake.ask("advance", 100), fake.ask("requests")
"""

import multiprocessing
from multiprocessing.connection import Connection
from typing import Any, Self

from engines.testing.fake_http import FakeHttpEngine


class Fake:
    """`url`: where it is. `ask`: one of the functions below, by its name."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=[other], daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        self.url: str = self._pipe.recv()
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join(10)
        self._process.kill()

    def ask(self, name: str, *values: Any) -> Any:
        self._pipe.send((name, values))
        return self._pipe.recv()


def _serve(pipe: Connection) -> None:
    with FakeHttpEngine() as fake:
        pipe.send(fake.url)
        while (asked := pipe.recv()) is not None:
            name, values = asked
            pipe.send(_KNOWN[name](fake, *values))


def _advance(fake: FakeHttpEngine, number: int) -> None:
    """One step of so many of the runs that go on."""
    with fake.engine.lock:
        going = [run.id for run in fake.engine.runs.values() if run.state in ("queued", "active")]
    for id in going[:number]:
        fake.engine.advance(id)


def _finish(fake: FakeHttpEngine) -> None:
    fake.engine.finish()


def _requests(fake: FakeHttpEngine) -> int:
    """How many came in since it was asked last."""
    number = fake.requests.total()
    fake.requests.clear()
    return number


_KNOWN = {"advance": _advance, "finish": _finish, "requests": _requests}
