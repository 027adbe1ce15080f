"""What asks before it acts."""

from collections.abc import Callable

import pytest
from django.urls import reverse

from runs.models import WorkflowRun
from tests.browser.conftest import Visit

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def test_a_question_opens_as_a_dialog_and_escape_closes_it(
    visit: Callable[..., Visit], running: WorkflowRun
) -> None:
    ada = visit()
    page = ada.page
    page.goto(reverse("run", args=[running.pk]))
    page.keyboard.press("c")
    page.wait_for_selector("dialog[open] .confirm")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")
    assert WorkflowRun.objects.get(pk=running.pk).wanted == "RUN"
    page.keyboard.press("c")
    with page.expect_navigation():
        page.click("dialog .danger")
    assert WorkflowRun.objects.get(pk=running.pk).wanted == "CANCEL"
    assert ada.complaints == []


def test_one_that_is_sent_twice_has_one_effect(
    visit: Callable[..., Visit], failed: WorkflowRun
) -> None:
    ada = visit()
    retry = ada.page.locator("main button:has-text('Retry')").first
    retry.dblclick()
    ada.page.wait_for_selector(f"text=Run {failed.pk} is being retried.")
    failed.refresh_from_db()
    assert failed.attempt == 2
