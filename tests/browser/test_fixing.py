"""Find what failed, see why, fix it: in two clicks, for one run and for two hundred."""

from collections.abc import Callable
from typing import Any

import pytest
from django.urls import reverse

from runs.models import BulkJob, WorkflowRun
from runs.reconciler.once import once
from runs.states import RunState
from tests.browser.conftest import ERROR, Visit
from tests.factories import make_run

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
MANY = 200


def test_one_failed_run_is_found_explained_and_retried_without_leaving_the_first_page(
    visit: Callable[..., Visit], failed: WorkflowRun
) -> None:
    ada = visit()
    assert ERROR in ada.page.inner_text("main")
    ada.page.click("button:has-text('Retry')")
    ada.page.wait_for_selector(f"text=Run {failed.pk} is being retried.")
    failed.refresh_from_db()
    assert (failed.attempt, failed.state) == (2, RunState.PENDING)
    assert ada.complaints == []


def test_two_hundred_failures_of_a_kind_are_retried_in_two_clicks(
    visit: Callable[..., Visit], failed: WorkflowRun
) -> None:
    for _ in range(MANY - 1):
        make_run(
            failed.workflow,
            engine=failed.engine,
            state=RunState.FAILED,
            started_at=failed.started_at,
            ended_at=failed.ended_at,
            error=ERROR,
            error_task="transform",
            fingerprint=failed.fingerprint,
            task_states={"extract": "COMPLETED", "transform": "FAILED", "load": "UPSTREAM_FAILED"},
        )
    ada = visit()
    assert str(MANY) in ada.page.inner_text("main")
    clicks: list[Any] = [
        f":is(a, button):has-text('Retry all {MANY}')",
        f"button:has-text('Retry'):has-text('{MANY}')",
    ]
    for place in clicks:
        ada.page.click(place)
    ada.page.wait_for_url("**/jobs/*/")
    for _ in range(20):
        once()
        if BulkJob.objects.get().state == BulkJob.State.DONE:
            break
    ada.page.wait_for_selector(f"text={MANY}")
    job = BulkJob.objects.get()
    assert (job.done, job.skipped, job.reasons) == (MANY, 0, {})
    assert set(WorkflowRun.objects.values_list("attempt", flat=True)) == {2}
    ada.go(reverse("overview"))
    assert ada.complaints == []


def test_a_failed_run_is_retried_with_the_keyboard_alone(
    visit: Callable[..., Visit], failed: WorkflowRun
) -> None:
    ada = visit()
    ada.page.keyboard.press("j")
    with ada.page.expect_navigation():
        ada.page.keyboard.press("r")
    ada.page.wait_for_selector(f"text=Run {failed.pk} is being retried.")
    failed.refresh_from_db()
    assert failed.attempt == 2
    assert ada.complaints == []


def test_back_forward_and_reload_show_the_same(
    visit: Callable[..., Visit], failed: WorkflowRun
) -> None:
    ada = visit()
    ada.go(reverse("runs") + "?state=FAILED")
    ada.page.click(f"a:has-text('#{failed.pk}')")
    ada.page.wait_for_url(f"**{reverse('run', args=[failed.pk])}")
    ada.page.go_back()
    assert "state=FAILED" in ada.page.url
    assert f"#{failed.pk}" in ada.page.inner_text("main")
    ada.page.go_forward()
    ada.page.reload()
    assert ERROR in ada.page.inner_text("main")
    assert ada.complaints == []
