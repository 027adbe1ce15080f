"""A worker's parent looks now and then at what its running steps have in their folders: one that floods
the disk is stopped long before its end. Short steps are never looked at; a folder that takes long to
look through is looked at less often.
"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from uuid import UUID

from engines.adapters.local.worker.crew import NO_TRY, Place
from engines.dag import artifacts
from engines.dag.models import Step
from engines.states import TaskState

FIRST_SECONDS = 2.0  # a step has run for so long before anybody looks
EVERY_SECONDS = 1.0
SHARE = 0.05  # of the parent's time for one step's folder


@dataclass(slots=True)
class _Watched:
    trying: tuple[int, int]
    next_at: float
    names: tuple[str, ...] = ()


class Watcher:
    """Of one worker."""

    def __init__(self) -> None:
        self._watched: dict[int, _Watched] = {}

    def too_full(self, places: Iterable[Place]) -> Iterator[Place]:
        """Those whose step holds more than it may. Raises the database's errors."""
        now = time.monotonic()
        for place in places:
            trying = place.slot.trying
            watched = self._watched.get(place.index)
            if trying[1] == NO_TRY[1]:
                self._watched.pop(place.index, None)
            elif watched is None or watched.trying != trying:
                self._watched[place.index] = _Watched(trying, now + FIRST_SECONDS)
            elif now >= watched.next_at:
                watched.names = watched.names or _names_of(trying[0])
                began = time.monotonic()
                if watched.names and artifacts.excess(watched.names):
                    yield place
                took = time.monotonic() - began
                watched.next_at = now + max(EVERY_SECONDS, took / SHARE)

    @staticmethod
    def settle(worker_id: UUID, step_id: int) -> str:
        """After a child died that may have run the step: why its folder was emptied, if it was."""
        held = Step.objects.filter(pk=step_id, worker_id=worker_id, state=TaskState.RUNNING)
        names = _names_of(step_id) if held.exists() else ()
        return artifacts.settle(names) if names else ""


def _names_of(step_id: int) -> tuple[str, ...]:
    """The way to the step's folder; empty where the step is gone."""
    row = Step.objects.filter(pk=step_id).values_list("execution__external_id", "name", "map_index")
    return next((artifacts.names_of(*values) for values in row), ())
