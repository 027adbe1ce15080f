"""Label selectors over lists: whatever leads to the rows, the same rows in the same order."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from engines.selectors import parse_selector
from runs.labels import labels_of
from runs.models import Label, RunLabel, Workflow, WorkflowRun
from runs.querysets import MOST_LABELS
from runs.web.paging import cut
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db

SELECTORS = [
    "team=a",
    "team=nobody",
    "team==a,tier=gold",
    "tier=gold,team=a",
    "team in (a,b)",
    "team in (a,nobody)",
    "team in (a),tier notin (gold)",
    "team!=a",
    "team",
    "!team",
    "!sample,tier",
    "team=a,sample",
    "team=a,team=b",
    "team=a,!tier",
    "",
]


@pytest.fixture
def runs() -> Sequence[WorkflowRun]:
    make_engine(name="local")
    workflow = make_workflow()
    found = []
    for number in range(12):
        labels = {"team": "ab"[number % 2]} if number % 5 else {}
        labels |= {"tier": ("gold", "silver")[number % 3 == 0]} if number % 4 else {}
        labels |= {"sample": f"S{number}"} if number > 6 else {}
        found.append(make_run(workflow, labels=labels))
    return found


def expected(runs: Sequence[WorkflowRun], selector: str) -> list[int]:
    wanted = parse_selector(selector)
    return [run.pk for run in runs[::-1] if all(each.fits(labels_of(run)) for each in wanted)]


@pytest.mark.parametrize("selector", SELECTORS)
def test_pages_by_labels_hold_what_fits_newest_first_in_both_directions(
    runs: Sequence[WorkflowRun], selector: str
) -> None:
    rows = WorkflowRun.objects.for_selector(selector)
    right = expected(runs, selector)
    assert sorted(rows.values_list("pk", flat=True), reverse=True) == right
    assert rows.count() == len(right)
    found: list[int] = []
    asked = RequestFactory()
    page = cut(asked.get("/"), rows.for_list(), size=2)
    while True:
        found += [run.pk for run in page.rows]
        if page.older is None:
            break
        page = cut(asked.get(f"/?after={page.older}"), rows.for_list(), size=2)
    assert found == right
    if len(right) > 3:
        back = cut(asked.get(f"/?before={right[3]}"), rows.for_list(), size=2)
        assert [run.pk for run in back.rows] == right[1:3]
    api = Caller()
    answer = api.get("workflow-runs", data={"labels": selector, "limit": 2, "count": "true"})
    body = answer.json()
    assert body["count"] == len(right)
    found = [row["id"] for row in body["results"]]
    while body["next"]:
        body = api.client.get(body["next"]).json()
        found += [row["id"] for row in body["results"]]
    assert found == right


@pytest.mark.parametrize("more", ["q=%23{pk}", "state=PENDING", "q=work&state=PENDING"])
def test_labels_go_with_other_filters(runs: Sequence[WorkflowRun], more: str) -> None:
    client = Client()
    client.force_login(make_user())
    right = expected(runs, "team=a")
    query = more.format(pk=right[1])
    response = client.get(f"/runs/?labels=team%3Da&{query}")
    shown = [run.pk for run in response.context["page"].rows]
    assert shown == (right[1:2] if "pk" in more else right)


def test_a_key_of_very_many_values_is_not_read_into_memory(runs: Sequence[WorkflowRun]) -> None:
    many = [Label(key="sample", value=f"T{number}") for number in range(MOST_LABELS + 5)]
    Label.objects.bulk_create(many)
    with CaptureQueriesContext(connection) as asked:
        found = set(WorkflowRun.objects.for_selector("sample").values_list("pk", flat=True))
    assert found == set(expected(runs, "sample"))
    assert f"LIMIT {MOST_LABELS + 1}" in asked.captured_queries[0]["sql"]


def test_workflows_are_selected_in_the_same_way() -> None:
    rows = [make_workflow(labels={"team": "ab"[number % 2]}) for number in range(4)]
    find = Workflow.objects.for_selector
    assert set(find("team=a")) == {rows[0], rows[2]}
    assert set(find("team!=a")) == {rows[1], rows[3]}
    assert set(find("!team")) == set()
    assert RunLabel.objects.count() == 0


@pytest.mark.parametrize("selector", ["", "team=a"])
def test_runs_of_a_while_are_paged_through_by_their_time(
    runs: Sequence[WorkflowRun], selector: str
) -> None:
    """Also where the clock was put back, or stood still."""
    began = datetime(2026, 1, 1, tzinfo=UTC)
    minutes = [0, 1, 2, 2, 2, 3, 9, 4, 5, 5, 6, 7]
    for run, minute in zip(runs, minutes, strict=True):
        WorkflowRun.objects.filter(pk=run.pk).update(created_at=began + timedelta(minutes=minute))
    since, until = began + timedelta(minutes=1), began + timedelta(minutes=7)
    rows = WorkflowRun.objects.for_selector(selector).created(since, until)
    fitting = set(expected(runs, selector)) & {
        run.pk for run, minute in zip(runs, minutes, strict=True) if 1 <= minute < 7
    }
    found: list[int] = []
    query = ""
    while True:
        page = cut(RequestFactory().get(f"/?{query}"), rows.for_list(), size=2)
        found += [run.pk for run in page.rows]
        if page.older is None:
            break
        query = f"after={page.older}"
    assert len(found) == len(set(found))
    assert set(found) == fitting
    times = {run.pk: minute for run, minute in zip(runs, minutes, strict=True)}
    if not selector:
        assert found == sorted(fitting, key=lambda pk: (times[pk], pk), reverse=True)
    back = cut(RequestFactory().get(f"/?before={found[-1]}"), rows.for_list(), size=2)
    assert [run.pk for run in back.rows] == found[-3:-1]
    api = Caller()
    body = api.get(
        "workflow-runs",
        data={
            "since": since.isoformat(),
            "until": until.isoformat(),
            "labels": selector,
            "limit": 2,
        },
    ).json()
    told = [row["id"] for row in body["results"]]
    while body["next"]:
        body = api.client.get(body["next"]).json()
        told += [row["id"] for row in body["results"]]
    assert told == found
    WorkflowRun.objects.filter(pk=found[1]).delete()
    rest = cut(RequestFactory().get(f"/?after={found[1]}"), rows.for_list(), size=50)
    assert set(found[2:]) >= {run.pk for run in rest.rows}, "the row that was last is gone"
