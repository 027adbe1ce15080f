"""Steps that repeat: their pauses, and what stops them."""

import pytest
from django.db import connection

from engines.dag import leases, lookups, requests
from engines.dag.models import Execution, Step
from engines.dag.outcome import Outcome
from engines.states import TaskState
from tests.engines.dag.driving import Hand, execution, lose_workers, states, step, step_row, submit
from tests.engines.dag.passing import end_passes, is_due, poll, take_all

pytestmark = pytest.mark.django_db

FAILED = TaskState.FAILED


# ---- pauses -------------------------------------------------------------------------------------


def test_a_pause_between_passes_takes_no_slot_and_holds_the_run_open():
    _, run = submit(poll(repeat={"max": 2, "delay": 100}), step("other"), max_parallel=1)
    hand = Hand()
    taken = end_passes(hand, 1)
    assert taken.spec.name == "other"
    assert hand.end(taken) is None
    assert states(run)["poll[1]"] == "PENDING"
    assert execution(run).state == "RUNNING"
    assert 98 < leases.next_retry_wait() <= 100
    assert leases.promote() == 0
    is_due()
    assert leases.promote() == 1
    assert states(run)["poll[1]"] == "SCHEDULED"
    assert hand.end(hand.take()) is None
    assert execution(run).state == "COMPLETED"


def test_a_pass_that_is_due_is_taken_by_whoever_ends_another_step():
    submit(poll(repeat={"max": 2, "delay": 100}), step("other"), max_parallel=1)
    hand = Hand()
    other = end_passes(hand, 1)
    is_due()
    assert hand.end(other).map_index == 1


def test_what_is_due_and_has_no_slot_does_not_keep_the_worker_awake():
    submit(poll(repeat={"max": 2, "delay": 100}), step("other"), max_parallel=1)
    hand = Hand()
    other = end_passes(hand, 1)
    is_due()
    assert leases.promote() == 0
    assert leases.next_retry_wait() == leases.LOOK_AGAIN_SECONDS
    Execution.objects.update(max_parallel=2)
    assert leases.promote() == 1
    assert hand.end(other).map_index == 1


def test_no_step_waits_for_later_is_said_so():
    submit(step("a"))
    assert leases.next_retry_wait() is None


@pytest.mark.skipif(connection.vendor != "sqlite", reason="PostgreSQL chooses by its statistics.")
def test_what_is_due_is_found_by_its_index():
    with connection.cursor() as cursor:
        cursor.execute(
            "EXPLAIN QUERY PLAN SELECT DISTINCT execution_id FROM dag_step "  # noqa: S608
            f"WHERE {lookups._LATER} AND ready_at <= '2020' LIMIT 1"
        )
        assert any("step_later" in row[3] for row in cursor.fetchall())


# ---- stopping -----------------------------------------------------------------------------------


def test_a_cancelled_run_begins_no_further_pass():
    adapter, run = submit(poll())
    hand = Hand()
    taken = hand.take()
    adapter.cancel(run)
    assert hand.end(taken, result={"done": False}) is None
    assert states(run) == {"poll": "CANCELED", "poll[0]": "COMPLETED"}
    assert step_row(run, "poll").reason == "canceled"
    assert execution(run).state == "CANCELED"


def test_a_cancelled_run_whose_last_pass_was_faster_is_completed():
    adapter, run = submit(poll())
    hand = Hand()
    taken = hand.take()
    adapter.cancel(run)
    hand.end(taken, result={"done": True})
    assert execution(run).state == "COMPLETED"


def test_a_run_is_cancelled_between_two_passes():
    adapter, run = submit(poll(repeat={"max": 3, "delay": 100}))
    end_passes(Hand(), 1)
    adapter.cancel(run)
    assert states(run) == {"poll": "CANCELED", "poll[0]": "COMPLETED", "poll[1]": "CANCELED"}
    assert execution(run).state == "CANCELED"
    is_due()
    assert leases.promote() == 0


def test_a_cancelled_task_begins_no_further_pass_and_other_branches_go_on():
    adapter, run = submit(poll(), step("last", "poll"), step("other"), max_parallel=1)
    hand = Hand()
    taken = hand.take()
    adapter.cancel_task(run, "poll", -1)
    assert step_row(run, "poll", 0).stop == "canceled"
    taken = hand.end(taken, result={"done": False})  # it was faster
    assert taken.spec.name == "other"
    assert states(run)["poll"] == "CANCELED"
    assert step_row(run, "poll").reason == "canceled"
    assert states(run)["last"] == "UPSTREAM_FAILED"


