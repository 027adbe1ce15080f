"""System checks about engines: what would go wrong later, said at start-up with the remedy.

Those about the hub's other settings are in workflowhub/checks.py. Ids are never given anew.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register

from engines import registry


@register()
def adapters_load(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """workflowhub.E010: an adapter folder that can't be used."""
    return [
        Error(
            f"The engine kind {kind!r} is broken. {why}",
            hint="Mend or remove its folder; docs/adding_an_engine.md says what it holds.",
            id="workflowhub.E010",
        )
        for kind, why in registry.broken().items()
    ]


@register()
def handler_modules(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """workflowhub.E011: a module of step handlers that isn't there. Only workers import them."""
    return [
        Error(
            f"WORKFLOWHUB_HANDLER_MODULES names {name!r}, which is not there to be imported.",
            hint="Check the spelling, and that its folder is on PYTHONPATH.",
            id="workflowhub.E011",
        )
        for name in settings.WORKFLOWHUB_HANDLER_MODULES
        if not _is_there(name)
    ]


@register()
def lengths_fit(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """workflowhub.W010 and W011: lengths that are allowed, but hardly meant."""
    found: list[CheckMessage] = []
    if settings.WORKFLOWHUB_SUBMIT_QUARANTINE < settings.WORKFLOWHUB_ENGINE_DEADLINE:
        found.append(
            Warning(
                "WORKFLOWHUB_SUBMIT_QUARANTINE is shorter than WORKFLOWHUB_ENGINE_DEADLINE: an "
                "engine that finds runs by a tag only could start a run twice.",
                hint="Make the quarantine longer than an engine takes to show a run it accepted.",
                id="workflowhub.W010",
            )
        )
    if settings.WORKFLOWHUB_ACTIVE_POLL > settings.WORKFLOWHUB_POLL:
        found.append(
            Warning(
                "WORKFLOWHUB_ACTIVE_POLL is longer than WORKFLOWHUB_POLL: runs that people watch "
                "would be looked at less often than the others.",
                hint="Lower WORKFLOWHUB_ACTIVE_POLL.",
                id="workflowhub.W011",
            )
        )
    return found


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False
