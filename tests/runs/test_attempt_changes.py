"""How an attempt begins and how a run's tasks end with it, column by column."""

import pytest

from runs import moves
from runs.models import RunAttempt, TaskRun
from runs.states import Cause, Reason, RetryMode, RunState, TaskState, Wanted
from tests.runs.used import NOW, SOMEBODY, UUID, told, used_run, used_task

FRESH_TASK = {
    "attempt": 3,
    "try_number": 1,
    "wanted": Wanted.RUN,
    "marked": False,
    "raw_state": "",
    "reason": "",
    "error": "",
    "worker": "",
    "result": None,
    "message": "",
    "progress": None,
    "started_at": None,
    "ended_at": None,
    "state": TaskState.PENDING,
}


def begin(run, tasks=(), *, in_place=False, mode=RetryMode.FAILED, keys=()):
    attempt = moves.queue_attempt(run, mode=mode, tasks=keys, by=SOMEBODY, parameters={"k": 2})
    change = moves.begin_attempt(
        moves.RunChange(run),
        attempt,
        tasks,
        SOMEBODY,
        cause=Cause.RETRY,
        now=NOW,
        in_place=in_place,
    )
    return change, attempt


def test_a_queued_attempt_is_the_next_one_and_holds_what_was_asked():
    run = used_run()
    attempt = moves.queue_attempt(
        run, mode=RetryMode.TASK, tasks=[("a", -1), ("b", 3)], by=SOMEBODY, parameters={"k": 2}
    )
    assert (attempt.run, attempt.number, attempt.mode) == (run, 3, RetryMode.TASK)
    assert attempt.tasks == [["a", -1], ["b", 3]]
    assert (attempt.actor, attempt.parameters) == ("ada", {"k": 2})
    assert attempt.begun_at is None
    assert attempt.external_id == f"wh-{UUID}-3"


def test_the_id_of_an_attempt_tells_the_life_of_a_restored_hub():
    attempt = moves.queue_attempt(
        used_run(), mode=RetryMode.ALL, tasks=(), by=SOMEBODY, parameters={}, life="b7"
    )
    assert attempt.external_id == f"wh-{UUID}-3-b7"


def test_an_attempt_begins_with_every_column_as_new():
    run = used_run()
    change, attempt = begin(run)
    assert change.fields == {
        "state": RunState.PENDING,
        "wanted": Wanted.RUN,
        "attempt": 3,
        "parameters": {"k": 2},
        "external_id": f"wh-{UUID}-3",
        "raw_state": "",
        "reason": "",
        "flags": {},
        "marked": False,
        "error": "",
        "error_task": "",
        "fingerprint": "",
        "result": None,
        "scheduled_at": None,
        "started_at": None,
        "ended_at": None,
        "engine_started_at": None,
        "engine_ended_at": None,
        "cancel_requested_at": None,
        "cancel_sent_at": None,
        "deadline_at": None,
        "failures": 0,
        "in_hand": False,
        "kills": 0,
        "missing_since": None,
        "missing_count": 0,
        "last_error": "",
        "next_check_at": NOW,
        "resolved_by": None,
    }
    assert told(change) == [
        (Cause.RETRY, SOMEBODY, RunState.FAILED, RunState.PENDING, RetryMode.FAILED, None, None)
    ]
    assert (attempt.begun_at, attempt.state) == (NOW, RunState.PENDING)
    assert attempt.external_id == f"wh-{UUID}-3"


def test_an_attempt_in_place_keeps_the_engines_id_where_there_is_one():
    change, attempt = begin(used_run(), in_place=True)
    assert "external_id" not in change.fields and attempt.external_id == "wh-old"
    change, attempt = begin(used_run(external_id=""), in_place=True)
    assert change.fields["external_id"] == attempt.external_id == f"wh-{UUID}-3"


def test_an_attempt_resets_its_tasks_and_no_others():
    tasks = [used_task(1, "a"), used_task(2, "b"), used_task(3, "b", map_index=1)]
    change, _ = begin(used_run(), tasks, keys=[("a", -1), ("b", 1)])
    assert change.tasks == {1: FRESH_TASK, 3: FRESH_TASK}
    assert told(change)[1:] == [
        (Cause.RETRY, SOMEBODY, TaskState.FAILED, TaskState.PENDING, "", task, None)
        for task in (tasks[0], tasks[2])
    ]


