"""The list of runs."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from runs.models import WorkflowRun
from runs.states import RunState
from tests.factories import make_engine, make_run, make_workflow

URL = reverse("runs")


def shown(client: Client, query: str = "") -> list[int]:
    response = client.get(f"{URL}?{query}")
    assert response.status_code == 200
    return [run.pk for run, _ in response.context["rows"]]


@pytest.fixture
def some(db: None) -> dict[str, WorkflowRun]:
    """Four runs that differ in everything a filter looks at."""
    local, other = make_engine(name="local-1"), make_engine(name="other")
    etl, ml = make_workflow(title="etl"), make_workflow(title="ml", labels={"team": "vision"})
    runs = {
        "old": make_run(etl, engine=local, state=RunState.COMPLETED, labels={"team": "lab"}),
        "bad": make_run(etl, engine=other, state=RunState.FAILED, error="KeyError: 'x'"),
        "busy": make_run(ml, engine=local, state=RunState.RUNNING, labels={"test": ""}),
        "new": make_run(ml, engine=local, note="Look at this one"),
    }
    past = timezone.now() - timedelta(days=3)
    WorkflowRun.objects.filter(pk=runs["old"].pk).update(created_at=past)
    return runs


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "new busy bad old"),
        ("state=FAILED", "bad"),
        ("state=failed&state=RUNNING", "busy bad"),
        ("state=ACTIVE", "new busy"),
        ("state=FAILED,COMPLETED", "bad old"),
        ("workflow=etl", "bad old"),
        ("engine=other", "bad"),
        ("labels=team%3Dlab", "old"),
        ("labels=team", "new busy old"),
        ("labels=team,!test", "new old"),
        ("since=24h", "new busy bad"),
        ("until=24h", "old"),
        ("q=keyerror", "bad"),
        ("q=look+at", "new"),
        ("workflow=nothing", ""),
        ("state=FAILED&engine=local-1", ""),
    ],
)
def test_filters_compose(
    admin: Client, some: dict[str, WorkflowRun], query: str, expected: str
) -> None:
    assert shown(admin, query) == [some[name].pk for name in expected.split()]


def test_a_number_finds_the_run(admin: Client, some: dict[str, WorkflowRun]) -> None:
    assert some["busy"].pk in shown(admin, f"q=%23{some['busy'].pk}")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("state=SLEEPING", "SLEEPING is no state of a run."),
        ("labels=a%3D%3D%3D(", "Expected a comma"),
        ("since=yesterday", "is no time"),
    ],
)
def test_what_makes_no_sense_is_said_and_left_out(
    admin: Client, some: dict[str, WorkflowRun], query: str, said: str
) -> None:
    response = admin.get(f"{URL}?{query}")
    assert said in response.content.decode().replace("&#x27;", "'")
    assert len(response.context["rows"]) == 4


@pytest.mark.parametrize(
    "query", ["q=%00", "after=x", "after=99999999999999999999", "state=", "since=2026-99-99", "v=1"]
)
def test_nonsense_in_the_address_is_no_error(admin: Client, query: str) -> None:
    assert admin.get(f"{URL}?{query}").status_code == 200


def test_the_error_stands_on_the_row(admin: Client, some: dict[str, WorkflowRun]) -> None:
    html = admin.get(URL).content.decode()
    assert "KeyError: &#x27;x&#x27;" in html


def test_each_row_offers_what_fits_its_state(admin: Client, some: dict[str, WorkflowRun]) -> None:
    html = admin.get(URL).content.decode()
    assert f'action="{reverse("retry_run", args=[some["bad"].pk])}"' in html
    assert f'href="{reverse("cancel_run", args=[some["busy"].pk])}"' in html
    assert f"from={some['old'].pk}" in html


def test_pages_miss_nothing_and_show_nothing_twice(admin: Client) -> None:
    workflow, engine = make_workflow({"a": []}), make_engine()
    made = [make_run(workflow, engine=engine).pk for _ in range(120)]
    seen: list[int] = []
    url = URL
    for _ in range(3):
        response = admin.get(url)
        seen += [run.pk for run, _ in response.context["rows"]]
        url = f"{URL}?after={response.context['page'].older}"
        make_run(workflow, engine=engine)  # meanwhile
    assert seen == made[::-1]
    back = admin.get(f"{URL}?before={seen[50]}").context["page"]
    assert [run.pk for run in back.rows] == seen[:50]


def test_without_runs_it_says_what_to_do(admin: Client) -> None:
    assert "No run was ever started." in admin.get(URL).content.decode()
    assert "No run fits this filter." in admin.get(f"{URL}?state=FAILED").content.decode()


def test_polls_rest_until_something_changes(admin: Client, some: dict[str, WorkflowRun]) -> None:
    response = admin.get(URL)
    html = response.content.decode()
    assert 'hx-trigger="every 1s"' in html
    address = f"{URL}?v={response.context['token']}"
    assert admin.get(address, headers={"HX-Request": "true"}).status_code == 204
    WorkflowRun.objects.filter(pk=some["busy"].pk).update(version=99)
    changed = admin.get(address, headers={"HX-Request": "true"})
    assert changed.status_code == 200
    assert b"<html" not in changed.content


def queries(client: Client, url: str, **kw: Any) -> int:
    with CaptureQueriesContext(connection, **kw) as captured:
        assert client.get(url).status_code in {200, 204}
    return len(captured)


def test_five_rows_and_fifty_take_the_same_queries(
    admin: Client, django_assert_max_num_queries: Callable[..., object]
) -> None:
    workflow, engine = make_workflow({"a": []}), make_engine()
    for _ in range(5):
        make_run(workflow, engine=engine, labels={"a": "b"})
    few = queries(admin, URL)
    for _ in range(45):
        make_run(workflow, engine=engine, labels={"a": "b"})
    assert queries(admin, URL) == few <= 8
