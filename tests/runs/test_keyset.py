"""Lists to whose rows no index leads: a page reads so many rows and says how the list goes on."""

import base64
import json
from collections.abc import Sequence

import pytest
from django.test import Client

from runs import keyset
from runs.models import RunEvent, WorkflowRun
from runs.states import Cause
from tests.api.conftest import Caller
from tests.factories import make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def four_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyset, "REACH", 4)


@pytest.fixture
def runs() -> Sequence[WorkflowRun]:
    """A dozen, of which the first, the third and the newest have no team."""
    workflow = make_workflow()
    return [
        make_run(workflow, labels={} if number in {0, 2, 11} else {"team": "ab"[number % 2]})
        for number in range(12)
    ]


def keys(part: keyset.Part[WorkflowRun]) -> list[int]:
    return [run.pk for run in part.rows]


@pytest.mark.parametrize("size", [1, 2, 50])
def test_all_steps_together_hold_what_fits_in_both_directions(
    runs: Sequence[WorkflowRun], size: int
) -> None:
    rows = WorkflowRun.objects.for_selector("!team")
    right = [runs[11].pk, runs[2].pk, runs[0].pk]
    part = keyset.part(rows, size)
    found = keys(part)
    while part.after is not None:
        part = keyset.part(rows, size, after=part.after)
        found += keys(part)
    assert found == right
    part = keyset.part(rows, size, before=runs[0].pk - 1)
    found = keys(part)
    while part.before is not None:
        part = keyset.part(rows, size, before=part.before)
        found = keys(part) + found
    assert found == right


def test_a_page_without_rows_leads_on_and_back_to_where_it_was_come_from(
    runs: Sequence[WorkflowRun],
) -> None:
    rows = WorkflowRun.objects.for_selector("!team")
    first = keyset.part(rows, 1)
    assert (keys(first), first.stopped, first.after) == ([runs[11].pk], True, runs[7].pk)
    back = keyset.part(rows, 1, after=runs[11].pk)
    assert (keys(back), back.stopped) == ([], True)
    assert keys(keyset.part(rows, 1, before=back.before)) == [runs[11].pk]
    further = keyset.part(rows, 1, after=back.after)
    assert (keys(further), further.stopped) == ([], True)
    assert keys(keyset.part(rows, 1, after=further.after)) == [runs[2].pk]


@pytest.mark.parametrize("selector", ["team=a", "team=a,!other"])
def test_where_an_index_leads_all_is_found_at_once(
    runs: Sequence[WorkflowRun], selector: str
) -> None:
    part = keyset.part(WorkflowRun.objects.for_selector(selector), 50)
    assert keys(part) == [runs[number].pk for number in (10, 8, 6, 4)]
    assert (part.after, part.stopped) == (None, False)


def test_a_while_that_was_asked_for_is_a_bound_of_its_own(runs: Sequence[WorkflowRun]) -> None:
    rows = WorkflowRun.objects.for_selector("!team").created(since=runs[0].created_at)
    assert keys(keyset.part(rows, 50)) == [runs[11].pk, runs[2].pk, runs[0].pk]


def test_no_step_leads_to_where_nothing_is_any_more(runs: Sequence[WorkflowRun]) -> None:
    WorkflowRun.objects.filter(pk__lt=runs[-4].pk).delete()
    part = keyset.part(WorkflowRun.objects.for_selector("!nothing"), 50)
    assert (len(part.rows), part.after, part.stopped) == (4, None, False)
    WorkflowRun.objects.all().delete()
    assert keyset.part(WorkflowRun.objects.for_selector("!nothing"), 50).rows == []


def test_a_count_reads_no_more(runs: Sequence[WorkflowRun]) -> None:
    assert keyset.capped_count(WorkflowRun.objects.for_selector("!nothing"), 100) == 5
    assert keyset.capped_count(WorkflowRun.objects.for_selector("team"), 100) == 9


def test_clients_follow_next_through_pages_without_rows(runs: Sequence[WorkflowRun]) -> None:
    pages = through("/api/v1/workflow-runs?labels=!team&limit=1")
    assert [] in pages
    assert sum(pages, []) == [runs[11].pk, runs[2].pk, runs[0].pk]


def test_events_of_a_cause_are_looked_for_in_steps_but_those_of_a_run_at_once(
    runs: Sequence[WorkflowRun],
) -> None:
    events = [
        RunEvent(run=run, seq=99, actor_kind="user", cause=Cause.EDIT if n else Cause.MARK)
        for n, run in enumerate(runs)
    ]
    RunEvent.objects.bulk_create(events)
    last = RunEvent.objects.get(cause=Cause.MARK).pk
    pages = through("/api/v1/events?cause=mark")
    assert (pages[0], sum(pages, [])) == ([], [last])
    assert len(pages) == RunEvent.objects.count() // 4
    assert through(f"/api/v1/events?cause=mark&run={runs[0].pk}") == [[last]]
    assert through("/api/v1/events?cause=mark&since=2020-01-01T00:00:00Z") == [[last]]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("key", [0, -(2**63) + 1, 2**63 - 1])
def test_a_cursor_from_far_beyond_is_an_end_of_the_list(
    runs: Sequence[WorkflowRun], key: int, backwards: bool
) -> None:
    cursor = base64.urlsafe_b64encode(json.dumps([backwards, key]).encode()).decode()
    answer = Caller().get(f"workflow-runs?labels=!team&cursor={cursor}")
    assert answer.status_code == 200, answer.content


def through(url: str) -> list[list[int]]:
    """The ids on each page of a list of the API."""
    client, pages = Caller().client, []
    while url:
        body = client.get(url).json()
        pages.append([row["id"] for row in body["results"]])
        url = body["next"]
    return pages


def test_a_person_is_told_and_led_further_back(runs: Sequence[WorkflowRun]) -> None:
    client = Client()
    client.force_login(make_user())
    page = client.get("/runs/?labels=!team").content.decode()
    assert "4 runs were looked through; further back there are more." in page
    assert f"after={runs[7].pk}" in page
    page = client.get(f"/runs/?labels=!team&after={runs[11].pk}").content.decode()
    assert "Of 4 runs that were looked through none fits this filter" in page
    assert "Look further back" in page
    page = client.get(f"/runs/?labels=!team&before={runs[2].pk}").content.decode()
    assert "No run fits this filter." in page
    assert "Newer" in page and "Older" in page and "further back" not in page
    page = client.get("/runs/?labels=team=nobody").content.decode()
    assert "No run fits this filter." in page
