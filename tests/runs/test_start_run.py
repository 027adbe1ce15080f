"""Starting runs: by hand, held, with a uuid of one's own, routed by labels."""

import uuid

import pytest

from runs import actions
from runs.errors import Conflict, Denied, Invalid
from runs.labels import labels_of
from runs.models import RunAttempt, RunEvent, WorkflowRun
from runs.states import Reason, RunState, Wanted
from tests.factories import make_actor, make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db

SCHEMA = {
    "type": "object",
    "properties": {"size": {"type": "integer", "minimum": 1}, "name": {"default": "x"}},
    "required": ["size"],
    "additionalProperties": False,
}


def test_a_started_run_waits_for_its_engine_with_its_intent_already_written():
    engine = make_engine()
    run = actions.start_run(make_actor("operator"), make_workflow())
    run = WorkflowRun.objects.get(pk=run.pk)
    assert (run.state, run.wanted, run.engine) == (RunState.PENDING, Wanted.RUN, engine)
    assert run.external_id == f"wh-{run.uuid}-1"
    assert run.next_check_at is not None
    assert RunAttempt.objects.get(run=run).sent_at is None
    assert list(run.task_runs.values_list("name", flat=True)) == ["extract", "load"]
    assert list(RunEvent.objects.filter(run=run).values_list("seq", flat=True)) == [1]


def test_a_viewer_may_not_start_a_run():
    with pytest.raises(Denied, match="viewer"):
        actions.start_run(make_actor("viewer"), make_workflow())
    assert not WorkflowRun.objects.exists()


def test_wrong_parameters_are_named_field_by_field_and_start_nothing():
    workflow = make_workflow(parameters_schema=SCHEMA)
    with pytest.raises(Invalid) as caught:
        actions.start_run(make_actor(), workflow, parameters={"size": 0, "colour": "red"})
    assert set(caught.value.errors) == {"parameters.size", "parameters.colour"}
    assert not WorkflowRun.objects.exists()


def test_defaults_are_filled_in():
    run = actions.start_run(
        make_actor(), make_workflow(parameters_schema=SCHEMA), parameters={"size": 3}
    )
    assert run.parameters == {"size": 3, "name": "x"}


def test_an_archived_workflow_starts_nothing():
    workflow = actions.edit_workflow(make_actor(), make_workflow(), archived=True)
    with pytest.raises(Conflict, match="archived"):
        actions.start_run(make_actor(), workflow)


def test_the_same_uuid_twice_is_one_run():
    workflow, mine = make_workflow(), uuid.uuid4()
    first = actions.start_run(make_actor(), workflow, uuid=mine)
    assert actions.start_run(make_actor(), workflow, uuid=mine) == first
    assert WorkflowRun.objects.count() == 1


def test_a_uuid_of_another_workflows_run_is_a_conflict():
    mine = uuid.uuid4()
    actions.start_run(make_actor(), make_workflow(), uuid=mine)
    with pytest.raises(Conflict, match="another workflow"):
        actions.start_run(make_actor(), make_workflow(), uuid=mine)


def test_labels_of_the_run_win_over_those_of_the_workflow():
    workflow = make_workflow(labels={"team": "physics", "tier": "gold"})
    run = actions.start_run(make_actor(), workflow, labels=[{"key": "tier", "value": "silver"}])
    assert labels_of(run) == {"team": "physics", "tier": "silver"}


def test_labels_and_priority_choose_between_two_engines():
    make_engine(name="any", priority=50)
    gold = make_engine(name="gold", priority=10, selector="tier in (gold,platinum)")
    workflow = make_workflow()
    assert make_run(workflow, labels={"tier": "gold"}).engine == gold
    assert make_run(workflow, labels={"tier": "iron"}).engine.name == "any"
    make_engine(name="first", priority=1, enabled=False)
    assert make_run(workflow).engine.name == "any"


def test_without_a_fitting_engine_the_run_waits_and_says_so():
    make_engine(selector="tier=gold")
    run = make_run()
    assert (run.state, run.reason, run.engine) == (RunState.PENDING, Reason.NO_ENGINE, None)


def test_an_engine_named_at_the_start_pins_the_run():
    make_engine(name="first", priority=1)
    second = make_engine(name="second", priority=2)
    run = make_run(engine=second)
    assert (run.engine, run.pinned) == (second, True)


def test_a_held_run_is_left_alone_until_it_is_started():
    make_engine()
    workflow = make_workflow(parameters_schema=SCHEMA)
    actor = make_actor()
    run = actions.start_run(actor, workflow, hold=True)
    assert (run.wanted, run.reason, run.next_check_at) == (Wanted.HOLD, Reason.HELD, None)
    with pytest.raises(Invalid, match="size"):
        actions.start_held_run(actor, run)
    run = actions.start_held_run(actor, run, parameters={"size": 2})
    run = WorkflowRun.objects.get(pk=run.pk)
    assert (run.wanted, run.reason, run.parameters["size"]) == (Wanted.RUN, "", 2)
    assert run.next_check_at is not None
    assert RunAttempt.objects.get(run=run).parameters["size"] == 2


def test_starting_a_held_run_twice_is_once():
    actor = make_actor()
    run = actions.start_run(actor, make_workflow(), hold=True)
    actions.start_held_run(actor, run)
    events = RunEvent.objects.filter(run=run).count()
    actions.start_held_run(actor, WorkflowRun.objects.get(pk=run.pk))
    assert RunEvent.objects.filter(run=run).count() == events


def test_an_ended_run_is_not_started():
    run = make_run(state=RunState.FAILED)
    with pytest.raises(Conflict, match="ended"):
        actions.start_held_run(make_actor(), run)


def test_a_rerun_remembers_where_it_came_from():
    actor = make_actor()
    first = make_run(parameters={"a": 1}, labels={"team": "x"})
    second = actions.rerun(actor, first, parameters={"b": 2})
    assert (second.previous, second.parameters, second.trigger) == (
        first,
        {"a": 1, "b": 2},
        "rerun",
    )
    assert labels_of(second) == {"team": "x"}


@pytest.mark.parametrize(
    "labels",
    [
        {"": "x"},
        {"a b": "x"},
        {"a": 1},
        [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}],
        [{"key": "a", "extra": 1}],
        "a=b",
        {"a": "x\x00"},
        {f"k{n}": "" for n in range(101)},
    ],
)
def test_bad_labels_start_nothing(labels):
    with pytest.raises(Invalid):
        actions.start_run(make_actor(), make_workflow(), labels=labels)
    assert not WorkflowRun.objects.exists()
