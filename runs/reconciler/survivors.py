"""Runs that this process had in hand when the database went away. It didn't die of them: nobody is to
believe that they kill whoever touches them."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager

_survived: set[int] = set()


@contextmanager
def in_hand(run_ids: Collection[int]) -> Iterator[None]:
    """Around the calls for these runs, until what came of them is written."""
    try:
        yield
    except Exception:
        _survived.update(run_ids)
        raise
    _survived.difference_update(run_ids)


def survived(run_id: int) -> bool:
    """Whether the run is marked as in hand because this process could not take the mark away."""
    return run_id in _survived