def test_an_attempt_that_names_no_task_resets_all_but_the_hooks():
    tasks = [used_task(1, "a"), used_task(2, "a.on_failure", kind="hook"), used_task(3, "b")]
    change, _ = begin(used_run(), tasks)
    assert set(change.tasks) == {1, 3}


@pytest.mark.parametrize(
    "state, end",
    [
        (RunState.COMPLETED, TaskState.SKIPPED),
        (RunState.FAILED, TaskState.UPSTREAM_FAILED),
        (RunState.CANCELED, TaskState.CANCELED),
    ],
)
def test_the_end_of_a_run_closes_what_nobody_reported(state, end):
    run = used_run(state=RunState.RUNNING)
    waiting = TaskRun(pk=1, name="a", run=run, attempt=2, progress=0.2)
    done = TaskRun(pk=2, name="b", run=run, attempt=2, state=TaskState.COMPLETED)
    change = moves.RunChange(run)
    moves.close_tasks(change, [done, waiting], state, SOMEBODY, now=NOW)
    assert change.tasks == {
        1: {"state": end, "ended_at": NOW, "reason": Reason.NOT_REPORTED, "progress": None}
    }
    assert told(change) == [(Cause.OBSERVE, SOMEBODY, "PENDING", end, "", waiting, None)]


def test_a_task_that_ran_when_its_run_failed_has_failed():
    run = used_run(state=RunState.RUNNING)
    tasks = [
        TaskRun(pk=1, name="a", run=run, state=TaskState.RUNNING),
        TaskRun(pk=2, name="b", run=run, state=TaskState.PENDING),
        TaskRun(pk=3, name="c", run=run, state=TaskState.RUNNING),
    ]
    change = moves.RunChange(run)
    change.move_task(tasks[1], TaskState.RUNNING, Cause.OBSERVE, SOMEBODY)
    change.move_task(tasks[2], TaskState.COMPLETED, Cause.OBSERVE, SOMEBODY)
    moves.close_tasks(change, tasks, RunState.FAILED, SOMEBODY, now=NOW)
    ends = {pk: fields["state"] for pk, fields in change.tasks.items()}
    assert ends == {1: TaskState.FAILED, 2: TaskState.FAILED, 3: TaskState.COMPLETED}
    canceled = moves.RunChange(run)
    moves.close_tasks(canceled, tasks[:1], RunState.CANCELED, SOMEBODY, now=NOW)
    assert canceled.tasks[1]["state"] == TaskState.CANCELED


def test_hooks_of_this_attempt_are_closed_unless_the_engine_goes_on_with_them():
    run = used_run(state=RunState.RUNNING)
    hook = TaskRun(pk=1, name="on_failure", kind="hook", run=run, attempt=2)
    older = TaskRun(pk=2, name="on_success", kind="hook", run=run, attempt=1)
    change = moves.RunChange(run)
    moves.close_tasks(change, [hook, older], RunState.FAILED, SOMEBODY, now=NOW, hooks=False)
    assert not change.tasks
    moves.close_tasks(change, [older, hook], RunState.FAILED, SOMEBODY, now=NOW)
    assert {pk: fields["state"] for pk, fields in change.tasks.items()} == {1: TaskState.CANCELED}


def test_a_new_task_is_closed_too():
    run = used_run(state=RunState.RUNNING)
    task = TaskRun(run=run, name="grown", attempt=2)
    change = moves.RunChange(run)
    change.move_task(task, TaskState.RUNNING, Cause.OBSERVE, SOMEBODY, worker="w")
    moves.close_tasks(change, change.new_tasks, RunState.FAILED, SOMEBODY, now=NOW)
    assert (task.state, task.worker, task.ended_at) == (TaskState.FAILED, "w", NOW)
    assert [(event.old, event.new) for event in change.events] == [
        ("", TaskState.RUNNING),
        (TaskState.RUNNING, TaskState.FAILED),
    ]
    assert change.new_tasks == [task] and not change.tasks


def test_an_attempt_row_is_not_saved_by_beginning_it():
    _, attempt = begin(used_run())
    assert isinstance(attempt, RunAttempt) and attempt.pk is None
