"""/tokens, /audit, /labels, /triage, /housekeeping."""

from collections.abc import Callable
from datetime import timedelta

from django.test import Client
from django.utils import timezone

from runs.models import ApiToken, AuditEntry, RunEvent, Workflow, WorkflowRun
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run, make_token, make_user, make_workflow


def test_a_token_is_issued_listed_and_revoked(db: None) -> None:
    user = make_user("editor")
    client = Client()
    client.force_login(user)
    body = {"name": "ci", "role": "operator"}
    issued = client.post("/api/v1/tokens", body, "application/json").json()
    bearer = {"authorization": f"Bearer {issued['token']}"}
    assert Client(headers=bearer).get("/api/v1/workflows").status_code == 200
    (row,) = client.get("/api/v1/tokens").json()["results"]
    assert "token" not in row
    assert (row["name"], row["role"], row["user"]) == ("ci", "operator", user.username)
    assert client.delete(f"/api/v1/tokens/{row['id']}").status_code == 204
    assert Client(headers=bearer).get("/api/v1/workflows").status_code == 401
    more = client.post("/api/v1/tokens", {"role": "administrator"}, "application/json")
    assert more.json()["errors"][0]["field"] == "role"


def test_a_token_issues_no_token_for_its_own_user(api: Caller) -> None:
    assert api.post("tokens", {}).status_code == 403
    other = make_user("viewer")
    issued = api.post("tokens", {"user": other.username})
    assert issued.json()["user"] == other.username


def test_other_users_tokens_are_an_administrators_business(
    caller: Callable[..., Caller],
) -> None:
    viewer, administrator = caller("viewer"), caller()
    mine = ApiToken.objects.get(user=administrator.user)
    assert [row["user"] for row in viewer.get("tokens").json()["results"]] == [viewer.user.username]
    assert len(administrator.get("tokens").json()["results"]) == 2
    assert viewer.delete(f"tokens/{mine.pk}").status_code == 404
    absent = viewer.post("tokens", {"user": "nobody"}).json()
    there = viewer.post("tokens", {"user": administrator.user.username}).json()
    assert absent == there


def test_what_is_done_is_in_the_audit_log(api: Caller) -> None:
    run = make_run()
    api.post(f"workflow-runs/{run.pk}/cancel")
    (entry,) = api.get("audit?action=cancel").json()["results"]
    assert (entry["actor"], entry["face"]) == (api.user.username, "api")
    assert (entry["object_kind"], entry["object_id"]) == ("workflowrun", str(run.pk))


def test_labels_are_keys_and_values_by_prefix(api: Caller) -> None:
    make_workflow(labels={"team": "physics", "tier": "gold"})
    make_run(labels={"team": "biology", "example.org/run": "1"})
    keys = [row["key"] for row in api.get("labels").json()["results"]]
    assert sorted(keys) == ["example.org/run", "team", "tier"]
    assert [row["key"] for row in api.get("labels?prefix=te").json()["results"]] == ["team"]
    values = api.get("labels/team?count=true").json()
    assert [row["value"] for row in values["results"]] == ["biology", "physics"]
    assert values["count"] == 2
    assert api.get("labels/team?prefix=ph").json()["results"] == [{"value": "physics"}]
    assert api.get("labels/example.org/run").json()["results"] == [{"value": "1"}]
    assert api.get("labels/!!").status_code == 400


def test_triage_groups_what_failed_and_shows_what_is_stuck(api: Caller) -> None:
    workflow = make_workflow(title="genome")
    failed = [
        make_run(
            workflow,
            state="FAILED",
            fingerprint="f" * 64,
            error="KeyError: 'x'",
            error_task="align",
            ended_at=timezone.now() - timedelta(minutes=number),
        )
        for number in range(3)
    ]
    make_run(
        workflow, state="FAILED", fingerprint="a" * 64, ended_at=timezone.now() - timedelta(days=60)
    )
    rerun = make_run(workflow, state="COMPLETED", previous=failed[0])
    WorkflowRun.objects.filter(pk=failed[0].pk).update(resolved_by=rerun)
    stuck = make_run(state="RUNNING", flags={"stuck": {}}, reason="")
    lost = make_run(state="PENDING", reason="no_engine")
    body = api.get("triage").json()
    (group,) = body["failures"]
    assert (group["count"], group["workflow"], group["task"]) == (2, "genome", "align")
    assert group["error"] == "KeyError: 'x'"
    assert group["runs"] == [failed[2].pk, failed[1].pk]
    assert [run["id"] for run in body["stuck"]] == [stuck.pk]
    assert [run["id"] for run in body["no_engine"]] == [lost.pk]
    assert len(api.get("triage?since=2020-01-01T00:00:00Z").json()["failures"]) == 2


def test_what_ended_long_ago_is_purged_and_counted_first(api: Caller) -> None:
    old = make_run(state="COMPLETED", ended_at=timezone.now() - timedelta(days=10))
    make_run(state="RUNNING")
    body = {"what": "finished", "older_than_days": 5}
    dry = api.post("housekeeping/purge", {**body, "dry_run": True}).json()
    assert (dry["dry_run"], dry["deleted"]["runs"]) == (True, 1)
    assert WorkflowRun.objects.filter(pk=old.pk).exists()
    assert api.post("housekeeping/purge", body).json()["deleted"]["runs"] == 1
    assert not WorkflowRun.objects.filter(pk=old.pk).exists()
    assert WorkflowRun.objects.count() == 1
    assert AuditEntry.objects.filter(action="purge").count() == 1


