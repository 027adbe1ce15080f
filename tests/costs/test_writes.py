"""What the request asks the database that clients send most: the start of a run."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from engines.dag.models import Step
from runs.labels import add_labels, label_rows, labels_of
from runs.models import Label, WorkflowRun
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db
MOST = 17  # 13 on SQLite, whose clock need not be asked, nor be told of the commit


@pytest.mark.parametrize("tasks", [1, 20])
def test_a_start_costs_the_same_whatever_the_workflow_has(tasks: int) -> None:
    make_engine(name="local")
    workflow = make_workflow({f"t{number}": [] for number in range(tasks)}, labels={"team": "x"})
    api = Caller()
    body = {"workflow": workflow.pk, "labels": {"sample": "S1"}}
    api.post("workflow-runs", body)  # labels are made, the token's use is noted
    with CaptureQueriesContext(connection) as asked:
        answer = api.post("workflow-runs", body)
    assert answer.status_code == 201
    assert len([query for query in asked if not query["sql"].startswith("SAVEPOINT")]) <= MOST
    assert WorkflowRun.objects.count() == 2
    assert not Step.objects.exists()


def test_the_answer_to_a_start_says_what_reading_says() -> None:
    make_engine(name="local")
    workflow = make_workflow(labels={"team": "x", "stage": "test"})
    api = Caller()
    body = {
        "workflow": workflow.pk,
        "labels": {"stage": "production", "new": ""},
        "note": "A note.",
        "ref": "here",
    }
    started = api.post("workflow-runs", body)
    read = api.get(f"workflow-runs/{started.json()['id']}")
    assert started.json() == read.json()
    assert started["ETag"] == read["ETag"]
    again = api.post("workflow-runs", {**body, "uuid": started.json()["uuid"]})
    assert again.json() == read.json()


def test_labels_are_looked_up_by_pair_however_many_values_a_key_has() -> None:
    Label.objects.bulk_create(Label(key="sample", value=f"S{number}") for number in range(300))
    with CaptureQueriesContext(connection) as asked:
        rows = label_rows({"sample": "S7", "team": "new"})
    assert [(row.key, row.value) for row in rows] == [("sample", "S7"), ("team", "new")]
    reads = [query["sql"] for query in asked if query["sql"].startswith("SELECT")]
    assert len(reads) == 2
    assert all('"value" =' in sql for sql in reads)
    assert label_rows({}) == []


def test_labels_are_at_hand_where_they_were_just_given() -> None:
    run = make_run()
    fresh = WorkflowRun.objects.get(pk=run.pk)
    add_labels(fresh, {"b": "2", "a": "1"})
    with CaptureQueriesContext(connection) as asked:
        assert labels_of(fresh) == {"a": "1", "b": "2"}
    assert len(asked) == 0
    assert labels_of(WorkflowRun.objects.get(pk=run.pk)) == {"a": "1", "b": "2"}
