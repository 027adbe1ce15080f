"""What Ctrl-K suggests."""

import re
from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runs.models import SavedView
from runs.states import RunState
from tests.factories import make_engine, make_run, make_user, make_workflow

URL = reverse("suggestions")
HOSTILE = "<script>alert(1)</script>\"'&"


def suggested(client: Client, words: str = "") -> list[tuple[str, str]]:
    """(text, where it leads) of each option."""
    response = client.get(URL, {"q": words})
    assert response.status_code == 200
    return [(one.text, one.url) for one in response.context["suggestions"]]


def texts(client: Client, words: str = "") -> list[str]:
    return [text for text, _ in suggested(client, words)]


def test_without_words_it_lists_pages_and_deeds(admin: Client) -> None:
    found = dict(suggested(admin))
    assert found["Overview"] == reverse("overview")
    assert found["Failed runs"] == f"{reverse('runs')}?state=FAILED"
    assert found["Audit log"] == reverse("audit")
    assert len(found) == 12
    assert "New engine" in texts(admin, "new")


def test_every_page_that_it_names_is_there(admin: Client) -> None:
    for text, url in [*suggested(admin), *suggested(admin, "new")]:
        assert admin.get(url).status_code == 200, text


def test_a_number_is_the_run_first_of_all(admin: Client) -> None:
    run = make_run(make_workflow({"a": []}, title="etl"), engine=make_engine())
    for words in (str(run.pk), f"#{run.pk}"):
        assert suggested(admin, words)[0] == (f"#{run.pk} etl", reverse("run", args=[run.pk]))
    assert texts(admin, "987654") == ["Search runs for “987654”"]


def test_workflows_that_begin_with_the_words_come_before_those_that_hold_them(
    admin: Client,
) -> None:
    for title in ("my etl", "etl of rain", "etl", "other"):
        make_workflow({"a": []}, title=title)
    found = [text for text in texts(admin, "ETL") if not text.startswith(("Run ", "Search "))]
    assert found == ["etl", "etl of rain", "my etl"]
    assert dict(suggested(admin, "etl"))["Run etl"] == reverse("start_run", args=["etl"])


def test_run_and_a_title_offers_to_start_it_first(admin: Client) -> None:
    make_workflow({"a": []}, title="etl")
    assert suggested(admin, "run et")[0] == ("Run etl", reverse("start_run", args=["etl"]))


def test_old_versions_and_archived_workflows_are_left_out(admin: Client) -> None:
    make_workflow({"a": []}, title="etl", latest=False)
    make_workflow({"a": [], "b": []}, title="etl", version=2)
    make_workflow({"a": []}, title="etl gone", archived_at=timezone.now())
    assert texts(admin, "etl") == ["etl", "Run etl", "Search runs for “etl”"]


def test_engines_and_ones_own_and_shared_views_are_found(admin: Client) -> None:
    engine = make_engine(name="lab-cluster")
    bob = make_user("operator", username="bob")
    for name, shared in (("lab failures", True), ("lab of bob", False)):
        SavedView.objects.create(user=bob, name=name, query="state=FAILED", shared=shared)
    found = dict(suggested(admin, "LAB"))
    assert found["lab-cluster"] == reverse("engine", args=[engine.pk])
    assert "state=FAILED" in found["lab failures"]
    assert "lab of bob" not in found


def test_there_are_never_more_than_twelve_and_the_search_is_among_them(admin: Client) -> None:
    for number in range(15):
        make_workflow({"a": []}, title=f"engine {number}")
        make_engine(name=f"engine-{number}")
    found = texts(admin, "e")
    assert len(found) == 12
    assert found[-1] == "Search runs for “e”"


def test_a_viewer_reads_why_a_deed_is_refused_and_does_not_see_the_audit_log(
    viewer: Client,
) -> None:
    make_workflow({"a": []}, title="etl")
    assert "The role viewer may not start runs." in viewer.get(URL, {"q": "etl"}).content.decode()
    assert "The role viewer may not post" in viewer.get(URL, {"q": "new"}).content.decode()
    assert "Audit log" not in texts(viewer, "audit")


def test_who_has_no_role_finds_nothing_of_others(browser: Callable[..., Client]) -> None:
    run = make_run(make_workflow({"a": []}, title="etl"), engine=make_engine(name="etl-engine"))
    nobody = browser(None)
    assert texts(nobody, "etl") == ["Search runs for “etl”"]
    assert texts(nobody, str(run.pk)) == [f"Search runs for “{run.pk}”"]


def test_hostile_words_and_titles_are_inert(admin: Client) -> None:
    make_workflow({"a": []}, title=HOSTILE)
    for words in (HOSTILE, "alert", "a\x00b", "run ", "9" * 300, "%", "\\"):
        html = admin.get(URL, {"q": words}).content.decode()
        assert "<script" not in html
    assert len(suggested(admin, "alert")) == 3


def test_its_options_are_those_of_a_list_that_a_field_controls(admin: Client) -> None:
    html = admin.get(URL, {"q": "run"}).content.decode()
    options = re.findall(r'<a role="option" id="option-(\d+)" href="[^"]+" tabindex="-1"', html)
    assert options == [str(number + 1) for number in range(len(options))]
    assert len(options) == html.count("<a ") > 1
    frame = admin.get(reverse("workflows")).content.decode()
    assert f'action="{reverse("jump")}" data-suggestions="{URL}"' in frame
    assert 'role="combobox" aria-expanded="false" aria-controls="palette-list"' in frame


def test_the_state_of_a_run_is_told(admin: Client) -> None:
    run = make_run(engine=make_engine(), state=RunState.FAILED)
    assert "Run, failed" in admin.get(URL, {"q": str(run.pk)}).content.decode()


@pytest.mark.django_db
def test_strangers_log_in_first(client: Client) -> None:
    assert client.get(URL)["Location"].startswith(reverse("login"))


def test_it_is_only_read(admin: Client) -> None:
    assert admin.post(URL).status_code == 405


def test_a_keystroke_costs_three_statements(
    admin: Client, django_assert_max_num_queries: Callable[..., object]
) -> None:
    run = make_run(make_workflow({"a": []}, title="etl 7"), engine=make_engine(name="engine-7"))
    with django_assert_max_num_queries(6):  # session, user and role besides
        assert admin.get(URL, {"q": str(run.pk)}).status_code == 200
