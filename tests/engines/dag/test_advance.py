"""What follows from what: executions driven by hand, without worker processes."""

import pytest
from django.db import connection

from engines.base import RetrySpec, RunNotFound
from engines.dag import leases, requests
from engines.dag.models import Execution, Step, StepTry
from engines.states import TaskState
from tests.engines.dag.driving import (
    Hand,
    execution,
    lose_workers,
    make_adapter,
    make_spec,
    states,
    step,
    step_row,
    submit,
    workflow,
)

pytestmark = pytest.mark.django_db

FAILED, CANCELED = TaskState.FAILED, TaskState.CANCELED


def given(name, *needs, **values):
    """An `input` step, whose result is its arguments."""
    more = {key: values.pop(key) for key in ("when", "for_each", "retry") if key in values}
    return step(name, *needs, **more, **{"with": values or {"name": name}})


def test_a_chain_runs_in_order_to_its_end():
    _, run = submit(step("a"), step("b", "a"), step("c", "b"))
    assert states(run) == {"a": "SCHEDULED", "b": "PENDING", "c": "PENDING"}
    assert Hand().run_all() == ["a", "b", "c"]
    assert set(states(run).values()) == {"COMPLETED"}
    assert execution(run).state == "COMPLETED"
    assert execution(run).started_at <= execution(run).ended_at


def test_a_step_starts_when_the_last_of_its_needs_is_done():
    _, run = submit(step("a"), step("b"), step("c", "a", "b"))
    hand, other = Hand(), Hand()
    first, second = hand.take(), other.take()
    assert hand.end(first) is None
    assert states(run)["c"] == "PENDING"
    assert other.end(second).spec.name == "c"


def test_steps_that_get_ready_together_are_taken_in_the_order_of_the_document():
    names = [f"s{number:02}" for number in range(40)]
    _, run = submit(step("first"), *(step(name, "first") for name in names), max_parallel=100)
    hand = Hand()
    first = hand.take()
    if connection.vendor == "postgresql":
        # A changed row is kept in another place; without an index rows are changed as they lie.
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL enable_indexscan = off")
    Step.objects.filter(execution__external_id=run, name__lt="s20").update(message="")
    taken = [hand.end(first), *(Hand().take() for _ in names[1:])]
    assert [each.spec.name for each in taken] == names


def test_the_same_hand_gets_the_next_step_in_the_transaction_that_ends_the_last():
    submit(step("a"), step("b", "a"))
    hand = Hand()
    accepted, taken, others = hand.report(hand.take())
    assert (accepted, taken.spec.name, others) == (True, "b", False)


def test_results_flow_into_inputs():
    submit(given("a", value=3), given("b", "a", got="${steps.a.result.value}"))
    hand = Hand()
    taken = hand.take()
    taken = hand.end(taken, result={"value": 3})
    assert taken.inputs == {"got": 3}
    assert Step.objects.get(name="b").inputs == {"got": 3}


def test_a_reference_that_gives_nothing_fails_its_step_without_starting_it():
    _, run = submit(given("a"), given("b", "a", got="${steps.a.result.missing}"))
    hand = Hand()
    assert hand.end(hand.take(), result={}) is None
    b = step_row(run, "b")
    assert (b.state, b.reason) == ("FAILED", "template")
    assert "missing" in b.error
    assert b.started_at is None
    assert execution(run).error.startswith("b: ")


def test_no_more_steps_are_ready_than_the_limit_allows():
    _, run = submit(*(step(f"s{n}") for n in range(5)), max_parallel=2)
    counted = list(states(run).values())
    assert (counted.count("SCHEDULED"), counted.count("PENDING")) == (2, 3)
    first, second = Hand(), Hand()
    taken = first.take()
    second.take()
    assert Hand().take() is None
    assert first.end(taken).spec.name == "s2"


def test_drain_lets_running_steps_finish_and_starts_no_other():
    _, run = submit(step("bad"), step("running"), step("waits"), step("behind", "bad"))
    first, second = Hand(), Hand()
    bad, running = first.take(), second.take()
    assert first.end(bad, FAILED) is None
    assert states(run) == {
        "bad": "FAILED",
        "running": "RUNNING",
        "waits": "UPSTREAM_FAILED",
        "behind": "UPSTREAM_FAILED",
    }
    assert execution(run).state == "RUNNING"
    second.end(running)
    assert execution(run).state == "FAILED"
    assert execution(run).error == "bad: It went wrong."


