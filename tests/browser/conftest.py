"""A real browser, and a hub with a month behind it and one run of each kind that needs attention.

Needs Chromium (WORKFLOWHUB_CHROMIUM names it, else /usr/bin/chromium)."""

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from runs.models import TaskRun, WorkflowRun
from runs.states import RunState
from tests.factories import make_engine, make_run, make_user, make_workflow
from tests.web.conftest import write_log

CHROMIUM = os.environ.get("WORKFLOWHUB_CHROMIUM", "/usr/bin/chromium")
ERROR = "KeyError: 'minus'"
PHONE, DESK = (360, 740), (1280, 800)


@dataclass
class Visit:
    """A page of one visitor, and what it complained about."""

    page: Any
    complaints: list[str] = field(default_factory=list)

    def go(self, address: str) -> None:
        answer = self.page.goto(address)
        assert answer.status == 200, f"{address} answered {answer.status}"

    def listen(self) -> None:
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _said(self, message: Any) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if not Path(CHROMIUM).exists():
        why = f"There is no Chromium at {CHROMIUM}: WORKFLOWHUB_CHROMIUM names another."
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    from playwright.sync_api import sync_playwright

    # Playwright runs an event loop in this thread, which Django takes for a mistake.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()
    del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def visit(chromium: Any, live_server: Any) -> Iterator[Callable[..., Visit]]:
    """A logged-in administrator; what it takes goes to Playwright's new_context."""
    contexts: list[Any] = []

    def make(**options: Any) -> Visit:
        make_user("administrator", username=f"ada{len(contexts)}", password="pw")
        size = options.pop("size", DESK)
        contexts.append(
            chromium.new_context(
                base_url=live_server.url,
                viewport={"width": size[0], "height": size[1]},
                **options,
            )
        )
        found = Visit(contexts[-1].new_page())
        found.listen()
        found.page.goto(reverse("login"))
        found.page.fill("#id_username", f"ada{len(contexts) - 1}")
        found.page.fill("#id_password", "pw")
        found.page.click("main button")
        found.page.wait_for_url(f"**{reverse('overview')}")
        return found

    yield make
    for context in contexts:
        context.close()


@pytest.fixture
def failed(transactional_db: None) -> WorkflowRun:
    """One that failed two minutes ago, with a log and a hook."""
    start = timezone.now() - timedelta(minutes=3)
    run = make_run(
        make_workflow(
            {"extract": [], "transform": ["extract"], "load": ["transform"]}, title="etl"
        ),
        engine=make_engine(name="builtin"),
        state=RunState.FAILED,
        started_at=start,
        ended_at=start + timedelta(minutes=1),
        error=ERROR,
        error_task="transform",
        fingerprint="f" * 64,
        task_states={"extract": "COMPLETED", "transform": "FAILED", "load": "UPSTREAM_FAILED"},
    )
    write_log(run.task_runs.get(name="transform"), ["begin", f"\x1b[31m{ERROR}\x1b[0m"])
    run.task_runs.create(
        name="transform.on_failure",
        kind="hook",
        state="COMPLETED",
        started_at=start,
        ended_at=start,
    )
    return run


@pytest.fixture
def running(failed: WorkflowRun) -> WorkflowRun:
    """One of the same workflow whose first task runs."""
    start = timezone.now() - timedelta(minutes=1)
    run = make_run(
        failed.workflow,
        engine=failed.engine,
        state=RunState.RUNNING,
        started_at=start,
        task_states={"extract": "RUNNING"},
    )
    TaskRun.objects.filter(run=run, name="extract").update(started_at=start, progress=0.1)
    return run


@pytest.fixture
def month(failed: WorkflowRun, running: WorkflowRun) -> None:
    """A month of other runs beside them."""
    nowhere = io.StringIO()
    call_command("demo_data", "150", "--beside", stdout=nowhere, stderr=nowhere)
