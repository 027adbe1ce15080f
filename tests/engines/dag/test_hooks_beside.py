"""Hooks are outside their run: whatever becomes of either, the other goes its own way."""

import pytest

from engines.base import RetrySpec, RunNotFound
from engines.dag import hooks, leases, requests
from engines.dag.models import Execution, Step, StepTry
from engines.states import TaskState
from tests.engines.dag.driving import (
    Hand,
    execution,
    make_adapter,
    make_spec,
    outcome_of,
    states,
    step,
    step_row,
    submit,
    workflow,
)
from tests.engines.dag.hooking import both, hook, hook_names, run_all

pytestmark = pytest.mark.django_db

FAILED, CANCELED = TaskState.FAILED, TaskState.CANCELED


def test_a_hook_that_nobody_waits_for_stays_ready_where_its_run_is_canceled():
    adapter, run = submit(step("a", **both()), step("b", "a"))
    hand = Hand()
    leases.end(outcome_of(hand.take(), TaskState.COMPLETED))
    adapter.cancel(run)
    assert states(run) == {"a": "COMPLETED", "b": "CANCELED", "a.on_success": "SCHEDULED"}
    assert execution(run).state == "CANCELED"
    assert hand.take().spec.name == "a.on_success"


def test_a_failed_hook_changes_nothing_and_has_no_hook():
    _, run = submit(
        step("a", **both()), step("b", "a"), outputs={"n": "${steps.b.result}"}, **both()
    )
    order = run_all({"a.on_success": FAILED, "on_success": FAILED})
    assert sorted(order) == ["a", "a.on_success", "b", "on_success"]
    ended = execution(run)
    assert (ended.state, ended.error) == ("COMPLETED", "")
    assert states(run)["a.on_success"] == states(run)["on_success"] == "FAILED"


def test_the_run_fails_of_its_steps_never_of_a_hook():
    _, run = submit(step("a", **both()), step("b", "a"))
    run_all({"a.on_success": FAILED, "b": FAILED})
    assert execution(run).error == "b: It went wrong."


def test_an_output_hook_adds_nothing_to_the_runs_result():
    _, run = submit(
        step("a", handler="output", **{"with": {"n": 1}}, on_success=hook(handler="output")),
    )
    run_all()
    assert execution(run).result == {"n": 1}


def test_hooks_take_none_of_the_runs_slots():
    _, run = submit(step("a", **both()), step("b"), step("c"), max_parallel=1)
    first, second = Hand(), Hand()
    taken = first.end(first.take())
    assert taken.spec.name == "a.on_success"
    b = second.take()
    assert b.spec.name == "b"
    assert Hand().take() is None
    assert second.end(b).spec.name == "c"


def test_a_hook_isnt_stopped_by_the_failure_of_a_step_or_the_end_of_its_run():
    adapter, run = submit(step("a", **both()), step("bad"), step("waits"), failure_policy="cancel")
    first, second = Hand(), Hand()
    a, bad = first.take(), second.take()
    running = first.end(a)
    assert running.spec.name == "a.on_success"
    second.end(bad, FAILED)
    row = step_row(run, "a.on_success")
    assert (row.state, row.stop) == ("RUNNING", "")
    assert execution(run).state == "FAILED"
    assert first.report(running)[0]


def test_canceling_a_run_stops_its_steps_and_leaves_its_hooks():
    adapter, run = submit(step("a", **both()), step("b", "a"))
    hand, other = Hand(), Hand()
    running = hand.end(hand.take())
    b = other.take()
    adapter.cancel(run)
    assert (step_row(run, "b").stop, step_row(run, "a.on_success").stop) == ("canceled", "")
    other.end(b, CANCELED, reason="canceled", stopped=True)
    assert execution(run).state == "CANCELED"
    assert states(run) == {"a": "COMPLETED", "b": "CANCELED", "a.on_success": "RUNNING"}
    assert hand.report(running)[0]
    assert states(run)["a.on_success"] == "COMPLETED"


def test_a_hook_is_tried_again_after_its_run_has_ended():
    _, run = submit(step("a"), on_success=hook(retry={"limit": 1, "delay": "5m"}))
    hand = Hand()
    taken = hand.end(hand.take())
    assert hand.end(taken, FAILED) is None
    assert step_row(run, "on_success").state == "RETRYING"
    assert StepTry.objects.filter(step__name="on_success", state="FAILED").count() == 1
    Step.objects.filter(name="on_success").update(ready_at="2020-01-01T00:00Z")
    assert leases.promote() == 1
    taken = hand.take()
    assert (taken.spec.name, taken.try_number) == ("on_success", 2)
    hand.end(taken, FAILED)
    row = step_row(run, "on_success")
    assert (row.state, row.try_number, row.failures) == ("FAILED", 2, 1)


