"""/health, /health/live, /health/ready and /metrics."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from django.utils import timezone
from prometheus_client.parser import text_string_to_metric_families

from runs.counters import Count, raise_counters
from runs.models import Counter, Heartbeat
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run

# Existing dashboards ask for these names.
CONTRACT = {
    "workflows_submitted_total": set(),
    "workflows_completed_total": {"status"},
    "active_workflows_count": set(),
    "workflow_execution_duration_seconds": set(),
    "steps_submitted_total": {"app"},
    "steps_completed_total": {"app", "status"},
    "step_execution_duration_seconds": {"app"},
    "executor_poll_cycles_total": set(),
    "executor_poll_duration_seconds": set(),
    "executor_errors_total": {"error_type"},
    "scheduler_query_duration_seconds": set(),
    "scheduler_query_errors_total": set(),
    "scheduler_submit_errors_total": {"app"},
}
HISTOGRAMS = {name for name in CONTRACT if name.endswith("_duration_seconds")}


def scrape(api: Caller) -> dict[str, Any]:
    answer = api.client.get("/metrics")
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/plain")
    families = text_string_to_metric_families(answer.content.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def test_liveness_is_for_anybody_and_asks_nobody(db: None, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        answer = Client().get("/api/v1/health/live")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})


def test_health_tells_what_is_wrong(api: Caller) -> None:
    assert api.get("health").json()["status"] == "degraded"  # no process has shown itself yet
    now = timezone.now()
    for name in ("sync", "qcluster"):
        Heartbeat.objects.create(name=name, at=now)
    engine = make_engine("local", health="healthy")
    make_run(engine=engine)
    body = api.get("health").json()
    assert body["status"] == "healthy"
    assert (body["runs"]["active"], body["engines"][0]["name"]) == (1, engine.name)
    engine.health = "unhealthy"
    engine.save()
    assert api.get("health").json()["status"] == "degraded"
    engine.enabled = False
    engine.save()
    assert api.get("health").json()["status"] == "healthy"
    Heartbeat.objects.filter(name="sync").update(at=now - timedelta(hours=1))
    body = api.get("health").json()
    assert body["status"] == "degraded"
    assert [process["ok"] for process in body["processes"]] == [False, True]


def test_fault_06_readiness_is_503_while_the_database_is_down(
    api: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api.get("health/ready").json() == {"status": "ready"}

    def down(*_: Any) -> None:
        raise OperationalError("could not connect")

    monkeypatch.setattr("runs.api.authentication.database_now", down)
    answer = api.get("health/ready")
    assert answer.status_code == 503
    assert "Retry-After" in answer
    assert answer.json()["type"] == "urn:workflowhub:problem:unavailable"


def test_the_names_and_labels_of_the_metrics_are_a_contract(api: Caller) -> None:
    for name, labels in CONTRACT.items():
        if name != "active_workflows_count":
            pairs = [(label, "x") for label in sorted(labels)]
            seconds = 3.0 if name in HISTOGRAMS else None
            raise_counters([Count(name=name, labels=pairs, seconds=seconds)])
    found = scrape(api)
    for name, labels in CONTRACT.items():
        pairs = tuple((label, "x") for label in sorted(labels))
        if name in HISTOGRAMS:
            assert found[f"{name}_count", pairs] == 1
            assert found[f"{name}_sum", pairs] == 3
            assert found[f"{name}_bucket", tuple(sorted([*pairs, ("le", "1.0")]))] == 0
            assert found[f"{name}_bucket", tuple(sorted([*pairs, ("le", "5.0")]))] == 1
            assert found[f"{name}_bucket", tuple(sorted([*pairs, ("le", "+Inf")]))] == 1
        else:
            assert (name, pairs) in found


def test_totals_are_summed_over_processes(api: Caller) -> None:
    for process, value in (("a", 2), ("b", 3)):
        Counter.objects.create(
            name="workflows_submitted_total", process=process, value=value, count=value
        )
    assert scrape(api)["workflows_submitted_total", ()] == 5


def test_gauges_come_from_the_database(api: Caller) -> None:
    engine = make_engine("local", health="healthy", name="main")
    make_run(engine=engine, state="RUNNING")
    make_run(engine=engine, state="COMPLETED")
    found = scrape(api)
    assert found["active_workflows_count", ()] == 1
    assert found["workflowhub_runs", (("state", "RUNNING"),)] == 1
    assert found["workflowhub_runs", (("state", "PENDING"),)] == 0
    assert found["workflowhub_engine_up", (("engine", "main"),)] == 1
    assert found["workflowhub_engine_active_runs", (("engine", "main"),)] == 1
    # Totals that count from nothing are there from the start.
    assert found["workflows_submitted_total", ()] == 2
    assert found["executor_poll_cycles_total", ()] == 0


def test_metrics_are_for_strangers_only_where_the_setting_says_so(db: None, settings: Any) -> None:
    assert Client().get("/metrics").status_code == 401
    settings.WORKFLOWHUB_METRICS_ANONYMOUS = True
    assert Client().get("/metrics").status_code == 200
    weights = (
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"
    )
    assert Client().get("/metrics", headers={"accept": weights}).status_code == 200
