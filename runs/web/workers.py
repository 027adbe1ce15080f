"""The workers of the built-in engine, with what each does now."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.http import HttpRequest

from engines.base import Submission
from engines.dag.models import Step, Worker
from engines.models import Engine
from engines.registry import adapter_class
from engines.states import TaskState
from runs.web.access import seen

MOST = 50
STEPS = 200


def workers_of(request: HttpRequest, engine: Engine, now: datetime) -> list[Any] | None:
    """Those that haven't ended, the oldest first, each with `silent` and `busy_with`, the steps that the
    visitor may see; two queries. None for an engine that runs its steps elsewhere. Workers serve
    all engines whose steps are rows of ours."""
    if adapter_class(engine.kind).submission is not Submission.OURS:
        return None
    found: list[Any] = list(Worker.objects.filter(ended_at=None).order_by("started_at")[:MOST])
    held: dict[Any, list[Step]] = defaultdict(list)
    if found:
        steps = Step.objects.filter(worker__in=found, state=TaskState.RUNNING, mapped=False)
        rows = seen(request, steps).select_related("execution").order_by("worker", "pk")
        columns = ("name", "map_index", "worker", "execution__title", "execution__run_id")
        for step in rows.only(*columns)[:STEPS]:
            held[step.worker_id].append(step)
    longest = timedelta(seconds=settings.WORKFLOWHUB_WORKER_LOST_AFTER)
    for worker in found:
        worker.silent = now - worker.heartbeat_at > longest
        worker.busy_with = held[worker.pk]
    return found
