"""Who gets in, and what every page has in common."""

from collections.abc import Callable

import pytest
from django.test import Client
from django.urls import get_resolver, reverse

from runs.models import WorkflowRun
from runs.web.urls import urlpatterns
from tests.factories import make_engine, make_run, make_user, make_workflow

POST_ONLY = [
    ("start_held_run", "run"),
    ("pause_workflow", "workflow"),
    ("redeploy_workflow", "workflow"),
    ("ask_engine", "engine"),
    ("switch_engine", "engine"),
    ("set_theme", None),
    ("issue_token", None),
    ("logout", None),
]


def address(name: str, run: WorkflowRun) -> str:
    """A URL of the page `name`, about the run or what belongs to it."""
    task = run.task_runs.order_by("pk").first()
    assert task is not None
    assert run.engine is not None
    title = run.workflow.title
    return {
        "task": lambda: reverse(name, args=[run.pk, task.pk]),
        "artifact": lambda: reverse(name, args=[run.pk, task.pk, "a.txt"]),
        "cancel_task": lambda: reverse(name, args=[run.pk, task.pk]),
        "mark_task": lambda: reverse(name, args=[run.pk, task.pk]),
    }.get(
        name,
        lambda: (
            reverse(name, args=[run.pk])
            if "/runs/" in f"/{pattern(name)}" and "pk" in pattern(name)
            else reverse(name, args=[title])
            if "title" in pattern(name)
            else reverse(name, args=[run.engine_id])
            if "pk" in pattern(name)
            else reverse(name)
        ),
    )()


def pattern(name: str) -> str:
    return next(str(one.pattern) for one in urlpatterns if one.name == name)


NAMES = [str(one.name) for one in urlpatterns]


@pytest.mark.parametrize("name", [name for name in NAMES if name not in {"login"}])
def test_a_stranger_is_sent_to_the_log_in(
    client: Client, failed_run: WorkflowRun, name: str
) -> None:
    response = client.get(address(name, failed_run))
    assert response.status_code == 302
    assert response["Location"].startswith(reverse("login"))


@pytest.mark.parametrize(("name", "_about"), POST_ONLY)
def test_a_link_changes_nothing(
    admin: Client, failed_run: WorkflowRun, name: str, _about: str | None
) -> None:
    assert admin.get(address(name, failed_run)).status_code == 405


@pytest.mark.parametrize(
    "name",
    ["overview", "runs", "run", "logs", "task", "workflows", "workflow", "engines", "engine"],
)
def test_a_viewer_may_look_at_everything(
    viewer: Client, failed_run: WorkflowRun, name: str
) -> None:
    assert viewer.get(address(name, failed_run)).status_code == 200


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("cancel_run", {}),
        ("retry_run", {"mode": "all"}),
        ("restart_run", {}),
        ("start_held_run", {}),
        ("mark_run", {"state": "COMPLETED", "note": "seen"}),
        ("edit_run", {"note": "x"}),
        ("cancel_task", {}),
        ("mark_task", {"state": "COMPLETED", "note": "seen"}),
        ("new_workflow", {"definition": "steps: []", "do": "post"}),
        ("edit_workflow", {"labels": ""}),
        ("archive_workflow", {"archived": "1"}),
        ("pause_workflow", {"paused": "1"}),
        ("redeploy_workflow", {}),
        ("start_run", {}),
        ("ask_engine", {"action": "sync"}),
        ("switch_engine", {"what": "enabled", "to": "0"}),
        ("edit_engine", {"priority": "1"}),
        ("delete_engine", {}),
        ("new_secret", {"name": "a", "value": "plain-secret"}),
        ("new_variable", {"name": "a", "value": "b"}),
    ],
)
def test_a_viewer_changes_nothing(
    viewer: Client, failed_run: WorkflowRun, name: str, data: dict[str, str]
) -> None:
    before = WorkflowRun.objects.values().get(pk=failed_run.pk)
    response = viewer.post(address(name, failed_run), data)
    assert response.status_code == 403
    assert b"may not" in response.content
    assert WorkflowRun.objects.values().get(pk=failed_run.pk) == before


def test_who_has_no_role_sees_nothing(
    browser: Callable[..., Client], failed_run: WorkflowRun
) -> None:
    stranger = browser(None)
    assert stranger.get(reverse("run", args=[failed_run.pk])).status_code == 404
    assert failed_run.workflow.title not in stranger.get(reverse("runs")).content.decode()


@pytest.mark.parametrize("name", ["run", "retry_run", "cancel_run", "logs", "engine"])
def test_what_is_not_there_is_not_found(admin: Client, name: str) -> None:
    response = admin.get(reverse(name, args=[123456]))
    assert response.status_code == 404
    assert b"There is nothing here" in response.content


def test_a_form_without_its_token_is_refused_in_words(failed_run: WorkflowRun) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(make_user())
    response = strict.post(reverse("cancel_run", args=[failed_run.pk]))
    assert response.status_code == 403
    assert b"out of date" in response.content


@pytest.mark.parametrize("name", NAMES)
def test_no_page_needs_an_inline_script_or_style(
    admin: Client, failed_run: WorkflowRun, name: str
) -> None:
    response = admin.get(address(name, failed_run))
    if response.status_code != 200 or "text/html" not in response["Content-Type"]:
        return
    html = response.content.decode()
    assert "<style" not in html
    assert " style=" not in html
    assert " hx-on" not in html
    assert "<script>" not in html
    assert "javascript:" not in html
    assert len(html) < 150_000
    policy = response["Content-Security-Policy"]
    assert "'unsafe" not in policy


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>{{7*7}}"


@pytest.mark.parametrize(
    "name", ["overview", "runs", "run", "task", "logs", "workflows", "workflow", "start_run"]
)
def test_hostile_names_stay_text(admin: Client, name: str) -> None:
    workflow = make_workflow({HOSTILE: []}, title=HOSTILE, labels={"note": HOSTILE})
    run = make_run(
        workflow,
        engine=make_engine(health_message=HOSTILE),
        state="FAILED",
        error=HOSTILE,
        error_task=HOSTILE,
        note=HOSTILE,
        raw_state=HOSTILE,
        reason=HOSTILE[:90],
        task_states={HOSTILE: "FAILED"},
    )
    html = admin.get(address(name, run)).content.decode()
    assert "<script>alert" not in html
    assert "<img" not in html


@pytest.mark.parametrize(
    "title", ["new", "a/b", "50%", "%2F", "..", ".", "a?b#c", "é ü", "run", "x/run"]
)
def test_any_title_has_a_page(admin: Client, title: str) -> None:
    make_workflow(title=title)
    for name in ("workflow", "start_run", "edit_workflow", "archive_workflow"):
        assert admin.get(reverse(name, args=[title])).status_code == 200


def test_every_page_has_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert get_resolver().reverse_dict


def test_the_search_box_leads_to_what_it_names(admin: Client, failed_run: WorkflowRun) -> None:
    jump = reverse("jump")
    by_number = admin.get(jump, {"q": f"#{failed_run.pk}"})
    assert by_number["Location"] == reverse("run", args=[failed_run.pk])
    by_title = admin.get(jump, {"q": failed_run.workflow.title.upper()})
    assert by_title["Location"] == reverse("workflow", args=[failed_run.workflow.title])
    by_words = admin.get(jump, {"q": "key error & more"})
    assert by_words["Location"] == f"{reverse('runs')}?q=key+error+%26+more"
