"""moves.apply: compare-and-set, gap-free events, times, and no illegal way."""

from datetime import timedelta
from uuid import uuid4

import pytest

from engines.clock import database_now
from runs import moves
from runs.leases import Fence, LeaseLost
from runs.models import Counter, RunAttempt, RunEvent, TaskRun, TaskTry, WorkflowRun
from runs.states import Cause, RunState, TaskState
from tests.factories import make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db
BY = moves.RECONCILER


@pytest.fixture
def run():
    return make_run(make_workflow(engine=make_engine()))


def change_of(run, state=RunState.RUNNING):
    return moves.RunChange(run).move(state, Cause.OBSERVE, BY, now=database_now())


def test_two_who_read_the_same_version_have_one_winner(run):
    other = WorkflowRun.objects.get(pk=run.pk)
    assert moves.apply_one(change_of(run))
    assert not moves.apply_one(change_of(other, RunState.FAILED))
    assert WorkflowRun.objects.get(pk=run.pk).state == RunState.RUNNING
    assert RunEvent.objects.filter(run=run).count() == 2


def test_the_loser_of_a_batch_leaves_nothing_behind_and_the_others_are_written():
    runs = [make_run(make_workflow(engine=make_engine())) for _ in range(3)]
    WorkflowRun.objects.filter(pk=runs[1].pk).update(version=9)
    changes = [change_of(run) for run in runs]
    for change, run in zip(changes, runs, strict=True):
        change.move_task(run.task_runs.first(), TaskState.RUNNING, Cause.OBSERVE, BY)
    assert moves.apply(changes) == {runs[0].pk, runs[2].pk}
    assert RunEvent.objects.filter(run=runs[1]).count() == 1
    assert set(runs[1].task_runs.values_list("state", flat=True)) == {"PENDING"}


def test_events_are_numbered_without_gaps_through_many_changes(run):
    for state in (RunState.SCHEDULED, RunState.RUNNING, RunState.COMPLETED):
        change = change_of(run, state)
        change.note(Cause.TROUBLE, BY, "a note")
        assert moves.apply_one(change)
    seqs = list(RunEvent.objects.filter(run=run).order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, 8))
    assert WorkflowRun.objects.get(pk=run.pk).last_seq == 7


def test_no_way_leads_back_from_an_end(run):
    moves.apply_one(change_of(run, RunState.COMPLETED))
    for state in (RunState.RUNNING, RunState.FAILED, RunState.SCHEDULED):
        with pytest.raises(moves.IllegalMove):
            change_of(run, state)
    assert moves.RunChange(run).move(
        RunState.FAILED, Cause.MARK, BY, now=database_now(), forced=True
    )


def test_a_change_without_content_writes_nothing(run):
    version = run.version
    assert not moves.RunChange(run).set(state=run.state, note=run.note, flags={})
    assert moves.apply([moves.RunChange(run)]) == set()
    assert WorkflowRun.objects.get(pk=run.pk).version == version


def test_our_times_are_set_once_each(run):
    moves.apply_one(change_of(run, RunState.SCHEDULED))
    scheduled = run.scheduled_at
    moves.apply_one(change_of(run, RunState.RUNNING))
    moves.apply_one(change_of(run, RunState.FAILED))
    run = WorkflowRun.objects.get(pk=run.pk)
    assert run.scheduled_at == scheduled <= run.started_at <= run.ended_at
    attempt = RunAttempt.objects.get(run=run)
    assert (attempt.state, attempt.ended_at) == ("FAILED", run.ended_at)


def test_an_end_is_counted_once(run):
    moves.apply_one(change_of(run, RunState.RUNNING))
    moves.apply_one(change_of(run, RunState.COMPLETED))
    row = Counter.objects.get(name="workflows_completed_total")
    assert (row.value, row.labels) == (1, '[["status", "completed"]]')
    assert Counter.objects.get(name="workflow_execution_duration_seconds").count == 1


