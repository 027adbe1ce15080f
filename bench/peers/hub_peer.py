"""The hub itself among its peers."""

import time
from contextlib import ExitStack

from bench.hub import Client, at, up
from bench.peers.peer import Measured, Peer
from bench.steps import chain, parallel


class Hub(Peer):
    isolation = "pre-forked process"

    def __init__(self, database: str) -> None:
        self.name = f"WorkflowHub on {database}"
        self._database = database
        self._stack = ExitStack()

    def start(self) -> None:
        self._client: Client = self._stack.enter_context(up(self._database)).client()
        self._client.wait(self._client.start(self._client.workflow(chain(3))))

    def stop(self) -> None:
        self._stack.close()

    def parallel(self, width: int) -> Measured:
        _, seconds = self._run(parallel(width))
        return Measured(seconds=seconds)

    def chain(self, length: int) -> Measured:
        times, seconds = self._run(chain(length))
        gaps = tuple((times[n + 1][0] - times[n][1]) * 1000 for n in range(len(times) - 1))
        return Measured(seconds=seconds, gaps=gaps)

    def _run(self, document: dict[str, object]) -> tuple[list[tuple[float, float]], float]:
        """(start and end of each task in order, seconds from the POST to the last end)."""
        workflow = self._client.workflow(document)
        posted = time.time()
        run = self._client.start(workflow)
        self._client.wait(run)
        times = sorted(
            (at(row["started_at"]), at(row["ended_at"])) for row in self._client.tasks(run)
        )
        return times, max(end for _, end in times) - posted
