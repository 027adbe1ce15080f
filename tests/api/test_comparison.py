"""/workflow-runs/compare, /workflow-runs/{id}/failure and /workflow-runs/{id}/engine-page."""

from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from engines.adapters.local.adapter import Adapter
from runs.models import TaskRun, WorkflowRun
from runs.states import RunState, TaskState
from tests.factories import make_engine, make_run, make_token, make_workflow
from tests.web.conftest import write_log

pytestmark = pytest.mark.django_db
API = "/api/v1/workflow-runs"


@pytest.fixture
def reader(db: None) -> Client:
    return Client(headers={"authorization": f"Bearer {make_token(role='viewer')}"})


def read(client: Client, path: str, status: int = 200) -> Any:
    answer = client.get(f"{API}/{path}")
    assert answer.status_code == status, answer.content
    return answer.json()


def failed_run(**kw: Any) -> WorkflowRun:
    workflow = make_workflow({"extract": [], "load": ["extract"]}, title="etl")
    engine = make_engine()
    make_run(workflow, engine=engine, state=RunState.COMPLETED, parameters={"depth": 3})
    return make_run(
        workflow,
        engine=engine,
        state=RunState.FAILED,
        parameters={"depth": 4},
        error="KeyError: 'x'",
        error_task="load",
        fingerprint="f" * 64,
        task_states={"extract": TaskState.COMPLETED, "load": TaskState.FAILED},
        **kw,
    )


def test_two_runs_are_compared_as_on_the_page(reader: Client) -> None:
    b = failed_run(result={"rows": 1}, labels={"team": "lab"})
    a = WorkflowRun.objects.get(state=RunState.COMPLETED)
    found = read(reader, f"compare?a={a.pk}&b={b.pk}")
    assert (found["a"]["id"], found["b"]["id"], found["same"]) == (a.pk, b.pk, False)
    assert {"name": "state", "a": "COMPLETED", "b": "FAILED"} in found["facts"]
    assert found["parameters"] == {
        "rows": [{"path": "depth", "kind": "changed", "old": 3, "new": 4}],
        "more": False,
    }
    assert found["labels"]["rows"][0]["path"] == "team"
    assert found["result"]["rows"][0]["kind"] == "changed"
    load = b.task_runs.get(name="load")
    (task,) = (one for one in found["tasks"] if one["task"] == "load")
    assert task["differs"] == ["state"]
    assert task["b"] == {"task_run": load.pk, "state": "FAILED", "seconds": None, "error": ""}


def test_equal_runs_are_the_same(reader: Client) -> None:
    workflow = make_workflow()
    a, b = make_run(workflow), make_run(workflow)
    found = read(reader, f"compare?a={a.pk}&b={b.pk}")
    assert found["same"]
    assert (found["tasks"], found["tasks_same"], found["facts"]) == ([], 2, [])
    assert len(found["not_compared"]) == 2  # neither has ended


@pytest.mark.parametrize("query", ["", "?a=1", "?a=1&b=x", "?a=0&b=1", "?a=1&b=2&c=3"])
def test_two_ids_are_asked_for(reader: Client, query: str) -> None:
    make_run()
    assert read(reader, f"compare{query}", 400)["errors"]


def test_a_run_that_is_not_there_cannot_be_compared(reader: Client, settings: Any) -> None:
    a, b = make_run(), make_run()
    read(reader, f"compare?a={a.pk}&b=999999", 404)
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.api.test_authorisation.SeesNothing"
    read(reader, f"compare?a={a.pk}&b={b.pk}", 404)


def test_a_failure_comes_with_its_root_its_log_and_what_changed(reader: Client) -> None:
    run = failed_run(ended_at=timezone.now())
    other = make_run(run.workflow, state=RunState.FAILED, fingerprint="f" * 64)
    WorkflowRun.objects.filter(pk=other.pk).update(ended_at=run.ended_at)
    load = run.task_runs.get(name="load")
    TaskRun.objects.filter(pk=load.pk).update(error="KeyError: 'x'")
    lines = [f"line {n}" for n in range(1, 101)]
    write_log(load, [*lines, "KeyError: 'x'", "ended", "x" * 1_000_000])
    found = read(reader, f"{run.pk}/failure")
    assert found["error"] == {"task": "load", "line": "KeyError: 'x'", "fingerprint": "f" * 64}
    assert (found["root"]["task"], found["root"]["task_run"]) == ("load", load.pk)
    log = found["root"]["log"]
    assert (log["error_line"], len(log["lines"]), log["trouble"]) == (101, 30, "")
    assert max(len(line["text"]) for line in log["lines"]) <= 600
    assert found["last_success"]["state"] == "COMPLETED"
    assert found["changes"]["parameters"]["rows"][0]["path"] == "depth"
    assert found["similar"]["count"] == 1


def test_runs_that_may_not_be_seen_are_neither_compared_with_nor_counted(
    reader: Client, settings: Any
) -> None:
    run = failed_run()
    make_run(run.workflow, state=RunState.FAILED, fingerprint="f" * 64)
    WorkflowRun.objects.exclude(pk=run.pk).update(note="hidden")
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.web.test_task.HidesSome"
    found = read(reader, f"{run.pk}/failure")
    assert (found["last_success"], found["similar"]["count"]) == (None, 0)


def test_a_run_that_has_not_failed_has_no_failure(reader: Client) -> None:
    found = read(reader, f"{make_run().pk}/failure")
    assert found == {
        "error": None,
        "root": None,
        "last_success": None,
        "changes": None,
        "similar": {"count": 0, "first_at": None, "last_at": None},
    }


def test_the_engines_own_page_is_told(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run(engine=make_engine(), state=RunState.RUNNING, external_id="wh-1")
    assert read(reader, f"{run.pk}/engine-page") == {"url": ""}
    monkeypatch.setattr(Adapter, "link", lambda self, key: f"https://engine.example/{key}")
    assert read(reader, f"{run.pk}/engine-page") == {"url": "https://engine.example/wh-1"}
