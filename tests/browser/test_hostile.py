"""What users and tasks wrote is shown and never obeyed: names, labels, errors and log lines."""

from collections.abc import Callable

import pytest
from django.urls import reverse

from runs.models import WorkflowRun
from runs.states import RunState
from tests.browser.conftest import PHONE, Visit
from tests.factories import make_engine, make_run, make_workflow
from tests.web.conftest import write_log

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
SCRIPT = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">"
LINES = [
    SCRIPT,
    "\x1b[31mred\x1b[0m \x1b]0;taken\x07 \x1b[2J",
    "\u202egnp.exe \u200b\u2066",
    "bell \x07 back \x08 null \x01",
    "x" * 1_000_000,
    "<div hx-get='/log-out/' hx-trigger='load'>htmx</div>",
]


@pytest.fixture
def hostile(transactional_db: None) -> WorkflowRun:
    workflow = make_workflow(
        {f"a {SCRIPT[:180]}": [], "transform": []},
        title=f"{SCRIPT[:150]} \u202eltt",
        labels={"a": "b"},
    )
    run = make_run(
        workflow,
        engine=make_engine(name="builtin", health_message=SCRIPT),
        state=RunState.FAILED,
        error=f"{SCRIPT}\n{'y' * 100_000}",
        error_task="transform",
        fingerprint="e" * 64,
        note=SCRIPT,
        parameters={},
        task_states={"transform": "FAILED"},
        labels={"hostile": SCRIPT[:190]},
    )
    write_log(run.task_runs.get(name="transform"), LINES)
    return run


@pytest.mark.parametrize("size", [(1280, 800), PHONE])
def test_it_is_shown_and_nothing_of_it_happens(
    visit: Callable[..., Visit], hostile: WorkflowRun, size: tuple[int, int]
) -> None:
    ada = visit(size=size)
    task = hostile.task_runs.get(name="transform")
    places = [
        reverse("overview"),
        reverse("runs"),
        reverse("run", args=[hostile.pk]),
        *(f"{reverse('run', args=[hostile.pk])}?tab={tab}" for tab in ("graph", "events", "raw")),
        reverse("task", args=[hostile.pk, task.pk]),
        f"{reverse('logs', args=[hostile.pk])}?task={task.pk}",
        reverse("workflow", args=[hostile.workflow.title]),
        f"{reverse('workflow', args=[hostile.workflow.title])}?tab=grid",
        reverse("workflows"),
        reverse("engine", args=[hostile.engine_id]),
    ]
    for place in places:
        ada.go(place)
        ada.page.wait_for_timeout(150)
        assert "taken" not in ada.page.title().split("<")[0], place
        assert ada.page.evaluate("document.querySelectorAll('main script, main img').length") == 0
        wide = ada.page.evaluate("document.documentElement.scrollWidth")
        assert wide <= size[0], f"{place} is {wide} px wide"
        assert ada.page.context.cookies(), place  # nobody logged out
    assert ada.complaints == []
