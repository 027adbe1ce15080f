"""What the API tells of runs that other runs asked for."""

import pytest

from runs import actions
from runs.models import TaskRun
from runs.policy import Actor
from runs.states import RunState, Trigger
from tests.factories import make_run, make_workflow

pytestmark = pytest.mark.django_db


@pytest.fixture
def family():
    """A run whose task `load` asked for two more."""
    parent = make_run()
    task = TaskRun.objects.get(run=parent, name="load")
    workflow = make_workflow(title="inner")
    children = [
        actions.start_run(Actor(), workflow, trigger=Trigger.DEPENDENCY, parent_task_run=task)
        for _ in range(2)
    ]
    return parent, task, children


def test_a_run_names_the_run_and_the_task_that_asked_for_it(api, family):
    parent, task, (child, _) = family
    body = api.get(f"workflow-runs/{child.pk}").json()
    assert body["parent"] == {"run": parent.pk, "task_run": task.pk}
    assert body["trigger"]["event"] == Trigger.DEPENDENCY
    assert api.get(f"workflow-runs/{parent.pk}").json()["parent"] is None


def test_a_task_run_lists_the_runs_that_it_asked_for(api, family):
    parent, task, children = family
    told = [
        {"id": child.pk, "uuid": str(child.uuid), "state": RunState.PENDING} for child in children
    ]
    assert api.get(f"task-runs/{task.pk}").json()["child_runs"] == told
    rows = api.get(f"workflow-runs/{parent.pk}/task-runs").json()["results"]
    assert {row["task"]: row["child_runs"] for row in rows} == {"extract": [], "load": told}


def test_runs_are_found_by_the_run_that_asked_for_them(api, family):
    parent, _, children = family
    found = api.get(f"workflow-runs?parent={parent.pk}").json()["results"]
    assert [run["id"] for run in found] == [child.pk for child in reversed(children)]
    assert api.get(f"workflow-runs?parent={children[0].pk}").json()["results"] == []
    assert api.get("workflow-runs?parent=x").status_code == 400


class OnlyOuter:
    """Sees no run of the workflow `inner`."""

    def allow(self, user, action, obj):
        return True

    def visible(self, user, queryset):
        titles = {"WorkflowRun": "workflow__title", "Workflow": "title"}
        column = titles.get(queryset.model.__name__)
        return queryset.exclude(**{column: "inner"}) if column else queryset


def test_a_task_run_leaves_out_runs_that_the_caller_may_not_see(api, family, settings):
    settings.WORKFLOWHUB_PERMISSION_FACTORY = f"{__name__}.OnlyOuter"
    _, task, _ = family
    assert api.get(f"task-runs/{task.pk}").json()["child_runs"] == []
