"""A report that comes in between doesn't refuse an intent; another person's intent does."""

import pytest
from django.db.models import F

from runs import actions, moves
from runs.actions import races
from runs.errors import Conflict, Stale
from runs.models import RunEvent, TaskRun, WorkflowRun
from runs.states import Cause, RetryMode, RunState, TaskState, Wanted
from tests.factories import make_actor, make_engine, make_run

pytestmark = pytest.mark.django_db


def reported(run):
    """The run as the caller has it: the reconciler has written a report since."""
    WorkflowRun.objects.filter(pk=run.pk).update(version=F("version") + 1)
    return run


@pytest.fixture
def running():
    run = make_run(
        engine=make_engine(), state=RunState.RUNNING, task_states={"load": TaskState.RUNNING}
    )
    return reported(run)


@pytest.fixture
def failed():
    return reported(make_run(state=RunState.FAILED, task_states={"load": TaskState.FAILED}))


def test_a_run_is_canceled_although_a_report_came_in_between(running):
    actions.cancel_run(make_actor(), running)
    assert WorkflowRun.objects.get(pk=running.pk).wanted == Wanted.CANCEL
    assert RunEvent.objects.filter(run=running, cause=Cause.CANCEL).count() == 1


def test_a_run_is_retried_although_a_report_came_in_between(failed):
    actions.retry_run(make_actor(), failed)
    assert WorkflowRun.objects.get(pk=failed.pk).attempt == 2
    assert failed.attempts.count() == 2


def test_a_run_is_restarted_although_a_report_came_in_between(running):
    actions.restart_run(make_actor(), running)
    assert running.attempts.get(number=2).mode == RetryMode.RESTART


def test_a_run_is_marked_and_edited_although_reports_came_in_between(running):
    actions.edit_run(make_actor(), running, note="seen")
    actions.mark_run(make_actor(), reported(running), RunState.FAILED, note="it hangs")
    fresh = WorkflowRun.objects.get(pk=running.pk)
    assert (fresh.state, fresh.note) == (RunState.FAILED, "seen")


def test_a_held_run_is_started_although_something_was_written_in_between():
    run = reported(make_run(hold=True))
    actions.start_held_run(make_actor(), run)
    assert WorkflowRun.objects.get(pk=run.pk).wanted == Wanted.RUN


def test_one_task_is_canceled_however_often_reports_come_in_between(running, monkeypatch):
    apply_one, left = moves.apply_one, [3]

    def busy(change, **kw):
        if left[0]:
            left[0] -= 1
            reported(change.run)
        return apply_one(change, **kw)

    monkeypatch.setattr(moves, "apply_one", busy)
    actions.cancel_task(make_actor(), TaskRun.objects.get(run=running, name="load"))
    assert TaskRun.objects.get(run=running, name="load").wanted == Wanted.CANCEL
    assert left == [0]


def test_reports_without_end_are_given_up_on(running, monkeypatch):
    calls = []
    monkeypatch.setattr(moves, "apply_one", lambda change, **kw: calls.append(1))
    with pytest.raises(Conflict, match="at the same moment"):
        actions.cancel_run(make_actor(), running)
    assert len(calls) == races.TRIES + 1


def test_a_run_that_ended_in_between_has_ended(running):
    WorkflowRun.objects.filter(pk=running.pk).update(state=RunState.COMPLETED)
    with pytest.raises(Conflict, match="It has ended already"):
        actions.cancel_run(make_actor(), running)


def test_fault_03_another_person_s_intent_in_between_is_a_conflict_with_the_run_as_it_is(running):
    actions.cancel_run(make_actor(), WorkflowRun.objects.get(pk=running.pk))
    with pytest.raises(Conflict) as caught:
        actions.mark_run(make_actor(), running, RunState.COMPLETED, note="looks done")
    assert caught.value.current.wanted == Wanted.CANCEL


def test_a_version_that_the_caller_named_is_still_held_to(running):
    with pytest.raises(Stale):
        actions.cancel_run(make_actor(), running, expected_version=running.version)
