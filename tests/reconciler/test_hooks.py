"""Hooks go on when their run has ended: the hub follows them, and leaves the run as it ended."""

import uuid
from datetime import timedelta
from types import SimpleNamespace

import pytest

from engines.base import RunSnapshot, TaskSnapshot
from engines.clock import database_now
from engines.dag.models import Execution
from engines.states import TaskState
from runs import actions, fsck
from runs.models import RunEvent, TaskRun, TaskTry, WorkflowRun
from runs.policy import Actor
from runs.reconciler import late
from runs.reconciler.hold import take
from runs.reconciler.once import lease_name, once
from runs.reconciler.sweep import EngineSweep
from runs.states import RunState
from tests.engines.dag.driving import Hand, step
from tests.factories import make_run, make_workflow
from tests.reconciler.hooked import HOOK, LONG_AGO, HookedHub, as_it_ended, row, seen

pytestmark = pytest.mark.django_db
FAILED, CANCELED = TaskState.FAILED, TaskState.CANCELED


@pytest.fixture
def hub(db, settings):
    settings.WORKFLOWHUB_WORKER_LOST_AFTER = 3600  # nobody hears the hand's heart beat
    return HookedHub()


def test_the_end_of_a_run_is_reported_with_its_hook_which_goes_on(hub):
    run, taken = hub.ended_with_hook()
    assert (seen(run).state, row(run, "a").state) == (RunState.COMPLETED, TaskState.COMPLETED)
    hook = row(run)
    assert (hook.kind, hook.state, hook.task, hook.inputs) == (
        "hook",
        "RUNNING",
        None,
        {"of": "Test"},
    )
    assert (hook.worker, hook.attempt) == ("hand:1", 1)


@pytest.mark.parametrize("end", [TaskState.COMPLETED, FAILED])
def test_a_hook_ends_after_its_run_and_leaves_it_as_it_ended(hub, end):
    run, taken = hub.ended_with_hook(FAILED)
    before, version = as_it_ended(run), seen(run).version
    hub.hand.end(taken, end, {"sent": True}, log="some/log")
    once()
    hook = row(run, "on_failure")
    assert (hook.state, hook.result) == (
        end,
        {"sent": True} if end == TaskState.COMPLETED else None,
    )
    assert hook.error == ("It went wrong." if end == FAILED else "")
    assert hook.ended_at is not None
    tried = TaskTry.objects.get(task_run=hook)
    assert (tried.state, tried.log, tried.log_complete) == (end, "some/log", True)
    assert as_it_ended(run) == before
    assert seen(run).error == "a: It went wrong."
    assert seen(run).version > version
    assert list(fsck.run_checks()) == []


def test_a_hook_that_has_ended_is_looked_at_no_more(hub):
    run, taken = hub.ended_with_hook()
    assert late.awaited(hub.engine) == {run.external_id: late.Attempt(run.pk, 1)}
    hub.hand.end(taken)
    once()
    assert late.awaited(hub.engine) == {}
    version = seen(run).version
    once()
    assert seen(run).version == version


def test_a_failed_hook_is_never_what_a_run_failed_of(hub):
    run = hub.start(step("a", on_success=HOOK), step("b", "a"))
    hook = hub.hand.end(hub.hand.take())
    b = hub.hand.end(hook, FAILED, error="The hook broke.")
    once()
    hub.hand.end(b, FAILED, error="The step broke.")
    once()
    assert (seen(run).error_task, seen(run).error) == ("b", "b: The step broke.")
    assert row(run, "a.on_success").error == "The hook broke."


def test_a_canceled_run_has_hooks_that_go_on(hub):
    run = hub.start(step("a", on_success=HOOK), step("b", "a"))
    other = Hand()
    hook = hub.hand.end(hub.hand.take())
    b = other.take()
    once()
    actions.cancel_run(Actor(), run)
    once()
    other.end(b, CANCELED, reason="canceled", stopped=True)
    once()
    assert (seen(run).state, row(run, "a.on_success").state) == (RunState.CANCELED, "RUNNING")
    hub.hand.end(hook)
    once()
    assert row(run, "a.on_success").state == TaskState.COMPLETED


def test_a_retry_leaves_hooks_alone_until_its_own_begin(hub):
    run, first = hub.ended_with_hook(FAILED)
    actions.retry_run(Actor(), run)
    once()
    assert (seen(run).attempt, row(run, "a").attempt) == (2, 2)
    hook = row(run, "on_failure")
    assert (hook.attempt, hook.state) == (1, "RUNNING")
    # What goes on of the first attempt is followed to its end.
    again = hub.hand.end(first)
    once()
    hook.refresh_from_db()
    assert (hook.attempt, hook.state) == (1, TaskState.COMPLETED)
    # So fast that nobody saw it begin, and with the same end as the one before.
    hub.hand.end(hub.hand.end(again, FAILED))
    once()
    hook.refresh_from_db()
    assert (hook.attempt, hook.state) == (2, TaskState.COMPLETED)
    tries = TaskTry.objects.filter(task_run=hook).order_by("attempt")
    assert [(one.attempt, one.state) for one in tries] == [(1, "COMPLETED"), (2, "COMPLETED")]
    assert list(fsck.run_checks()) == []