def test_a_hook_goes_on_where_its_run_is_being_stopped():
    adapter, run = submit(
        step("a", on_success=hook(retry={"limit": 1, "delay": 0})), step("b", "a")
    )
    hand, other = Hand(), Hand()
    taken = hand.end(hand.take())
    other.take()
    adapter.cancel(run)
    again = hand.end(taken, FAILED)
    assert (again.spec.name, again.try_number) == ("a.on_success", 2)


def test_a_hook_of_a_lost_worker_is_taken_by_another_though_its_run_has_ended():
    _, run = submit(step("a"), on_success=hook())
    hand = Hand()
    taken = hand.end(hand.take())
    leases.retire(hand.worker.pk)
    assert states(run) == {"a": "COMPLETED", "on_success": "SCHEDULED"}
    again = Hand().take()
    assert (again.spec.name, again.try_number) == ("on_success", 2)
    assert not hand.report(taken)[0]
    assert execution(run).state == "COMPLETED"


def test_a_hook_that_loses_its_workers_again_and_again_fails():
    _, run = submit(step("a"), on_success=hook())
    hand = Hand()
    taken = hand.end(hand.take())
    while taken is not None:
        leases.lose(hand.worker.pk, None, "lost", "Its worker was lost.")
        hand = Hand()
        taken = hand.take()
    row = step_row(run, "on_success")
    assert (row.state, row.losses) == ("FAILED", 3)


def test_one_hook_can_be_canceled_before_and_while_it_runs():
    adapter, run = submit(step("a", **both()), step("b", "a"), **both())
    hand = Hand()
    running = hand.end(hand.take())
    adapter.cancel_task(run, "a.on_success", -1)
    assert step_row(run, "a.on_success").stop == "canceled"
    b = hand.end(running, CANCELED, reason="canceled", stopped=True)
    leases.end(outcome_of(b, TaskState.COMPLETED))
    assert states(run)["on_success"] == "SCHEDULED"
    adapter.cancel_task(run, "on_success", -1)
    adapter.cancel_task(run, "on_success", -1)
    assert states(run) == {
        "a": "COMPLETED",
        "b": "COMPLETED",
        "a.on_success": "CANCELED",
        "on_success": "CANCELED",
    }
    assert execution(run).state == "COMPLETED"
    assert Hand().take() is None


def test_a_hook_that_hasnt_begun_cant_be_canceled():
    adapter, run = submit(step("a", **both()))
    with pytest.raises(RunNotFound):
        adapter.cancel_task(run, "a.on_failure", -1)


def test_a_further_attempt_begins_its_own_hooks_and_takes_over_none():
    adapter, first = submit(step("a", **both()), step("b", "a", **both()), **both())
    run_all({"b": FAILED})
    assert hook_names(first) == {"a.on_success", "b.on_failure", "on_failure"}
    uuid = execution(first).run_uuid
    definition = workflow(step("a", **both()), step("b", "a", **both()), **both())
    again = make_spec(definition, uuid=uuid, attempt=2)
    adapter.retry(again, RetrySpec(previous_external_id=first, tasks=(("b", -1),)))
    assert hook_names(again.external_id) == set()
    assert run_all() == ["b", "b.on_success", "on_success"]
    assert step_row(again.external_id, "on_success").attempt == 2
    assert execution(again.external_id).state == "COMPLETED"


def test_a_hook_that_still_runs_isnt_taken_over_by_the_next_attempt():
    definition = workflow(step("a", **both()), step("b", "a"))
    adapter = make_adapter()
    first = make_spec(definition)
    adapter.submit(first)
    hand, other = Hand(), Hand()
    running = hand.end(hand.take())
    other.end(other.take(), FAILED)
    again = make_spec(definition, uuid=first.uuid, attempt=2)
    adapter.retry(again, RetrySpec(previous_external_id=first.external_id, tasks=(("b", -1),)))
    assert states(again.external_id) == {"a": "COMPLETED", "b": "SCHEDULED"}
    assert hand.report(running)[0]
    assert states(first.external_id)["a.on_success"] == "COMPLETED"


def test_an_execution_isnt_forgotten_before_its_hooks_have_ended():
    _, run = submit(step("a"), **both())
    hand = Hand()
    taken = hand.end(hand.take())
    assert hooks.busy([run]) == {run}
    assert requests.forget([run]) == 0
    hand.end(taken)
    assert requests.forget([run]) == 1
    assert not Execution.objects.filter(external_id=run).exists()
