"""How a workflow's last runs went, and what changed between its versions, on its page."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from runs.models import TaskRun, Workflow, WorkflowPace
from runs.states import RunState, TaskState
from tests.factories import make_engine, make_run, make_workflow


def page(client: Client, title: str = "etl", **query: Any) -> str:
    response = client.get(reverse("workflow", args=[title]), query)
    assert response.status_code == 200
    return str(response.content.decode())


def ran(workflow: Workflow, state: RunState, seconds: float = 5, **kw: Any) -> Any:
    start = timezone.now()
    times = {"started_at": start, "ended_at": start + timedelta(seconds=seconds)}
    return make_run(workflow, engine=kw.pop("engine", None), state=state, **times, **kw)


def test_a_workflow_that_never_ran_has_no_strip_and_no_figures(viewer: Client) -> None:
    make_workflow(title="etl")
    html = page(viewer)
    assert "h-last" not in html
    assert "It never ran." in page(viewer, tab="grid")


def test_one_run_is_a_strip_of_one(viewer: Client) -> None:
    run = ran(make_workflow(title="etl"), RunState.COMPLETED)
    html = page(viewer)
    assert "Last 1 run<" in html
    assert f'title="Run {run.pk}: completed, 5.0 s"' in html
    assert "<b>100 %</b>" in html


def test_the_last_runs_of_all_versions_are_told_by_word_icon_and_length(viewer: Client) -> None:
    one = make_workflow(title="etl", version=1, latest=False)
    two = make_workflow(title="etl", version=2)
    failed = ran(one, RunState.FAILED, 5)
    longest = ran(two, RunState.COMPLETED, 10)
    html = page(viewer)
    assert html.index(f"Run {failed.pk}: failed, 5.0 s") < html.index(f"Run {longest.pk}: comp")
    assert 'height="14"' in html and 'height="28"' in html
    assert "#i-circle-x" in html
    assert "<b>50 %</b>" in html
    assert "1 of 2 that completed or failed" in html


def test_the_pace_that_is_kept_is_shown(viewer: Client) -> None:
    ran(make_workflow(title="etl"), RunState.COMPLETED)
    WorkflowPace.objects.create(workflow="etl", p50=61, p95=3_600)
    html = page(viewer)
    assert "1 m 01 s" in html and "1 h 00 m" in html
    assert "the newest runs counting most" in html


def test_the_grid_has_a_link_for_each_task_in_each_run(viewer: Client) -> None:
    workflow = make_workflow({"extract": [], "load": ["extract"]}, title="etl")
    runs = [
        ran(workflow, RunState.COMPLETED, task_states=dict.fromkeys(("extract", "load"), state))
        for state in (TaskState.COMPLETED, TaskState.FAILED)
    ]
    html = page(viewer, tab="grid")
    for run in runs:
        assert html.count(f'href="{reverse("run", args=[run.pk])}"') >= 2  # strip and column
        for task in run.task_runs.all():
            assert reverse("task", args=[run.pk, task.pk]) in html
    assert 'scope="row"' in html
    assert f"#{runs[1].pk}: failed" in html
    assert "1 of 2" in html  # flaky


def test_the_grid_of_a_run_that_is_active_keeps_itself_fresh(viewer: Client) -> None:
    make_run(make_workflow(title="etl"), engine=make_engine(), state=RunState.RUNNING)
    response = viewer.get(reverse("workflow", args=["etl"]), {"tab": "grid"})
    assert 'hx-trigger="every 1s"' in response.content.decode()
    again = {"tab": "grid", "v": response.context["token"]}
    url = reverse("workflow", args=["etl"])
    assert viewer.get(url, again, headers={"HX-Request": "true"}).status_code == 204


def test_more_runs_and_tasks_take_no_more_queries(viewer: Client) -> None:
    def asked(title: str, runs: int, tasks: int) -> int:
        workflow = make_workflow({f"t{n}": [] for n in range(tasks)}, title=title)
        for _ in range(runs):
            ran(workflow, RunState.COMPLETED)
        page(viewer, title, tab="grid")
        with CaptureQueriesContext(connection) as captured:
            page(viewer, title, tab="grid")
        return len(captured)

    assert asked("small", 1, 1) == asked("large", 6, 60) <= 13


def versions(*definitions: str) -> None:
    for at, text in enumerate(definitions, start=1):
        last = at == len(definitions)
        make_workflow(title="etl", version=at, latest=last, definition=text)


def test_two_versions_are_compared_with_signs_and_words(viewer: Client) -> None:
    versions("title: etl\nn: 1\n", "title: etl\nn: 2\n", "title: etl\nn: 2\nm: 3\n")
    html = page(viewer, diff="1..2")
    assert "1 line added, 1 removed" in html
    assert 'class="minus"' in html and "removed: </span><code>n: 1</code>" in html
    assert 'class="plus"' in html and "added: </span><code>n: 2</code>" in html
    assert "m: 3" not in html
    assert "diff=2..3" in html  # beside the newest version


def test_the_form_leads_to_the_address_of_a_difference(viewer: Client) -> None:
    versions("a", "b")
    response = viewer.get(reverse("workflow", args=["etl"]), {"old": "1", "new": "2"})
    assert response.status_code == 302
    assert response["Location"].endswith("?tab=versions&diff=1..2")


def test_equal_definitions_are_told_so(viewer: Client) -> None:
    versions("a", "a")
    assert "Their definitions are the same." in page(viewer, diff="1..2")
    assert "it is one version" in page(viewer, diff="2..2")


@pytest.mark.parametrize("diff", ["1", "x..y", "1..2..3", "1..9", "99999999999..1", "-1..2"])
def test_a_pair_that_makes_no_sense_is_told(viewer: Client, diff: str) -> None:
    versions("a", "b")
    assert 'role="alert"' in page(viewer, diff=diff)


def test_a_lone_version_offers_no_comparison(viewer: Client) -> None:
    versions("a")
    html = page(viewer, tab="versions")
    assert "Show what changed" not in html
    assert "diff=" not in html


def test_hostile_names_and_definitions_stay_text(viewer: Client) -> None:
    nasty = "</code><script>alert(1)</script>\u202e\x1b[31m"
    versions("a", f"a\n{nasty}")
    html = page(viewer, diff="1..2")
    run = make_run(make_workflow({nasty: []}, title="nasty"))
    TaskRun.objects.filter(run=run).update(state=TaskState.FAILED)
    html += page(viewer, "nasty", tab="grid")
    assert "<script>alert" not in html
    assert "\u202e" not in html and "\x1b" not in html
    assert html.count("\\u202e") >= 2
