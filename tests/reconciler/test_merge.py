"""Reports that are late, doubled, reordered or strange, merged into what is known."""

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from engines.base import RunSnapshot, TaskSnapshot
from engines.clock import database_now
from engines.states import RunState, TaskState
from runs import actions, moves
from runs.models import Counter, RunAttempt, RunEvent, TaskRun, TaskTry
from runs.policy import Actor
from runs.reconciler.facts import read_cases, read_graph
from runs.reconciler.merge import Report, merge
from runs.states import TASK_RANK, run_rank
from tests.factories import make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db
slow_ok = hypothesis_settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


def accepted_run(tasks=None, **kw):
    workflow = make_workflow(tasks or {"a": [], "b": ["a"]}, engine=make_engine())
    return make_run(workflow, state="SCHEDULED", accepted=True, **kw)


def report(run, state, tasks=(), **kw):
    return RunSnapshot(
        external_id=run.external_id,
        state=state,
        raw_state=str(state or "odd"),
        tasks=tuple(tasks),
        **kw,
    )


def task(name, state, **kw):
    return TaskSnapshot(task=name, state=state, **kw)


def take(run, snapshot, *, began_at=None, in_place=False):
    """Merges and writes one report; the run as it is then."""
    for _ in range(2):
        case = read_cases([run.pk], [snapshot])[run.pk]
        read_graph([case])
        change, again = merge(
            case,
            Report(snapshot=snapshot, began_at=began_at or database_now()),
            now=database_now(),
            in_place=in_place,
        )
        moves.apply([change])
        if not again:
            break
    run.refresh_from_db()
    return run


def history(run):
    """A run as an honest engine would report it, in order."""
    R, T = RunState, TaskState
    return [
        report(run, R.SCHEDULED, [task("a", T.PENDING), task("b", T.PENDING)]),
        report(run, R.RUNNING, [task("a", T.SCHEDULED), task("b", T.PENDING)]),
        report(run, R.RUNNING, [task("a", T.RUNNING), task("b", T.PENDING)]),
        report(run, R.RUNNING, [task("a", T.RETRYING), task("b", T.PENDING)]),
        report(run, R.RUNNING, [task("a", T.RUNNING, try_number=2), task("b", T.PENDING)]),
        report(run, R.RUNNING, [task("a", T.COMPLETED, try_number=2), task("b", T.RUNNING)]),
        report(run, R.COMPLETED, [task("a", T.COMPLETED, try_number=2), task("b", T.COMPLETED)]),
    ]


@given(st.lists(st.integers(0, 6), max_size=12))
@slow_ok
def test_fault_18_whatever_the_order_states_never_go_back_and_the_end_is_reached(order):
    run = accepted_run()
    reports = history(run)
    rank, tasks = run_rank(run.state), {}
    for at in [*order, 6]:
        take(run, reports[at])
        assert run_rank(run.state) >= rank
        rank = run_rank(run.state)
        for row in run.task_runs.all():
            order_now = (row.attempt, row.try_number, TASK_RANK[row.state])
            assert order_now >= tasks.get(row.pk, order_now)
            tasks[row.pk] = order_now
    assert run.state == RunState.COMPLETED
    states = {row.name: (row.state, row.try_number) for row in run.task_runs.all()}
    assert states["b"][0] == TaskState.COMPLETED
    seqs = list(RunEvent.objects.filter(run=run).values_list("seq", flat=True))
    assert sorted(seqs) == list(range(1, run.last_seq + 1))
    changes = [
        (event.task_run_id, event.old, event.new)
        for event in RunEvent.objects.filter(run=run)
        if event.new
    ]
    run_changes = [change for change in changes if change[0] is None]
    assert len(set(run_changes)) == len(run_changes), "no event is doubled"
    assert not TaskTry.objects.filter(task_run__run=run, state="RUNNING").exists()


def test_fault_18_the_same_report_again_changes_nothing():
    run = accepted_run()
    for snapshot in history(run)[:5]:
        take(run, snapshot)
        version, seq = run.version, run.last_seq
        take(run, snapshot)
        assert (run.version, run.last_seq) == (version, seq)


