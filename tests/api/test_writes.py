"""What every view that changes something has in common: GET is refused, read-only callers are, and of
two who change at once one wins and the other gets the fresh state."""

from collections.abc import Callable
from typing import Any

import pytest

from runs.actions import attempts, marks, runs
from runs.models import WorkflowRun
from runs.states import Wanted
from tests.api.conftest import Caller
from tests.factories import make_run

ACTIONS = {
    "start": {},
    "cancel": {},
    "retry": {"mode": "all"},
    "restart": {},
    "rerun": {},
    "mark": {"state": "FAILED", "note": "x"},
}


@pytest.mark.parametrize("action", ACTIONS)
def test_get_is_refused(api: Caller, action: str) -> None:
    answer = api.get(f"workflow-runs/{make_run().pk}/{action}")
    assert answer.status_code == 405
    assert "GET" not in answer["Allow"]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_viewer_may_look_and_not_touch(caller: Callable[..., Caller], action: str) -> None:
    run = make_run()
    viewer = caller("viewer")
    assert viewer.get(f"workflow-runs/{run.pk}").status_code == 200
    answer = viewer.post(f"workflow-runs/{run.pk}/{action}", ACTIONS[action])
    assert answer.status_code == 403
    assert "Ask an administrator" in answer.json()["detail"]
    assert WorkflowRun.objects.get(pk=run.pk).version == run.version


@pytest.mark.parametrize("action", ACTIONS)
def test_unknown_fields_are_refused(api: Caller, action: str) -> None:
    run = make_run()
    answer = api.post(f"workflow-runs/{run.pk}/{action}", {**ACTIONS[action], "force": True})
    assert answer.json()["errors"][0]["field"] == "force"
    assert WorkflowRun.objects.get(pk=run.pk).version == run.version


@pytest.mark.parametrize("action", ["start", "cancel", "retry", "restart", "mark"])
def test_the_loser_of_a_race_gets_409_and_the_fresh_state(
    api: Caller, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {} if action in {"start", "cancel"} else {"state": "FAILED"}
    run = make_run(hold=action == "start", **state)

    def somebody_is_quicker(*_: Any) -> None:
        WorkflowRun.objects.filter(pk=run.pk).update(version=run.version + 1, attempt=7)

    # Called when the run has been read and nothing is written yet.
    for module in (attempts, marks, runs):
        monkeypatch.setattr(module, "check_version", somebody_is_quicker)
    answer = api.post(f"workflow-runs/{run.pk}/{action}", ACTIONS[action])
    assert answer.status_code == 409, answer.content
    body = answer.json()
    assert body["type"] == "urn:workflowhub:problem:conflict"
    assert (body["current"]["attempt"], body["current"]["version"]) == (7, run.version + 1)


def test_a_double_click_has_one_effect(api: Caller) -> None:
    run = make_run(state="RUNNING")
    first = api.post(f"workflow-runs/{run.pk}/cancel").json()
    second = api.post(f"workflow-runs/{run.pk}/cancel").json()
    assert first == second
    assert first["wanted"] == Wanted.CANCEL
    held = make_run(hold=True)
    assert api.post(f"workflow-runs/{held.pk}/start").status_code == 200
    again = api.post(f"workflow-runs/{held.pk}/start")
    assert (again.status_code, again.json()["version"]) == (200, 2)


def test_a_wrong_if_match_is_named_and_a_star_takes_any(api: Caller) -> None:
    run = make_run()
    url = f"workflow-runs/{run.pk}"
    wrong = api.patch(url, {"note": "a"}, headers={"if-match": "3"})
    assert wrong.json()["errors"][0]["field"] == "If-Match"
    assert api.patch(url, {"note": "a"}, headers={"if-match": "*"}).status_code == 200
    several = api.patch(url, {"note": "b"}, headers={"if-match": '"1", "2"'})
    assert several.status_code == 200


def test_one_task_is_canceled_retried_and_marked(api: Caller) -> None:
    run = make_run(state="FAILED", task_states={"extract": "COMPLETED", "load": "FAILED"})
    load = run.task_runs.get(name="load")
    plan = api.post(f"task-runs/{load.pk}/retry", {"dry_run": True}).json()
    assert [task["task"] for task in plan["tasks"]] == ["load"]
    extract = run.task_runs.get(name="extract")
    below = api.post(f"task-runs/{extract.pk}/retry", {"dry_run": True, "downstream": True}).json()
    assert [task["task"] for task in below["tasks"]] == ["extract", "load"]
    assert api.post(f"task-runs/{load.pk}/cancel").status_code == 409
    marked = api.post(f"task-runs/{load.pk}/mark", {"state": "SKIPPED", "note": "not needed"})
    assert (marked.json()["state"], marked.json()["marked"]) == ("SKIPPED", True)
    assert marked["ETag"] == f'"{marked.json()["version"]}"'
    retried = api.post(f"task-runs/{extract.pk}/retry")
    assert (retried.status_code, retried.json()["attempt"]) == (200, 2)


def test_tasks_are_named_in_three_ways(api: Caller) -> None:
    run = make_run(state="FAILED")
    run.task_runs.filter(name="load").update(map_index=0)
    run.task_runs.create(name="load", map_index=1)
    url = f"workflow-runs/{run.pk}/retry"
    for tasks, number in (
        (["load"], 2),
        (["load[1]"], 1),
        ([{"task": "load", "map_index": 0}], 1),
        ([{"task": "load"}], 2),
    ):
        body = {"mode": "task", "tasks": tasks, "dry_run": True}
        assert len(api.post(url, body).json()["tasks"]) == number, tasks
    unknown = api.post(url, {"mode": "task", "tasks": ["nothing"], "dry_run": True})
    assert unknown.json()["errors"][0]["field"] == "tasks"
    wrong = api.post(url, {"mode": "task", "tasks": [1], "dry_run": True})
    assert wrong.status_code == 400
