"""Everything works without JavaScript: plain links and forms."""

from collections.abc import Callable

import pytest
from django.urls import reverse

from runs.models import BulkJob, WorkflowRun
from runs.states import Wanted
from tests.browser.conftest import Visit
from tests.browser.places import addresses

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def ada(visit: Callable[..., Visit]) -> Visit:
    return visit(java_script_enabled=False)


def test_every_page_says_what_it_is_about(
    ada: Visit, failed: WorkflowRun, running: WorkflowRun
) -> None:
    for address in addresses(failed, running):
        ada.go(address)
        assert ada.page.inner_text("h1").strip(), address
        assert len(ada.page.inner_text("main")) > 40, address


def test_a_run_is_started_and_canceled(ada: Visit, failed: WorkflowRun) -> None:
    ada.go(reverse("start_run", args=["etl"]))
    ada.page.click("main button:has-text('Run')")
    newest = WorkflowRun.objects.latest("pk")
    assert ada.page.url.endswith(reverse("run", args=[newest.pk]))
    ada.page.click("a:has-text('Cancel')")
    ada.page.click("button:has-text('Cancel the run')")
    assert "Canceled" in ada.page.inner_text(".state-line")


def test_ticked_runs_are_canceled_together(ada: Visit, running: WorkflowRun) -> None:
    ada.go(reverse("runs") + "?state=RUNNING")
    ada.page.check(f"#tick-{running.pk}")
    ada.page.click("button:has-text('Cancel')")
    ada.page.click("main button.danger, main button.primary")
    job = BulkJob.objects.get()
    assert ada.page.url.endswith(reverse("bulk_job", args=[job.pk]))
    assert (job.action, job.keys) == ("cancel", [running.pk])


def test_the_list_is_narrowed_by_words_and_chips(
    ada: Visit, failed: WorkflowRun, running: WorkflowRun
) -> None:
    ada.go(reverse("runs"))
    ada.page.fill("input[name=query]", "state:failed workflow:etl")
    ada.page.click("button:has-text('Filter')")
    rows = ada.page.inner_text("main table")
    assert f"#{failed.pk}" in rows
    assert f"#{running.pk}" not in rows
    assert running.wanted == Wanted.RUN
