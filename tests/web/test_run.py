"""The page of one run."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from runs.models import TaskRun, WorkflowRun
from runs.states import Reason, RunState, Wanted
from runs.web.pages.run import TABS
from tests.factories import make_engine, make_run, make_workflow
from tests.web.conftest import write_log


def page(client: Client, run: WorkflowRun, query: str = "") -> str:
    response = client.get(f"{reverse('run', args=[run.pk])}?{query}")
    assert response.status_code == 200
    return str(response.content.decode())


def test_a_failed_run_says_why_first(admin: Client, failed_run: WorkflowRun) -> None:
    task = failed_run.task_runs.get(name="transform")
    lines = [f"line {n}" for n in range(1, 101)] + ["KeyError: 'minus'", "the try ended"]
    write_log(task, lines)
    html = page(admin, failed_run)
    assert html.index("Why it failed") < html.index('class="tabs"')
    assert 'class="l hit"' in html
    assert "line 100" in html
    assert "line 60" not in html
    assert f"?mode=task&amp;task={task.pk}&amp;downstream=1" in html


def test_the_error_line_is_found_when_the_run_names_its_task_before_it(
    admin: Client, failed_run: WorkflowRun
) -> None:
    task = failed_run.task_runs.get(name="transform")
    TaskRun.objects.filter(pk=task.pk).update(error="sh ended with exit code 3.")
    WorkflowRun.objects.update(error="transform: sh ended with exit code 3.")
    write_log(task, ["going down", "sh ended with exit code 3."])
    assert 'class="l hit"' in page(admin, failed_run)
    assert "transform: transform:" not in admin.get(reverse("runs")).content.decode()


def test_the_cascade_is_not_taken_for_the_cause(admin: Client, failed_run: WorkflowRun) -> None:
    response = admin.get(reverse("run", args=[failed_run.pk]))
    assert response.context["root"].name == "transform"
    assert "Upstream failed" in response.content.decode()


@pytest.mark.parametrize("tab", [*TABS, "nonsense", ""])
def test_every_part_has_an_address(admin: Client, failed_run: WorkflowRun, tab: str) -> None:
    assert 'aria-current="page"' in page(admin, failed_run, f"tab={tab}")


def test_the_graph_shows_states_and_leads_to_tasks(admin: Client, failed_run: WorkflowRun) -> None:
    html = page(admin, failed_run, "tab=graph")
    task = failed_run.task_runs.get(name="transform")
    assert "node t-bad" in html
    assert f'href="{reverse("task", args=[failed_run.pk, task.pk])}"' in html


def test_an_active_run_polls_and_a_final_one_rests(admin: Client, failed_run: WorkflowRun) -> None:
    assert "hx-trigger" not in page(admin, failed_run)
    active = make_run(engine=make_engine(), state=RunState.RUNNING)
    assert 'hx-trigger="every 1s"' in page(admin, active)


def test_the_poll_that_sees_the_end_stops_polling(admin: Client) -> None:
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    url = reverse("run", args=[run.pk])
    token = admin.get(url).context["token"]
    headers = {"HX-Request": "true"}
    assert admin.get(f"{url}?v={token}", headers=headers).status_code == 204
    WorkflowRun.objects.filter(pk=run.pk).update(state=RunState.COMPLETED, version=9)
    last = admin.get(f"{url}?v={token}", headers=headers).content.decode()
    assert last.lstrip().startswith('<div id="live"')
    assert "hx-trigger" not in last
    assert "Completed" in last


def test_a_poll_of_a_tab_keeps_the_tab(admin: Client) -> None:
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    html = page(admin, run, "tab=events")
    assert "?tab=events&amp;v=" in html


def test_progress_and_message_of_a_running_task_show(admin: Client) -> None:
    run = make_run(
        make_workflow({"a": []}),
        engine=make_engine(),
        state=RunState.RUNNING,
        task_states={"a": "RUNNING"},
    )
    TaskRun.objects.filter(run=run).update(progress=0.42, message="block 42 of 100")
    html = page(admin, run)
    assert "42 %" in html
    assert "block 42 of 100" in html


@pytest.mark.parametrize(
    ("state", "wanted", "word"),
    [
        (RunState.RUNNING, Wanted.CANCEL, "Canceling"),
        (RunState.PENDING, Wanted.HOLD, "Held"),
        (RunState.SCHEDULED, Wanted.RUN, "Scheduled"),
    ],
)
def test_the_word_is_the_one_that_people_use(
    admin: Client, state: str, wanted: str, word: str
) -> None:
    run = make_run(engine=make_engine(), state=state, wanted=wanted)
    assert f"<span>{word}</span>" in page(admin, run)


def test_what_the_engine_cannot_do_is_disabled_with_the_reason(
    admin: Client, failed_run: WorkflowRun
) -> None:
    assert failed_run.engine is not None
    failed_run.engine.capabilities["retry_task"] = "It only knows whole runs."
    failed_run.engine.capabilities["retry_failed"] = "It only knows whole runs."
    failed_run.engine.save()
    html = page(admin, failed_run)
    assert f"{failed_run.engine.name}: It only knows whole runs." in html
    assert 'mode=task"' not in html


def test_what_the_role_may_not_do_is_disabled_with_the_reason(
    viewer: Client, failed_run: WorkflowRun
) -> None:
    html = page(viewer, failed_run)
    assert "The role viewer may not retry runs." in html
    assert "data-dialog" not in html


def test_a_run_without_engine_says_what_to_do(admin: Client) -> None:
    run = make_run()
    assert "No enabled engine takes the format workflowhub" in page(admin, run)


def test_more_tasks_take_no_more_queries(admin: Client) -> None:
    def asked(number: int) -> int:
        run = make_run(
            make_workflow({f"t{n}": [] for n in range(number)}),
            engine=make_engine(),
            state=RunState.RUNNING,
        )
        with CaptureQueriesContext(connection) as captured:
            page(admin, run)
        return len(captured)

    assert asked(50) == asked(5) <= 10


def test_an_unchanged_poll_asks_for_one_row(
    admin: Client, django_assert_max_num_queries: Callable[..., object]
) -> None:
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    url = reverse("run", args=[run.pk])
    token = admin.get(url).context["token"]
    with django_assert_max_num_queries(4):  # session, user, role, the run
        admin.get(f"{url}?v={token}", headers={"HX-Request": "true"})


def test_a_run_says_until_when_it_may_go_on_and_why_it_is_stopped(admin: Client) -> None:
    soon = timezone.now() + timedelta(minutes=90)
    run = make_run(engine=make_engine(), state=RunState.RUNNING, deadline_at=soon)
    assert "May run until" in page(admin, run)
    WorkflowRun.objects.update(wanted=Wanted.CANCEL, reason=Reason.TIMEOUT)
    html = page(admin, run)
    assert "Canceling" in html
    assert "Ran out of time" in html
