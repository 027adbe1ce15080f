"""Runs ticked in a real browser: with the keyboard, through live updates, up to the job's end."""

from typing import Any

import pytest
from django.db.models import F
from django.urls import reverse

from runs.models import BulkJob, WorkflowRun
from runs.reconciler.once import once
from tests.web.test_in_browser import chromium, runs, visit

__all__ = ["chromium", "runs", "visit"]
pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_ticks_and_focus_outlive_a_live_update(visit: Any, runs: dict[str, WorkflowRun]) -> None:
    page, complaints = visit
    page.goto(f"{reverse('runs')}?view=all")
    for key in "jxjx":
        page.keyboard.press(key)
    page.wait_for_selector("[data-ticked]:text('2 ticked')")
    page.keyboard.press("x")
    page.wait_for_selector("[data-ticked]:text('1 ticked')")
    ticked = runs["running"].pk  # the newest comes first
    page.focus(f"#tick-{ticked}")
    WorkflowRun.objects.filter(pk=runs["running"].pk).update(
        reason="a word of its engine", version=F("version") + 1
    )
    page.wait_for_selector("text=a word of its engine")
    assert page.is_checked(f"#tick-{ticked}")
    assert not page.is_checked(f"#tick-{runs['failed'].pk}")
    assert page.evaluate("document.activeElement.id") == f"tick-{ticked}"
    assert page.inner_text("[data-ticked]") == "1 ticked"
    assert complaints == []


def test_two_clicks_from_the_ticks_make_a_job_and_its_page_follows_to_the_end(
    visit: Any, runs: dict[str, WorkflowRun]
) -> None:
    page, complaints = visit
    page.goto(f"{reverse('runs')}?view=all")
    page.check(f"#tick-{runs['failed'].pk}")
    page.click("#bulk button[value=retry]")
    page.wait_for_selector("h1:text('Retry 1 run?')")
    page.click(".confirm form button.primary")
    page.wait_for_selector("text=Nothing works on it")
    once()
    page.wait_for_selector("text=1 done, 0 left out, 0 to go")
    assert page.get_attribute("#live", "hx-get") is None
    assert BulkJob.objects.get().keys == [runs["failed"].pk]
    assert WorkflowRun.objects.get(pk=runs["failed"].pk).attempt == 2
    assert complaints == []
