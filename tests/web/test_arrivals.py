"""What comes while the list of runs is open: its rows stay where they are, and what is new is counted."""

from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from runs.models import WorkflowRun
from runs.states import RunState
from runs.web.paging import SIZE
from tests.factories import make_run, make_workflow

URL = reverse("runs")


def poll(client: Client, response: Any, query: str = "") -> Any:
    address = f"{URL}?{query}&v={response.context['token']}&shown={response.context['shown']}"
    return client.get(address, headers={"HX-Request": "true"})


def test_new_runs_are_counted_and_move_no_row(admin: Client, some: dict[str, WorkflowRun]) -> None:
    response = admin.get(f"{URL}?workflow=etl")
    rows = [run.pk for run, _ in response.context["rows"]]
    assert f"shown={rows[0]}%2C{rows[1]}" in response.content.decode().replace("&amp;", "&")
    assert poll(admin, response, "workflow=etl").status_code == 204
    new = make_run(some["old"].workflow)
    make_run(some["busy"].workflow)  # doesn't fit
    answer = poll(admin, response, "workflow=etl")
    assert [run.pk for run, _ in answer.context["rows"]] == rows
    html = answer.content.decode()
    assert f'<a class="b small primary" href="{URL}?workflow=etl">' in html
    assert "1 new run<" in html
    assert f"#{new.pk}" not in html
    assert f'name="next" value="{URL}?workflow=etl">' in html
    assert poll(admin, answer, "workflow=etl").status_code == 204
    make_run(some["old"].workflow)
    assert "2 new runs<" in poll(admin, answer, "workflow=etl").content.decode()


def test_what_fits_no_longer_stays_and_is_told(admin: Client, some: dict[str, WorkflowRun]) -> None:
    response = admin.get(f"{URL}?state=RUNNING")
    ended = {"state": RunState.COMPLETED, "version": 9}
    WorkflowRun.objects.filter(pk=some["busy"].pk).update(**ended)
    WorkflowRun.objects.filter(pk=some["bad"].pk).update(state=RunState.RUNNING)
    answer = poll(admin, response, "state=RUNNING")
    assert [run.state for run, _ in answer.context["rows"]] == [RunState.COMPLETED]
    assert "1 new run, 1 no longer fits<" in answer.content.decode()


def test_of_a_full_page_only_what_is_newer_is_new(admin: Client, monkeypatch: Any) -> None:
    monkeypatch.setattr("runs.web.arrivals.MOST", 3)
    workflow = make_workflow({"a": []})
    for _ in range(SIZE + 5):
        make_run(workflow)
    response = admin.get(URL)
    assert poll(admin, response).status_code == 204
    for number in range(1, 6):
        make_run(workflow)
        news = poll(admin, response).context["news"]
        assert (news.new, news.more, news.gone) == (min(number, 3), number > 3, 0)


def test_behind_a_short_page_that_older_runs_follow_nothing_is_new(admin: Client) -> None:
    workflow = make_workflow({"a": []})
    runs = [make_run(workflow) for _ in range(SIZE + 10)]
    back = f"before={runs[-6].pk}"  # from the next page
    response = admin.get(f"{URL}?{back}")
    assert len(response.context["rows"]) == 5
    assert poll(admin, response, back).status_code == 204
    WorkflowRun.objects.filter(pk=runs[-1].pk).delete()
    answer = poll(admin, response, back)
    assert (answer.context["news"].new, len(answer.context["rows"])) == (0, 4)
    assert poll(admin, answer, back).context["news"].new == 0


def test_an_empty_list_fills_by_itself(admin: Client) -> None:
    response = admin.get(f"{URL}?state=RUNNING")
    run = make_run(state=RunState.RUNNING)
    answer = poll(admin, response, "state=RUNNING")
    assert [row.pk for row, _ in answer.context["rows"]] == [run.pk]


def test_a_poll_shows_nothing_that_is_hidden(
    admin: Client, some: dict[str, WorkflowRun], settings: Any
) -> None:
    response = admin.get(URL)
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.api.test_authorisation.SeesNothing"
    html = poll(admin, response).content.decode()
    assert "<tr" not in html
    assert "4 no longer fit<" in html


def test_a_poll_that_changes_nothing_costs_no_more_than_four_statements(
    admin: Client, some: dict[str, WorkflowRun]
) -> None:
    for query in ("", "workflow=etl&engine=other&labels=team", "state=FAILED"):
        response = admin.get(f"{URL}?{query}")
        with CaptureQueriesContext(connection) as asked:
            assert poll(admin, response, query).status_code == 204
        # The session, the user and the role; the names; the rows and what is new.
        assert len(asked) <= 3 + ("workflow" in query) + 2, asked.captured_queries


@pytest.mark.parametrize("shown", ["x", "1,,2", "9" * 30, "\u0661", ",".join(["1"] * 500)])
def test_nonsense_in_a_poll_is_no_error(admin: Client, shown: str) -> None:
    headers = {"HX-Request": "true"}
    assert admin.get(URL, {"v": "x", "shown": shown}, headers=headers).status_code == 200
