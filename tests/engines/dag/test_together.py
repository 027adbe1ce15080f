"""Steps that one worker takes in one transaction, and ends in one."""

import time
from datetime import timedelta

import pytest

from engines.dag import leases, lookups, turns
from engines.dag.models import Step, StepTry
from engines.dag.outcome import Stop
from engines.states import TaskState
from tests.engines.dag.driving import (
    Hand,
    execution,
    outcome_of,
    states,
    step,
    step_row,
    submit,
)

pytestmark = pytest.mark.django_db

FAILED = TaskState.FAILED
PENDING, READY, RUNNING = TaskState.PENDING, TaskState.SCHEDULED, TaskState.RUNNING


def names_of(taken):
    return [each.spec.name for each in taken]


def numbered(count, *needs):
    return [step(f"s{number}", *needs) for number in range(count)]


def tries_of(taken):
    return [(each.step_id, each.token) for each in taken]


def test_who_takes_several_leaves_as_many_to_others():
    _, run = submit(*numbered(10))
    first, second = Hand(), Hand()
    late, taken, others = turns.turn(first.taker, want=8)
    assert (late, names_of(taken), others) == ([], ["s0", "s1", "s2", "s3", "s4"], False)
    assert names_of(second.take_together(8)) == ["s5", "s6", "s7"]
    assert list(states(run).values()).count(RUNNING) == 8


def test_no_more_are_taken_than_the_run_may_have():
    _, run = submit(*numbered(10), max_parallel=4)
    taken = Hand().take_together(16)
    assert len(taken) == 2
    assert sorted(states(run).values()) == [PENDING] * 6 + [RUNNING] * 2 + [READY] * 2


def test_what_was_taken_together_ends_in_one_transaction_with_the_next_taken():
    _, run = submit(*numbered(4), step("after", "s0", "s1"), step("last", "after", "s2", "s3"))
    hand = Hand()
    taken = hand.take_together(2)
    taken = hand.end_together(taken, want=2)
    assert names_of(taken) == ["s2", "s3"]
    assert (states(run)["after"], states(run)["last"]) == (READY, PENDING)
    taken = hand.end_together(taken, want=2)
    assert names_of(taken) == ["after"]
    assert names_of(hand.end_together(taken, want=2)) == ["last"]


def test_one_need_after_another_is_met_whoever_ends_it():
    _, run = submit(*numbered(6), step("last", *(f"s{number}" for number in range(6))))
    hands = [Hand(), Hand(), Hand()]
    taken = [hand.take_together(3) for hand in hands]
    assert [len(each) for each in taken] == [3, 2, 1]
    hands[0].end_together(taken[0], want=0)
    hands[1].end_together(taken[1], want=0)
    assert states(run)["last"] == PENDING
    assert names_of(hands[2].end_together(taken[2])) == ["last"]


def test_items_that_end_together_end_their_step():
    _, run = submit(step("each", for_each=list("abcd"), **{"with": {"letter": "${item}"}}))
    hand = Hand()
    taken = hand.take_together(2)
    assert [each.inputs for each in taken] == [{"letter": "a"}, {"letter": "b"}]
    assert [each.item for each in taken] == ["a", "b"]
    taken = hand.end_together(taken, want=8)
    assert step_row(run, "each").progress == 0.5
    while taken:
        taken = hand.end_together(taken, want=8)
    assert step_row(run, "each").state == "COMPLETED"
    assert execution(run).state == "COMPLETED"


def test_each_has_the_times_of_its_own_run():
    _, run = submit(*numbered(4))
    hand = Hand()
    taken = hand.take_together(2)
    begun = step_row(run, "s0").started_at
    Step.objects.update(started_at=begun - timedelta(seconds=10))
    now = time.monotonic()
    ends = [(4.0, now - 5), (2.0, now - 1)]
    outcomes = [
        outcome_of(each, seconds=seconds, ended=ended)
        for each, (seconds, ended) in zip(taken, ends, strict=True)
    ]
    turns.turn(hand.taker, outcomes, taken[0].plan)
    rows = [step_row(run, each.spec.name) for each in taken]
    for row, (seconds, _) in zip(rows, ends, strict=True):
        assert (row.ended_at - row.started_at).total_seconds() == pytest.approx(seconds, abs=0.1)
    between = (rows[1].started_at - rows[0].ended_at).total_seconds()
    assert between == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("state", [TaskState.COMPLETED, TaskState.FAILED])
def test_they_are_right_whoever_records_them(state):
    """Not only where all have ended well, and not only by who took them."""
    _, run = submit(*numbered(4), failure_policy="continue")
    taken = Hand().take_together(2)
    begun = step_row(run, "s0").started_at
    Step.objects.update(started_at=begun - timedelta(seconds=10))
    ended = time.monotonic() - 1
    leases.end_all([outcome_of(taken[1], state, seconds=2.0, ended=ended)])
    row = step_row(run, "s1")
    assert row.state == state
    assert (row.ended_at - row.started_at).total_seconds() == pytest.approx(2.0, abs=0.1)
    leases.end_all([outcome_of(taken[0], state)])
    row = step_row(run, "s0")
    assert row.started_at == begun - timedelta(seconds=10), "nobody said when it began"


def test_no_time_is_before_the_taking_whatever_a_clock_says():
    _, run = submit(*numbered(2))
    hand = Hand()
    taken = hand.take()
    begun = step_row(run, "s0").started_at
    hand.report(taken, seconds=5000.0, ended=time.monotonic() - 5000)
    row = step_row(run, "s0")
    assert row.started_at == row.ended_at == begun


