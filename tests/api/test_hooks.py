"""Hooks over the REST API: told as such, filtered by kind, and outside what is asked of the tasks."""

import json
from typing import Any

import pytest

from runs.models import TaskRun, WorkflowRun
from runs.states import RunState, TaskState
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run, make_workflow


@pytest.fixture
def hook(db: None) -> TaskRun:
    """The hook that goes on of a run that has ended."""
    run = make_run(
        make_workflow({"a": []}),
        engine=make_engine(),
        state=RunState.COMPLETED,
        task_states={"a": "COMPLETED"},
    )
    return TaskRun.objects.create(
        run=run,
        name="on_success",
        kind=TaskRun.Kind.HOOK,
        state=TaskState.RUNNING,
        result={"so": "far"},
    )


def names(answer: Any) -> list[str]:
    return [task["task"] for task in answer.json()["results"]]


def test_task_runs_say_their_kind_and_are_filtered_by_it(api: Caller, hook: TaskRun) -> None:
    path = f"workflow-runs/{hook.run_id}/task-runs"
    answer = api.get(path)
    assert {task["task"]: task["kind"] for task in answer.json()["results"]} == {
        "a": "task",
        "on_success": "hook",
    }
    assert names(api.get(f"{path}?kind=hook")) == ["on_success"]
    assert names(api.get(f"{path}?kind=task")) == ["a"]
    assert api.get(f"{path}?kind=neither").status_code == 400
    assert api.get(f"task-runs/{hook.pk}").json()["kind"] == "hook"


def test_a_workflow_tells_its_hooks(api: Caller) -> None:
    make_engine("local")
    tell = {"handler": "input", "display_name": "Tell somebody"}
    definition = {
        "title": "hooked",
        "steps": [{"name": "a", "handler": "input", "on_failure": tell}],
        "on_success": {"handler": "output"},
    }
    hooks = [
        {"name": "a.on_failure", "display_name": "Tell somebody", "type": "input"},
        {"name": "on_success", "display_name": "", "type": "output"},
    ]
    said = api.post("workflows/validate", {"definition": json.dumps(definition)}).json()
    assert (said["hooks"], [task["name"] for task in said["tasks"]]) == (hooks, ["a"])
    posted = api.post("workflows", {"definition": json.dumps(definition)}).json()
    assert posted["hooks"] == hooks
    assert [task["name"] for task in posted["tasks"]] == ["a"]
    assert api.get(f"workflows/{posted['id']}").json()["hooks"] == hooks


def test_status_and_results_are_those_of_the_tasks(api: Caller, hook: TaskRun) -> None:
    status = api.get(f"workflow-runs/{hook.run_id}/status").json()
    assert (status["state"], status["final"], status["tasks"]) == (
        "COMPLETED",
        True,
        {"COMPLETED": 1},
    )
    assert api.get(f"workflow-runs/{hook.run_id}/results").json()["results"] == {}


def test_a_hook_is_canceled_after_the_end_but_its_run_is_not(api: Caller, hook: TaskRun) -> None:
    assert api.post(f"workflow-runs/{hook.run_id}/cancel").status_code == 409
    answer = api.post(f"task-runs/{hook.pk}/cancel")
    assert (answer.status_code, answer.json()["wanted"]) == (200, "CANCEL")
    run = WorkflowRun.objects.get(pk=hook.run_id)
    assert (run.state, run.next_check_at is not None) == (RunState.COMPLETED, True)


@pytest.mark.parametrize("dry_run", [True, False])
def test_no_hook_is_retried_by_itself(api: Caller, hook: TaskRun, dry_run: bool) -> None:
    answer = api.post(f"task-runs/{hook.pk}/retry", {"dry_run": dry_run})
    assert answer.status_code == 400
    assert "on_success is a hook: it begins anew" in str(answer.json())
    assert WorkflowRun.objects.get(pk=hook.run_id).attempt == 1


def test_a_retry_of_everything_lists_no_hook(api: Caller, hook: TaskRun) -> None:
    answer = api.post(f"workflow-runs/{hook.run_id}/retry", {"mode": "all", "dry_run": True})
    assert [task["task"] for task in answer.json()["tasks"]] == ["a"]


def test_a_hook_is_hidden_and_refused_like_any_task(caller: Any, hook: TaskRun) -> None:
    assert caller("viewer").post(f"task-runs/{hook.pk}/cancel").status_code == 403
    assert caller("viewer").post(f"task-runs/{hook.pk}/retry").status_code == 403
    assert TaskRun.objects.get(pk=hook.pk).wanted == "RUN"
