"""Every page: no errors, no reports of the content security policy, no sideways scrolling on a phone,
nothing that axe finds; and small enough."""

from collections.abc import Callable
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.urls import reverse

from runs.models import WorkflowRun
from tests.browser.conftest import DESK, PHONE, Visit
from tests.browser.places import addresses

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
LARGEST_PAGE, LARGEST_SCRIPTS = 150_000, 60_000  # bytes
FORGET = """() => {
  for (const part of document.querySelectorAll("[data-live][hx-get]")) {
    part.setAttribute("hx-get", part.getAttribute("hx-get").replace(/v=[^&]*/, "v=old"));
  }
}"""
SWAPPED = "overview", "runs", "engines"


@pytest.mark.parametrize(("size", "scheme"), [(DESK, "light"), (DESK, "dark"), (PHONE, "dark")])
def test_no_page_complains_scrolls_sideways_or_shuts_anybody_out(
    visit: Callable[..., Visit],
    failed: WorkflowRun,
    running: WorkflowRun,
    month: None,
    size: tuple[int, int],
    scheme: str,
) -> None:
    ada = visit(size=size, color_scheme=scheme)
    wrong: list[str] = []
    for address in addresses(failed, running):
        ada.go(address)
        wide = ada.page.evaluate("document.documentElement.scrollWidth")
        if wide > size[0]:
            wrong.append(f"{address} is {wide} px wide")
        wrong += [f"{address}: {said}" for said in ada.complaints]
        ada.complaints.clear()
        if size == DESK:
            wrong += [f"{address}: {found}" for found in violations(ada.page)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_that_was_swapped_shuts_nobody_out(
    visit: Callable[..., Visit], failed: WorkflowRun, running: WorkflowRun, scheme: str
) -> None:
    ada = visit(color_scheme=scheme)
    places = [*(reverse(name) for name in SWAPPED), reverse("run", args=[running.pk])]
    for address in places:
        ada.go(address)
        with ada.page.expect_event("request", lambda asked: "v=" in asked.url, timeout=40_000):
            # Unknown to the page, so that the answer is the part anew.
            ada.page.evaluate(FORGET)
        ada.page.wait_for_timeout(300)
        assert violations(ada.page) == [], address
    assert ada.complaints == []


def test_pages_and_scripts_are_small(
    visit: Callable[..., Visit], failed: WorkflowRun, running: WorkflowRun, month: None
) -> None:
    ada = visit()
    scripts: dict[str, int] = {}
    ada.page.on(
        "response",
        lambda got: scripts.update({got.url: len(got.body())}) if got.url.endswith(".js") else None,
    )
    for address in addresses(failed, running):
        answer = ada.page.goto(address)
        assert len(answer.body()) <= LARGEST_PAGE, address
    assert 0 < sum(scripts.values()) <= LARGEST_SCRIPTS, scripts


def violations(page: Any) -> list[str]:
    """What axe finds: the rule, and where."""
    found = Axe().run(page).response["violations"]
    return [
        f"{one['id']} ({one['impact']}): {', '.join(str(node['target']) for node in one['nodes'][:3])}"
        for one in found
    ]
