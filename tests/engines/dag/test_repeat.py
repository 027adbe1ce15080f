"""Steps that repeat, executions driven by hand."""

import pytest

from engines.base import ChildOutcome, RetrySpec
from engines.dag.models import StepTry
from engines.states import RunState, TaskState
from tests.engines.dag.driving import (
    Hand,
    execution,
    make_adapter,
    make_spec,
    states,
    step,
    step_row,
    submit,
    workflow,
)
from tests.engines.dag.passing import end_passes, poll, take_all

pytestmark = pytest.mark.django_db

FAILED, CANCELED = TaskState.FAILED, TaskState.CANCELED


def test_without_a_condition_there_are_exactly_so_many_passes():
    _, run = submit(poll(repeat=3), step("last", "poll", **{"with": {"x": "${steps.poll.result}"}}))
    hand = Hand()
    last = end_passes(hand, "one", "two", "three")
    assert (last.spec.name, last.inputs) == ("last", {"x": "three"})
    assert states(run) == {
        "poll": "COMPLETED",
        "poll[0]": "COMPLETED",
        "poll[1]": "COMPLETED",
        "poll[2]": "COMPLETED",
        "last": "RUNNING",
    }
    hand.end(last)
    assert execution(run).state == "COMPLETED"


def test_the_passes_end_when_the_condition_holds():
    _, run = submit(poll())
    hand = Hand()
    assert end_passes(hand, {"done": False}, {"done": True}) is None
    whole = step_row(run, "poll")
    assert (whole.state, whole.result, whole.progress) == ("COMPLETED", {"done": True}, 1.0)
    assert whole.message == "2 passes"
    assert execution(run).state == "COMPLETED"


def test_the_step_tells_how_far_it_is():
    _, run = submit(poll(), poll("five", repeat=5))
    taken = take_all(2)
    assert step_row(run, "poll").message == "Pass 1 of at most 3"
    assert step_row(run, "five").message == "Pass 1 of 5"
    for hand, one in taken.values():
        hand.end(one, result={"done": False})
    assert step_row(run, "poll").message == "Pass 2 of at most 3"
    assert step_row(run, "poll").progress == pytest.approx(1 / 3)
    assert step_row(run, "five").progress == pytest.approx(0.2)


def test_a_pass_sees_its_index_and_what_the_pass_before_gave():
    submit(
        poll(
            repeat=3,
            **{"with": {"at": "${index}", "was": "${previous}", "n": "${previous.n}"}},
        )
    )
    hand = Hand()
    taken, seen = hand.take(), []
    while taken:
        seen.append(taken.inputs)
        taken = hand.end(taken, result={"n": len(seen)})
    assert seen == [
        {"at": 0, "was": None, "n": None},
        {"at": 1, "was": {"n": 1}, "n": 1},
        {"at": 2, "was": {"n": 2}, "n": 2},
    ]


def test_the_condition_sees_parameters_other_steps_and_the_index():
    _, run = submit(
        step("a"),
        poll(repeat={"until": "${index} >= ${params.n} and ${steps.a.result.ok}"}),
        parameters={"n": {"type": "integer", "default": 2}},
        run_parameters={"n": 1},
    )
    hand = Hand()
    taken = hand.end(hand.take(), result={"ok": True})
    assert taken.spec.name == "poll"
    assert hand.end(hand.end(taken)) is None
    assert step_row(run, "poll", 1).state == "COMPLETED"
    assert execution(run).state == "COMPLETED"


def test_a_condition_that_never_held_fails_the_step():
    _, run = submit(poll(), step("last", "poll"))
    assert end_passes(Hand(), *[{"done": False}] * 3) is None
    whole = step_row(run, "poll")
    assert (whole.state, whole.reason) == ("FAILED", "repeat")
    assert whole.error == "After 3 passes this doesn't hold yet: ${result.done} == true"
    assert states(run)["last"] == "UPSTREAM_FAILED"
    assert execution(run).error == f"poll: {whole.error}"


@pytest.mark.parametrize("result", [{"other": 1}, "a text", [1]])
def test_a_condition_that_can_not_be_asked_fails_the_step(result):
    _, run = submit(poll())
    assert end_passes(Hand(), result) is None
    whole = step_row(run, "poll")
    assert (whole.state, whole.reason) == ("FAILED", "template")
    assert whole.error.startswith("until after pass 1: ${result.done}")
    assert execution(run).state == "FAILED"