def test_two_moves_of_a_task_in_one_change_tell_both(run):
    task = run.task_runs.first()
    change = moves.RunChange(run)
    change.move_task(task, TaskState.RUNNING, Cause.OBSERVE, BY, try_number=1)
    change.move_task(task, TaskState.RUNNING, Cause.OBSERVE, BY, try_number=2)
    change.move_task(task, TaskState.FAILED, Cause.OBSERVE, BY, try_number=1)
    change.move_task(task, TaskState.FAILED, Cause.OBSERVE, BY, try_number=2)
    moves.apply_one(change)
    task.refresh_from_db()
    assert (task.state, task.try_number) == (TaskState.FAILED, 2)
    told = RunEvent.objects.filter(task_run=task).order_by("seq").values_list("old", "new")
    assert list(told) == [("PENDING", "RUNNING"), ("RUNNING", "FAILED")]


def test_new_tasks_and_their_tries_are_written_together_and_a_try_is_updated(run):
    change = moves.RunChange(run)
    task = TaskRun(run=run, name="new", map_index=3)
    change.move_task(task, TaskState.RUNNING, Cause.OBSERVE, BY)
    change.keep_try(TaskTry(task_run=task, attempt=1, try_number=1, state="RUNNING"))
    moves.apply_one(change)
    assert RunEvent.objects.get(task_run=task).new == "RUNNING"
    again = moves.RunChange(run)
    again.keep_try(TaskTry(task_run=task, attempt=1, try_number=1, state="FAILED", error="a\x00b"))
    moves.apply_one(again)
    row = TaskTry.objects.get(task_run=task)
    assert (row.state, row.error) == ("FAILED", "a\ufffdb")


@pytest.mark.parametrize(
    ("state", "running", "pending"),
    [
        (RunState.COMPLETED, "SKIPPED", "SKIPPED"),
        (RunState.FAILED, "FAILED", "UPSTREAM_FAILED"),
        (RunState.CANCELED, "CANCELED", "CANCELED"),
    ],
)
def test_a_final_run_has_no_open_task(run, state, running, pending):
    TaskRun.objects.filter(run=run, name="extract").update(state="RUNNING")
    change = change_of(run, state)
    moves.close_tasks(change, run.task_runs.all(), state, BY, now=database_now())
    moves.apply_one(change)
    states = {task.name: task.state for task in run.task_runs.all()}
    assert states == {"extract": running, "load": pending}


def test_beginning_an_attempt_resets_what_runs_again_and_keeps_the_rest(run):
    moves.apply_one(change_of(run, RunState.FAILED))
    TaskRun.objects.filter(run=run).update(state="COMPLETED", result=1, ended_at=database_now())
    TaskRun.objects.filter(run=run, name="load").update(state="FAILED", error="no")
    attempt = moves.queue_attempt(run, mode="failed", tasks=[("load", -1)], by=BY, parameters={})
    change = moves.begin_attempt(
        moves.RunChange(run),
        attempt,
        run.task_runs.all(),
        BY,
        cause=Cause.RETRY,
        now=database_now(),
        in_place=False,
    )
    moves.apply_one(change)
    attempt.save()
    run = WorkflowRun.objects.get(pk=run.pk)
    assert (run.state, run.attempt, run.ended_at) == (RunState.PENDING, 2, None)
    assert run.external_id == f"wh-{run.uuid}-2" and run.next_check_at is not None
    rows = {task.name: task for task in run.task_runs.all()}
    assert (rows["extract"].state, rows["extract"].attempt) == ("COMPLETED", 1)
    assert (rows["load"].state, rows["load"].attempt, rows["load"].error) == ("PENDING", 2, "")


@pytest.fixture
def woken(monkeypatch):
    """How often the reconciler was woken."""
    calls = []
    monkeypatch.setattr(moves, "wake_reconciler", lambda: calls.append(1))
    return calls


