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
from tests.factories import make_engine, make_run, make_workflow

URL = reverse("runs")


def shown(client: Client, query: str = "") -> list[int]:
    response = client.get(f"{URL}?{query}")
    assert response.status_code == 200
    return [run.pk for run, _ in response.context["rows"]]


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
    html = page_of(admin, f"{URL}?labels=team&since=7d&after={some['new'].pk + 1}")
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


def page_of(client: Client, url: str) -> str:
    response = client.get(url)
    assert response.status_code == 200
    return str(response.content.decode())