def test_a_pass_without_result_gives_the_condition_null():
    _, run = submit(poll(repeat={"until": "${result} == null"}))
    assert end_passes(Hand(), None) is None
    assert states(run) == {"poll": "COMPLETED", "poll[0]": "COMPLETED"}


def test_a_pass_that_fails_fails_the_step():
    _, run = submit(poll(), step("last", "poll"))
    hand = Hand()
    second = end_passes(hand, {"done": False})
    assert hand.end(second, FAILED, reason="timeout") is None
    whole = step_row(run, "poll")
    assert (whole.state, whole.reason, whole.error) == (
        "FAILED",
        "timeout",
        "pass 2: It went wrong.",
    )
    assert whole.progress == pytest.approx(1 / 3)
    assert execution(run).error == "poll[1]: It went wrong."


def test_a_pass_has_its_own_tries():
    _, run = submit(poll(retry={"limit": 1, "delay": 0}))
    hand = Hand()
    again = hand.end(end_passes(hand, {"done": False}), FAILED)
    assert (again.map_index, again.try_number) == (1, 2)
    assert hand.end(again, result={"done": True}) is None
    assert step_row(run, "poll").state == "COMPLETED"
    assert list(StepTry.objects.values_list("step__map_index", "try_number")) == [(1, 1)]


def test_a_pass_whose_arguments_give_nothing_fails_the_step():
    _, run = submit(poll(repeat=2, **{"with": {"x": "${previous.no}"}}))
    assert end_passes(Hand(), {"yes": 1}) is None
    assert states(run) == {"poll": "FAILED", "poll[0]": "COMPLETED", "poll[1]": "FAILED"}
    assert 'there is no "no" in it' in step_row(run, "poll").error


def test_a_skipped_step_has_no_pass():
    _, run = submit(poll(when="false"))
    assert states(run) == {"poll": "SKIPPED"}


def test_a_retry_begins_the_passes_anew():
    adapter = make_adapter()
    spec = make_spec(
        workflow(step("a"), poll(repeat={"max": 3}, **{"with": {"was": "${previous}"}}))
    )
    adapter.submit(spec)
    hand = Hand()
    taken = hand.end(hand.take())
    taken = hand.end(hand.end(taken, result=1), FAILED)
    assert execution(spec.external_id).state == "FAILED"
    again = make_spec(spec.workflow.definition, uuid=spec.uuid, attempt=2)
    tasks = (("poll", -1), ("poll", 1))
    adapter.retry(again, RetrySpec(previous_external_id=spec.external_id, tasks=tasks))
    run = again.external_id
    assert states(run) == {"a": "COMPLETED", "poll": "RUNNING", "poll[0]": "SCHEDULED"}
    taken = hand.take()
    assert (taken.map_index, taken.attempt, taken.inputs) == (0, 2, {"was": None})
    assert hand.end(hand.end(hand.end(taken))) is None
    assert execution(run).state == "COMPLETED"


def test_observers_see_the_passes_beneath_their_step():
    adapter, run = submit(poll(repeat=2))
    end_passes(Hand(), {"n": 1})
    tasks = {(task.task, task.map_index): task for task in adapter.find(run).tasks}
    assert tasks["poll", -1].parent is None
    assert tasks["poll", 0].parent == ("poll", -1)
    assert tasks["poll", 0].result == {"n": 1}
    assert tasks["poll", 1].state == "RUNNING"


def test_a_tolerant_step_may_repeat():
    _, run = submit(step("a"), poll("clean", "a", trigger="all_done", repeat=2))
    assert Hand().run_all({"a": FAILED}) == ["a", "clean", "clean"]
    assert states(run)["clean"] == "COMPLETED"


def test_every_pass_of_the_handler_workflow_asks_for_a_run_of_its_own():
    adapter, run = submit(
        poll(
            handler="workflow",
            repeat=2,
            **{"with": {"workflow": "Other", "labels": {"n": "${index}"}}},
        )
    )
    keys = []
    for _ in range(2):
        request = adapter.find(run).requests[0]
        keys.append((request.key.split("/", 1)[1], request.labels))
        adapter.answer(run, request.key, ChildOutcome(run_id=1, state=RunState.COMPLETED))
    assert keys == [("poll/0/1", {"n": "0"}), ("poll/1/1", {"n": "1"})]
    assert execution(run).state == "COMPLETED"