@pytest.mark.parametrize(
    "limit, state, wakes",
    [
        (None, RunState.COMPLETED, False),
        (2, RunState.RUNNING, False),
        (2, RunState.COMPLETED, True),
        (2, RunState.FAILED, True),
    ],
)
def test_the_end_of_a_run_calls_the_next_of_a_limited_workflow(woken, limit, state, wakes):
    workflow = make_workflow(engine=make_engine(), max_active_runs=limit)
    assert moves.apply_one(change_of(make_run(workflow), state))
    assert bool(woken) is wakes


@pytest.mark.parametrize(
    "child, state, wakes",
    [
        (False, RunState.COMPLETED, False),
        (True, RunState.RUNNING, False),
        (True, RunState.COMPLETED, True),
    ],
)
def test_the_end_of_a_child_is_told_to_whoever_waits_for_it(woken, run, child, state, wakes):
    if child:
        asker = make_run(make_workflow(engine=make_engine())).task_runs.first()
        WorkflowRun.objects.filter(pk=run.pk).update(parent_task_run=asker)
        run = WorkflowRun.objects.select_related("workflow").get(pk=run.pk)
    assert moves.apply_one(change_of(run, state))
    assert bool(woken) is wakes


def test_one_change_is_fenced_too(run):
    lost = Fence(name="engine:1", owner=uuid4(), token=1)
    with pytest.raises(LeaseLost):
        moves.apply_one(change_of(run), fence=lost)
    assert WorkflowRun.objects.get(pk=run.pk).state == RunState.PENDING


def test_the_attempt_that_a_change_begins_is_the_one_that_it_writes(run):
    RunAttempt.objects.create(run=run, number=2, external_id=f"wh-{run.uuid}-2")
    change = moves.RunChange(run).set(attempt=2)
    change.attempt = {"error": "of the second"}
    assert moves.apply_one(change)
    errors = dict(RunAttempt.objects.filter(run=run).values_list("number", "error"))
    assert errors == {1: "", 2: "of the second"}


def test_an_end_keeps_what_else_is_written_to_the_attempt(run):
    change = moves.RunChange(run)
    change.attempt = {"error": "a word"}
    change.move(RunState.FAILED, Cause.OBSERVE, BY, now=database_now())
    assert change.attempt["error"] == "a word"
    assert change.attempt["state"] == RunState.FAILED


def test_a_move_has_no_detail_unless_it_is_given(run):
    assert change_of(run).events[-1].detail == ""


def test_what_is_due_wakes_the_reconciler(woken, run):
    assert moves.apply_one(moves.RunChange(run).set(next_check_at=database_now()))
    assert woken


def test_an_event_is_written_column_by_column(run):
    engine_time = database_now() - timedelta(minutes=3)
    who = moves.By(kind="token", name="n" * 250)
    task = run.task_runs.order_by("pk").first()
    before = database_now()
    change = moves.RunChange(run).set(attempt=2)
    change.move(
        RunState.RUNNING,
        Cause.ADOPT,
        who,
        now=before,
        detail="a\x00b",
        engine_time=engine_time,
    )
    change.note(Cause.TROUBLE, who, "of a task", task=task)
    assert moves.apply_one(change)
    first, second = RunEvent.objects.filter(run=run).order_by("seq")[1:]
    assert (first.seq, second.seq) == (2, 3)
    assert (first.attempt, first.task_run, first.old, first.new) == (2, None, "PENDING", "RUNNING")
    assert (first.cause, first.actor_kind, first.actor) == (Cause.ADOPT, "token", "n" * 200)
    assert (first.detail, first.engine_time) == ("a\ufffdb", engine_time)
    assert before <= first.seen_at <= database_now()
    assert (second.task_run, second.old, second.new) == (task, "", "")
    assert (second.cause, second.detail, second.engine_time) == (Cause.TROUBLE, "of a task", None)


def test_both_sides_of_a_write_are_crash_points(run, monkeypatch):
    passed = []
    monkeypatch.setattr(moves, "crash_point", passed.append)
    assert moves.apply_one(change_of(run))
    assert passed == ["moves.writing", "moves.written"]
