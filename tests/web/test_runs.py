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

from runs.models import WorkflowPace, WorkflowRun
from runs.states import RunState
from runs.web.paging import SIZE
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
        ("error=keyerror&state=FAILED", "bad"),
        ("by=nobody", ""),
        ("trigger=schedule", ""),
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


# The query box and its chips


def test_the_box_is_another_way_to_the_same_address(
    admin: Client, some: dict[str, WorkflowRun]
) -> None:
    typed = {"query": 'state:failed label:team=lab "a  b"', "view": "all"}
    answer = admin.get(URL, typed)
    assert answer["Location"] == f"{URL}?state=FAILED&labels=team%3Dlab&q=a++b"
    assert 'value="state:failed label:team=lab &quot;a  b&quot;"' in page_of(
        admin, answer["Location"]
    )
    assert admin.get(URL, {"query": ""})["Location"] == f"{URL}?view=all"


def test_a_mistake_is_explained_beside_the_box_which_keeps_the_text(
    admin: Client, some: dict[str, WorkflowRun]
) -> None:
    response = admin.get(URL, {"query": "stat:x state:failed"})
    html = response.content.decode()
    assert "“stat:” is no field: did you mean state:?" in html
    assert 'value="stat:x state:failed"' in html
    assert 'aria-invalid="true"' in html
    assert [run.pk for run, _ in response.context["rows"]] == [some["bad"].pk]
    # Nothing is saved or sent from a filter that isn't what was meant.
    assert reverse("export_csv") not in html
    assert reverse("new_view") not in html


def test_each_part_is_a_chip_that_takes_it_away(
    admin: Client, some: dict[str, WorkflowRun]
) -> None:
    response = admin.get(f"{URL}?state=FAILED&labels=a,b%3Dc&q=x&view=3")
    chips = {(chip.word, chip.text): chip.url for chip in response.context["chips"]}
    assert chips == {
        ("state", "failed"): f"{URL}?labels=a,b%3Dc&q=x&view=3",
        ("label", "a"): f"{URL}?state=FAILED&labels=b%3Dc&q=x&view=3",
        ("label", "b=c"): f"{URL}?state=FAILED&labels=a&q=x&view=3",
        ("words", "x"): f"{URL}?state=FAILED&labels=a,b%3Dc&view=3",
    }
    last = admin.get(f"{URL}?by=ada").context["chips"]
    assert [chip.url for chip in last] == [f"{URL}?view=all"]


def test_quick_chips_are_switches(browser: Callable[..., Client]) -> None:
    client = browser("viewer")
    quick = {chip.text: chip for chip in client.get(f"{URL}?since=24h").context["quick"]}
    name = client.get(URL).context["user"].get_username()
    assert [(text, chip.on) for text, chip in quick.items()] == [
        ("Failed", False),
        ("Running", False),
        ("Mine", False),
        ("Last 24 h", True),
    ]
    assert quick["Mine"].url == f"{URL}?by={name}&since=24h"
    assert quick["Last 24 h"].url == f"{URL}?view=all"


def test_cells_narrow_what_is_shown(admin: Client, some: dict[str, WorkflowRun]) -> None:
    html = page_of(admin, f"{URL}?labels=team&since=7d&after=999")
    for part in (
        "state=COMPLETED&amp;labels=team",
        "engine=local-1&amp;labels=team",
        "workflow=etl&amp;labels=team",
        "labels=team,team%3Dlab",
    ):
        assert f'href="{URL}?{part}&amp;since=7d"' in html, part


def test_a_label_that_no_selector_spells_is_no_link(admin: Client) -> None:
    make_run(labels={"team": "a, b", "tier": "a b"})
    html = page_of(admin, URL)
    assert '<span class="label" title="team=a, b">' in html
    assert 'href="/runs/?labels=tier+in+%28a+b%29"' in html


def test_words_are_bounded_and_the_page_says_so(admin: Client) -> None:
    for query in ("q=x", "error=x", "task=x", "trigger=api"):
        assert "in the last 30 days" in page_of(admin, f"{URL}?{query}")
    assert "in the last 30 days" not in page_of(admin, f"{URL}?q=x&since=90d")


def test_a_run_that_took_long_says_how_many_times_the_median(
    admin: Client, some: dict[str, WorkflowRun]
) -> None:
    begin = timezone.now() - timedelta(hours=1)
    ended = {"started_at": begin, "ended_at": begin + timedelta(seconds=30)}
    WorkflowRun.objects.filter(pk=some["bad"].pk).update(**ended)
    assert 'class="pace' not in page_of(admin, URL)
    WorkflowPace.objects.create(workflow="etl", p50=10, p95=20)
    html = page_of(admin, URL)
    assert html.count('class="pace') == 1
    assert 'take 10.0 s at most, 95 of 100 20.0 s">×3.0<' in html
    WorkflowPace.objects.update(p50=25)
    assert 'class="pace' not in page_of(admin, URL)


# What comes while it is open


def poll(client: Client, response: Any, query: str = "") -> Any:
    shown = ",".join(str(run.pk) for run, _ in response.context["rows"])
    address = f"{URL}?{query}&v={response.context['token']}&shown={shown}"
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


def page_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return str(response.content.decode())
