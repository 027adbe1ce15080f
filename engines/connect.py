"""Opens the door to an engine. The import linter sees who calls it: the reconciler, the actions (pure
questions only) and the live log tail."""

from typing import Any

from engines.base import Definition, EngineAdapter
from engines.config import clean_config
from engines.models import Engine
from engines.registry import UnknownKind, adapter_class, adapters


def connect(engine: Engine) -> EngineAdapter:
    """The adapter of a registered engine, with its secrets. Raises ConfigError, UnknownKind."""
    return connect_with(
        engine.kind, {**engine.config, **engine.secrets}, engine_id=engine.pk, name=engine.name
    )


def connect_with(
    kind: str, values: dict[str, Any], *, engine_id: int = 0, name: str = "new engine"
) -> EngineAdapter:
    """An adapter for settings that need not be saved: for the test of a connection."""
    adapter = adapter_class(kind)
    return adapter(engine_id=engine_id, name=name, config=clean_config(adapter.fields, values))


def read_with(text: str, form: str, kind: str | None) -> Definition:
    """What a definition says, by the adapters that could take it; pure, no engine is asked.

    With no format given it is the one that an adapter recognises; where none does, each is tried: the
    first without a problem wins, else the answer with the fewest problems.
    """
    kinds = [kind] if kind else list(adapters())
    if not form:
        form = next(filter(None, (adapter_class(name).guess(text) for name in kinds)), "")
    best: Definition | None = None
    for name in kinds:
        adapter = adapter_class(name)
        for candidate in [form] if form else adapter.formats:
            if candidate not in adapter.formats:
                continue
            found = adapter.read(text, candidate)
            if not found.problems:
                return found
            if best is None or len(found.problems) < len(best.problems):
                best = found
    if best is None:
        raise UnknownKind(f"No engine kind takes the format {form!r}.")
    return best
