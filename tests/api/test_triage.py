"""/triage: what is open, what is acknowledged, what is late."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from runs.models import Acknowledgement, WorkflowPace, WorkflowRun
from runs.states import RunState
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db


def fail(workflow: Any = None) -> WorkflowRun:
    return make_run(
        workflow,
        engine=make_engine(),
        state=RunState.FAILED,
        error="KeyError",
        error_task="a",
        fingerprint="f" * 64,
        ended_at=timezone.now(),
    )


def test_a_kind_of_failure_is_acknowledged_and_taken_up_again(api: Caller) -> None:
    run = fail()
    title = run.workflow.title
    body = {"fingerprint": "f" * 64, "workflow": title, "note": "Ada looks."}
    answer = api.post("triage/acknowledgements", body)
    assert answer.status_code == 201
    known = answer.json()
    assert (known["newest"], known["note"]) == (run.pk, "Ada looks.")
    found = api.get("triage").json()
    assert found["failures"] == []
    assert found["acknowledged"][0]["acknowledgement"] == known
    assert found["acknowledged"][0]["runs"] == [run.pk]
    again = api.post("triage/acknowledgements", {**body, "note": "Bob looks."})
    assert (again.status_code, again.json()["id"]) == (200, known["id"])
    newer = fail(run.workflow)
    found = api.get("triage").json()
    assert (found["failures"][0]["count"], found["acknowledged"]) == (2, [])
    assert found["failures"][0]["acknowledgement"] is None
    api.post("triage/acknowledgements", {**body, "newest": run.pk})
    assert len(api.get("triage").json()["failures"]) == 1
    api.post("triage/acknowledgements", {**body, "newest": newer.pk + 1000})
    assert Acknowledgement.objects.get().newest == newer.pk
    assert api.get("triage").json()["failures"] == []
    path = f"triage/acknowledgements/{known['id']}"
    assert api.delete(path).status_code == 204
    assert api.delete(path).status_code == 404
    assert len(api.get("triage").json()["failures"]) == 1


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"fingerprint": "0" * 64}, "fingerprint"),
        ({"fingerprint": "f" * 64, "note": "x" * 1001}, "note"),
        ({"fingerprint": "f" * 64, "newest": 0}, "newest"),
        ({"fingerprint": "f" * 64, "surprise": 1}, "surprise"),
    ],
)
def test_what_makes_no_sense_is_refused(api: Caller, body: dict[str, Any], field: str) -> None:
    run = fail()
    answer = api.post("triage/acknowledgements", {"workflow": run.workflow.title, **body})
    assert answer.status_code in {400, 422}
    assert field in str(answer.json()["errors"])
    assert not Acknowledgement.objects.exists()


def test_late_runs_are_told_with_what_is_usual(api: Caller) -> None:
    began = timezone.now() - timedelta(hours=1)
    workflow = make_workflow(engine=make_engine())
    WorkflowPace.objects.create(workflow=workflow.title, p50=10, p95=20)
    run = make_run(workflow, state=RunState.RUNNING, started_at=began)
    (one,) = api.get("triage").json()["late"]
    assert (one["run"]["id"], one["usual_seconds"]) == (run.pk, 20)


def test_a_failure_with_a_rerun_under_way_says_so(api: Caller) -> None:
    run = fail()
    make_run(run.workflow, engine=run.engine, previous=run)
    (failure,) = api.get("triage").json()["failures"]
    assert (failure["count"], failure["under_way"]) == (1, 1)
