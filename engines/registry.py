"""The engine kinds that this hub knows: a folder's name is the kind.

A folder whose adapter can't be loaded is left out, so that it takes no other engine with it; a
system check (workflowhub.E010) and every error about its kind say what is wrong with it.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from inspect import isabstract

from engines.base import EngineAdapter, Submission
from workflowhub.discovery import adapter_modules


class UnknownKind(LookupError):
    """No adapter folder has this name. An unknown engine is an error, never a stand-in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """`adapters`: kind -> class. `broken`: kind -> what is wrong."""

    adapters: dict[str, type[EngineAdapter]]
    broken: dict[str, str]


def adapters() -> dict[str, type[EngineAdapter]]:
    """Kind -> adapter class, in the order of their names."""
    return _found().adapters


def broken() -> dict[str, str]:
    """Kind -> a sentence that says why its adapter can't be loaded."""
    return _found().broken


def adapter_class(kind: str) -> type[EngineAdapter]:
    """The adapter of a kind. Raises UnknownKind."""
    found = _found()
    if kind in found.adapters:
        return found.adapters[kind]
    if kind in found.broken:
        raise UnknownKind(f"The engine kind {kind!r} can't be used. {found.broken[kind]}")
    known = ", ".join(found.adapters)
    raise UnknownKind(f"No engine kind is called {kind!r}. Known: {known}.")


def kind_choices() -> list[tuple[str, str]]:
    """(kind, label) of each."""
    return [(kind, adapter.label) for kind, adapter in adapters().items()]


def formats() -> dict[str, list[str]]:
    """Definition format -> the kinds that take it."""
    found: dict[str, list[str]] = {}
    for kind, adapter in adapters().items():
        for form in adapter.formats:
            found.setdefault(form, []).append(kind)
    return found


@cache
def _found() -> _Found:
    found = _Found(adapters={}, broken={})
    for kind, module in sorted(adapter_modules().items()):
        try:
            adapter = load(module)
        except BadAdapter as error:
            found.broken[kind] = str(error)
        else:
            found.adapters[kind] = adapter
    return found


class BadAdapter(Exception):
    """An adapter's module can't be used; the text says why."""


def load(module: str) -> type[EngineAdapter]:
    """The class Adapter of the package `module`. Raises BadAdapter."""
    place = f"{module}.adapter"
    try:
        adapter = getattr(import_module(place), "Adapter", None)
    except Exception as error:  # noqa: BLE001 - code of one engine must not stop the others
        raise BadAdapter(f"Importing {place} fails: {type(error).__name__}: {error}.") from error
    if not (isinstance(adapter, type) and issubclass(adapter, EngineAdapter)):
        raise BadAdapter(f"{place} has no class Adapter that is an EngineAdapter.")
    if isabstract(adapter):
        missing = ", ".join(sorted(adapter.__abstractmethods__))
        raise BadAdapter(f"{place}.Adapter lacks {missing}.")
    if not isinstance(getattr(adapter, "submission", None), Submission):
        raise BadAdapter(f"{place}.Adapter says no `submission` (A, B, C or D).")
    for name in ("label", "description", "formats"):
        if not getattr(adapter, name, None):
            raise BadAdapter(f"{place}.Adapter says no `{name}`.")
    if any(field.secret and field.default for field in adapter.fields):
        raise BadAdapter(f"{place}.Adapter has a default for a secret.")
    return adapter
