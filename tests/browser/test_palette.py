"""Ctrl-K and the switch of live updates in a real browser."""

from collections.abc import Callable

import pytest
from django.db.models import F
from django.urls import reverse

from runs.models import WorkflowRun
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_workflow_is_started_from_anywhere_with_the_keyboard_alone(
    visit: Callable[..., Visit], failed: WorkflowRun, running: WorkflowRun
) -> None:
    ada = visit()
    page, complaints = ada.page, ada.complaints
    page.goto(reverse("engines"))
    page.keyboard.press("Control+k")
    page.wait_for_selector("#palette-list [aria-selected=true]:has-text('Overview')")
    assert page.evaluate("document.activeElement.id") == "palette-q"
    page.keyboard.press("Escape")
    page.wait_for_selector("#palette", state="hidden")
    page.keyboard.press("Control+k")
    page.keyboard.type("etl")
    page.wait_for_selector("#palette-list [aria-selected=true]:has-text('etl')")
    assert page.get_attribute("#palette-q", "aria-expanded") == "true"
    page.keyboard.press("ArrowDown")
    active = page.get_attribute("#palette-q", "aria-activedescendant")
    assert page.inner_text(f"#{active}[aria-selected=true]") == "Run etl"
    assert page.locator("#palette-list [aria-selected=true]").count() == 1
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert "Search runs" in page.inner_text("#palette-list [aria-selected=true]")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert page.url.endswith(reverse("start_run", args=["etl"]))
    assert complaints == []


def test_paused_pages_stay_as_they_are_until_somebody_lets_them_go_on(
    visit: Callable[..., Visit], failed: WorkflowRun, running: WorkflowRun
) -> None:
    ada = visit()
    page, complaints = ada.page, ada.complaints
    run = WorkflowRun.objects.filter(pk=running.pk)
    page.goto(reverse("runs") + "?view=all")
    page.keyboard.press("p")
    page.wait_for_selector("#pause-said:has-text('Live updates are paused')")
    page.reload()
    assert page.get_attribute("#pause", "aria-pressed") == "true"
    run.update(reason="a word of its engine", version=F("version") + 1)
    page.wait_for_timeout(2500)
    assert page.locator("text=a word of its engine").count() == 0
    page.click("#pause")
    page.wait_for_selector("text=a word of its engine", timeout=2000)
    assert complaints == []


def test_what_begins_on_a_page_at_rest_is_followed_each_second_from_then_on(
    visit: Callable[..., Visit], failed: WorkflowRun, running: WorkflowRun
) -> None:
    ada = visit()
    page, complaints = ada.page, ada.complaints
    ended = {"state": "COMPLETED", "version": F("version") + 1}
    run = WorkflowRun.objects.filter(pk=running.pk)
    run.update(**ended)
    page.goto(reverse("runs") + "?view=all")
    assert page.get_attribute("#live", "hx-trigger") == "every 5s"
    run.update(state="RUNNING", version=F("version") + 1)
    page.wait_for_selector("#live[hx-trigger='every 1s']", timeout=6500)
    run.update(reason="a word of its engine", version=F("version") + 1)
    page.wait_for_selector("text=a word of its engine", timeout=2000)
    run.update(**ended)
    page.wait_for_selector("#live[hx-trigger='every 5s']", timeout=2000)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(4000)
    assert asked == []
    assert complaints == []
