"""The form that starts a run."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from runs.models import Workflow, WorkflowRun
from runs.states import Trigger, Wanted
from tests.factories import make_engine, make_run, make_workflow

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["sample"],
    "additionalProperties": False,
    "properties": {
        "sample": {"type": "string", "title": "Sample", "minLength": 2},
        "depth": {"type": "integer", "default": 30, "minimum": 1, "maximum": 100},
        "table": {"enum": ["standard", "bacterial"], "default": "bacterial"},
        "circular": {"type": "boolean", "default": True},
    },
}


@pytest.fixture
def workflow(db: None) -> Workflow:
    make_engine()
    return make_workflow(title="etl", parameters_schema=SCHEMA)


URL = reverse("start_run", args=["etl"])


def test_the_form_follows_from_the_schema(operator: Client, workflow: Workflow) -> None:
    html = operator.get(URL).content.decode()
    assert 'name="p.sample"' in html
    assert 'name="p.depth" type="number" step="1"' in html
    assert 'min="1" max="100" value="30"' in html
    assert '<option value="&quot;bacterial&quot;" selected>' in html
    assert 'name="p.circular" checked' in html


def test_values_arrive_in_their_types(operator: Client, workflow: Workflow) -> None:
    data = {"p.sample": "ab", "p.depth": "7", "p.table": '"standard"', "labels": "x=1"}
    response = operator.post(URL, data)
    run = WorkflowRun.objects.get()
    assert response["Location"] == reverse("run", args=[run.pk])
    assert run.parameters == {"sample": "ab", "depth": 7, "table": "standard", "circular": False}
    assert run.trigger == Trigger.MANUAL
    assert str(run.labels.get()) == "x=1"


def test_sending_the_form_twice_starts_one_run(operator: Client, workflow: Workflow) -> None:
    key = operator.get(URL).context["form"]["uuid"]
    for _ in range(2):
        operator.post(URL, {"p.sample": "ab", "uuid": key})
    assert WorkflowRun.objects.count() == 1


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({}, "Sample is required."),
        ({"p.sample": "a"}, "Sample must have at least 2 characters."),
        ({"p.sample": "ab", "p.depth": "many"}, "depth must be a whole number"),
        ({"p.sample": "ab", "p.depth": "1000"}, "depth must be at most 100."),
        ({"p.sample": "ab", "p.table": '"x"'}, "table must be one of"),
        ({"p.sample": "ab", "labels": "=x"}, "is no label key"),
        ({"p.sample": "ab", "engine": "777"}, "There is no such engine any more."),
    ],
)
def test_what_is_wrong_is_told_at_its_field(
    operator: Client, workflow: Workflow, data: dict[str, str], said: str
) -> None:
    response = operator.post(URL, data)
    assert response.status_code == 400
    assert said in response.content.decode()
    assert not WorkflowRun.objects.exists()


def test_what_was_typed_is_kept_after_an_error(operator: Client, workflow: Workflow) -> None:
    html = operator.post(URL, {"p.depth": "77", "note": "mine"}).content.decode()
    assert 'value="77"' in html
    assert 'value="mine"' in html


def test_json_beside_the_form(operator: Client, workflow: Workflow) -> None:
    url = f"{URL}?as=json"
    assert operator.get(url).status_code == 200
    bad = operator.post(url, {"json": '{"sample": '})
    assert bad.status_code == 400
    assert "is not JSON at line 1" in bad.content.decode()
    unknown = operator.post(url, {"json": '{"sample": "ab", "sampel": 1}'}).content.decode()
    assert "sampel is not a parameter." in unknown
    operator.post(url, {"json": '{"sample": "ab", "depth": 5}'})
    assert WorkflowRun.objects.get().parameters["depth"] == 5


def test_a_rerun_is_prefilled_and_remembers_where_it_came_from(
    operator: Client, workflow: Workflow
) -> None:
    first = make_run(workflow, parameters={"sample": "xyz", "depth": 9})
    url = f"{URL}?from={first.pk}"
    assert 'value="xyz"' in operator.get(url).content.decode()
    operator.post(url, {"p.sample": "other", "p.depth": "9"})
    again = WorkflowRun.objects.latest("pk")
    assert again.previous == first
    assert again.trigger == Trigger.RERUN
    assert operator.get(f"{URL}?from=99999").status_code == 404


def test_a_held_run_waits_and_may_lack_values(operator: Client, workflow: Workflow) -> None:
    operator.post(URL, {"hold": "on"})
    run = WorkflowRun.objects.get()
    assert run.wanted == Wanted.HOLD


def test_a_workflow_without_schema_takes_json(operator: Client) -> None:
    make_workflow(title="etl")
    html = operator.get(URL).content.decode()
    assert 'name="json"' in html
    operator.post(URL, {"json": '{"anything": [1]}'})
    assert WorkflowRun.objects.get().parameters == {"anything": [1]}


def test_a_workflow_that_takes_nothing_says_so(operator: Client) -> None:
    make_workflow(title="etl", parameters_schema={"additionalProperties": False})
    assert "takes no parameters" in operator.get(URL).content.decode()


def test_an_archived_workflow_is_not_started(operator: Client, workflow: Workflow) -> None:
    Workflow.objects.update(archived_at="2026-01-01T00:00:00Z")
    assert "The workflow is archived." in operator.get(URL).content.decode()
    response = operator.post(URL, {"p.sample": "ab"})
    assert "is archived" in response.content.decode()
    assert not WorkflowRun.objects.exists()


def test_a_viewer_sees_why_not(viewer: Client, workflow: Workflow) -> None:
    assert "The role viewer may not start runs." in viewer.get(URL).content.decode()
