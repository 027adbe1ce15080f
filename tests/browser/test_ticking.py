"""Runs ticked in a real browser: with the keyboard, through live updates, up to the job's end."""

from collections.abc import Callable

import pytest
from django.db.models import F
from django.urls import reverse

from runs.models import BulkJob, WorkflowRun
from runs.reconciler.once import once
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_ticks_and_focus_outlive_a_live_update(
    visit: Callable[..., Visit], failed: WorkflowRun, running: WorkflowRun
) -> None:
    ada = visit()
    page, complaints = ada.page, ada.complaints
    page.goto(f"{reverse('runs')}?view=all")
    for key in "jxjx":
        page.keyboard.press(key)
    page.wait_for_selector("[data-ticked]:text('2 ticked')")
    page.keyboard.press("x")
    page.wait_for_selector("[data-ticked]:text('1 ticked')")
    ticked = running.pk  # the newest comes first
    page.focus(f"#tick-{ticked}")
    WorkflowRun.objects.filter(pk=running.pk).update(
        reason="a word of its engine", version=F("version") + 1
    )
    page.wait_for_selector("text=a word of its engine")
    assert page.is_checked(f"#tick-{ticked}")
    assert not page.is_checked(f"#tick-{failed.pk}")
    assert page.evaluate("document.activeElement.id") == f"tick-{ticked}"
    assert page.inner_text("[data-ticked]") == "1 ticked"
    assert complaints == []


def test_two_clicks_from_the_ticks_make_a_job_and_its_page_follows_to_the_end(
    visit: Callable[..., Visit], failed: WorkflowRun, running: WorkflowRun
) -> None:
    ada = visit()
    page, complaints = ada.page, ada.complaints
    page.goto(f"{reverse('runs')}?view=all")
    page.check(f"#tick-{failed.pk}")
    page.click("#bulk button[value=retry]")
    page.wait_for_selector("h1:text('Retry 1 run?')")
    page.click(".confirm form button.primary")
    page.wait_for_selector("text=Nothing works on it")
    once()
    page.wait_for_selector("text=1 done, 0 left out, 0 to go")
    assert page.get_attribute("#live", "hx-get") is None
    assert BulkJob.objects.get().keys == [failed.pk]
    assert WorkflowRun.objects.get(pk=failed.pk).attempt == 2
    assert complaints == []
