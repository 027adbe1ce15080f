"""Steps that start by a trigger rule, executions driven by hand."""

import pytest

from engines.dag import requests
from engines.dag.models import Execution
from engines.states import TaskState
from tests.engines.dag.driving import (
    Hand,
    execution,
    states,
    step,
    step_row,
    submit,
)

pytestmark = pytest.mark.django_db

FAILED, CANCELED = TaskState.FAILED, TaskState.CANCELED
POLICIES = pytest.mark.parametrize("policy", ["drain", "continue", "cancel"])


def all_done(name, *needs, **more):
    return step(name, *needs, trigger="all_done", **more)


def one_failed(name, *needs, **more):
    return step(name, *needs, trigger="one_failed", **more)


def given(name, *needs, **more):
    return step(name, *needs, **more, **{"with": {"name": name}})


@POLICIES
def test_all_done_starts_when_its_needs_have_ended_however_they_did(policy):
    _, run = submit(step("a"), step("b", "a"), all_done("clean", "a", "b"), failure_policy=policy)
    assert Hand().run_all({"a": FAILED}) == ["a", "clean"]
    assert states(run) == {"a": "FAILED", "b": "UPSTREAM_FAILED", "clean": "COMPLETED"}
    assert (execution(run).state, execution(run).error) == ("FAILED", "a: It went wrong.")


@POLICIES
def test_without_a_failure_all_done_is_a_need_like_any(policy):
    _, run = submit(
        step("a"), step("b", when="false"), all_done("clean", "a", "b"), step("z", "clean"),
        failure_policy=policy,
    )  # fmt: skip
    assert Hand().run_all() == ["a", "clean", "z"]
    assert execution(run).state == "COMPLETED"


@POLICIES
def test_all_done_waits_for_what_runs_still(policy):
    _, run = submit(step("a"), step("b"), all_done("clean", "a", "b"), failure_policy=policy)
    first, second = Hand(), Hand()
    a, b = first.take(), second.take()
    assert first.end(a, FAILED) is None
    assert states(run)["clean"] == "PENDING"
    end = CANCELED if policy == "cancel" else TaskState.COMPLETED
    assert second.end(b, end, stopped=policy == "cancel").spec.name == "clean"


@POLICIES
def test_one_failed_starts_at_the_first_failure_and_runs_once(policy):
    _, run = submit(step("a"), step("b"), one_failed("alarm", "a", "b"), failure_policy=policy)
    first, second = Hand(), Hand()
    a, b = first.take(), second.take()
    alarm = first.end(a, FAILED)
    assert alarm.spec.name == "alarm"
    assert states(run)["b"] == "RUNNING"
    if policy == "cancel":
        # What is there for the failure is not stopped by it, nor by what else it stops.
        assert step_row(run, "b").stop == "sibling_failed"
        assert second.end(b, CANCELED, reason="sibling_failed", stopped=True) is None
        assert step_row(run, "alarm").stop == ""
    else:
        assert second.end(b, FAILED) is None
    assert states(run)["alarm"] == "RUNNING"
    assert first.end(alarm) is None
    assert execution(run).state == "FAILED"


def test_one_failed_is_skipped_when_nothing_failed_and_what_follows_goes_on():
    _, run = submit(step("a"), step("b", when="false"), one_failed("alarm", "a", "b"),
                    step("z", "alarm"))  # fmt: skip
    assert Hand().run_all() == ["a", "z"]
    assert states(run)["alarm"] == "SKIPPED"
    assert step_row(run, "alarm").reason == "trigger"
    assert execution(run).state == "COMPLETED"


def test_one_failed_starts_for_a_need_that_could_not_start():
    _, run = submit(step("a"), step("b", "a"), one_failed("alarm", "b"))
    assert Hand().run_all({"a": FAILED}) == ["a", "alarm"]


def test_a_cancelled_need_has_ended_and_has_not_failed():
    adapter, run = submit(step("a"), step("b"), one_failed("alarm", "b"), all_done("clean", "b"))
    adapter.cancel_task(run, "b", -1)
    assert Hand().run_all() == ["a", "clean"]
    assert states(run)["alarm"] == "SKIPPED"
    assert execution(run).state == "CANCELED"


