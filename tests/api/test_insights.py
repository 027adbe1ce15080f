"""/insights: the hourly figures, added up."""

from datetime import timedelta

import pytest
from django.utils import timezone

from runs.figures import bucket_of
from runs.models import HourlyRollup
from tests.api.conftest import Caller
from tests.factories import make_engine

pytestmark = pytest.mark.django_db


def ended(workflow: str, engine: str, *, hours: int = 0, **counts: int) -> None:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    HourlyRollup.objects.create(
        hour=now - timedelta(hours=hours),
        workflow=workflow,
        engine=engine,
        seconds=10 * counts["completed"],
        durations=[[bucket_of(10), counts["completed"]]],
        **counts,
    )


def test_they_are_told_by_period_workflow_and_engine(api: Caller) -> None:
    make_engine(name="cluster")
    ended("a", "cluster", completed=3, failed=1)
    ended("b", "gone", completed=1, failed=0, hours=1)
    body = api.get("insights?span=24h").json()
    assert (body["step"], len(body["periods"])) == ("hour", 24)
    assert body["periods"][-1]["failed"] == 1 and body["periods"][-2]["completed"] == 1
    assert body["total"]["failure_rate"] == 0.2
    assert body["total"]["p50"] == pytest.approx(10, rel=0.1)
    assert [row["name"] for row in body["failing"]] == ["a"]
    assert {row["name"]: row["completed"] for row in body["engines"]} == {
        "cluster": 3,
        "other engines": 1,
    }
    assert api.get("insights?workflow=b").json()["total"]["completed"] == 1
    assert api.get("insights?engine=cluster&span=90d").json()["total"]["completed"] == 3


def test_where_nothing_ended_there_is_no_rate(api: Caller) -> None:
    body = api.get("insights").json()
    assert body["total"] == {
        "completed": 0, "failed": 0, "canceled": 0, "failure_rate": None, "p50": None, "p95": None,
    }  # fmt: skip
    assert len(body["periods"]) == 7


@pytest.mark.parametrize("query", ["span=1y", "engine=nobody", "surprise=1", "workflow=%00"])
def test_what_makes_no_sense_is_refused(api: Caller, query: str) -> None:
    answer = api.get(f"insights?{query}")
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [query.partition("=")[0]]
