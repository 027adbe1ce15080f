"""If-Match is described where it is obeyed, and obeyed where it is described."""

from typing import Any

import pytest
import yaml

from runs.models import SavedView, WorkflowRun
from tests.api.conftest import Caller
from tests.api.test_schema import COMMITTED, Loader
from tests.factories import make_engine, make_run, make_secret, make_user, make_variable

TASK_STATES = {"extract": "COMPLETED", "load": "FAILED"}
# Path -> method -> a body that would be taken.
OBEYED: dict[str, dict[str, Any]] = {
    "workflows/{id}": {"patch": {"paused": True}},
    "workflows/{id}/redeploy": {"post": {}},
    "workflow-runs/{id}": {"patch": {"note": "x"}},
    "workflow-runs/{id}/start": {"post": {}},
    "workflow-runs/{id}/cancel": {"post": {}},
    "workflow-runs/{id}/retry": {"post": {"mode": "all"}},
    "workflow-runs/{id}/restart": {"post": {}},
    "workflow-runs/{id}/rerun": {"post": {}},
    "workflow-runs/{id}/mark": {"post": {"state": "FAILED", "note": "x"}},
    "task-runs/{id}/cancel": {"post": {}},
    "task-runs/{id}/retry": {"post": {}},
    "task-runs/{id}/mark": {"post": {"state": "FAILED", "note": "x"}},
    "engines/{id}": {"patch": {"priority": 7}, "delete": None},
    "saved-views/{id}": {"patch": {"name": "Mine"}, "delete": None},
    "secrets/{id}": {"patch": {"description": "x"}, "delete": None},
    "variables/{id}": {"patch": {"description": "x"}, "delete": None},
    "housekeeping/force-state": {"post": {"state": "FAILED", "note": "x"}},
    "housekeeping/{kind}/{id}": {"patch": {"set": {"note": "x"}}},
}


@pytest.fixture
def ids(db: Any) -> dict[str, int]:
    """Kind -> the id of one that may be changed."""
    run = make_run(state="FAILED", task_states=TASK_STATES)
    return {
        "workflows": run.workflow_id,
        "workflow-runs": run.pk,
        "task-runs": run.task_runs.get(name="load").pk,
        "engines": make_engine("local").pk,
        "saved-views": SavedView.objects.create(user=make_user(), name="Failed", shared=True).pk,
        "secrets": make_secret().pk,
        "variables": make_variable().pk,
        "housekeeping": run.pk,
    }


def described() -> set[tuple[str, str]]:
    schema = yaml.load(COMMITTED.read_text(), Loader)
    return {
        (path.removeprefix("/api/v1/"), method)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if any(one["name"] == "If-Match" for one in operation.get("parameters", ()))
    }


def test_it_is_described_where_it_is_obeyed() -> None:
    assert described() == {(path, m) for path, methods in OBEYED.items() for m in methods}


@pytest.mark.parametrize(("path", "method"), [(p, m) for p, all_ in OBEYED.items() for m in all_])
def test_a_stale_one_is_412_and_changes_nothing(
    api: Caller, ids: dict[str, int], path: str, method: str
) -> None:
    url = path.format(id=ids[path.partition("/")[0]], kind="workflow-runs")
    body = OBEYED[path][method]
    bodies = [body]
    if path == "housekeeping/force-state":
        bodies = [{**body, "run": ids["workflow-runs"]}, {**body, "task_run": ids["task-runs"]}]
    before = list(WorkflowRun.objects.values())
    for one in bodies:
        given = [] if one is None else [one]
        answer = getattr(api, method)(url, *given, headers={"if-match": '"999"'})
        assert answer.status_code == 412, answer.content
        assert answer.json()["type"] == "urn:workflowhub:problem:stale"
        assert list(WorkflowRun.objects.values()) == before