def test_what_a_cancelled_step_kept_from_starting_counts_as_failed():
    adapter, run = submit(step("a"), step("b"), step("c", "b"), one_failed("alarm", "c"))
    adapter.cancel_task(run, "b", -1)
    assert Hand().run_all() == ["a", "alarm"]
    assert states(run)["c"] == "UPSTREAM_FAILED"


def test_under_drain_what_follows_a_tolerant_step_is_kept_for_it():
    _, run = submit(
        step("a"),
        step("other"),
        all_done("clean", "a"),
        step("report", "clean"),
        step("both", "clean", "a"),
        step("last", "report"),
    )
    first, second = Hand(), Hand()
    a, other = first.take(), second.take()
    clean = first.end(a, FAILED)
    assert clean.spec.name == "clean"
    assert states(run) == {
        "a": "FAILED",
        "other": "RUNNING",
        "clean": "RUNNING",
        "report": "PENDING",
        "both": "UPSTREAM_FAILED",
        "last": "PENDING",
    }
    assert first.end(clean).spec.name == "report"
    second.end(other)
    assert Hand().run_all() == []
    assert states(run)["report"] == "RUNNING"


def test_under_drain_a_second_failure_stops_only_what_needs_it():
    _, run = submit(
        step("a"),
        step("b"),
        all_done("clean", "a"),
        step("x", "clean"),
        step("report", "clean"),
        step("both", "clean", "b"),
        max_parallel=2,
    )
    first, second = Hand(), Hand()
    a, b = first.take(), second.take()
    assert first.end(first.end(a, FAILED)).spec.name == "x"
    assert states(run)["report"] == "PENDING"  # no slot is free
    assert second.end(b, FAILED).spec.name == "report"
    assert states(run)["both"] == "UPSTREAM_FAILED"


def test_under_cancel_what_follows_a_tolerant_step_does_not_start():
    _, run = submit(
        step("a"), all_done("clean", "a"), step("report", "clean"), failure_policy="cancel"
    )
    assert Hand().run_all({"a": FAILED}) == ["a", "clean"]
    assert states(run)["report"] == "UPSTREAM_FAILED"


@POLICIES
def test_a_tolerant_step_that_fails_is_a_failure_like_any(policy):
    _, run = submit(
        step("a"), all_done("clean", "a"), step("report", "clean"), all_done("end", "report"),
        failure_policy=policy,
    )  # fmt: skip
    assert Hand().run_all({"clean": FAILED}) == ["a", "clean", "end"]
    assert states(run)["report"] == "UPSTREAM_FAILED"
    assert execution(run).error == "clean: It went wrong."


def test_a_need_that_ends_while_the_step_waits_for_a_slot_is_not_counted():
    _, run = submit(step("a"), step("b"), step("x"), one_failed("alarm", "a", "b"),
                    failure_policy="continue", max_parallel=2)  # fmt: skip
    first, second = Hand(), Hand()
    a, b = first.take(), second.take()
    assert first.end(a, FAILED).spec.name == "x"
    assert (states(run)["alarm"], step_row(run, "alarm").waits_for) == ("PENDING", 0)
    assert second.end(b, FAILED).spec.name == "alarm"


def test_the_result_of_a_failed_need_is_null():
    _, run = submit(
        step("a"),
        all_done("clean", "a", **{"with": {"got": "${steps.a.result.path}"}}),
    )
    hand = Hand()
    clean = hand.end(hand.take(), FAILED)
    assert clean.inputs == {"got": None}


def test_the_rule_is_asked_before_the_condition():
    _, run = submit(
        step("a"),
        one_failed("alarm", "a", when='${steps.a.result.word} > "a"'),
        all_done("clean", "a", when="${steps.a.result} == null"),
    )
    Hand().run_all()
    assert states(run) == {"a": "COMPLETED", "alarm": "SKIPPED", "clean": "SKIPPED"}
    assert step_row(run, "clean").reason == "when"


def test_a_mapped_need_fails_when_all_its_items_have_ended():
    _, run = submit(
        given("each", for_each=[1, 2]), one_failed("alarm", "each"), failure_policy="continue"
    )
    hand = Hand()
    second = hand.end(hand.take(), FAILED)
    assert (second.spec.name, states(run)["alarm"]) == ("each", "PENDING")
    assert hand.end(second).spec.name == "alarm"


