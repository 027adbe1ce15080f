"""The page of a run with more tasks than it lists."""

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