def test_archived_workflows_are_purged(api: Caller) -> None:
    workflow = make_workflow()
    Workflow.objects.filter(pk=workflow.pk).update(
        archived_at=timezone.now() - timedelta(days=10), latest=False
    )
    make_workflow(title=workflow.title, version=2)
    body = {"what": "archived", "older_than_days": 5}
    assert api.post("housekeeping/purge", body).status_code == 200
    assert not Workflow.objects.filter(pk=workflow.pk).exists()


def test_a_state_is_forced_with_a_note(api: Caller) -> None:
    run = make_run(state="RUNNING")
    body = {"run": run.pk, "state": "FAILED", "note": "the machine is gone"}
    dry = api.post("housekeeping/force-state", {**body, "dry_run": True}).json()
    assert dry == {"dry_run": True, "old": "RUNNING", "new": "FAILED"}
    assert api.get(f"workflow-runs/{run.pk}").json()["state"] == "RUNNING"
    assert api.post("housekeeping/force-state", body).status_code == 200
    assert api.get(f"workflow-runs/{run.pk}").json()["state"] == "FAILED"
    event = RunEvent.objects.filter(run=run, new="FAILED", task_run=None).get()
    assert event.detail == "the machine is gone"
    both = api.post("housekeeping/force-state", {**body, "task_run": 1})
    assert both.json()["errors"][0]["field"] == "run"
    task = run.task_runs.first()
    one = {"task_run": task.pk, "state": "SKIPPED", "note": "x"}
    assert api.post("housekeeping/force-state", one).json()["new"] == "SKIPPED"


def test_listed_fields_are_corrected_and_no_others(api: Caller) -> None:
    run = make_run(state="RUNNING", flags={"quarantined": {}}, failures=20)
    url = f"housekeeping/workflow-runs/{run.pk}"
    dry = api.patch(url, {"set": {"flags": {}}, "dry_run": True}).json()
    assert dry["changed"] == [{"field": "flags", "old": {"quarantined": {}}, "new": {}}]
    answer = api.patch(url, {"set": {"flags": {}}})
    fresh = WorkflowRun.objects.get(pk=run.pk)
    assert (fresh.flags, fresh.failures, fresh.version) == ({}, 0, run.version + 1)
    assert fresh.next_check_at is not None
    assert answer["ETag"] == f'"{fresh.version}"'
    refused = api.patch(url, {"set": {"state": "FAILED"}})
    assert refused.json()["errors"][0]["field"] == "set.state"
    assert AuditEntry.objects.filter(action="correct").count() == 1
    for kind, pk, field, value in (
        ("workflows", run.workflow_id, "paused", True),
        ("engines", make_engine("local").pk, "priority", 7),
        ("task-runs", run.task_runs.first().pk, "message", "by hand"),
    ):
        done = api.patch(f"housekeeping/{kind}/{pk}", {"set": {field: value}})
        assert done.json()["changed"][0]["new"] == value, kind
    assert api.patch("housekeeping/tokens/1", {"set": {}}).status_code == 404


def test_a_correction_is_of_the_right_type(api: Caller) -> None:
    run = make_run(state="RUNNING")
    for kind, pk, values in (
        ("workflow-runs", run.pk, {"flags": "x"}),
        ("workflow-runs", run.pk, {"note": 1}),
        ("workflow-runs", run.pk, {"reason": "x" * 101}),
        ("workflows", run.workflow_id, {"paused": "yes"}),
        ("workflows", run.workflow_id, {"max_active_runs": -1}),
        ("workflows", run.workflow_id, {"max_active_runs": 0}),
        ("engines", make_engine("local").pk, {"failures": "many"}),
        ("task-runs", run.task_runs.first().pk, {"message": None}),
    ):
        answer = api.patch(f"housekeeping/{kind}/{pk}", {"set": values})
        assert answer.status_code == 400, (values, answer.content)
        assert answer.json()["errors"][0]["field"] == f"set.{next(iter(values))}"


def test_a_limit_of_active_runs_is_corrected_to_what_a_workflow_may_have(api: Caller) -> None:
    workflow = make_workflow()
    url = f"housekeeping/workflows/{workflow.pk}"
    for dry in (True, False):
        refused = api.patch(url, {"set": {"max_active_runs": 0}, "dry_run": dry})
        assert "from 1 on" in refused.json()["errors"][0]["detail"]
    for number in (1, None):
        assert api.patch(url, {"set": {"max_active_runs": number}}).status_code == 200
        assert Workflow.objects.get(pk=workflow.pk).max_active_runs == number


def test_only_administrators_keep_house(caller: Callable[..., Caller]) -> None:
    editor = caller("editor")
    run = make_run()
    assert editor.patch(f"housekeeping/workflow-runs/{run.pk}", {"set": {}}).status_code == 403
    assert make_token(role="viewer")
