"""What a RunChange holds, column by column: no more than what differs, and nothing forgotten."""

import pytest

from runs import moves
from runs.counters import Count
from runs.models import TaskRun, TaskTry, Workflow, WorkflowRun
from runs.states import Cause, RunState, TaskState
from tests.runs.used import EARLIER, NOW, SOMEBODY, UUID, told, used_run, used_task


def test_only_what_differs_is_kept():
    run = used_run()
    change = moves.RunChange(run)
    assert not change
    change.set(note="", reason="timeout", attempt=2)
    assert not change and change.fields == {}
    change.set(note="n", reason="lost")
    assert change and change.fields == {"note": "n", "reason": "lost"}


@pytest.mark.parametrize(
    "fill",
    [
        lambda change, run: change.set(note="n"),
        lambda change, run: change.attempt.update(sent_at=NOW),
        lambda change, run: change.tasks.update({1: {"wanted": "RUN"}}),
        lambda change, run: change.move_task(
            TaskRun(run=run, name="a"), TaskState.PENDING, Cause.OBSERVE, SOMEBODY
        ),
        lambda change, run: change.keep_try(TaskTry()),
        lambda change, run: change.note(Cause.EDIT, SOMEBODY),
    ],
)
def test_whatever_it_holds_makes_it_a_change(fill):
    run = used_run()
    change = moves.RunChange(run)
    fill(change, run)
    assert change


def test_a_try_is_kept_once():
    change = moves.RunChange(used_run())
    row, other = TaskTry(), TaskTry()
    for one in (row, other, row):
        change.keep_try(one)
    assert [id(one) for one in change.tries] == [id(row), id(other)]


def test_a_note_changes_no_state():
    change = moves.RunChange(used_run())
    task = used_task(1, "a")
    change.note(Cause.TROUBLE, SOMEBODY, "what happened", task=task)
    change.note(Cause.EDIT, SOMEBODY)
    assert told(change) == [
        (Cause.TROUBLE, SOMEBODY, "", "", "what happened", task, None),
        (Cause.EDIT, SOMEBODY, "", "", "", None, None),
    ]


def plain_run(**fields):
    return WorkflowRun(pk=7, uuid=UUID, workflow=Workflow(pk=1, title="w"), **fields)


def test_a_move_tells_and_times_the_way_to_an_engine():
    change = moves.RunChange(plain_run(reason="no_engine"))
    change.move(
        RunState.SCHEDULED, Cause.SUBMIT, SOMEBODY, now=NOW, detail="d", engine_time=EARLIER
    )
    assert change.fields == {"state": RunState.SCHEDULED, "reason": "", "scheduled_at": NOW}
    assert change.attempt == {}
    assert told(change) == [
        (Cause.SUBMIT, SOMEBODY, "PENDING", RunState.SCHEDULED, "d", None, EARLIER)
    ]


def test_a_move_keeps_the_times_that_are_there():
    run = plain_run(state=RunState.SCHEDULED, scheduled_at=EARLIER)
    change = moves.RunChange(run).move(RunState.RUNNING, Cause.OBSERVE, SOMEBODY, now=NOW)
    assert change.fields == {"state": RunState.RUNNING, "started_at": NOW}
    run = plain_run(state=RunState.RUNNING, scheduled_at=EARLIER, started_at=EARLIER)
    change = moves.RunChange(run).move(
        RunState.COMPLETED, Cause.OBSERVE, SOMEBODY, now=NOW, reason="r"
    )
    assert change.fields == {"state": RunState.COMPLETED, "ended_at": NOW, "reason": "r"}


def test_an_end_puts_everything_that_is_under_way_aside():
    run = used_run(state=RunState.RUNNING, marked=False, ended_at=None, next_check_at=NOW)
    change = moves.RunChange(run).move(RunState.FAILED, Cause.OBSERVE, SOMEBODY, now=NOW)
    assert change.fields == {
        "state": RunState.FAILED,
        "reason": "",
        "ended_at": NOW,
        "next_check_at": None,
        "failures": 0,
        "missing_count": 0,
        "missing_since": None,
        "flags": {},
        "in_hand": False,
        "deadline_at": None,
    }
    assert change.attempt == {"state": RunState.FAILED, "ended_at": NOW}
    assert change.counts == [
        Count(name="workflows_completed_total", labels=[("status", "failed")]),
        Count(name="workflow_execution_duration_seconds", seconds=90.0),
    ]


def test_a_run_that_never_ran_has_no_duration():
    change = moves.RunChange(plain_run()).move(RunState.CANCELED, Cause.CANCEL, SOMEBODY, now=NOW)
    assert change.fields["scheduled_at"] == NOW and "started_at" not in change.fields
    assert [count.name for count in change.counts] == ["workflows_completed_total"]
    # What completes at once has run, however short.
    change = moves.RunChange(plain_run()).move(RunState.COMPLETED, Cause.OBSERVE, SOMEBODY, now=NOW)
    assert change.fields["started_at"] == NOW
    assert change.counts[1].seconds == 0.0


def test_a_move_to_the_same_state_tells_nothing():
    change = moves.RunChange(plain_run(state=RunState.RUNNING))
    change.move(RunState.RUNNING, Cause.OBSERVE, SOMEBODY, now=NOW, reason="why")
    assert change.fields == {"reason": "why"} and not change.events


def test_two_moves_in_one_change_follow_each_other():
    change = moves.RunChange(plain_run())
    change.move(RunState.RUNNING, Cause.OBSERVE, SOMEBODY, now=NOW)
    change.move(RunState.FAILED, Cause.OBSERVE, SOMEBODY, now=NOW)
    assert [(event.old, event.new) for event in change.events] == [
        ("PENDING", RunState.RUNNING),
        (RunState.RUNNING, RunState.FAILED),
    ]


def test_a_way_back_is_refused_with_its_name():
    run = plain_run(state=RunState.COMPLETED)
    with pytest.raises(moves.IllegalMove, match="Run 7 may not go from COMPLETED to RUNNING"):
        moves.RunChange(run).move(RunState.RUNNING, Cause.OBSERVE, SOMEBODY, now=NOW)
    forced = moves.RunChange(run).move(
        RunState.PENDING, Cause.FORCE, SOMEBODY, now=NOW, forced=True
    )
    assert forced.fields == {"state": RunState.PENDING}


def test_a_task_change_holds_only_what_differs_and_fits():
    task = used_task(5, "a", state=TaskState.RUNNING)
    change = moves.RunChange(used_run())
    change.move_task(
        task,
        TaskState.RUNNING,
        Cause.OBSERVE,
        SOMEBODY,
        worker="x" * 500,
        message="nul\x00",
        reason="lost",
    )
    assert change.tasks == {5: {"worker": "x" * 200, "message": "nul\ufffd"}}
    assert not change.events
    change.move_task(
        task,
        TaskState.FAILED,
        Cause.OBSERVE,
        SOMEBODY,
        detail="d",
        engine_time=EARLIER,
        worker="w1",
    )
    assert change.tasks[5]["worker"] == "w1" and change.tasks[5]["state"] == TaskState.FAILED
    assert told(change) == [
        (Cause.OBSERVE, SOMEBODY, TaskState.RUNNING, TaskState.FAILED, "d", task, EARLIER)
    ]


def test_a_new_task_fits_its_columns():
    change = moves.RunChange(used_run())
    task = TaskRun(run=change.run, name="a")
    change.move_task(task, TaskState.PENDING, Cause.OBSERVE, SOMEBODY, raw_state="y" * 300)
    assert task.raw_state == "y" * 100
    assert [(event.old, event.new) for event in change.events] == [("", TaskState.PENDING)]
