"""Steps of the handler `workflow`: what they ask for, and what an answer makes of them."""

from dataclasses import replace

import pytest

from engines.base import ChildOutcome, RunNotFound
from engines.dag import leases
from engines.dag.children import key_of, step_of
from engines.dag.models import Step, StepTry
from engines.states import RunState, TaskState
from tests.engines.dag.asking import LONG_AGO, answer, asked, child
from tests.engines.dag.driving import (
    Hand,
    execution,
    states,
    step,
    step_row,
    submit,
)

pytestmark = pytest.mark.django_db


def test_a_step_asks_for_a_run_without_a_worker_and_shows_what_it_gives():
    adapter, run = submit(
        child(
            "ask",
            arguments={
                "workflow": "Assembly of ${params.sample}",
                "version": 3,
                "parameters": {"depth": "${params.depth}", "name": "${params.sample}"},
                "labels": {"deep": True, "n": 5},
            },
        ),
        step("after", "ask"),
        parameters={"sample": {"type": "string"}, "depth": {"type": "integer"}},
        run_parameters={"sample": "lambda", "depth": 7},
    )
    row = step_row(run, "ask")
    assert (row.state, row.worker, row.worker_name) == (TaskState.RUNNING, None, "")
    assert row.inputs["parameters"] == {"depth": 7, "name": "lambda"}
    assert row.started_at is not None and row.deadline_at is None
    snapshot = adapter.find(run)
    assert snapshot.state == RunState.RUNNING
    (request,) = snapshot.requests
    assert request.key == f"{run}/ask/-1/1"
    assert (request.task, request.workflow, request.version) == (
        ("ask", -1),
        "Assembly of lambda",
        3,
    )
    assert request.parameters == {"depth": 7, "name": "lambda"}
    assert request.labels == {"deep": "true", "n": "5"}
    assert request.wait
    assert Hand().take() is None


def test_the_answer_ends_the_step_and_readies_what_follows():
    adapter, run = submit(
        child("ask"),
        step("after", handler="input", **{"with": {"n": "${steps.ask.result.result.n}"}}),
    )
    key, outcome = answer(adapter, run, "ask", result={"n": 5})
    row = step_row(run, "ask")
    assert row.state == TaskState.COMPLETED
    assert row.result == {"run_id": 12, "uuid": "u-12", "state": "COMPLETED", "result": {"n": 5}}
    assert adapter.find(run).requests == ()
    hand = Hand()
    taken = hand.take()
    assert taken.inputs == {"n": 5}
    changed = step_row(run, "ask").changed
    adapter.answer(run, key, replace(outcome, state=RunState.FAILED))
    assert step_row(run, "ask").changed == changed
    hand.end(taken)
    assert execution(run).state == RunState.COMPLETED


def test_nobody_waits_for_the_end_of_a_run_that_is_only_to_be_started():
    adapter, run = submit(child("ask", arguments={"wait": False}))
    assert not asked(adapter, run)["ask", -1].wait
    answer(adapter, run, "ask", RunState.PENDING)
    assert step_row(run, "ask").result == {"run_id": 12, "uuid": "u-12"}
    assert execution(run).state == RunState.COMPLETED


@pytest.mark.parametrize(
    ("state", "error", "said"),
    [
        (RunState.FAILED, "load: no such table", "Run 12 of Other failed: load: no such table"),
        (RunState.FAILED, "", "Run 12 of Other failed."),
        (RunState.CANCELED, "", "Run 12 of Other was canceled."),
    ],
)
def test_a_child_that_did_not_end_well_fails_the_step_and_is_named(state, error, said):
    adapter, run = submit(child("ask"))
    answer(adapter, run, "ask", state, error=error)
    row = step_row(run, "ask")
    assert (row.state, row.reason, row.error) == (TaskState.FAILED, "child_failed", said)
    assert execution(run).error == f"ask: {said}"


def test_a_run_that_could_not_be_started_fails_the_step_with_the_reason():
    adapter, run = submit(child("ask"))
    key = asked(adapter, run)["ask", -1].key
    outcome = ChildOutcome(
        run_id=None, state=RunState.FAILED, error="There is no workflow 'Other'."
    )
    adapter.answer(run, key, outcome)
    row = step_row(run, "ask")
    assert (row.reason, row.error) == ("no_child", "There is no workflow 'Other'.")


def test_a_further_try_asks_for_another_run_and_a_late_answer_to_the_first_changes_nothing():
    adapter, run = submit(child("ask", retry={"limit": 1, "delay": 86400, "most": 86400}))
    first, outcome = answer(adapter, run, "ask", RunState.FAILED, error="It broke.")
    assert step_row(run, "ask").state == TaskState.RETRYING
    assert adapter.find(run).requests == ()
    Step.objects.update(ready_at=LONG_AGO)
    leases.promote()
    second = asked(adapter, run)["ask", -1].key
    assert (first[-2:], second[-2:]) == ("/1", "/2")
    assert StepTry.objects.get(step=step_row(run, "ask")).error.endswith("It broke.")
    adapter.answer(run, first, replace(outcome, state=RunState.COMPLETED))
    row = step_row(run, "ask")
    assert (row.state, row.try_number) == (TaskState.RUNNING, 2)
    answer(adapter, run, "ask", RunState.FAILED, error="It broke again.")
    assert step_row(run, "ask").state == TaskState.FAILED


