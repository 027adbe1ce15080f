"""The pages in a real browser: no errors, no reports of the content security policy, no sideways
scrolling on a phone, focus kept through live updates, and an end to polling.

Needs Chromium (WORKFLOWHUB_CHROMIUM names it, else /usr/bin/chromium)."""

import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from runs.models import TaskRun, WorkflowRun
from runs.states import RunState, TaskState
from tests.factories import make_bulk_job, make_engine, make_run, make_user, make_workflow
from tests.web.conftest import write_log

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed.")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    # Playwright runs an event loop in this thread, which Django takes for a mistake.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("WORKFLOWHUB_CHROMIUM", "/usr/bin/chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def runs(transactional_db: None) -> dict[str, WorkflowRun]:
    """One that failed and one that runs."""
    engine = make_engine()
    workflow = make_workflow(
        {"extract": [], "transform": ["extract"], "load": ["transform"]}, title="etl"
    )
    start = timezone.now() - timedelta(minutes=3)
    failed = make_run(
        workflow,
        engine=engine,
        state=RunState.FAILED,
        started_at=start,
        ended_at=timezone.now(),
        error="KeyError: 'minus'",
        error_task="transform",
        task_states={"extract": "COMPLETED", "transform": "FAILED", "load": "UPSTREAM_FAILED"},
    )
    write_log(failed.task_runs.get(name="transform"), ["begin", "\x1b[31mKeyError\x1b[0m: 'minus'"])
    failed.task_runs.create(
        name="transform.on_failure",
        kind="hook",
        state="COMPLETED",
        started_at=start,
        ended_at=start,
    )
    running = make_run(
        workflow,
        engine=engine,
        state=RunState.RUNNING,
        started_at=start,
        task_states={"extract": "RUNNING"},
    )
    TaskRun.objects.filter(run=running, name="extract").update(started_at=start, progress=0.1)
    return {"failed": failed, "running": running}


@pytest.fixture
def visit(chromium: Any, live_server: Any, runs: dict[str, WorkflowRun]) -> Iterator[Any]:
    """A logged-in page and the list of what it complained about."""
    make_user("administrator", username="ada", password="pw")
    context = chromium.new_context(base_url=live_server.url)
    page = context.new_page()
    complaints: list[str] = []
    page.on(
        "console",
        lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(reverse("login"))
    page.fill("#id_username", "ada")
    page.fill("#id_password", "pw")
    page.click("main button")
    page.wait_for_url(f"**{reverse('overview')}")
    yield page, complaints
    context.close()


def addresses(runs: dict[str, WorkflowRun]) -> list[str]:
    failed, running = runs["failed"], runs["running"]
    task = failed.task_runs.get(name="transform")
    pages = [reverse(n) for n in ("overview", "runs", "workflows", "engines", "secrets", "account")]
    pages += [reverse(n) for n in ("new_workflow", "new_engine", "new_secret", "change_password")]
    pages += [reverse(n, args=["etl"]) for n in ("workflow", "start_run", "edit_workflow")]
    pages += [f"{reverse('workflow', args=['etl'])}?tab=tasks"]
    pages += [reverse("run", args=[run.pk]) for run in (failed, running)]
    pages += [f"{pages[-1]}?tab={tab}" for tab in ("graph", "events", "results", "raw")]
    hook = failed.task_runs.get(kind="hook")
    pages += [f"{reverse('run', args=[failed.pk])}?tab=graph"]
    pages += [reverse("task", args=[failed.pk, hook.pk])]
    pages += [reverse(n, args=[failed.pk]) for n in ("logs", "retry_run", "mark_run", "edit_run")]
    pages += [reverse("task", args=[failed.pk, task.pk]), reverse("cancel_run", args=[running.pk])]
    pages += [reverse(n, args=[failed.engine_id]) for n in ("engine", "edit_engine")]
    pages += [reverse("bulk_jobs"), reverse("bulk_job", args=[make_bulk_job().pk])]
    pages += [f"{reverse('bulk_confirm')}?action={a}&everything=1" for a in ("retry", "label")]
    return pages


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
def test_no_page_complains_or_scrolls_sideways(
    visit: Any, runs: dict[str, WorkflowRun], width: int, scheme: str
) -> None:
    page, complaints = visit
    page.set_viewport_size({"width": width, "height": 800})
    page.emulate_media(color_scheme=scheme)
    for address in addresses(runs):
        assert page.goto(address).status == 200, address
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{address} is {wide} px wide"
        assert complaints == [], address


def test_a_live_page_follows_keeps_the_focus_and_ends(
    visit: Any, runs: dict[str, WorkflowRun]
) -> None:
    page, complaints = visit
    run = runs["running"]
    page.goto(reverse("run", args=[run.pk]))
    page.focus(f"#task-{run.task_runs.get(name='extract').pk} a")
    focused = page.evaluate("document.activeElement.href")
    TaskRun.objects.filter(run=run, name="extract").update(message="block 9 of 10")
    WorkflowRun.objects.filter(pk=run.pk).update(version=F("version") + 1)
    page.wait_for_selector("text=block 9 of 10")
    assert page.evaluate("document.activeElement.href") == focused
    TaskRun.objects.filter(run=run).update(state=TaskState.COMPLETED)
    WorkflowRun.objects.filter(pk=run.pk).update(
        state=RunState.COMPLETED, ended_at=timezone.now(), version=F("version") + 1
    )
    page.wait_for_selector(".state-line :text('Completed')")
    page.wait_for_timeout(300)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert asked == []
    assert complaints == []


def test_a_failed_run_is_retried_with_the_keyboard_alone(
    visit: Any, runs: dict[str, WorkflowRun]
) -> None:
    page, complaints = visit
    page.goto(reverse("overview"))
    page.keyboard.press("j")
    with page.expect_navigation():
        page.keyboard.press("r")
    page.wait_for_selector(f"text=Run {runs['failed'].pk} is being retried.")
    run = WorkflowRun.objects.get(pk=runs["failed"].pk)
    assert run.attempt == 2
    assert complaints == []


def test_a_question_opens_as_a_dialog_and_escape_closes_it(
    visit: Any, runs: dict[str, WorkflowRun]
) -> None:
    page, complaints = visit
    page.goto(reverse("run", args=[runs["running"].pk]))
    page.keyboard.press("c")
    page.wait_for_selector("dialog[open] .confirm")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    assert WorkflowRun.objects.get(pk=runs["running"].pk).wanted == "RUN"
    page.keyboard.press("c")
    with page.expect_navigation():
        page.click("dialog .danger")
    assert WorkflowRun.objects.get(pk=runs["running"].pk).wanted == "CANCEL"
    assert complaints == []


def test_the_main_job_works_without_scripts(
    chromium: Any, live_server: Any, runs: dict[str, WorkflowRun]
) -> None:
    make_user("administrator", username="ada", password="pw")
    context = chromium.new_context(base_url=live_server.url, java_script_enabled=False)
    page = context.new_page()
    page.goto(reverse("start_run", args=["etl"]))
    page.fill("#id_username", "ada")
    page.fill("#id_password", "pw")
    page.click("main button")
    page.click("main button:has-text('Run')")
    newest = WorkflowRun.objects.latest("pk")
    assert page.url.endswith(reverse("run", args=[newest.pk]))
    page.click("a:has-text('Cancel')")
    page.click("button:has-text('Cancel the run')")
    assert "Canceled" in page.inner_text(".state-line")
    context.close()
