"""What a filter of runs finds, how far back it looks, and what it asks the database."""

from collections.abc import Mapping
from datetime import timedelta

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from runs.models import WorkflowRun
from runs.policy import Actor
from runs.runfilter import TEXT_REACH, dated, narrow, query_of, read_filter
from runs.states import RunState
from tests.factories import make_engine, make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def some() -> Mapping[str, WorkflowRun]:
    ada, bob = (Actor(user=make_user(username=name)) for name in ("ada", "bob"))
    local = make_engine(name="local")
    etl = make_workflow(title="etl")
    old = make_run(etl, actor=ada, engine=local, state=RunState.FAILED, error="KeyError: 'x'")
    runs = {
        "old": old,
        "bad": make_run(
            etl, actor=ada, state=RunState.FAILED, error="KEYERROR: 'y' in 50 %", error_task="load"
        ),
        "part": make_run(etl, actor=bob, state=RunState.FAILED, error="no", error_task="load[3]"),
        "loader": make_run(etl, actor=bob, state=RunState.FAILED, error_task="loader"),
        "timed": make_run(
            make_workflow(title="ml"), trigger="schedule", labels={"team": "a b", "tier": "gold"}
        ),
    }
    past = timezone.now() - TEXT_REACH - timedelta(days=1)
    WorkflowRun.objects.filter(pk=old.pk).update(created_at=past)
    return runs


def found(query: str) -> list[int]:
    chosen = read_filter(QueryDict(query))
    assert not chosen.errors
    return [run.pk for run in narrow(WorkflowRun.objects.all(), chosen).order_by("-pk")]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("error=keyerror", "bad"),
        ("error=keyerror&since=90d", "bad old"),
        ("error=keyerror&id={old}", "old"),
        ("error=50 %25", "bad"),
        ("error=5_ %25", ""),
        ("task=load", "part bad"),
        ("task=load[3]", "part"),
        ("by=ada", "bad old"),
        ("by=nobody", ""),
        ("by=bob&task=load", "part"),
        ("trigger=schedule", "timed"),
        ("trigger=schedule,manual", "timed loader part bad"),
        ("id={bad},{old}", "bad old"),
        ("q=keyerror", "bad"),
        ("q=keyerror&until=7d", "old"),
        ("query=state:failed by:ada since:7d", "bad"),
        ("query=label:tier=gold label:\"team in (a b)\" workflow:ml", "timed"),
        ("query=label:tier=gold workflow:etl", ""),
        ("labels=tier&workflow=ml&engine=local", "timed"),
    ],
)  # fmt: skip
def test_conditions_find_what_they_say(
    some: Mapping[str, WorkflowRun], query: str, expected: str
) -> None:
    query = query.format(**{name: run.pk for name, run in some.items()})
    assert found(query) == [some[name].pk for name in expected.split()]


@pytest.mark.parametrize("query", ["q=x", "error=x", "task=x", "trigger=api"])
def test_what_no_index_leads_to_is_bounded_in_time(query: str) -> None:
    assert read_filter(QueryDict(query)).bounded
    assert read_filter(QueryDict(f"{query}&since=nonsense")).bounded
    assert not read_filter(QueryDict(f"{query}&since=90d")).bounded
    assert not read_filter(QueryDict(f"{query}&id=7")).bounded


def test_names_are_looked_up_in_one_statement(some: Mapping[str, WorkflowRun]) -> None:
    query = "workflow=ml&engine=local&by=ada&labels=team,tier%3Dgold,!x"
    with CaptureQueriesContext(
        connection,
    ) as asked:
        narrow(WorkflowRun.objects.all(), read_filter(QueryDict(query)))
    assert len(asked) == 1
    with CaptureQueriesContext(connection) as asked:
        narrow(WorkflowRun.objects.all(), read_filter(QueryDict("state=FAILED&q=x&id=1")))
    assert len(asked) == 0


def test_by_whom_is_led_by_an_index(some: Mapping[str, WorkflowRun]) -> None:
    with connection.cursor() as cursor:
        indexes = connection.introspection.get_constraints(cursor, WorkflowRun._meta.db_table)
    assert indexes["run_by"]["columns"] == ["created_by_id", "id"]
    assert [
        name
        for name, one in indexes.items()
        if one["columns"] == ["created_by_id"] and one["index"]
    ] == []


def test_a_date_means_the_same_day_in_another_time_zone() -> None:
    asked = QueryDict("since=2026-01-31&until=24h")
    with timezone.override("Asia/Tokyo"):
        chosen = dated(read_filter(asked))
    assert query_of(chosen) == "since=2026-01-31T00:00:00%2B09:00&until=24h"
    assert dated(chosen) == chosen


@pytest.mark.parametrize("date", ["0001-01-01", "9999-12-31T23:59:59", "2026-02-30"])
def test_dates_at_the_end_of_time_are_no_error(date: str) -> None:
    for zone in ("Asia/Tokyo", "America/New_York"):
        with timezone.override(zone):
            chosen = read_filter(QueryDict(f"since={date}"))
            assert list(narrow(WorkflowRun.objects.all(), chosen)) == []