def test_one_that_came_too_late_takes_none_with_it():
    _, run = submit(*numbered(6))
    hand = Hand()
    taken = hand.take_together(3)
    Step.objects.filter(name="s1").update(token=99)
    outcomes = [outcome_of(each) for each in taken]
    late, found, _ = turns.turn(hand.taker, outcomes, taken[0].plan, want=1)
    assert late == [outcomes[1]]
    assert names_of(found) == ["s3"]
    found = states(run)
    assert [found[f"s{number}"] for number in range(3)] == ["COMPLETED", RUNNING, "COMPLETED"]


def test_nothing_is_taken_where_all_came_too_late_unless_it_waits_anyway():
    submit(*numbered(2))
    hand = Hand()
    taken = hand.take_together(1)
    Step.objects.update(token=99)
    outcomes = [outcome_of(each) for each in taken]
    late, found, _ = turns.turn(hand.taker, outcomes, taken[0].plan)
    assert late == outcomes
    assert names_of(found) == ["s1"]


def test_a_failure_among_them_has_its_consequences_and_the_others_theirs():
    _, run = submit(*numbered(4), step("b0", "s0"), step("b1", "s1"), failure_policy="continue")
    hand = Hand()
    taken = hand.take_together(2)
    hand.end_together(taken, {"s0": FAILED}, want=0)
    found = states(run)
    assert (found["s0"], found["s1"], found["b0"]) == ("FAILED", "COMPLETED", "UPSTREAM_FAILED")
    assert found["b1"] in {READY, PENDING}
    assert Hand().run_all().count("b1") == 1
    assert execution(run).state == "FAILED"


def test_a_template_that_gives_nothing_stops_those_that_were_taken_with_it():
    _, run = submit(
        *numbered(3),
        step("bad", "s0", **{"with": {"x": "${item.nothing}"}}, for_each=[{}]),
        step("good", "s0"),
        failure_policy="cancel",
    )
    hand, other = Hand(), Hand()
    taken = hand.take_together(4)
    assert names_of(taken) == ["s0", "s1"]
    assert other.take().spec.name == "s2"
    found = hand.end_together(taken, want=4)
    assert step_row(run, "bad", 0).state == "FAILED"
    assert step_row(run, "s2").stop == Stop.SIBLING
    assert [step_row(run, name).stop for name in names_of(found)] == [Stop.SIBLING] * len(found)


def test_what_was_taken_and_not_begun_is_ready_for_others_as_the_same_try():
    _, run = submit(*numbered(6))
    hand = Hand()
    taken = hand.take_together(3)
    assert leases.give_back(hand.worker.pk, tries_of(taken[1:])) == 2
    row = step_row(run, "s1")
    assert (row.state, row.try_number, row.losses, row.worker, row.started_at) == (
        READY,
        1,
        0,
        None,
        None,
    )
    assert not StepTry.objects.exists()
    late, _, _ = turns.turn(hand.taker, [outcome_of(taken[1])], taken[1].plan, want=0)
    assert len(late) == 1, "it was given back"
    assert sorted(Hand().run_all()) == ["s1", "s2", "s3", "s4", "s5"]
    leases.end(outcome_of(taken[0]))
    assert execution(run).state == "COMPLETED"
    assert set(Step.objects.values_list("try_number", flat=True)) == {1}


def test_only_the_tries_that_are_its_own_are_given_back():
    _, run = submit(*numbered(6))
    hand, other = Hand(), Hand()
    taken = hand.take_together(3)
    assert leases.give_back(other.worker.pk, tries_of(taken)) == 0
    assert (
        leases.give_back(hand.worker.pk, [(key, token + 1) for key, token in tries_of(taken)]) == 0
    )
    assert leases.give_back(hand.worker.pk, []) == 0
    assert list(states(run).values()).count(RUNNING) == 3


def test_one_that_was_canceled_before_it_began_ends_by_being_given_back():
    adapter, run = submit(*numbered(6))
    hand = Hand()
    taken = hand.take_together(3)
    adapter.cancel(run)
    assert states(run)["s1"] == RUNNING
    leases.give_back(hand.worker.pk, tries_of(taken[1:]))
    assert (states(run)["s1"], states(run)["s2"]) == ("CANCELED", "CANCELED")
    leases.end(outcome_of(taken[0]))
    assert execution(run).state == "CANCELED"
    assert states(run)["s0"] == "COMPLETED"


def test_outcomes_of_several_executions_are_recorded_at_once():
    runs = [submit(step("a"), step("b", "a"))[1] for _ in range(2)]
    hands = [Hand(), Hand()]
    taken = [hand.take() for hand in hands]
    assert leases.end_all([outcome_of(each) for each in [*taken, taken[0]]]) == 2
    for run in runs:
        assert states(run) == {"a": "COMPLETED", "b": READY}
    assert leases.end_all([]) == 0


def test_one_more_look_finds_no_more_than_can_be_used():
    """However many steps are ready or could be, a turn reads no more rows than it may take."""
    _, run = submit(*numbered(300), max_parallel=100)
    row = execution(run)
    first, *rest = lookups.look(row.pk, 100, 4)()
    assert (first[0], first[2], len(rest)) == (100, 100, 4)
    Hand().take_together(8)
    first, *rest = lookups.look(row.pk, 108, 4)()
    assert (first[0], first[2], len(rest)) == (100, 92, 4), "there are enough that are ready"
    first, *rest = lookups.look(row.pk, 108, 50)()
    assert (first[0], first[2], len(rest)) == (100, 92, 50 + 8)


def test_a_retry_is_due_for_those_only_that_have_nothing_else_ready():
    runs = [submit(*numbered(count), max_parallel=9)[1] for count in (4, 1)]
    for run in runs:
        Step.objects.filter(execution__external_id=run, name="s0").update(
            state=TaskState.RETRYING, ready_at="2020-01-01T00:00Z"
        )
    assert lookups.executions_to_retry() == [execution(runs[1]).pk]
