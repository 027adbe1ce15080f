"""/workflows/{id}/grid and /task-runs/{id}/history."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from runs.models import TaskRun, WorkflowRun
from runs.states import RunState, TaskState
from tests.factories import make_run, make_token, make_workflow

pytestmark = pytest.mark.django_db
NOW = timezone.now()


@pytest.fixture
def reader(db: None) -> Client:
    return Client(headers={"authorization": f"Bearer {make_token(role='viewer')}"})


def read(client: Client, path: str) -> Any:
    answer = client.get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.content
    return answer.json()


def ran(workflow: Any, state: TaskState) -> WorkflowRun:
    run = make_run(
        workflow,
        state=RunState.COMPLETED if state == TaskState.COMPLETED else RunState.FAILED,
        started_at=NOW,
        ended_at=NOW + timedelta(seconds=8),
    )
    times = {"started_at": NOW, "ended_at": NOW + timedelta(seconds=4)}
    TaskRun.objects.filter(run=run, name="a").update(state=state, **times)
    return run


def test_the_grid_holds_what_the_page_shows(reader: Client) -> None:
    old = make_workflow({"a": []}, title="etl", version=1, latest=False)
    new = make_workflow({"a": [], "b": []}, title="etl", version=2)
    runs = [ran(old, TaskState.COMPLETED), ran(new, TaskState.FAILED)]
    found = read(reader, f"workflows/{old.pk}/grid")
    assert found["workflow"] == "etl"
    assert [(run["id"], run["version"], run["state"]) for run in found["runs"]] == [
        (runs[0].pk, 1, "COMPLETED"),
        (runs[1].pk, 2, "FAILED"),
    ]
    assert found["runs"][0]["seconds"] == 8.0
    a, b = found["tasks"]
    assert (a["task"], a["ran"], a["failed"], a["troubled"], a["median_seconds"]) == (
        *("a", 2, 1, 1),
        4.0,
    )
    assert [cell["run"] for cell in a["cells"]] == [run.pk for run in runs]
    assert [cell["run"] for cell in b["cells"]] == [runs[1].pk]
    assert (found["slowest"], found["flakiest"], found["more_tasks"]) == (["a"], ["a"], False)
    assert found["figures"] == {
        "runs": 2,
        "completed": 1,
        "failed": 1,
        "rate": 0.5,
        "p50": 8.0,
        "p95": 8.0,
        "lasting": False,
    }


def test_the_grid_of_a_workflow_that_never_ran_is_empty(reader: Client) -> None:
    found = read(reader, f"workflows/{make_workflow().pk}/grid")
    assert (found["runs"], found["tasks"], found["figures"]["rate"]) == ([], [], None)


def test_the_history_of_a_task_has_a_gap_where_a_run_has_not_got_it(reader: Client) -> None:
    first = make_run(make_workflow({"b": []}, title="etl", version=1, latest=False))
    second = ran(make_workflow({"a": []}, title="etl", version=2), TaskState.FAILED)
    task = second.task_runs.get(name="a")
    found = read(reader, f"task-runs/{task.pk}/history")
    assert [(one["run"], one["task_run"], one["state"]) for one in found] == [
        (first.pk, None, None),
        (second.pk, task.pk, "FAILED"),
    ]
    assert (found[1]["version"], found[1]["seconds"], found[1]["try_number"]) == (2, 4.0, 1)