def test_continue_lets_other_branches_go_on():
    _, run = submit(
        step("bad"),
        step("good"),
        step("behind", "bad"),
        step("far", "behind", "good"),
        step("fine", "good"),
        failure_policy="continue",
    )
    Hand().run_all({"bad": FAILED})
    assert states(run) == {
        "bad": "FAILED",
        "good": "COMPLETED",
        "behind": "UPSTREAM_FAILED",
        "far": "UPSTREAM_FAILED",
        "fine": "COMPLETED",
    }


def test_cancel_policy_stops_running_siblings():
    _, run = submit(step("bad"), step("running"), step("later", "running"), failure_policy="cancel")
    first, second = Hand(), Hand()
    bad, running = first.take(), second.take()
    first.end(bad, FAILED)
    assert step_row(run, "running").stop == "sibling_failed"
    assert states(run)["later"] == "UPSTREAM_FAILED"
    second.end(running, CANCELED, reason="sibling_failed", stopped=True)
    assert execution(run).state == "FAILED"


def test_a_false_condition_skips_and_what_comes_after_runs_with_null():
    _, run = submit(
        given("a", ok=False),
        given("b", "a", when="${steps.a.result.ok} == true"),
        given("c", "b", got="${steps.b.result.value}"),
        given("d", when="true"),
    )
    hand = Hand()
    taken = hand.take()
    order = []
    while taken:
        order.append((taken.spec.name, taken.inputs))
        taken = hand.end(taken, result=taken.inputs)
    assert ("c", {"got": None}) in order
    assert states(run) == {"a": "COMPLETED", "b": "SKIPPED", "c": "COMPLETED", "d": "COMPLETED"}
    assert execution(run).state == "COMPLETED"


def test_a_condition_that_makes_no_sense_fails_its_step():
    _, run = submit(given("a", word="x"), given("b", "a", when="${steps.a.result.word} > 3"))
    hand = Hand()
    hand.end(hand.take(), result={"word": "x"})
    assert states(run)["b"] == "FAILED"


def test_a_run_of_skipped_steps_is_completed():
    _, run = submit(given("a", when="false"), given("b", when="1 > 2"))
    assert execution(run).state == "COMPLETED"
    assert set(states(run).values()) == {"SKIPPED"}


def test_a_mapped_step_runs_once_for_each_item_and_gives_the_list():
    _, run = submit(
        given("a"),
        given("each", "a", for_each="${steps.a.result.list}", value="${item}", at="${index}"),
        given("last", "each", all="${steps.each.result}"),
    )
    hand = Hand()
    taken = hand.end(hand.take(), result={"list": ["x", "y", "z"]})
    seen = []
    while taken and taken.spec.name == "each":
        seen.append(taken.inputs)
        taken = hand.end(taken, result=taken.inputs)
    assert seen == [{"value": v, "at": n} for n, v in enumerate("xyz")]
    assert taken.inputs == {"all": seen}
    hand.end(taken)
    assert execution(run).state == "COMPLETED"
    assert step_row(run, "each").result == seen
    assert step_row(run, "each").progress == 1.0


def test_items_count_against_the_limit_and_the_mapped_step_does_not():
    _, run = submit(given("each", for_each=[1, 2, 3], v="${item}"), max_parallel=2)
    counted = list(states(run).values())
    assert sorted(counted) == ["PENDING", "RUNNING", "SCHEDULED", "SCHEDULED"]


def test_an_empty_list_completes_the_mapped_step():
    _, run = submit(given("each", for_each=[], v=1), given("last", "each"))
    assert Hand().run_all() == ["last"]
    assert step_row(run, "each").result == []


@pytest.mark.parametrize(
    ("policy", "others"), [("drain", "UPSTREAM_FAILED"), ("continue", "COMPLETED")]
)
def test_a_failed_item_fails_the_mapped_step_when_all_items_have_ended(policy, others):
    _, run = submit(
        given("each", for_each=[1, 2, 3], v="${item}"),
        given("last", "each"),
        failure_policy=policy,
    )
    hand = Hand()
    taken = hand.end(hand.take(), FAILED)
    while taken:
        taken = hand.end(taken)
    assert states(run) == {
        "each": "FAILED",
        "each[0]": "FAILED",
        "each[1]": others,
        "each[2]": others,
        "last": "UPSTREAM_FAILED",
    }
    assert execution(run).state == "FAILED"
    assert step_row(run, "each").error == "1 of 3 items: It went wrong."


