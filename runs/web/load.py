"""Engines with what they have to do, for the overview and the list of engines."""

from typing import Any

from django.http import HttpRequest

from engines.models import Engine
from runs.lag import loads
from runs.models import WorkflowRun
from runs.web.access import seen


def engines_with_load(request: HttpRequest) -> list[Any]:
    """The engines that the visitor may see, each with its `load`, and of that `active`, its number of
    active runs, and `behind`, how many of these don't run yet; two queries, whatever the number of
    runs."""
    found: list[Any] = list(seen(request, Engine.objects.all()))
    load = loads(found, seen(request, WorkflowRun.objects.all()))
    for engine in found:
        engine.load = load[engine.pk]
        engine.active, engine.behind = engine.load.active, engine.load.waiting
    return found
