"""Engines with what they have to do, for the overview and the list of engines."""

from typing import Any

from django.http import HttpRequest

from engines.models import Engine
from runs.models import WorkflowRun
from runs.web.access import seen


def engines_with_load(request: HttpRequest) -> list[Any]:
    """The engines that the visitor may see, each with `active`, its number of active runs, and
    `behind`, how many of these don't run yet; two queries, whatever the number of runs."""
    found: list[Any] = list(seen(request, Engine.objects.all()))
    load = seen(request, WorkflowRun.objects.all()).active_by_engine()
    for engine in found:
        engine.active, engine.behind = load.get(engine.pk, (0, 0))
    return found