def test_something_else_than_a_list_fails_the_mapped_step():
    _, run = submit(given("a"), given("each", "a", for_each="${steps.a.result}", v=1))
    hand = Hand()
    hand.end(hand.take(), result={"no": "list"})
    assert "for_each must give a list, and it gave an object." in step_row(run, "each").error


def test_a_failure_waits_for_its_next_try_and_gives_its_slot_away():
    _, run = submit(given("a", retry={"limit": 2, "delay": 100}), given("b"), max_parallel=1)
    hand = Hand()
    taken = hand.end(hand.take(), FAILED)
    assert taken.spec.name == "b"
    a = step_row(run, "a")
    assert (a.state, a.try_number, a.failures) == ("RETRYING", 1, 1)
    assert hand.end(taken) is None
    assert execution(run).state == "RUNNING"
    assert StepTry.objects.filter(step=a).values_list("state", "error")[0] == (
        "FAILED",
        "It went wrong.",
    )


def test_a_step_that_is_due_again_is_taken_with_the_next_number():
    _, run = submit(given("a", retry={"limit": 1, "delay": 0}))
    hand = Hand()
    taken = hand.end(hand.take(), FAILED)
    assert (taken.spec.name, taken.try_number) == ("a", 2)
    assert hand.end(taken, FAILED) is None
    assert step_row(run, "a").state == "FAILED"
    assert list(StepTry.objects.values_list("try_number", "state")) == [(1, "FAILED")]


def test_promotion_makes_due_steps_ready():
    _, run = submit(given("a", retry={"limit": 1, "delay": 100}))
    hand = Hand()
    hand.end(hand.take(), FAILED)
    leases.promote()
    assert states(run)["a"] == "RETRYING"
    Step.objects.update(ready_at="2020-01-01T00:00Z")
    leases.promote()
    a = step_row(run, "a")
    assert (a.state, a.try_number) == ("SCHEDULED", 2)


def test_what_a_stale_worker_reports_changes_nothing():
    _, run = submit(step("a"), step("b", "a"))
    stale = Hand()
    old = stale.take()
    assert lose_workers() == 1
    hand = Hand()
    new = hand.take()
    assert (new.spec.name, new.try_number) == ("a", 2)
    assert stale.report(old, result="late")[0] is False
    assert step_row(run, "a").state == "RUNNING"
    hand.end(new, result="in time")
    assert step_row(run, "a").result == "in time"
    assert stale.report(old, FAILED)[0] is False
    assert step_row(run, "a").state == "COMPLETED"


def test_a_worker_that_beats_is_not_lost():
    submit(step("a"))
    hand = Hand()
    hand.take()
    assert leases.recover() == 0
    assert leases.beat(hand.worker.pk)


def test_fault_24_a_lost_worker_is_told_so():
    hand = Hand()
    lose_workers()
    assert not leases.beat(hand.worker.pk)


def test_fault_24_a_step_is_lost_three_times_and_then_fails():
    _, run = submit(step("a"))
    for _ in range(4):
        Hand().take()
        lose_workers()
    a = step_row(run, "a")
    assert (a.state, a.reason, a.try_number) == ("FAILED", "lost", 4)


def test_fault_24_without_resuming_a_lost_step_fails(settings):
    settings.WORKFLOWHUB_AUTO_RESUME = False
    _, run = submit(step("a"))
    Hand().take()
    lose_workers()
    assert (step_row(run, "a").state, step_row(run, "a").reason) == ("FAILED", "lost")
    assert execution(run).state == "FAILED"


def test_what_a_lost_worker_was_to_stop_is_cancelled():
    adapter, run = submit(step("a"))
    Hand().take()
    adapter.cancel(run)
    assert execution(run).state == "RUNNING"
    lose_workers()
    assert execution(run).state == "CANCELED"


