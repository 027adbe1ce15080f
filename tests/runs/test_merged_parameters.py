"""Parameters given to a run that has some already: they win one by one, and so do the overrides of a
node's config."""

import json

import pytest

from runs import actions
from runs.models import RunAttempt, WorkflowRun
from runs.states import RetryMode, RunState, TaskState
from tests.factories import make_actor, make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db

NODES = [
    {"id": "input", "handler": "input", "config": {"who": "ann", "size": 1}},
    {"id": "a", "handler": "http", "dependencies": ["input"], "config": {"url": "http://a"}},
    {"id": "b", "handler": "step", "dependencies": ["input"], "config": {"x": 1, "y": {"z": 1}}},
]
BEFORE = {"who": "bob", "overrides": {"a": {"url": "http://old"}, "b": {"x": 2, "y": {"q": 1}}}}
GIVEN = {"size": 3, "overrides": {"b": {"y": {"z": 5}}, "input": {"who": "eve"}}}
BOTH = {
    "who": "bob",
    "size": 3,
    "overrides": {
        "a": {"url": "http://old"},
        "b": {"x": 2, "y": {"z": 5}},
        "input": {"who": "eve"},
    },
}


@pytest.fixture
def flow():
    make_engine()
    definition = {"name": "flow", "dag": {"nodes": NODES}}
    workflow, _ = actions.post_workflow(make_actor(), definition=json.dumps(definition))
    assert workflow.format == "orchestrator"
    return workflow


def kept(run):
    return WorkflowRun.objects.get(pk=run.pk).parameters


def test_a_held_run_keeps_the_overrides_that_its_start_does_not_name(flow):
    run = make_run(flow, hold=True, parameters=BEFORE)
    actions.start_held_run(make_actor(), run, parameters=GIVEN)
    assert kept(run) == BOTH
    assert RunAttempt.objects.get(run=run).parameters == BOTH


def test_a_rerun_keeps_them(flow):
    first = make_run(flow, parameters=BEFORE, state=RunState.FAILED)
    assert kept(actions.rerun(make_actor(), first, parameters=GIVEN)) == BOTH
    assert kept(first)["overrides"] == BEFORE["overrides"]


@pytest.mark.parametrize("mode", [RetryMode.FAILED, RetryMode.ALL, RetryMode.RESTART])
def test_a_retry_keeps_them(flow, mode):
    run = make_run(
        flow, parameters=BEFORE, state=RunState.FAILED, task_states={"a": TaskState.FAILED}
    )
    actions.retry_run(make_actor(), run, mode=mode, parameters=GIVEN)
    assert kept(run) == BOTH


def test_a_run_without_overrides_takes_those_given_and_keeps_its_own_where_none_are(flow):
    bare = make_run(flow, hold=True, parameters={"who": "bob"})
    actions.start_held_run(make_actor(), bare, parameters={"overrides": {"b": {"x": 4}}})
    assert kept(bare)["overrides"] == {"b": {"x": 4}}
    run = make_run(flow, hold=True, parameters=BEFORE)
    actions.start_held_run(make_actor(), run, parameters={"size": 9})
    assert kept(run) == {**BEFORE, "size": 9}


def test_a_parameter_of_that_name_in_another_format_is_replaced_as_a_whole():
    make_engine()
    workflow = make_workflow(parameters_schema={"properties": {"overrides": {"type": "object"}}})
    run = make_run(workflow, hold=True, parameters={"overrides": {"a": {"x": 1}}})
    actions.start_held_run(make_actor(), run, parameters={"overrides": {"b": {"x": 2}}})
    assert kept(run) == {"overrides": {"b": {"x": 2}}}