def test_a_task_is_cancelled_between_two_passes():
    adapter, run = submit(poll(repeat={"max": 3, "delay": 100}), step("other"))
    taken = take_all(2)
    hand, one = taken["poll"]
    assert hand.end(one) is None
    adapter.cancel_task(run, "poll", -1)
    assert states(run)["poll"] == "CANCELED"
    hand, other = taken["other"]
    assert hand.end(other) is None
    assert execution(run).state == "CANCELED"


def test_a_run_out_of_time_stops_a_step_that_waits_for_its_next_pass():
    _, run = submit(poll(repeat={"max": 3, "delay": 100}), timeout=60)
    end_passes(Hand(), 1)
    Execution.objects.update(deadline_at="2020-01-01T00:00Z")
    requests.stop_overdue()
    assert (execution(run).state, execution(run).reason) == ("FAILED", "timeout")
    assert step_row(run, "poll").reason == "timeout"


@pytest.mark.parametrize("policy", ["drain", "continue"])
def test_a_failure_elsewhere_lets_a_step_that_repeats_go_on_to_its_end(policy):
    _, run = submit(
        poll(repeat={"max": 3, "delay": 100}), step("bad"), failure_policy=policy, max_parallel=2
    )
    taken = take_all(2)
    hand, one = taken["poll"]
    assert hand.end(one) is None
    hand, bad = taken["bad"]
    assert hand.end(bad, FAILED) is None
    for number in (1, 2):
        assert states(run)[f"poll[{number}]"] == "PENDING"
        is_due()
        leases.promote()
        assert hand.end(hand.take()) is None
    assert states(run)["poll"] == "COMPLETED"
    assert execution(run).state == "FAILED"


def test_a_failure_elsewhere_stops_a_step_that_repeats_where_siblings_are_stopped():
    _, run = submit(poll(), poll("later", repeat={"max": 3, "delay": 100}), step("bad"),
                    failure_policy="cancel")  # fmt: skip
    taken = take_all(3)
    hand, later = taken["later"]
    assert hand.end(later) is None
    hand, bad = taken["bad"]
    assert hand.end(bad, FAILED) is None
    assert states(run)["later"] == "CANCELED"
    assert step_row(run, "later").reason == "sibling_failed"
    assert step_row(run, "poll", 0).stop == "sibling_failed"
    hand, running = taken["poll"]
    assert hand.end(running, result={"done": False}) is None  # it was faster
    assert states(run)["poll"] == "CANCELED"
    assert step_row(run, "poll").reason == "sibling_failed"
    assert execution(run).state == "FAILED"


def test_a_lost_worker_costs_a_pass_a_try_and_no_pass_twice():
    _, run = submit(poll(repeat=2))
    hand = Hand()
    end_passes(hand, 1)
    assert lose_workers() == 1
    other = Hand()
    taken = other.take()
    assert (taken.map_index, taken.try_number) == (1, 2)
    assert other.end(taken) is None
    assert states(run) == dict.fromkeys(["poll", "poll[0]", "poll[1]"], "COMPLETED")


def test_a_cancelled_task_that_fails_by_itself_is_not_tried_again():
    adapter, run = submit(poll(retry=3), step("other"))
    taken = take_all(2)
    adapter.cancel_task(run, "poll", -1)
    hand, one = taken["poll"]
    assert hand.end(one, FAILED) is None
    assert states(run)["poll"] == "FAILED"
    assert states(run)["other"] == "RUNNING"


def test_a_hook_that_is_due_again_needs_no_slot():
    hook = {"handler": "input", "retry": {"limit": 1, "delay": 100}}
    _, run = submit(
        poll(repeat={"max": 2, "delay": 100}), step("other", on_success=hook), step("long"),
        max_parallel=1,
    )  # fmt: skip
    hand = Hand()
    other = end_passes(hand, 1)
    assert (other.spec.name, hand.end(other).spec.name) == ("other", "other.on_success")
    other_hand = Hand()
    assert other_hand.take().spec.name == "long"
    leases.end(
        Outcome(
            execution_id=other.plan.id,
            step_id=step_row(run, "other.on_success").pk,
            token=step_row(run, "other.on_success").token,
            name="other.on_success",
            map_index=-1,
            state=FAILED,
        )
    )
    Step.objects.filter(state__in=["PENDING", "RETRYING"]).update(ready_at="2020-01-01T00:00Z")
    assert leases.promote() == 1
    assert states(run)["other.on_success"] == "SCHEDULED"
    assert states(run)["poll[1]"] == "PENDING"