def test_a_run_that_nobody_works_on_is_cancelled_at_once():
    adapter, run = submit(step("a"), step("b", "a"))
    adapter.cancel(run)
    adapter.cancel(run)
    assert execution(run).state == "CANCELED"
    assert set(states(run).values()) == {"CANCELED"}
    assert Hand().take() is None


def test_a_cancelled_run_whose_last_step_was_faster_is_completed():
    adapter, run = submit(step("a"))
    hand = Hand()
    taken = hand.take()
    adapter.cancel(run)
    hand.end(taken)
    assert execution(run).state == "COMPLETED"


def test_a_failure_while_a_run_is_cancelled_leaves_it_cancelled():
    adapter, run = submit(given("a", retry=3), step("b", "a"))
    hand = Hand()
    taken = hand.take()
    adapter.cancel(run)
    hand.end(taken, FAILED)
    assert execution(run).state == "CANCELED"
    assert states(run) == {"a": "FAILED", "b": "CANCELED"}


def test_one_task_that_nobody_runs_is_cancelled_with_what_needs_it():
    adapter, run = submit(step("a"), step("b", "a"), step("c", "b"), step("d", "a"))
    adapter.cancel_task(run, "b", -1)
    assert states(run) == {
        "a": "SCHEDULED",
        "b": "CANCELED",
        "c": "UPSTREAM_FAILED",
        "d": "PENDING",
    }
    assert Hand().run_all() == ["a", "d"]
    assert execution(run).state == "FAILED"


def test_a_mapped_task_is_cancelled_with_all_its_items():
    adapter, run = submit(given("each", for_each=[1, 2], v=1), given("last", "each"))
    with pytest.raises(RunNotFound):
        adapter.cancel_task(run, "nothing", -1)
    adapter.cancel_task(run, "each", -1)
    assert states(run)["each"] == "CANCELED"
    assert states(run)["last"] == "UPSTREAM_FAILED"


def test_a_run_over_its_limit_is_stopped():
    _, run = submit(step("a"), step("b", "a"), timeout=60)
    hand = Hand()
    taken = hand.take()
    requests.stop_overdue()
    assert states(run)["b"] == "PENDING"
    Execution.objects.update(deadline_at="2020-01-01T00:00Z")
    requests.stop_overdue()
    assert step_row(run, "a").stop == "timeout"
    hand.end(taken, FAILED, reason="timeout", stopped=True)
    assert (execution(run).state, execution(run).reason) == ("FAILED", "timeout")
    assert execution(run).error == "The run took longer than its limit of 60 s."


def test_the_outputs_of_a_run_are_what_its_document_says():
    _, run = submit(
        given("a"), outputs={"v": "${steps.a.result.v}", "p": "${params.p}"},
        parameters={"p": {"type": "integer"}}, run_parameters={"p": 4},
    )  # fmt: skip
    hand = Hand()
    hand.end(hand.take(), result={"v": 1})
    assert execution(run).result == {"v": 1, "p": 4}


def test_without_outputs_the_output_steps_make_the_result():
    _, run = submit(
        step("x", handler="output", **{"with": {"a": 1}}),
        step("y", handler="output", **{"with": {"b": 2}}),
    )
    Hand().run_all()
    assert execution(run).result == {"a": 1, "b": 2}


def test_outputs_that_can_not_be_made_fail_the_run():
    _, run = submit(given("a"), outputs={"v": "${steps.a.result.v}"})
    hand = Hand()
    hand.end(hand.take(), result={})
    assert (execution(run).state, execution(run).reason) == ("FAILED", "outputs")


def test_declared_outputs_of_an_app_join_its_result():
    adapter = make_adapter()
    document = {
        "workflow_name": "pipeline",
        "base_context": {"folder": "/home"},
        "steps": [
            {
                "step_name": "one",
                "app": "A",
                "params": {"path": "${folder}/x"},
                "outputs": {"file": "${params.path}/out.fa"},
            },
            {
                "step_name": "two",
                "app": "B",
                "params": {"a": "${steps.one.outputs.file}", "b": "${steps.one.outputs.extra}"},
            },
        ],
        "workflow_outputs": ["${steps.two.outputs.genome}"],
    }
    spec = make_spec(document, format="bvbrc")
    adapter.submit(spec)
    hand = Hand()
    one = hand.take()
    assert one.inputs == {"app": "A", "params": {"path": "/home/x"}}
    two = hand.end(one, result={"extra": 1})
    assert two.inputs["params"] == {"a": "/home/x/out.fa", "b": 1}
    hand.end(two, result={"genome": "g"})
    assert execution(spec.external_id).result == ["g"]


