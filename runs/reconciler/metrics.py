"""Totals of the loop itself. They are gathered in memory and written every few seconds, because a
look at unchanged runs writes nothing. A process that is killed loses the last few."""

import threading
from collections.abc import Sequence

from django.db import transaction

from engines.faults import crash_point
from runs.counters import Count, raise_counters

_lock = threading.Lock()
_waiting: list[Count] = []


def note(name: str, labels: Sequence[tuple[str, str]] = (), seconds: float | None = None) -> None:
    """One more; `seconds` makes it an observation of a histogram."""
    with _lock:
        _waiting.append(Count(name=name, labels=labels, seconds=seconds))


def flush() -> None:
    """Writes what was gathered."""
    with _lock:
        counts, _waiting[:] = list(_waiting), []
    if counts:
        with transaction.atomic():
            raise_counters(counts)
            crash_point("metrics.writing")
        crash_point("metrics.written")