def test_a_restart_leaves_hooks_alone_too(hub):
    run, _ = hub.ended_with_hook(FAILED)
    actions.restart_run(Actor(), run)
    once()
    other = Hand()
    other.end(other.end(other.take()))
    once()
    assert seen(run).state == RunState.COMPLETED
    hook = row(run, "on_failure")
    assert (hook.attempt, hook.state) == (1, "RUNNING")
    assert (row(run).attempt, row(run).state) == (2, TaskState.COMPLETED)


def test_a_hook_of_an_attempt_before_ends_beside_the_present_one(hub):
    run, first = hub.ended_with_hook(FAILED)
    actions.retry_run(Actor(), run)
    once()
    other = Hand()
    second = other.end(other.take(), FAILED)
    once()
    hook = row(run, "on_failure")
    assert (hook.attempt, hook.state) == (2, "RUNNING")
    hub.hand.end(first, FAILED)
    other.end(second)
    once()
    hook.refresh_from_db()
    assert (hook.attempt, hook.state, seen(run).state) == (2, TaskState.COMPLETED, RunState.FAILED)


def test_a_run_that_its_engine_lost_takes_its_hooks_with_it(hub):
    run = hub.start(step("a", on_success=HOOK), step("b", "a"))
    hub.hand.end(hub.hand.take())
    once()
    Execution.objects.all().delete()
    WorkflowRun.objects.update(missing_since=LONG_AGO, missing_count=3)
    once()
    assert (seen(run).state, seen(run).reason) == (RunState.FAILED, "lost")
    assert row(run, "a.on_success").state == FAILED


def test_a_report_that_somebody_was_faster_than_is_merged_with_the_next_look(hub, monkeypatch):
    run, taken = hub.ended_with_hook()
    hold = take(lease_name(hub.engine.pk), uuid.uuid4())
    sweep = EngineSweep(hub.engine.pk, hold)
    sweep.tick(full=True)
    hub.hand.end(taken)
    with monkeypatch.context() as patch:
        patch.setattr(late, "write", lambda changes, fence: set())
        sweep.tick(full=True)
    assert row(run).state == "RUNNING"
    sweep.tick(full=True)
    assert row(run).state == TaskState.COMPLETED
    hold.release()


@pytest.mark.django_db(transaction=True)
def test_hooks_are_followed_whatever_else_there_is_to_look_at(hub, settings):
    """Nothing is active any more, and no full look is due."""
    settings.WORKFLOWHUB_POLL = 3600
    run, taken = hub.ended_with_hook()
    hold = take(lease_name(hub.engine.pk), uuid.uuid4())
    sweep = EngineSweep(hub.engine.pk, hold)
    assert sweep.tick().wait <= settings.WORKFLOWHUB_ACTIVE_POLL
    hub.hand.end(taken)
    sweep.tick()
    assert row(run).state == TaskState.COMPLETED
    assert sweep.tick().wait > settings.WORKFLOWHUB_ACTIVE_POLL
    hold.release()


def test_an_engine_that_names_no_attempt_is_understood(hub):
    """One that keeps an id through retries tells of the present attempt, unless it was asked before."""
    run = make_run(make_workflow({"a": []}, engine=hub.engine), state="COMPLETED", accepted=True)
    hold = take(lease_name(hub.engine.pk), uuid.uuid4())
    calls = SimpleNamespace(adapter=SimpleNamespace(retries_in_place=True), hold=hold)

    def told(state, began_at):
        tasks = (
            TaskSnapshot(task="on_success", state=state, kind="hook"),
            TaskSnapshot(task="a", state=FAILED),
        )
        snapshot = RunSnapshot(external_id=run.external_id, state=RunState.FAILED, tasks=tasks)
        return late.merge_late(hub.engine, calls, {run.external_id: snapshot}, began_at)

    assert told(TaskState.RUNNING, database_now() - timedelta(days=1)) == set()
    assert not TaskRun.objects.filter(run=run, name="on_success").exists()
    assert told(TaskState.RUNNING, database_now()) == set()
    assert (row(run).kind, row(run).attempt, row(run).state) == ("hook", 1, "RUNNING")
    assert row(run, "a").state == "PENDING"
    assert told(TaskState.COMPLETED, database_now()) == set()
    assert told(TaskState.RUNNING, database_now()) == set()
    assert row(run).state == TaskState.COMPLETED
    events = RunEvent.objects.filter(task_run=row(run)).values_list("old", "new")
    assert list(events) == [("", "RUNNING"), ("RUNNING", "COMPLETED")]
    hold.release()