def test_fault_18_23_a_report_of_another_attempt_changes_nothing():
    run = accepted_run()
    before = run.version
    take(run, report(run, RunState.COMPLETED, attempt=0))
    assert run.version == before


def test_fault_18_23_in_place_a_report_from_before_the_retry_was_taken_is_dropped():
    run = accepted_run()
    RunAttempt.objects.filter(run=run).update(accepted_at=database_now())
    early = database_now() - timedelta(seconds=5)
    take(run, report(run, RunState.FAILED), began_at=early, in_place=True)
    assert run.state == RunState.SCHEDULED
    take(run, report(run, RunState.FAILED), in_place=True)
    assert run.state == RunState.FAILED


def test_fault_17_an_unknown_word_of_a_task_keeps_its_state_and_is_shown():
    run = accepted_run()
    take(run, report(run, RunState.RUNNING, [task("a", TaskState.RUNNING)]))
    take(run, report(run, None, [task("a", None, raw_state="deferred")]))
    row = run.task_runs.get(name="a")
    assert (row.state, row.raw_state) == (TaskState.RUNNING, "deferred")
    assert run.state == RunState.RUNNING


def test_tasks_that_were_not_in_the_graph_are_added_with_their_parents():
    run = accepted_run({"map": []})
    take(
        run,
        report(
            run,
            RunState.RUNNING,
            [
                task("map", TaskState.RUNNING),
                task("map", TaskState.RUNNING, map_index=0, parent=("map", -1)),
                task("extra", TaskState.RUNNING),
                task("inner", TaskState.PENDING, parent=("extra", -1)),
            ],
        ),
    )
    rows = {str(row): row for row in run.task_runs.all()}
    assert set(rows) == {"map", "map[0]", "extra", "inner"}
    assert rows["map[0]"].parent == rows["map"]
    assert rows["map[0]"].task == rows["map"].task
    assert rows["inner"].parent == rows["extra"]
    assert rows["extra"].task is None


def test_each_try_has_a_row_and_those_that_were_missed_are_filled_in():
    run = accepted_run({"a": []})
    take(run, report(run, RunState.RUNNING, [task("a", TaskState.RUNNING, log="x.log")]))
    take(run, report(run, RunState.RUNNING, [task("a", TaskState.RUNNING, try_number=3)]))
    take(run, report(run, RunState.FAILED, [task("a", TaskState.FAILED, try_number=3, error="no")]))
    tries = list(TaskTry.objects.filter(task_run__run=run))
    assert [(row.try_number, row.state) for row in tries] == [
        (1, "FAILED"),
        (2, "FAILED"),
        (3, "FAILED"),
    ]
    assert tries[0].log == "x.log" and tries[0].log_complete
    assert tries[2].error == "no" and tries[2].ended_at is not None


def test_a_run_that_fails_tells_its_first_failed_task_and_closes_the_others():
    run = accepted_run({"a": [], "b": [], "c": ["b"], "d": []})
    now = database_now()
    take(
        run,
        report(
            run,
            RunState.FAILED,
            [
                task("a", TaskState.FAILED, error="second", ended_at=now),
                task("b", TaskState.FAILED, error="first 17", ended_at=now - timedelta(seconds=1)),
                task("d", TaskState.RUNNING),
            ],
        ),
    )
    assert (run.error_task, run.error) == ("b", "first 17")
    assert run.fingerprint
    states = {row.name: row.state for row in run.task_runs.all()}
    assert states == {"a": "FAILED", "b": "FAILED", "c": "UPSTREAM_FAILED", "d": "FAILED"}


def test_counters_count_steps_once_however_often_they_are_reported():
    run = accepted_run()
    for snapshot in [*history(run), *history(run)]:
        take(run, snapshot)
    totals = {
        (row.name, row.labels): (row.value, row.count)
        for row in Counter.objects.filter(name__startswith="step")
    }
    app = '["app", "sleep"]'
    assert totals["steps_submitted_total", f"[{app}]"][0] == 2
    assert totals["steps_completed_total", f'[{app}, ["status", "completed"]]'][0] == 2
    assert totals["step_execution_duration_seconds", f"[{app}]"][1] == 2


