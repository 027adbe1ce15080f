"""The run timeout of a workflow: an attempt that runs for longer is stopped and has failed."""

import uuid
from datetime import timedelta

import pytest

from engines.clock import database_now
from engines.dag.models import Step
from engines.dag.outcome import Stop
from engines.models import Engine
from runs import actions, leases
from runs.fsck import run_checks
from runs.models import RunAttempt, RunEvent, WorkflowRun
from runs.policy import Actor
from runs.reconciler.deadlines import stop_overdue
from runs.reconciler.once import once
from runs.states import Cause, Flag, Reason, RunState, TaskState, Wanted, shown_state
from tests.engines.dag.driving import Hand, step, workflow
from tests.factories import make_engine

SAID = "The run took longer than its limit of 2 h (the workflow's run timeout)."


@pytest.fixture
def running(hub):
    """A run whose engine runs it, with a limit of two hours."""

    def start(**options):
        workflow = actions.edit_workflow(hub.actor, hub.post(), run_timeout=timedelta(hours=2))
        run = actions.start_run(hub.actor, workflow, **options)
        hub.sync()
        hub.fake.engine.advance()
        hub.sync()
        run = hub.seen(run)
        assert run.state == RunState.RUNNING
        return run

    return start


def pass_time(run, hours=3):
    """As if the run had begun so much earlier."""
    late = timedelta(hours=hours)
    WorkflowRun.objects.filter(pk=run.pk).update(
        started_at=run.started_at - late, deadline_at=run.deadline_at - late
    )


def cancels(run):
    return list(
        RunEvent.objects.filter(run=run, cause=Cause.CANCEL).values_list("actor_kind", "actor")
    )


def test_the_time_counts_from_when_the_run_runs(hub):
    workflow = actions.edit_workflow(hub.actor, hub.post(), run_timeout=timedelta(hours=2))
    run = actions.start_run(hub.actor, workflow, hold=True)
    assert run.deadline_at is None
    actions.start_held_run(hub.actor, hub.seen(run))
    hub.sync()
    assert (hub.seen(run).state, hub.seen(run).deadline_at) == (RunState.SCHEDULED, None)
    hub.fake.engine.advance()
    hub.sync()
    run = hub.seen(run)
    assert run.deadline_at - run.started_at == timedelta(hours=2)


def test_a_run_without_a_limit_has_no_deadline(hub):
    run = hub.start()
    hub.sync()
    hub.fake.engine.advance()
    hub.sync()
    assert (hub.seen(run).state, hub.seen(run).deadline_at) == (RunState.RUNNING, None)


def test_a_run_that_takes_too_long_is_stopped_and_has_failed(hub, running, monkeypatch):
    run = running()
    pass_time(run)
    monkeypatch.setattr(hub.fake.engine, "cancel", hub.fake.engine.get)
    hub.sync()
    run = hub.seen(run)
    assert (run.wanted, run.reason) == (Wanted.CANCEL, Reason.TIMEOUT)
    assert shown_state(run.state, run.wanted) == "Canceling"
    monkeypatch.undo()
    hub.make_due()
    WorkflowRun.objects.filter(pk=run.pk).update(cancel_sent_at=None)
    hub.sync(2)
    run = hub.seen(run)
    assert (run.state, run.reason, run.error) == (RunState.FAILED, Reason.TIMEOUT, SAID)
    assert run.raw_state == "stopped"
    assert run.deadline_at is None
    assert run.fingerprint
    assert RunAttempt.objects.get(run=run).error == SAID
    assert cancels(run) == [(RunEvent.ActorKind.RECONCILER, "")]
    assert set(run.task_runs.values_list("state", flat=True)) == {TaskState.CANCELED}
    assert list(run_checks()) == []


@pytest.mark.parametrize("end", [RunState.COMPLETED, RunState.FAILED])
def test_the_end_that_the_engine_tells_stands(hub, running, end):
    run = running()
    pass_time(run)
    if end == RunState.FAILED:
        hub.fake.engine.runs[run.external_id].tasks["a"].fails = 1
    hub.fake.engine.finish()
    hub.sync(2)
    run = hub.seen(run)
    assert run.state == end
    assert run.reason == ""
    assert run.error != SAID


def test_a_person_who_was_faster_canceled_it(hub, running):
    run = running()
    pass_time(run)
    actions.cancel_run(hub.actor, hub.seen(run))
    hub.sync(2)
    run = hub.seen(run)
    assert (run.state, run.reason) == (RunState.CANCELED, "")
    assert [kind for kind, _ in cancels(run)] == [RunEvent.ActorKind.USER]


def test_a_person_who_came_later_changes_nothing(hub, running):
    run = running()
    pass_time(run)
    hold = stop(hub.engine)
    actions.cancel_run(hub.actor, hub.seen(run))
    leases.release(hold)
    hub.sync(2)
    assert (hub.seen(run).state, hub.seen(run).reason) == (RunState.FAILED, Reason.TIMEOUT)


def stop(engine: Engine):
    """The intent alone, as a process that dies right after it leaves it."""
    fence = leases.acquire(f"engine:{engine.pk}", uuid.uuid4(), 10)
    for _ in range(2):
        stop_overdue(engine, fence, database_now())
    assert RunEvent.objects.filter(cause=Cause.CANCEL).count() == 1
    return fence


