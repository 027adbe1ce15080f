"""Pages that keep themselves fresh: nothing jumps, the focus stays, and polling ends."""

from collections.abc import Callable

import pytest
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from runs.models import TaskRun, WorkflowRun
from runs.states import RunState, TaskState
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
POLLS = 5


def test_the_focus_stays_through_five_polls_and_polling_ends_with_the_run(
    visit: Callable[..., Visit], running: WorkflowRun
) -> None:
    ada = visit()
    page = ada.page
    page.goto(reverse("run", args=[running.pk]))
    page.focus(f"#task-{running.task_runs.get(name='extract').pk} a")
    focused = page.evaluate("document.activeElement.href")
    for at in range(POLLS):
        TaskRun.objects.filter(run=running, name="extract").update(message=f"block {at} of {POLLS}")
        WorkflowRun.objects.filter(pk=running.pk).update(version=F("version") + 1)
        page.wait_for_selector(f"text=block {at} of {POLLS}")
        assert page.evaluate("document.activeElement.href") == focused
    TaskRun.objects.filter(run=running).update(state=TaskState.COMPLETED)
    WorkflowRun.objects.filter(pk=running.pk).update(
        state=RunState.COMPLETED, ended_at=timezone.now(), version=F("version") + 1
    )
    page.wait_for_selector(".state-line :text('Completed')")
    page.wait_for_timeout(300)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(2500)
    assert asked == []
    assert ada.complaints == []


def test_a_change_is_on_the_screen_within_two_seconds(
    visit: Callable[..., Visit], running: WorkflowRun
) -> None:
    ada = visit()
    ada.go(reverse("runs"))
    WorkflowRun.objects.filter(pk=running.pk).update(
        state=RunState.CANCELED, ended_at=timezone.now(), version=F("version") + 1
    )
    # Besides the second until it asks, a busy machine is given one.
    ada.page.wait_for_selector(f"#run-{running.pk} :text('Canceled')", timeout=3000)
    assert ada.complaints == []
