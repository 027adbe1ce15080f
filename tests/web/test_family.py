"""Runs inside runs, on the pages of both."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from runs import actions, moves
from runs.models import TaskRun, WorkflowRun
from runs.policy import Actor
from runs.states import RunState, TaskState, Trigger
from tests.factories import make_engine, make_run, make_workflow

Family = tuple[WorkflowRun, TaskRun, list[WorkflowRun]]


@pytest.fixture
def family(db: None) -> Family:
    """A run whose task `load` asked for two more."""
    parent = make_run(engine=make_engine(), state=RunState.RUNNING)
    task = TaskRun.objects.get(run=parent, name="load")
    workflow = make_workflow(title="inner")
    children = [
        actions.start_run(Actor(), workflow, trigger=Trigger.DEPENDENCY, parent_task_run=task)
        for _ in range(2)
    ]
    return parent, task, children


def page(client: Client, name: str, *keys: int) -> str:
    return client.get(reverse(name, args=keys)).content.decode()


def test_a_run_says_which_step_of_which_run_started_it(viewer: Client, family: Family) -> None:
    parent, task, (child, _) = family
    html = page(viewer, "run", child.pk)
    assert (
        f'<b>Started by</b> step <a class="mono" href="/runs/{parent.pk}/tasks/{task.pk}/">load</a> '
        f'of run <a href="/runs/{parent.pk}/">#{parent.pk}</a>'
    ) in html
    assert "another run" not in html  # said better already
    assert "Started by</b>" not in page(viewer, "run", parent.pk)


def test_a_task_s_row_and_page_lead_to_the_runs_that_it_asked_for(
    viewer: Client, family: Family
) -> None:
    parent, task, (first, second) = family
    row = page(viewer, "run", parent.pk)
    assert row.index(f'href="/runs/{first.pk}/"') < row.index(f'href="/runs/{second.pk}/"')
    html = page(viewer, "task", parent.pk, task.pk)
    assert f'<b>Started</b> <a href="/runs/{second.pk}/">run #{second.pk}</a>' in html
    assert "and 1 before" in html
    assert f"#{first.pk} inner</a>" in html


def test_why_a_run_failed_leads_to_the_run_that_failed_first(
    viewer: Client, family: Family
) -> None:
    parent, task, (_, last) = family
    TaskRun.objects.filter(pk=task.pk).update(state=TaskState.FAILED, error="Run 2 failed.")
    WorkflowRun.objects.filter(pk=parent.pk).update(state=RunState.FAILED, error_task="load")
    html = page(viewer, "run", parent.pk)
    assert f'<a href="/runs/{last.pk}/">Run #{last.pk}</a>' in html


def test_a_task_s_page_is_fresh_again_when_a_run_that_it_asked_for_changes(
    viewer: Client, family: Family
) -> None:
    parent, task, (child, _) = family
    url = reverse("task", args=[parent.pk, task.pk])
    token = viewer.get(url).context["token"]
    poll = {"headers": {"HX-Request": "true"}}
    assert viewer.get(url, {"v": token}, **poll).status_code == 204
    actions.edit_run(Actor(), child, note="Look at this one.")
    assert viewer.get(url, {"v": token}, **poll).status_code == 200


def test_a_run_that_was_called_off_says_why(viewer: Client, family: Family) -> None:
    parent, _, (child, other) = family
    actions.stop_run(child, moves.RECONCILER, f"Canceled because run {parent.pk} was canceled.")
    actions.cancel_run(Actor(), other)
    assert f"Canceled because run {parent.pk} was canceled." in page(viewer, "run", child.pk)
    assert "Canceled because" not in page(viewer, "run", other.pk)


class OnlyOne:
    """Sees runs of one workflow: of `inner`, or of all others."""

    inner = True

    def allow(self, user: Any, action: Any, obj: Any) -> bool:
        return True

    def visible(self, user: Any, queryset: Any) -> Any:
        if queryset.model is not WorkflowRun:
            return queryset
        inner = queryset.filter(workflow__title="inner")
        return inner if self.inner else queryset.exclude(workflow__title="inner")


def test_neither_side_shows_a_run_that_the_visitor_may_not_see(
    viewer: Client, family: Family, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent, task, (child, _) = family
    settings.WORKFLOWHUB_PERMISSION_FACTORY = f"{__name__}.OnlyOne"
    assert f"/runs/{parent.pk}/" not in page(viewer, "run", child.pk)
    monkeypatch.setattr(OnlyOne, "inner", False)
    for html in (page(viewer, "run", parent.pk), page(viewer, "task", parent.pk, task.pk)):
        assert f"/runs/{child.pk}/" not in html