def retry(adapter, spec, *tasks, attempt=2):
    again = make_spec(spec.workflow.definition, uuid=spec.uuid, attempt=attempt)
    previous = spec.external_id[: -len(str(spec.attempt))] + str(attempt - 1)
    adapter.retry(again, RetrySpec(previous_external_id=previous, tasks=tasks))
    return again.external_id


def start(*steps, **more):
    adapter = make_adapter()
    spec = make_spec(workflow(*steps, **more))
    adapter.submit(spec)
    return adapter, spec


def test_a_retry_runs_what_failed_and_keeps_the_rest():
    adapter, spec = start(given("a"), given("b", "a", got="${steps.a.result.v}"), given("c", "b"))
    hand = Hand()
    hand.end(hand.end(hand.take(), result={"v": 5}), FAILED)
    run = retry(adapter, spec, ("b", -1), ("c", -1))
    kept = step_row(run, "a")
    assert (kept.state, kept.attempt, kept.result) == ("COMPLETED", 1, {"v": 5})
    taken = hand.take()
    assert (taken.spec.name, taken.attempt, taken.inputs) == ("b", 2, {"got": 5})
    hand.end(hand.end(taken))
    assert execution(run).state == "COMPLETED"
    assert execution(spec.external_id).state == "FAILED"


def test_a_retry_of_one_item_keeps_the_others():
    adapter, spec = start(
        given("each", for_each=[1, 2, 3], v="${item}"), given("last", "each"),
        failure_policy="continue",
    )  # fmt: skip
    hand = Hand()
    taken = hand.take()
    while taken:
        failed = taken.map_index == 1
        taken = hand.end(taken, FAILED if failed else TaskState.COMPLETED, taken.inputs)
    run = retry(adapter, spec, ("each", -1), ("each", 1), ("last", -1))
    taken = hand.take()
    assert (taken.spec.name, taken.map_index, taken.inputs) == ("each", 1, {"v": 2})
    last = hand.end(taken, result="mended")
    assert last.spec.name == "last"
    assert step_row(run, "each").result == [{"v": 1}, "mended", {"v": 3}]
    hand.end(last)
    assert execution(run).state == "COMPLETED"


def test_a_mapped_step_whose_needs_run_again_is_expanded_anew():
    adapter, spec = start(given("a"), given("each", "a", for_each="${steps.a.result}", v=1))
    hand = Hand()
    taken = hand.end(hand.take(), result=[1, 2])
    while taken:
        taken = hand.end(taken)
    run = retry(adapter, spec, ("a", -1), ("each", -1), ("each", 0), ("each", 1))
    taken = hand.end(hand.take(), result=[7])
    assert hand.end(taken) is None
    assert states(run) == {"a": "COMPLETED", "each": "COMPLETED", "each[0]": "COMPLETED"}


def test_a_retry_of_something_unknown_says_so():
    adapter, spec = start(step("a"))
    with pytest.raises(RunNotFound):
        retry(adapter, spec, ("a", -1), attempt=7)


def test_an_ended_execution_is_forgotten_with_all_its_rows():
    _, run = submit(step("a"))
    assert requests.forget([run]) == 0
    Hand().run_all()
    assert requests.forget([run]) == 1
    assert not Step.objects.exists()
    assert not StepTry.objects.exists()


def test_a_worker_that_signs_off_gives_its_steps_back_without_blame():
    _, run = submit(step("a"))
    hand = Hand()
    hand.take()
    leases.retire(hand.worker.pk)
    a = step_row(run, "a")
    assert (a.state, a.try_number, a.losses, a.started_at) == ("SCHEDULED", 2, 0, None)


def test_steps_of_the_execution_that_waits_longest_are_taken_first():
    submit(step("a1"), step("a2"), max_parallel=1)
    submit(step("b1"))
    hand = Hand()
    first = hand.take()
    assert first.spec.name == "a1"
    _, second, _ = hand.report(first, stay=False)
    assert second.spec.name == "b1"
