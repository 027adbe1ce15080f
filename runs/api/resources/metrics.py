"""/metrics in the Prometheus text format. Totals come from the table of counters, so they outlive
processes and purges; gauges are read from the database. No ids in labels."""

import json
from collections.abc import Iterator
from typing import Any

from django.conf import settings
from django.db.models import Count as Number
from django.db.models import QuerySet
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from engines.clock import database_now
from engines.models import Engine
from engines.states import HealthState
from runs.api.openapi import ADMIN, doc
from runs.api.permissions import RolePermission
from runs.api.views import HubView
from runs.counters import BUCKETS
from runs.models import Counter, Heartbeat, WorkflowRun
from runs.policy import Action, visible
from runs.states import ACTIVE_RUN_STATES

# Name -> (its labels, what it counts). The names are a contract with existing dashboards.
COUNTERS: dict[str, tuple[list[str], str]] = {
    "workflows_submitted_total": ([], "Runs that were posted."),
    "workflows_completed_total": (["status"], "Runs that ended, by their end."),
    "steps_submitted_total": (["app"], "Tasks handed to an engine, by their type."),
    "steps_completed_total": (["app", "status"], "Tasks that ended, by type and end."),
    "executor_poll_cycles_total": ([], "Looks of the reconciler at an engine."),
    "executor_errors_total": (["error_type"], "Errors of the reconciler, by their type."),
    "scheduler_query_errors_total": ([], "Calls to engines that failed."),
    "scheduler_submit_errors_total": (["app"], "Submits that failed, by the kind of engine."),
}
HISTOGRAMS: dict[str, tuple[list[str], str]] = {
    "workflow_execution_duration_seconds": ([], "How long runs took."),
    "step_execution_duration_seconds": (["app"], "How long tasks took, by their type."),
    "executor_poll_duration_seconds": ([], "How long looks at engines took."),
    "scheduler_query_duration_seconds": ([], "How long calls to engines took."),
}


class PrometheusText(BaseRenderer):
    media_type = "text/plain"
    format = "txt"
    charset = None

    def render(self, data: Any, media_type: Any = None, context: Any = None) -> Any:
        return data


class MayScrape(RolePermission):
    """Anybody, where the setting says so; else as every view."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if settings.WORKFLOWHUB_METRICS_ANONYMOUS:
            return True
        return super().has_permission(request, view)


class Metrics(HubView):
    needs = {"GET": Action.VIEW}
    permission_classes: list[type[BasePermission]] = [MayScrape]
    renderer_classes = [PrometheusText, JSONRenderer]
    # Scrapers ask for formats by weight; there is one, whatever they ask for.
    query = None

    @doc("read_metrics", ADMIN, "Totals and gauges in the Prometheus text format",
         answer=str, media="text/plain")  # fmt: skip
    def get(self, request: Request) -> Response:
        registry = CollectorRegistry(auto_describe=False)
        engines: QuerySet[Engine] = Engine.objects.enabled()
        if not settings.WORKFLOWHUB_METRICS_ANONYMOUS:
            engines = visible(self.actor, engines)
        registry.register(_Hub(engines))
        return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)


class _Hub(Collector):
    """Numbers of the whole hub; names only of engines that the scraper may see."""

    def __init__(self, engines: QuerySet[Engine]) -> None:
        self.engines = engines

    def collect(self) -> Iterator[Metric]:
        yield from _totals()
        yield from _gauges(self.engines)


def _totals() -> Iterator[Metric]:
    rows: dict[str, dict[tuple[tuple[str, str], ...], list[Counter]]] = {}
    for row in Counter.objects.all():
        labels = tuple((name, value) for name, value in json.loads(row.labels))
        rows.setdefault(row.name, {}).setdefault(labels, []).append(row)
    for name, (names, text) in COUNTERS.items():
        counter = CounterMetricFamily(name.removesuffix("_total"), text, labels=names)
        for key, parts in _or_zero(rows.get(name, {}), names).items():
            counter.add_metric(_values(names, key), sum(row.value for row in parts))
        yield counter
    for name, (names, text) in HISTOGRAMS.items():
        histogram = HistogramMetricFamily(name, text, labels=names)
        for key, parts in _or_zero(rows.get(name, {}), names).items():
            buckets = [
                (str(float(bound)), float(sum(row.buckets[at] for row in parts if row.buckets)))
                for at, bound in enumerate(BUCKETS)
            ]
            buckets.append(("+Inf", float(sum(row.count for row in parts))))
            total = sum(row.value for row in parts)
            histogram.add_metric(_values(names, key), buckets, sum_value=total)
        yield histogram


def _or_zero(found: dict[Any, list[Counter]], labels: list[str]) -> dict[Any, list[Counter]]:
    """A total without labels is there from the start, so that a rate over it is defined."""
    return found or ({(): []} if not labels else {})


def _values(labels: list[str], key: tuple[tuple[str, str], ...]) -> list[str]:
    known = dict(key)
    return [known.get(label, "") for label in labels]


def _gauges(engines: QuerySet[Engine]) -> Iterator[Metric]:
    now = database_now()
    counted = dict(
        WorkflowRun.objects.active().order_by().values_list("state").annotate(Number("pk"))
    )
    yield GaugeMetricFamily(
        "active_workflows_count", "Runs that have not ended.", value=sum(counted.values())
    )
    by_state = GaugeMetricFamily("workflowhub_runs", "Active runs by state.", labels=["state"])
    for state in sorted(ACTIVE_RUN_STATES):
        by_state.add_metric([state], counted.get(state, 0))
    yield by_state
    due = WorkflowRun.objects.active().filter(next_check_at__lte=now)
    yield GaugeMetricFamily(
        "workflowhub_due_runs", "Runs that the reconciler should handle now.", value=due.count()
    )
    age = GaugeMetricFamily(
        "workflowhub_heartbeat_age_seconds", "Since a process proved its life.", labels=["process"]
    )
    for beat in Heartbeat.objects.all():
        age.add_metric([beat.name], max((now - beat.at).total_seconds(), 0.0))
    yield age
    yield from _engine_gauges(engines, now)


def _engine_gauges(engines: QuerySet[Engine], now: Any) -> Iterator[Metric]:
    up = GaugeMetricFamily("workflowhub_engine_up", "1: the engine is healthy.", labels=["engine"])
    lag = GaugeMetricFamily(
        "workflowhub_engine_lag_seconds",
        "Since all active runs of an engine were looked at.",
        labels=["engine"],
    )
    active = GaugeMetricFamily(
        "workflowhub_engine_active_runs", "Active runs of an engine.", labels=["engine"]
    )
    numbers = dict(
        WorkflowRun.objects.active().order_by().values_list("engine").annotate(Number("pk"))
    )
    for engine in engines:
        up.add_metric([engine.name], engine.health == HealthState.HEALTHY)
        active.add_metric([engine.name], numbers.get(engine.pk, 0))
        if engine.observed_at:
            lag.add_metric([engine.name], max((now - engine.observed_at).total_seconds(), 0.0))
    yield from (up, lag, active)
