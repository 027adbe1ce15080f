"""The examples as documents: they are read without a complaint, and posted once."""

import json
from pathlib import Path

import pytest
from django.conf import settings

from engines.dag.callables import find
from engines.dag.formats import parse
from examples.genome.sites import RECOGNITION
from runs import actions
from runs.errors import Invalid
from runs.examples import EXAMPLES, seed_examples
from runs.models import AuditEntry, Workflow
from runs.policy import Actor

FOLDER = Path(settings.BASE_DIR) / "examples"


def graph(name: str, form: str):
    parsed = parse((FOLDER / name).read_text(), form)
    assert parsed.problems == ()
    return parsed.graph


@pytest.mark.parametrize(("name", "form"), [example[:2] for example in EXAMPLES])
def test_every_function_that_a_step_names_is_registered(name, form):
    named = [
        step.config.get("callable") or step.config.get("app") for step in graph(name, form).steps
    ]
    assert any(named)
    for function in filter(None, named):
        find(function)


def test_the_genome_workflow_has_eight_steps_or_more_and_fans_out():
    steps = graph("genome/workflow.yaml", "workflowhub").steps
    assert len(steps) >= 8
    assert [step.name for step in steps if step.for_each is not None] == [
        "skew",
        "orfs",
        "chance",
        "sites",
    ]


def test_the_form_offers_exactly_the_enzymes_that_are_known():
    properties = graph("genome/workflow.yaml", "workflowhub").parameters_schema["properties"]
    assert sorted(properties["enzymes"]["items"]["enum"]) == sorted(RECOGNITION)


def test_the_form_offers_exactly_the_genomes_that_ship():
    properties = graph("genome/workflow.yaml", "workflowhub").parameters_schema["properties"]
    assert properties["genome"]["enum"] == sorted(
        path.name for path in (FOLDER / "genome").glob("*.fa")
    )


def test_the_assembly_document_implies_no_dependency_and_warns_of_the_undeclared_output():
    parsed = parse((FOLDER / "assembly/workflow.json").read_text(), "bvbrc")
    assert [warning.path for warning in parsed.warnings] == ["workflow_outputs[0]"]
    assert [step.needs for step in parsed.graph.steps] == [(), ("step1",)]


def test_the_assembly_document_uses_no_key_beyond_the_format_s_own():
    document = json.loads((FOLDER / "assembly/workflow.json").read_text())
    assert set(document) == {
        "workflow_name",
        "version",
        "base_context",
        "steps",
        "workflow_outputs",
    }
    assert {key for step in document["steps"] for key in step} == {
        "step_name",
        "app",
        "params",
        "outputs",
        "depends_on",
    }


def test_the_health_document_needs_nothing_from_whoever_starts_it():
    parsed = parse((FOLDER / "health/workflow.json").read_text(), "orchestrator")
    assert parsed.warnings == ()
    assert "required" not in parsed.graph.parameters_schema
    assert list(parsed.graph.parameters_schema["properties"]) == ["hub", "page", "overrides"]


@pytest.mark.django_db
def test_the_examples_are_posted_the_first_time_by_the_hub_itself():
    posted = seed_examples()
    assert [workflow.title for workflow in posted] == [
        "phage-genome-report",
        "my-pipeline",
        "hub-health",
    ]
    assert all(workflow.created_by is None for workflow in posted)
    assert set(AuditEntry.objects.values_list("actor_name", "action")) == {("workflowhub", "post")}
    assert Workflow.objects.get(title="my-pipeline").labels.get().key == "example"


@pytest.mark.django_db
def test_they_are_posted_once_even_if_they_were_archived_since():
    for workflow in seed_examples():
        actions.edit_workflow(Actor(), workflow, archived=True)
    assert seed_examples() == []
    assert Workflow.objects.count() == len(EXAMPLES)


@pytest.mark.django_db
def test_no_example_comes_without_the_others(monkeypatch):
    broken = (*EXAMPLES[:1], ("genome/SOURCE.md", "bvbrc", {}))
    monkeypatch.setattr("runs.examples.EXAMPLES", broken)
    with pytest.raises(Invalid):
        seed_examples()
    assert not Workflow.objects.exists()


@pytest.mark.django_db
def test_none_are_posted_where_the_operator_wants_none(settings):
    settings.WORKFLOWHUB_EXAMPLES = False
    assert seed_examples() == []


@pytest.mark.django_db
def test_none_are_posted_where_their_functions_are_not_offered(settings):
    settings.WORKFLOWHUB_HANDLER_MODULES = ["our.handlers"]
    assert seed_examples() == []
