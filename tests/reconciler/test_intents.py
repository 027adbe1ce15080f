"""Cancel, retry, restart, hold, mark: what people want, made so."""

import pytest

from runs import actions
from runs.models import RunAttempt, WorkflowRun
from runs.states import Flag, Reason, RetryMode, RunState, TaskState, Wanted

FAILING = [{"name": "a"}, {"name": "b", "needs": ["a"], "fails": 1}, {"name": "c", "needs": ["b"]}]


def states(run):
    return {task.name: task.state for task in run.task_runs.all()}


def test_a_running_run_is_canceled_at_its_engine(hub):
    run = hub.start()
    hub.sync()
    hub.fake.engine.advance()
    hub.sync()
    actions.cancel_run(hub.actor, hub.seen(run))
    hub.sync()
    run = hub.seen(run)
    assert run.state == RunState.CANCELED
    assert set(states(run).values()) == {TaskState.CANCELED}
    assert hub.fake.engine.runs[run.external_id].state == "stopped"


def test_a_run_that_was_never_sent_is_canceled_without_asking_anybody(hub):
    run = hub.start()
    actions.cancel_run(hub.actor, run)
    hub.sync()
    assert hub.seen(run).state == RunState.CANCELED
    assert not hub.fake.engine.starts


def test_fault_22_the_engines_end_stands_when_the_cancel_came_too_late(hub):
    run = hub.start()
    hub.sync()
    hub.fake.engine.finish()
    actions.cancel_run(hub.actor, hub.seen(run))
    hub.sync()
    assert hub.seen(run).state == RunState.COMPLETED


def test_a_held_run_stays_where_it_is_until_it_is_started(hub):
    run = hub.start(hold=True)
    hub.sync(2)
    assert hub.seen(run).state == RunState.PENDING
    assert not hub.fake.engine.starts
    actions.start_held_run(hub.actor, hub.seen(run))
    assert hub.run_to_end(run).state == RunState.COMPLETED


@pytest.mark.parametrize("submission", ["A", "B", "C"])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_retry_of_what_failed_keeps_what_is_done(make_hub, in_place, submission):
    hub = make_hub(in_place=in_place, submission=submission)
    run = hub.run_to_end(hub.start(FAILING))
    assert run.state == RunState.FAILED
    assert run.error_task == "b" and run.fingerprint
    assert states(run) == {"a": "COMPLETED", "b": "FAILED", "c": "UPSTREAM_FAILED"}
    first_end = run.task_runs.get(name="a").ended_at
    actions.retry_run(hub.actor, run)
    assert hub.seen(run).state == RunState.PENDING
    run = hub.run_to_end(run)
    assert run.state == RunState.COMPLETED, run.last_error
    assert run.attempt == 2
    assert states(run) == {"a": "COMPLETED", "b": "COMPLETED", "c": "COMPLETED"}
    assert run.task_runs.get(name="a").attempt == 1
    assert run.task_runs.get(name="a").ended_at == first_end
    assert run.task_runs.get(name="b").attempt == 2
    assert run.task_runs.get(name="b").tries.count() == 2
    first, second = RunAttempt.objects.filter(run=run)
    assert (first.external_id == second.external_id) is in_place
    assert [first.state, second.state] == ["FAILED", "COMPLETED"]
    assert max(hub.fake.engine.starts.values()) == 1


def test_a_restart_of_a_running_run_stops_it_first(hub):
    run = hub.start()
    hub.sync()
    hub.fake.engine.advance()
    hub.sync()
    actions.restart_run(hub.actor, hub.seen(run))
    assert hub.seen(run).wanted == Wanted.CANCEL
    hub.sync(2)
    run = hub.seen(run)
    assert run.attempt == 2 and run.state == RunState.SCHEDULED and run.wanted == Wanted.RUN
    run = hub.run_to_end(run)
    assert run.state == RunState.COMPLETED
    assert [row.state for row in RunAttempt.objects.filter(run=run)] == ["CANCELED", "COMPLETED"]
    assert states(run) == {"a": "COMPLETED", "b": "COMPLETED"}


def test_a_retry_of_one_task_runs_only_that_one(hub):
    run = hub.run_to_end(hub.start())
    actions.retry_run(hub.actor, run, mode=RetryMode.TASK, tasks=[("b", None)])
    run = hub.run_to_end(run)
    assert run.state == RunState.COMPLETED
    assert {task.name: task.attempt for task in run.task_runs.all()} == {"a": 1, "b": 2}


def test_one_task_is_canceled_and_the_run_goes_on(hub):
    run = hub.start([{"name": "a"}, {"name": "b"}])
    hub.sync()
    hub.fake.engine.advance()
    hub.sync()
    actions.cancel_task(hub.actor, run.task_runs.get(name="a"))
    hub.sync()
    assert states(hub.seen(run)) == {"a": "CANCELED", "b": "RUNNING"}
    run = hub.run_to_end(run)
    assert states(run)["b"] == TaskState.COMPLETED


def test_what_a_person_marked_is_watched_no_more(hub):
    run = hub.start()
    hub.sync()
    actions.mark_run(hub.actor, hub.seen(run), RunState.FAILED, note="The disk is gone.")
    hub.fake.engine.finish()
    hub.sync()
    run = hub.seen(run)
    assert run.state == RunState.FAILED and run.reason == Reason.MARKED


def test_a_marked_task_keeps_its_state_whatever_the_engine_says(hub):
    run = hub.start()
    hub.sync()
    hub.fake.engine.advance()
    hub.sync()
    actions.mark_task(hub.actor, run.task_runs.get(name="a"), TaskState.SKIPPED, note="Not needed.")
    run = hub.run_to_end(run)
    assert run.state == RunState.COMPLETED
    assert states(run)["a"] == TaskState.SKIPPED


def test_a_cancel_during_a_retry_that_waits_calls_the_retry_off(hub):
    run = hub.start()
    hub.sync()
    actions.restart_run(hub.actor, hub.seen(run))
    actions.cancel_run(hub.actor, hub.seen(run))
    hub.sync(2)
    run = hub.seen(run)
    assert (run.state, run.attempt) == (RunState.CANCELED, 1)


def test_a_retry_that_waited_for_an_end_begins_when_a_person_says_that_it_ended(hub):
    run = hub.start()
    hub.sync()
    actions.restart_run(hub.actor, hub.seen(run))
    actions.mark_run(hub.actor, hub.seen(run), RunState.FAILED, note="It does not stop.")
    hub.sync(2)
    run = hub.run_to_end(run)
    assert (run.state, run.attempt, run.marked) == (RunState.COMPLETED, 2, False)


def test_a_run_that_was_set_aside_before_it_was_sent_ends_well_after_a_retry(hub):
    run = hub.start()
    WorkflowRun.objects.filter(pk=run.pk).update(
        flags={Flag.QUARANTINED.value: "20 errors in a row"}, next_check_at=None
    )
    hub.sync()
    assert not hub.fake.engine.starts
    actions.retry_run(hub.actor, hub.seen(run))
    assert hub.run_to_end(run).state == RunState.COMPLETED
    assert list(hub.fake.engine.starts) == [f"wh-{run.uuid}-2"]