def test_fault_17_strange_values_are_taken_as_far_as_the_database_can():
    run = accepted_run({"a": []})
    take(
        run,
        report(
            run,
            RunState.RUNNING,
            [
                task(
                    "a",
                    TaskState.RUNNING,
                    raw_state="x" * 500,
                    message="nul \x00 here",
                    progress=7.5,
                    result={"k\x00": ["\x00"]},
                    worker="w" * 999,
                )
            ],
        ),
    )
    row = run.task_runs.get()
    assert row.progress == 1.0 and len(row.raw_state) == 100 and "\x00" not in row.message
    version = run.version
    take(
        run,
        report(
            run,
            RunState.RUNNING,
            [task("a", TaskState.RUNNING, raw_state="x" * 500, message="nul \x00 here")],
        ),
    )
    assert run.version == version


def test_what_was_kept_by_a_retry_is_not_reported_as_new():
    run = accepted_run()
    take(
        run,
        report(
            run,
            RunState.FAILED,
            [task("a", TaskState.COMPLETED, try_number=2), task("b", TaskState.FAILED)],
        ),
    )
    actions.retry_run(Actor(), run)
    RunAttempt.objects.filter(run=run, number=2).update(
        sent_at=database_now(), accepted_at=database_now()
    )
    run.refresh_from_db()
    take(
        run,
        report(
            run,
            RunState.COMPLETED,
            [task("a", TaskState.COMPLETED, try_number=2), task("b", TaskState.COMPLETED)],
        ),
    )
    rows = {row.name: row for row in TaskRun.objects.filter(run=run)}
    assert (rows["a"].attempt, rows["b"].attempt) == (1, 2)
    assert run.state == RunState.COMPLETED


def test_an_item_that_the_engines_first_answer_names_belongs_to_its_step():
    run = accepted_run({"fan": []})
    TaskRun.objects.get_or_create(run=run, name="fan", task=run.workflow.tasks.get(name="fan"))
    answer = report(
        run,
        RunState.RUNNING,
        [task("fan", TaskState.RUNNING), task("fan", TaskState.PENDING, map_index=0)],
    )
    case = read_cases([run.pk])[run.pk]  # as after a submit: without the graph
    told = Report(snapshot=answer, began_at=database_now(), told=True)
    moves.apply([merge(case, told, now=database_now(), in_place=False)[0]])
    steps = TaskRun.objects.filter(run=run).values_list("map_index", "task__name")
    assert dict(steps) == {-1: "fan", 0: "fan"}


def test_a_task_that_is_done_in_the_end_has_no_error_of_a_lost_worker():
    run = accepted_run({"a": []})
    for state, error in (
        (TaskState.SCHEDULED, "Its worker was lost."),
        (TaskState.RUNNING, ""),
        (TaskState.COMPLETED, ""),
    ):
        take(run, report(run, RunState.RUNNING, [task("a", state, error=error, try_number=2)]))
        assert TaskRun.objects.get(run=run).error == error


def test_a_try_whose_worker_was_lost_says_so():
    run = accepted_run({"a": []})
    first = {"reason": "lost", "error": "Its worker was lost."}
    began = run.created_at
    take(run, report(run, RunState.RUNNING, [task("a", TaskState.RUNNING, started_at=began)]))
    take(
        run, report(run, RunState.RUNNING, [task("a", TaskState.SCHEDULED, try_number=2, **first)])
    )
    lost = TaskTry.objects.get(task_run__run=run)
    assert (lost.try_number, lost.state, lost.reason, lost.error) == (1, "FAILED", *first.values())
    assert lost.ended_at > lost.started_at
    take(run, report(run, RunState.RUNNING, [task("a", TaskState.RUNNING, try_number=2)]))
    tries = dict(TaskTry.objects.filter(task_run__run=run).values_list("try_number", "started_at"))
    assert tries[2] >= lost.ended_at, "the second begins after the first ended"
    assert TaskTry.objects.get(pk=lost.pk).error == "Its worker was lost."
