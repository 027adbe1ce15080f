"""The page of a run with more tasks than it lists."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from runs.models import TaskRun, WorkflowRun
from runs.states import RunState, TaskState
from runs.web.pages import run as run_page
from tests.factories import make_engine, make_run, make_workflow


@pytest.fixture
def mapped_run(monkeypatch: pytest.MonkeyPatch) -> WorkflowRun:
    """Of a mapped task with 30 items and one behind it, on a page that lists ten."""
    monkeypatch.setattr(run_page, "TASKS", 10)
    run = make_run(
        make_workflow({"each": [], "last": ["each"]}),
        engine=make_engine(),
        state=RunState.FAILED,
        task_states={"each": TaskState.FAILED, "last": TaskState.UPSTREAM_FAILED},
    )
    each = run.task_runs.get(name="each")
    for index in range(30):
        failed = index in {20, 25}
        TaskRun.objects.create(
            run=run,
            task=each.task,
            name="each",
            map_index=index,
            state=TaskState.FAILED if failed else TaskState.COMPLETED,
            error=f"Item {index} went wrong." if failed else "",
            ended_at=timezone.now(),
        )
    TaskRun.objects.filter(pk=each.pk).update(ended_at=timezone.now())
    return run


def page(client: Client, run: WorkflowRun, tab: str) -> str:
    response = client.get(f"{reverse('run', args=[run.pk])}?tab={tab}")
    assert response.status_code == 200
    return str(response.content.decode())


def test_it_counts_all_of_them_and_shows_what_failed_first(
    admin: Client, mapped_run: WorkflowRun
) -> None:
    html = page(admin, mapped_run, "tasks")
    assert "28 completed" in html
    assert "3 failed" in html
    assert '<span class="count">32</span>' in html
    assert "Item 20 went wrong." in html
    assert ">each[9]<" not in html


def test_its_graph_shows_every_task(admin: Client, mapped_run: WorkflowRun) -> None:
    html = page(admin, mapped_run, "graph")
    assert "last: upstream_failed" in html
    assert "30/30" in html


def test_it_costs_three_queries_at_most(
    admin: Client, mapped_run: WorkflowRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    page(admin, mapped_run, "graph")  # the first one logs in
    with CaptureQueriesContext(connection) as few:
        page(admin, mapped_run, "graph")
    monkeypatch.setattr(run_page, "TASKS", 100)
    with CaptureQueriesContext(connection) as all_of_them:
        page(admin, mapped_run, "graph")
    assert len(few) - len(all_of_them) <= 3


def listed(html: str) -> list[str]:
    """The tasks of the table, in its order."""
    return re.findall(r'<tr data-row id="task-\d+">.*?<span class="cut">([^\s<]+)', html, re.DOTALL)


def test_the_others_are_on_further_pages(admin: Client, mapped_run: WorkflowRun) -> None:
    pages = [listed(page(admin, mapped_run, f"tasks&skip={skip}")) for skip in (0, 10, 20, 30)]
    assert [len(one) for one in pages] == [10, 10, 10, 2]
    assert len({name for one in pages for name in one}) == 32
    first = page(admin, mapped_run, "tasks")
    assert "&amp;skip=10" in first
    assert ">Before<" not in first
    assert "&amp;skip=20" in page(admin, mapped_run, "tasks&skip=30")


def test_tasks_of_one_state_are_listed_alone(admin: Client, mapped_run: WorkflowRun) -> None:
    html = page(admin, mapped_run, "tasks&show=FAILED")
    assert listed(html) == ["each", "each[20]", "each[25]"]
    assert "28 completed" in html
    assert f"{reverse('run', args=[mapped_run.pk])}?show=FAILED" in page(admin, mapped_run, "tasks")


def test_nonsense_lists_all_and_a_page_too_far_says_so(
    admin: Client, mapped_run: WorkflowRun
) -> None:
    for query in ("tasks&show=NONE", "tasks&skip=-1", "tasks&skip=x", "tasks&skip=\u0661"):
        assert len(listed(page(admin, mapped_run, query))) == 10, query
    for query in ("tasks&skip=9999999", "tasks&show=RUNNING"):
        html = page(admin, mapped_run, query)
        assert "No task of this run is here." in html
        assert "Why it failed" in html


def test_a_run_of_two_thousand_tasks_is_a_page_of_bounded_size(admin: Client) -> None:
    workflow = make_workflow({}, title="many")
    run = make_run(workflow, engine=make_engine(), state=RunState.COMPLETED)
    TaskRun.objects.bulk_create(
        TaskRun(run=run, name=f"task-{n:04}", state=TaskState.COMPLETED) for n in range(2000)
    )
    html = page(admin, run, "tasks")
    assert len(listed(html)) == run_page.TASKS
    assert len(html) < 300_000


def test_a_poll_keeps_the_page_and_the_state(admin: Client, mapped_run: WorkflowRun) -> None:
    WorkflowRun.objects.update(state=RunState.RUNNING)
    html = page(admin, mapped_run, "tasks&show=COMPLETED&skip=10")
    assert "?tab=tasks&amp;show=COMPLETED&amp;skip=10&amp;v=" in html
