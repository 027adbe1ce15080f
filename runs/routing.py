"""Which engine takes a run that names none: an enabled one that takes the format and whose selector
fits the run's labels; the lowest priority number first, then the oldest."""

from collections.abc import Mapping, Sequence

from engines.models import Engine
from engines.registry import formats
from engines.selectors import fits


def route(
    form: str, labels: Mapping[str, str], candidates: Sequence[Engine] | None = None
) -> Engine | None:
    """The engine for a definition format and a run's labels, or None. `candidates`: the answer of
    `takers`, for whoever routes many."""
    kinds = formats().get(form, [])
    for engine in takers() if candidates is None else candidates:
        if engine.kind in kinds and fits(engine.selector, labels):
            return engine
    return None


def takers() -> list[Engine]:
    """The engines that take new runs, the first to be asked first."""
    return list(Engine.objects.enabled().filter(accepts_runs=True).order_by("priority", "id"))
