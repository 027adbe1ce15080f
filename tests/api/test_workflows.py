"""/workflows: posting, validating, reading, editing."""

from typing import Any

from runs.models import Workflow
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run, make_workflow

TEXT = """\
title: hello
labels: {team: physics}
steps:
  - name: first
    handler: sleep
    with: {seconds: 0}
  - name: second
    handler: sleep
    needs: [first]
    with: {seconds: 0}
"""
CYCLE = TEXT.replace("handler: sleep\n    with", "handler: sleep\n    needs: [second]\n    with", 1)


def test_a_workflow_is_posted_and_read(api: Caller) -> None:
    answer = api.post("workflows", {"definition": TEXT, "labels": [{"key": "a", "value": "b"}]})
    assert answer.status_code == 201, answer.json()
    body = answer.json()
    assert (body["title"], body["version"], body["format"]) == ("hello", 1, "workflowhub")
    assert body["state"] == "ready"
    assert body["labels"] == [{"key": "a", "value": "b"}, {"key": "team", "value": "physics"}]
    assert [(task["name"], task["downstream"]) for task in body["tasks"]] == [
        ("first", ["second"]),
        ("second", []),
    ]
    assert body["definition"] == TEXT
    assert answer["Location"] == f"/api/v1/workflows/{body['id']}"
    assert api.get(f"workflows/{body['id']}").json() == body


def test_the_same_content_again_is_the_same_version(api: Caller) -> None:
    first = api.post("workflows", {"definition": TEXT})
    second = api.post("workflows", {"definition": TEXT})
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    third = api.post("workflows", {"definition": TEXT + "# changed\n"})
    assert third.json()["version"] == 2
    assert [row["version"] for row in api.get("workflows?title=hello").json()["results"]] == [2, 1]


def test_a_wrong_definition_is_refused_with_its_lines(api: Caller) -> None:
    answer = api.post("workflows", {"definition": CYCLE, "format": "workflowhub"})
    assert answer.status_code == 400
    (error, *_) = answer.json()["errors"]
    assert error["field"] == "definition"
    assert error["line"] > 0
    assert not Workflow.objects.exists()


def test_validation_has_no_side_effects(api: Caller) -> None:
    good = api.post("workflows/validate", {"definition": TEXT})
    assert good.json()["valid"] is True
    assert [task["name"] for task in good.json()["tasks"]] == ["first", "second"]
    bad = api.post("workflows/validate", {"definition": CYCLE, "format": "workflowhub"})
    assert bad.status_code == 200
    assert bad.json()["valid"] is False
    assert bad.json()["problems"][0]["line"] > 0
    assert not Workflow.objects.exists()


def test_a_definition_may_be_an_object(api: Caller) -> None:
    steps = [{"name": "one", "handler": "sleep", "with": {"seconds": 0}}]
    answer = api.post("workflows", {"definition": {"title": "object", "steps": steps}})
    assert answer.status_code == 201, answer.json()
    for wrong in (1, None, [], True):
        refused = api.post("workflows", {"definition": wrong})
        assert refused.json()["errors"][0]["field"] == "definition"


def test_graph_tasks_schema_runs_and_diff(api: Caller) -> None:
    old = make_workflow({"a": [], "b": ["a"]}, title="x", latest=False)
    new = make_workflow({"a": [], "c": ["a"]}, title="x", version=2)
    graph = api.get(f"workflows/{new.pk}/graph").json()
    assert graph["edges"] == [{"source": "a", "target": "c"}]
    assert graph["nodes"] == api.get(f"workflows/{new.pk}/tasks").json()
    schema = api.get(f"workflows/{new.pk}/schema").json()
    assert schema["type"] == "object"
    run = make_run(new)
    assert [r["id"] for r in api.get(f"workflows/{new.pk}/runs").json()["results"]] == [run.pk]
    diff = api.get(f"workflows/{new.pk}/diff?with={old.pk}").json()
    assert (diff["tasks_added"], diff["tasks_removed"], diff["same"]) == (["c"], ["b"], False)
    assert "--- x v1" in diff["diff"]
    assert api.get(f"workflows/{new.pk}/diff").json()["errors"][0]["field"] == "with"


def test_a_workflow_is_edited_and_archived(api: Caller) -> None:
    workflow = make_workflow()
    url = f"workflows/{workflow.pk}"
    change = {"labels": {"a": "b"}, "archived": True, "paused": True, "max_active_runs": 3}
    answer = api.patch(url, change, headers={"if-match": '"1"'})
    body: Any = answer.json()
    assert answer.status_code == 200, body
    assert (body["archived"], body["paused"], body["max_active_runs"]) == (True, True, 3)
    assert body["labels"] == [{"key": "a", "value": "b"}]
    assert answer["ETag"] == '"2"'
    assert api.patch(url, {"paused": False}, headers={"if-match": '"1"'}).status_code == 412
    assert api.patch(url, {"paused": "false"}).status_code == 400
    assert api.patch(url, {"state": "ready"}).json()["errors"][0]["field"] == "state"


def test_limits_are_set_read_and_taken_away(api: Caller) -> None:
    url = f"workflows/{make_workflow().pk}"
    for given, shown in ((7200, 7200), ("1h30m", 5400), (0.5, 0.5), (None, None)):
        assert api.patch(url, {"run_timeout": given}).json()["run_timeout"] == shown
    for bad in (0, -1, "soon", "", True, [], 1e300, "9999999d"):
        answer = api.patch(url, {"run_timeout": bad})
        assert answer.status_code == 400, bad
        assert answer.json()["errors"][0]["field"] == "run_timeout"
    assert api.get(url).json()["run_timeout"] is None


def test_a_new_version_has_the_limits_of_the_one_before_or_those_given(api: Caller) -> None:
    limits = {"paused": True, "max_active_runs": 2, "run_timeout": 60}
    first = api.post("workflows", {"definition": TEXT, **limits}).json()
    assert {name: first[name] for name in limits} == limits
    second = api.post("workflows", {"definition": TEXT + "# 2", "max_active_runs": None}).json()
    assert second["version"] == 2
    assert {name: second[name] for name in limits} == {**limits, "max_active_runs": None}
    seen = api.get(f"workflows/{first['id']}")
    assert {name: seen.json()[name] for name in limits} == {**limits, "max_active_runs": None}
    assert seen["ETag"] == '"2"'  # what it has is another now
    again = api.post("workflows", {"definition": TEXT + "# 2", "paused": False})
    assert (again.status_code, again.json()["id"]) == (200, second["id"])
    assert again.json()["paused"] is False


def test_a_workflow_is_deployed_again(api: Caller) -> None:
    workflow = make_workflow(engine=make_engine("local"), state="failed")
    answer = api.post(f"workflows/{workflow.pk}/redeploy")
    assert answer.json()["state"] == "deploying"
    api.patch(f"workflows/{workflow.pk}", {"archived": True})
    conflict = api.post(f"workflows/{workflow.pk}/redeploy")
    assert conflict.status_code == 409


def test_an_engine_is_named_by_name_or_id_and_must_be_there(api: Caller) -> None:
    engine = make_engine("local", name="main")
    for name in ("main", engine.pk):
        answer = api.post("workflows", {"definition": TEXT, "engine": name})
        assert answer.json()["engine"] == "main"
    refused = api.post("workflows", {"definition": TEXT, "engine": "other"})
    assert refused.json()["errors"] == [
        {"field": "engine", "detail": "There is no engine 'other'."}
    ]
