"""Steps of the handler `workflow` that end without an answer, and what observers are told of them."""

import pytest
from django.utils import timezone

from engines.base import ChildOutcome, RetrySpec
from engines.dag import leases, requests
from engines.dag.models import Step, StepTry
from engines.dag.outcome import Stop
from engines.states import RunState, TaskState
from tests.engines.dag.asking import LONG_AGO, answer, asked, child
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


def test_a_step_that_waits_for_too_long_fails_and_its_other_try_asks_anew():
    adapter, run = submit(
        child("ask", timeout=60, retry={"limit": 1, "delay": 0}),
        step("after", "ask", trigger="all_done"),
        failure_policy="continue",
    )
    assert not requests.stop_overdue()
    first = asked(adapter, run)["ask", -1].key
    Step.objects.filter(name="ask").update(deadline_at=LONG_AGO)
    assert not requests.stop_overdue()
    ended = StepTry.objects.get(step=step_row(run, "ask"))
    assert (ended.state, ended.reason) == (TaskState.FAILED, Stop.TIMEOUT)
    assert ended.error == "The run that it asked for took longer than the step's limit of 60 s."
    assert asked(adapter, run)["ask", -1].key != first
    assert step_row(run, "ask").deadline_at > timezone.now()
    Step.objects.filter(name="ask").update(deadline_at=LONG_AGO)
    assert requests.stop_overdue(), "a step is ready for a worker"
    row = step_row(run, "ask")
    assert (row.state, row.reason, row.deadline_at) == (TaskState.FAILED, Stop.TIMEOUT, None)
    assert states(run)["after"] == TaskState.SCHEDULED


def test_overdue_steps_are_ended_by_every_look_and_leave_answered_ones_alone():
    adapter, run = submit(child("ask", timeout=60))
    adapter._leases_checked = type(adapter)._leases_checked = 0.0
    Step.objects.filter(name="ask").update(deadline_at=LONG_AGO)
    list(adapter.observe(None, []))
    assert execution(run).state == RunState.FAILED
    adapter, run = submit(child("ask", timeout=60))
    answer(adapter, run, "ask")
    assert step_row(run, "ask").deadline_at is None
    assert not requests.stop_overdue()


def test_canceling_the_run_ends_a_waiting_step_at_once_and_voids_its_request():
    adapter, run = submit(child("ask"), child("many", for_each=[1, 2]), step("after", "ask"))
    old = asked(adapter, run)
    adapter.cancel(run)
    assert execution(run).state == RunState.CANCELED
    assert set(states(run).values()) == {TaskState.CANCELED}
    assert adapter.find(run).requests == ()
    for request in old.values():
        adapter.answer(run, request.key, ChildOutcome(run_id=1, state=RunState.COMPLETED))
    assert set(states(run).values()) == {TaskState.CANCELED}


def test_canceling_one_waiting_step_ends_it_and_the_other_branches_go_on():
    adapter, run = submit(child("ask"), child("other"), step("after", "ask"))
    adapter.cancel_task(run, "ask", -1)
    assert states(run) == {
        "ask": TaskState.CANCELED,
        "other": TaskState.RUNNING,
        "after": TaskState.UPSTREAM_FAILED,
    }
    answer(adapter, run, "other")
    assert execution(run).ended_at is not None


def test_canceling_one_item_or_all_of_them_ends_these_at_once():
    adapter, run = submit(child("ask", for_each=[1, 2, 3]))
    adapter.cancel_task(run, "ask", 1)
    assert step_row(run, "ask", 1).state == TaskState.CANCELED
    assert step_row(run, "ask").state == TaskState.RUNNING
    adapter.cancel_task(run, "ask", -1)
    assert set(states(run).values()) == {TaskState.CANCELED}
    assert execution(run).state == RunState.CANCELED


def test_a_failed_sibling_ends_a_waiting_step_where_the_policy_says_so():
    for policy, end in (("cancel", TaskState.CANCELED), ("drain", TaskState.RUNNING)):
        adapter, run = submit(child("ask"), step("bad"), failure_policy=policy)
        hand = Hand()
        hand.report(hand.take(), TaskState.FAILED)
        assert states(run) == {"ask": end, "bad": TaskState.FAILED}
        assert (execution(run).ended_at is None) == (policy == "drain")


def test_the_run_s_time_limit_ends_a_waiting_step():
    adapter, run = submit(child("ask"), timeout=60)
    type(execution(run)).objects.filter(external_id=run).update(deadline_at=LONG_AGO)
    requests.stop_overdue()
    assert (execution(run).state, execution(run).reason) == (RunState.FAILED, Stop.TIMEOUT)
    assert states(run) == {"ask": TaskState.CANCELED}


def test_the_loss_of_workers_does_not_touch_a_waiting_step():
    adapter, run = submit(child("ask"), step("work"))
    hand = Hand()
    assert hand.take().spec.name == "work"
    token = step_row(run, "ask").token
    assert lose_workers() == 1
    leases.retire(hand.worker.pk)
    row = step_row(run, "ask")
    assert (row.state, row.token) == (TaskState.RUNNING, token)
    answer(adapter, run, "ask")
    assert step_row(run, "ask").state == TaskState.COMPLETED


@pytest.mark.django_db(transaction=True)
def test_a_request_is_told_in_whole_and_in_changed_snapshots_until_it_is_answered():
    adapter, run = submit(step("first"), child("ask", "first"), child("later", "ask"))
    cursor = [page.cursor for page in adapter.observe(None, [run])][-1]
    hand = Hand()
    hand.end(hand.take())
    pages = list(adapter.observe(cursor, []))
    (snapshot,) = [one for page in pages for one in page.snapshots]
    assert [request.task for request in snapshot.requests] == [("ask", -1)]
    assert {task.task for task in snapshot.tasks} >= {"ask"}
    for _ in range(2):
        (whole,) = [one for page in adapter.observe(None, [run]) for one in page.snapshots]
        assert [request.task for request in whole.requests] == [("ask", -1)]
    answer(adapter, run, "ask")
    (snapshot,) = [one for page in adapter.observe(pages[-1].cursor, []) for one in page.snapshots]
    assert [request.task for request in snapshot.requests] == [("later", -1)]


def test_a_retry_of_the_run_keeps_the_answered_step_and_asks_anew_for_the_failed_one():
    adapter = make_adapter()
    spec = make_spec(workflow(child("good"), child("bad"), failure_policy="continue"))
    first = adapter.submit(spec).external_id
    answer(adapter, first, "good", result=1)
    answer(adapter, first, "bad", RunState.FAILED)
    again = make_spec(spec.workflow.definition, uuid=spec.uuid, attempt=2)
    adapter.retry(again, RetrySpec(previous_external_id=first, tasks=(("bad", -1),)))
    second = again.external_id
    assert states(second) == {"good": TaskState.COMPLETED, "bad": TaskState.RUNNING}
    assert step_row(second, "good").result["result"] == 1
    (request,) = adapter.find(second).requests
    assert request.key == f"{second}/bad/-1/1"