def test_an_answer_for_an_unknown_run_is_not_found_and_one_to_nonsense_changes_nothing():
    adapter, run = submit(child("ask"))
    outcome = ChildOutcome(run_id=1, state=RunState.COMPLETED)
    with pytest.raises(RunNotFound):
        adapter.answer("wh-nobody-1", "wh-nobody-1/ask/-1/1", outcome)
    for key in (
        "",
        "ask",
        f"{run}/ask/-1",
        f"{run}/ask/x/1",
        f"{run}/other/-1/1",
        f"{run}/ask/-1/2",
    ):
        adapter.answer(run, key, outcome)
    assert step_row(run, "ask").state == TaskState.RUNNING


def test_a_key_fits_its_column_however_long_the_step_s_name_is_and_finds_its_step():
    names = ["x" * 200, "x" * 199 + "y"]
    adapter, run = submit(*[child(name) for name in names])
    keys = {request.task[0]: request.key for request in adapter.find(run).requests}
    assert set(keys) == set(names)
    assert len(set(keys.values())) == 2
    assert max(len(key_of(run, name, 9999, 100)) for name in names) <= 250
    assert {step_of(run, keys[name]).name for name in names} == set(names)


def test_a_mapped_step_asks_once_for_each_item_within_max_parallel():
    adapter, run = submit(
        child("ask", for_each=list(range(100)), arguments={"parameters": {"n": "${item}"}}),
        step("after", handler="input", **{"with": {"all": "${steps.ask.result}"}}),
        max_parallel=40,
    )
    seen = {}
    while found := asked(adapter, run):
        assert len(found) <= 40
        for task, request in found.items():
            seen[task[1]] = request.parameters["n"]
            outcome = ChildOutcome(run_id=task[1] + 1, state=RunState.COMPLETED, result=task[1])
            adapter.answer(run, request.key, outcome)
    assert seen == {n: n for n in range(100)}
    group = step_row(run, "ask")
    assert group.state == TaskState.COMPLETED
    assert [one["result"] for one in group.result] == list(range(100))


def test_a_waiting_step_takes_one_of_the_run_s_places_and_no_worker():
    adapter, run = submit(child("ask"), step("one"), step("two"), max_parallel=2)
    hand = Hand()
    assert hand.take().spec.name == "one"
    assert hand.take() is None
    answer(adapter, run, "ask")
    assert hand.take().spec.name == "two"


def test_a_condition_skips_it_and_a_reference_that_gives_nothing_fails_it():
    adapter, run = submit(
        child("skipped", when="false"),
        child("asks", "skipped"),
        failure_policy="continue",
    )
    assert states(run) == {"skipped": TaskState.SKIPPED, "asks": TaskState.RUNNING}
    adapter, run = submit(
        child("bad", arguments={"parameters": "${run.labels}", "version": "${run.uuid}"}),
    )
    row = step_row(run, "bad")
    assert row.state == TaskState.FAILED
    assert row.error.startswith('"version" must be a whole number from 1 on, and it is')
    assert execution(run).state == RunState.FAILED


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ({"workflow": "${params.x}"}, '"workflow" must be the title of a workflow, and it is 7.'),
        ({"parameters": "${params.x}"}, '"parameters" must be an object, and it is 7.'),
        ({"labels": "${params.x}"}, '"labels" must be an object, and it is 7.'),
        ({"wait": "${params.x}"}, '"wait" must be true or false, and it is 7.'),
        (
            {"parameters": {"long": "${params.long}"}},
            "The parameters have more than 1,000,000 bytes",
        ),
    ],
)
def test_what_a_reference_gave_is_checked_and_named(argument, said):
    _, run = submit(
        child("ask", arguments=argument),
        parameters={"x": {"type": "integer"}, "long": {"type": "string"}},
        run_parameters={"x": 7, "long": "x" * 1_000_001},
    )
    row = step_row(run, "ask")
    assert row.state == TaskState.FAILED
    assert row.error.startswith(said)


def test_each_pass_of_a_step_that_repeats_asks_for_a_run_of_its_own():
    adapter, run = submit(
        child("ask", repeat={"until": "${result.result.n} >= 2", "max": 5}),
        step("after", handler="input", **{"with": {"last": "${steps.ask.result}"}}),
    )
    for index in range(3):
        (request,) = adapter.find(run).requests
        assert request.key == f"{run}/ask/{index}/1"
        outcome = ChildOutcome(run_id=index + 1, state=RunState.COMPLETED, result={"n": index})
        adapter.answer(run, request.key, outcome)
    assert step_row(run, "ask").state == TaskState.COMPLETED
    assert Hand().take().spec.name == "after"


def test_a_result_that_is_too_large_to_be_taken_over_fails_the_step():
    adapter, run = submit(child("ask", retry=3))
    answer(adapter, run, "ask", result="x" * 1_000_000)
    row = step_row(run, "ask")
    assert (row.state, row.reason) == (TaskState.FAILED, "result")
    assert row.error.startswith("Run 12 of Other completed, but its result can't be taken over:")