def test_the_intent_survives_a_crash_and_is_not_doubled(hub, running):
    run = running()
    pass_time(run)
    leases.release(stop(hub.engine))
    hub.sync(3)
    run = hub.seen(run)
    assert (run.state, run.error) == (RunState.FAILED, SAID)
    assert len(cancels(run)) == 1


def test_a_stale_process_stops_nothing(hub, running):
    run = running()
    pass_time(run)
    fence = leases.acquire("engine:0", uuid.uuid4(), 10)
    leases.release(fence)
    with pytest.raises(leases.LeaseLost):
        stop_overdue(hub.engine, fence, database_now())
    assert hub.seen(run).wanted == Wanted.RUN


def test_it_is_wanted_to_end_also_while_its_engine_is_away(hub, running):
    run = running()
    pass_time(run)
    hub.fake.down = True
    hub.sync()
    assert hub.seen(run).wanted == Wanted.CANCEL
    hub.fake.down = False
    Engine.objects.update(breaker_until=None, failures=0)
    hub.make_due()
    hub.sync(2)
    assert hub.seen(run).reason == Reason.TIMEOUT


def test_a_run_that_its_engine_forgot_while_it_was_stopped_took_too_long(hub, running, settings):
    settings.WORKFLOWHUB_LOST_AFTER = 0
    run = running()
    pass_time(run)
    leases.release(stop(hub.engine))
    del hub.fake.engine.runs[run.external_id]
    for _ in range(5):
        hub.make_due()
        hub.sync()
    assert (hub.seen(run).state, hub.seen(run).reason) == (RunState.FAILED, Reason.TIMEOUT)


def test_a_retry_has_its_whole_time_again(hub, running):
    run = running()
    pass_time(run)
    hub.sync(2)
    assert hub.seen(run).state == RunState.FAILED
    actions.restart_run(hub.actor, hub.seen(run))
    assert hub.seen(run).deadline_at is None
    hub.sync()
    hub.fake.engine.advance()
    hub.sync()
    run = hub.seen(run)
    assert (run.attempt, run.state) == (2, RunState.RUNNING)
    assert run.deadline_at - run.started_at == timedelta(hours=2)
    hub.fake.engine.finish()
    hub.sync()
    assert (hub.seen(run).state, hub.seen(run).deadline_at) == (RunState.COMPLETED, None)


def test_a_restart_of_a_run_that_is_late_ends_the_earlier_attempt_as_canceled(hub, running):
    run = running()
    actions.restart_run(hub.actor, hub.seen(run))
    assert hub.seen(run).deadline_at is None
    hub.sync(3)
    first = RunAttempt.objects.get(run=run, number=1)
    assert (first.state, first.error) == (RunState.CANCELED, "")


def test_a_later_change_of_the_limit_changes_no_attempt_that_runs(hub, running):
    run = running()
    actions.edit_workflow(hub.actor, run.workflow, run_timeout=None)
    assert hub.seen(run).deadline_at == run.deadline_at
    pass_time(run)
    hub.sync(2)
    assert hub.seen(run).error == SAID


def test_an_engine_that_does_not_stop_it_is_shown_as_stuck(hub, running, settings, monkeypatch):
    settings.WORKFLOWHUB_STUCK_AFTER = 0
    run = running()
    pass_time(run)
    monkeypatch.setattr(hub.fake.engine, "cancel", hub.fake.engine.get)
    hub.sync()
    run = hub.seen(run)
    assert Flag.STUCK in run.flags
    assert run.state == RunState.RUNNING


def test_the_loop_looks_again_at_the_next_deadline(hub, running, sweep_of, settings):
    settings.WORKFLOWHUB_POLL = settings.WORKFLOWHUB_ACTIVE_POLL = 60
    run = running()
    soon = database_now() + timedelta(seconds=20)
    WorkflowRun.objects.filter(pk=run.pk).update(deadline_at=soon)
    sweep = sweep_of(hub)
    assert 10 < sweep.tick(full=True).wait <= 20


@pytest.mark.django_db
def test_the_built_in_engine_is_stopped_alike():
    make_engine("local")
    definition = workflow(step("long", handler="sleep", **{"with": {"seconds": 60}}), step("other"))
    posted, _ = actions.post_workflow(
        Actor(), definition=definition, run_timeout=timedelta(seconds=90)
    )
    run = actions.start_run(Actor(), posted)
    once()
    hand = Hand()
    taken = hand.take()
    once()
    run.refresh_from_db()
    assert run.deadline_at - run.started_at == timedelta(seconds=90)
    pass_time(run)
    once()
    assert Step.objects.get(name="long").stop == Stop.TIMEOUT
    hand.end(taken, TaskState.FAILED, stopped=True, reason=Stop.TIMEOUT)
    once()
    run.refresh_from_db()
    assert (run.state, run.reason) == (RunState.FAILED, Reason.TIMEOUT)
    assert "its limit of 1 min 30 s" in run.error
    assert dict(run.task_runs.values_list("name", "state")) == {
        "long": TaskState.FAILED,
        "other": TaskState.CANCELED,
    }
