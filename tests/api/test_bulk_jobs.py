"""/bulk-jobs: one deed for many runs."""

from collections.abc import Callable
from typing import Any

import pytest

from runs.models import BulkJob, WorkflowRun
from runs.reconciler.once import once
from runs.states import RunState
from tests.api.conftest import Caller
from tests.factories import make_bulk_job, make_run, make_workflow

FAILED = {"action": "retry", "filter": "state=FAILED"}


@pytest.fixture
def runs(db: None) -> list[WorkflowRun]:
    workflow = make_workflow()
    states = {"extract": "COMPLETED", "load": "FAILED"}
    return [make_run(workflow, state=RunState.FAILED, task_states=states) for _ in range(3)]


def test_a_job_is_asked_for_done_and_read(api: Caller, runs: list[WorkflowRun]) -> None:
    answer = api.post("bulk-jobs", {**FAILED, "options": {"mode": "all"}, "expected": 3})
    assert answer.status_code == 202
    job = answer.json()
    assert (job["state"], job["total"], job["filter"]) == ("waiting", 3, "state=FAILED")
    assert (job["requested_by"], job["runs"]) == (api.user.username, None)
    assert answer["Location"] == f"/api/v1/bulk-jobs/{job['id']}"
    once()
    job = api.get(f"bulk-jobs/{job['id']}").json()
    assert (job["state"], job["done"], job["skipped"], job["reasons"]) == ("done", 3, 0, {})
    assert [row["id"] for row in api.get("bulk-jobs?count=true").json()["results"]] == [job["id"]]


def test_a_dry_run_says_what_would_be_and_does_nothing(
    api: Caller, runs: list[WorkflowRun]
) -> None:
    make_run(state=RunState.COMPLETED)
    body = {"action": "retry", "everything": True, "dry_run": True}
    answer = api.post("bulk-jobs", body)
    assert answer.status_code == 200
    said = answer.json()
    assert (said["total"], said["fits"], said["refusal"]) == (4, 3, "")
    assert len(said["first"]) == 4
    none = api.post("bulk-jobs", {**FAILED, "filter": "state=CANCELED", "dry_run": True}).json()
    assert none["refusal"] == "No run that you may see fits."
    assert not BulkJob.objects.exists()


def test_runs_are_named_instead_of_a_filter(api: Caller, runs: list[WorkflowRun]) -> None:
    body = {"action": "cancel", "runs": [runs[0].pk, runs[1].pk]}
    job = api.post("bulk-jobs", body).json()
    assert (job["total"], job["runs"]) == (2, [runs[1].pk, runs[0].pk])


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"action": "retry"}, "filter"),
        ({"action": "retry", "filter": "state=NONE"}, "filter"),
        ({"action": "retry", "filter": "stat=FAILED"}, "filter"),
        ({"action": "retry", "runs": []}, "runs"),
        ({"action": "retry", "runs": [1], "filter": "state=FAILED"}, "runs"),
        ({"action": "retry", "filter": "state=FAILED", "everything": True}, "everything"),
        ({"action": "sing", "everything": True}, "action"),
        ({**FAILED, "options": {"mode": "task"}}, "options.mode"),
        ({**FAILED, "action": "label"}, "options"),
        ({**FAILED, "filters": "x"}, "filters"),
    ],
)
def test_what_is_not_clear_is_refused(
    api: Caller, runs: list[WorkflowRun], body: Any, field: str
) -> None:
    answer = api.post("bulk-jobs", body)
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == field
    assert not BulkJob.objects.exists()


def test_more_runs_than_expected_are_a_conflict(api: Caller, runs: list[WorkflowRun]) -> None:
    answer = api.post("bulk-jobs", {**FAILED, "expected": 2})
    assert answer.status_code == 409
    assert "would be for 3 now" in answer.json()["detail"]


def test_the_same_key_makes_one_job(api: Caller, runs: list[WorkflowRun]) -> None:
    answers = [api.post("bulk-jobs", FAILED, headers={"idempotency-key": "k"}) for _ in range(2)]
    assert answers[0].json() == answers[1].json()
    assert answers[1]["Idempotent-Replay"] == "true"
    assert BulkJob.objects.count() == 1


def test_a_deed_takes_its_own_right(caller: Callable[..., Caller], runs: list[WorkflowRun]) -> None:
    assert caller("viewer").post("bulk-jobs", FAILED).status_code == 403
    operator = caller("operator")
    assert operator.post("bulk-jobs", FAILED).status_code == 202
    assert operator.post("bulk-jobs", {**FAILED, "action": "delete"}).status_code == 403


def test_a_token_caps_what_its_job_may_do(
    caller: Callable[..., Caller], runs: list[WorkflowRun]
) -> None:
    job = caller("operator").post("bulk-jobs", FAILED).json()
    assert BulkJob.objects.get(pk=job["id"]).role == "operator"


def test_somebody_elses_job_is_not_there(
    api: Caller, caller: Callable[..., Caller], runs: list[WorkflowRun]
) -> None:
    mine, other = caller("operator"), caller("operator")
    path = f"bulk-jobs/{mine.post('bulk-jobs', FAILED).json()['id']}"
    assert other.get(path).status_code == 404
    assert other.post(f"{path}/cancel").status_code == 404
    assert other.get("bulk-jobs").json()["results"] == []
    assert api.get(path).status_code == 200
    assert mine.post(f"{path}/cancel").json()["state"] == "canceled"
    assert api.post(f"{path}/cancel").json()["message"] == f"Canceled by {mine.user.username}."


def test_a_job_that_has_ended_is_not_canceled(api: Caller) -> None:
    job = make_bulk_job(state="done")
    assert api.post(f"bulk-jobs/{job.pk}/cancel").status_code == 409