@POLICIES
def test_a_tolerant_mapped_step_goes_through_all_its_items(policy):
    _, run = submit(
        step("a"), step("b"), all_done("clean", "a", for_each=[1, 2]), failure_policy=policy,
        max_parallel=2,
    )  # fmt: skip
    first, second = Hand(), Hand()
    a, b = first.take(), second.take()
    items = [first.end(a, FAILED), second.end(b, FAILED)]
    assert [(item.spec.name, item.map_index) for item in items] == [("clean", 0), ("clean", 1)]
    assert first.end(items[0], FAILED) is None
    assert step_row(run, "clean", 1).stop == ""
    assert second.end(items[1]) is None
    assert step_row(run, "clean").error == "1 of 2 items: It went wrong."


@POLICIES
def test_a_failed_item_of_a_tolerant_step_keeps_no_other_from_starting(policy):
    _, run = submit(
        step("a"), all_done("clean", "a", for_each=[1, 2, 3]), failure_policy=policy, max_parallel=1
    )
    assert Hand().run_all({"a": FAILED, "clean": FAILED}) == ["a", "clean", "clean", "clean"]
    assert step_row(run, "clean").error == "3 of 3 items: It went wrong."


def test_a_step_that_could_not_start_ends_a_mapped_step_that_others_wait_for():
    """The last item of a mapped step is blocked by another one's failure."""
    _, run = submit(given("each", for_each=[1, 2, 3]), all_done("clean", "each"), max_parallel=1)
    assert Hand().run_all({"each": FAILED}) == ["each", "clean"]
    assert states(run) == {
        "each": "FAILED",
        "each[0]": "FAILED",
        "each[1]": "UPSTREAM_FAILED",
        "each[2]": "UPSTREAM_FAILED",
        "clean": "COMPLETED",
    }


@POLICIES
def test_nothing_starts_in_a_cancelled_run(policy):
    adapter, run = submit(
        step("a"), step("b"), all_done("clean", "a"), one_failed("alarm", "a"),
        failure_policy=policy,
    )  # fmt: skip
    hand = Hand()
    taken = hand.take()
    adapter.cancel(run)
    assert hand.end(taken, FAILED) is None
    assert states(run) == {"a": "FAILED", "b": "CANCELED", "clean": "CANCELED", "alarm": "CANCELED"}
    assert execution(run).state == "CANCELED"


def test_nothing_starts_in_a_run_that_is_out_of_time():
    _, run = submit(step("a"), all_done("clean", "a"), timeout=60)
    hand = Hand()
    taken = hand.take()
    Execution.objects.update(deadline_at="2020-01-01T00:00Z")
    requests.stop_overdue()
    assert hand.end(taken, FAILED, reason="timeout", stopped=True) is None
    assert states(run)["clean"] == "CANCELED"
    assert execution(run).reason == "timeout"


def test_a_reference_that_gives_nothing_is_a_failure_for_a_tolerant_step():
    _, run = submit(
        given("a"), step("b", "a", **{"with": {"x": "${steps.a.result.no}"}}),
        one_failed("alarm", "b"),
    )  # fmt: skip
    assert Hand().run_all() == ["a", "alarm"]


@POLICIES
def test_a_mapped_step_has_ended_only_when_its_running_items_have(policy):
    _, run = submit(given("each", for_each=[1, 2, 3, 4, 5]), all_done("clean", "each"),
                    failure_policy=policy, max_parallel=2)  # fmt: skip
    first, second = Hand(), Hand()
    one, other = first.take(), second.take()
    next_item = first.end(one, FAILED)
    assert (next_item is not None) == (policy == "continue")
    assert states(run)["each"] == "RUNNING"
    assert states(run)["clean"] == "PENDING"
    left = [(first, next_item), (second, other)]
    while left:
        hand, taken = left.pop()
        if taken is not None:
            assert (states(run)["each"] == "RUNNING") == (taken.spec.name == "each")
            left.append((hand, hand.end(taken)))
    assert states(run)["each"] == "FAILED"
    assert execution(run).state == "FAILED"
