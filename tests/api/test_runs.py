"""/workflow-runs: starting, reading, editing."""

import uuid
from datetime import timedelta
from typing import Any

from django.utils import timezone

from runs.models import TaskRun, WorkflowRun
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run, make_workflow


def test_a_run_is_started_and_read(api: Caller) -> None:
    workflow = make_workflow(title="hello", labels={"team": "physics"})
    answer = api.post(
        "workflow-runs",
        {"workflow": {"title": "hello"}, "labels": {"a": "b"}, "parameters": {"n": 1}},
    )
    assert answer.status_code == 201, answer.json()
    body = answer.json()
    assert body["workflow"] == {"id": workflow.pk, "title": "hello", "version": 1}
    assert body["state"] == "PENDING"
    assert body["wanted"] == "RUN"
    assert body["labels"] == [{"key": "a", "value": "b"}, {"key": "team", "value": "physics"}]
    assert body["trigger"] == {"event": "api", "by": api.user.username}
    assert answer["Location"] == f"/api/v1/workflow-runs/{body['id']}"
    assert answer["ETag"] == '"1"'
    assert api.get(f"workflow-runs/{body['id']}").json() == body


def test_unknown_fields_are_refused_with_a_suggestion(api: Caller) -> None:
    answer = api.post("workflow-runs", {"workflow": 1, "parameter": {}})
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    (error,) = answer.json()["errors"]
    assert error["field"] == "parameter"
    assert '"parameters"' in error["detail"]


def test_a_text_is_no_number(api: Caller) -> None:
    workflow = make_workflow()
    answer = api.post("workflow-runs", {"workflow": str(workflow.pk)})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "workflow"


def test_the_same_uuid_is_one_run(api: Caller) -> None:
    workflow = make_workflow()
    body = {"workflow": workflow.pk, "uuid": str(uuid.uuid4())}
    first, second = (api.post("workflow-runs", body).json() for _ in range(2))
    assert first["id"] == second["id"]


def test_a_held_run_waits_for_its_start(api: Caller) -> None:
    workflow = make_workflow()
    held = api.post("workflow-runs", {"workflow": workflow.pk, "start": False}).json()
    assert (held["wanted"], held["reason"]) == ("HOLD", "held")
    started = api.post(f"workflow-runs/{held['id']}/start", {"parameters": {"x": 1}})
    assert started.status_code == 200
    assert started.json()["wanted"] == "RUN"
    assert started.json()["parameters"] == {"x": 1}


def test_cancel_retry_restart_and_mark(api: Caller) -> None:
    run = make_run()
    canceled = api.post(f"workflow-runs/{run.pk}/cancel")
    assert canceled.json()["state"] == "CANCELED"
    assert api.post(f"workflow-runs/{run.pk}/cancel").status_code == 409
    plan = api.post(f"workflow-runs/{run.pk}/retry", {"dry_run": True})
    assert [task["task"] for task in plan.json()["tasks"]] == ["extract", "load"]
    retried = api.post(f"workflow-runs/{run.pk}/retry", {"mode": "all"})
    assert (retried.json()["state"], retried.json()["attempt"]) == ("PENDING", 2)
    marked = api.post(f"workflow-runs/{run.pk}/mark", {"state": "COMPLETED", "note": "by hand"})
    assert (marked.json()["state"], marked.json()["marked"]) == ("COMPLETED", True)
    assert api.post(f"workflow-runs/{run.pk}/restart").json()["attempt"] == 3


def test_a_rerun_is_a_new_run_with_its_predecessor(api: Caller) -> None:
    run = make_run(parameters={"a": 1})
    answer = api.post(f"workflow-runs/{run.pk}/rerun", {"parameters": {"b": 2}})
    assert answer.status_code == 201
    assert answer.json()["previous"] == run.pk
    assert answer.json()["parameters"] == {"a": 1, "b": 2}
    assert answer["Location"] == f"/api/v1/workflow-runs/{answer.json()['id']}"


def test_an_old_version_changes_nothing(api: Caller) -> None:
    run = make_run()
    assert api.patch(f"workflow-runs/{run.pk}", {"note": "x"}).status_code == 200
    late = api.post(f"workflow-runs/{run.pk}/cancel", headers={"if-match": '"1"'})
    assert late.status_code == 412
    assert late.json()["type"].endswith(":stale")
    assert api.get(f"workflow-runs/{run.pk}").json()["wanted"] == "RUN"


def test_task_runs_events_results_and_status(api: Caller) -> None:
    run = make_run()
    rows = api.get(f"workflow-runs/{run.pk}/task-runs").json()["results"]
    assert [row["task"] for row in rows] == ["extract", "load"]
    one = api.get(f"task-runs/{rows[0]['id']}")
    assert one.json() == rows[0]
    events = api.get(f"workflow-runs/{run.pk}/events").json()["results"]
    assert [(event["seq"], event["cause"]) for event in events] == [(1, "create")]
    status: Any = api.get(f"workflow-runs/{run.pk}/status").json()
    assert status["tasks"] == {"PENDING": 2}
    results = api.get(f"workflow-runs/{run.pk}/results").json()
    assert results == {"state": "PENDING", "completed": False, "results": {}, "outputs": None}


def test_results_of_a_mapped_task_are_listed_once_and_in_order(api: Caller) -> None:
    run = make_run()
    for index, result in ((-1, None), (1, "b"), (0, "a")):
        TaskRun.objects.update_or_create(
            run=run, name="load", map_index=index, defaults={"result": result}
        )
    path = f"workflow-runs/{run.pk}/results"
    assert api.get(path).json()["results"] == {"load": ["a", "b"]}
    TaskRun.objects.filter(run=run, name="load", map_index=-1).update(result=["a", "b"])
    assert api.get(path).json()["results"] == {"load": ["a", "b"]}


def test_what_keeps_a_run_from_going_on_is_told_until_it_ends(api: Caller) -> None:
    engine = make_engine()
    engine.observed_at = timezone.now() - timedelta(hours=1)
    engine.save()
    run = make_run(make_workflow(), engine=engine)
    assert api.get(f"workflow-runs/{run.pk}").json()["trouble"] == ""
    WorkflowRun.objects.update(last_error="No connection.")
    body = api.get(f"workflow-runs/{run.pk}").json()
    assert body["trouble"] == "No connection."
    assert body["observed_at"] is None, "no engine has it yet"
    WorkflowRun.objects.update(state="FAILED", ended_at=timezone.now())
    assert api.get(f"workflow-runs/{run.pk}").json()["trouble"] == ""
