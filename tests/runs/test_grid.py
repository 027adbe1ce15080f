"""The last runs of a workflow against its tasks."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from runs import grid
from runs.grid import Grid, figures_of, grid_of
from runs.models import TaskRun, WorkflowPace, WorkflowRun
from runs.recent import newest
from runs.states import RunState, TaskState
from tests.factories import make_run, make_workflow

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def found(title: str) -> Grid:
    return grid_of(newest(WorkflowRun.objects.all(), title))


def set_task(run: WorkflowRun, name: str, seconds: float, **kw: Any) -> None:
    ended = NOW + timedelta(seconds=seconds)
    TaskRun.objects.filter(run=run, name=name).update(started_at=NOW, ended_at=ended, **kw)


def test_without_runs_there_is_nothing_and_nothing_is_asked(django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert grid_of([]) == Grid(runs=(), rows=(), more=False)


def test_all_cells_take_one_statement(django_assert_num_queries: Any) -> None:
    workflow = make_workflow({"b": [], "a": ["b"]})
    runs = [make_run(workflow) for _ in range(3)]
    with django_assert_num_queries(1):
        shown = grid_of(runs)
    assert [row.name for row in shown.rows] == ["b", "a"]  # as the definition has them
    assert [cell and cell.run for cell in shown.rows[0].cells] == [run.pk for run in runs]


def test_a_run_without_a_task_has_a_gap() -> None:
    make_run(make_workflow({"a": []}, title="etl", version=1, latest=False))
    second = make_run(make_workflow({"a": [], "new": []}, title="etl", version=2))
    (_, row) = found("etl").rows
    assert row.cells[0] is None
    assert row.cells[1] and row.cells[1].task_run == second.task_runs.get(name="new").pk


def test_mapped_instances_are_one_cell_that_leads_to_what_failed() -> None:
    run = make_run(make_workflow({"each": []}, title="etl"))
    set_task(run, "each", 0, state=TaskState.COMPLETED)
    for index, state in enumerate((TaskState.COMPLETED, TaskState.FAILED, TaskState.RUNNING)):
        start = NOW + timedelta(seconds=index)
        TaskRun.objects.create(
            run=run,
            name="each",
            map_index=index,
            state=state,
            started_at=start,
            ended_at=start + timedelta(seconds=10),
            try_number=index + 1,
        )
    (row,) = found("etl").rows
    (cell,) = row.cells
    assert cell
    assert (cell.state, cell.instances, cell.tries, cell.seconds) == ("FAILED", 3, 3, 12.0)
    assert cell.task_run == TaskRun.objects.get(state=TaskState.FAILED).pk


def test_hooks_are_left_out() -> None:
    run = make_run(make_workflow({"a": []}, title="etl"))
    TaskRun.objects.create(run=run, name="a.on_failure", kind=TaskRun.Kind.HOOK)
    assert [row.name for row in found("etl").rows] == ["a"]


def test_of_more_tasks_than_fit_those_that_failed_come_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(grid, "MOST_TASKS", 3)
    names = [f"t{n}" for n in range(6)]
    workflow = make_workflow({name: [] for name in names}, title="etl")
    make_run(workflow, task_states={"t5": TaskState.FAILED})
    make_run(workflow, task_states={"t5": TaskState.FAILED, "t3": TaskState.FAILED})
    shown = found("etl")
    assert ([row.name for row in shown.rows], shown.more) == (["t5", "t3", "t0"], True)
    monkeypatch.setattr(grid, "MOST_TASKS", 6)
    assert ([row.name for row in found("etl").rows], found("etl").more) == (names, False)


def test_the_slowest_and_the_flakiest_come_from_the_same_cells() -> None:
    workflow = make_workflow({"quick": [], "slow": [], "shaky": [], "broken": []}, title="etl")
    for number in range(4):
        run = make_run(workflow)
        set_task(run, "quick", 1, state=TaskState.COMPLETED)
        set_task(run, "slow", 10 * (number + 1), state=TaskState.COMPLETED)
        state = TaskState.FAILED if number == 0 else TaskState.COMPLETED
        set_task(run, "shaky", 2, state=state, try_number=2 if number == 1 else 1)
        set_task(run, "broken", 99, state=TaskState.FAILED)
    shown = found("etl")
    assert [(row.name, row.usual) for row in shown.slowest] == [
        ("slow", 25.0),
        ("shaky", 2.0),
        ("quick", 1.0),
    ]
    assert [(row.name, row.troubled, row.ran) for row in shown.flakiest] == [("shaky", 2, 4)]


def run_of(seconds: float, state: RunState = RunState.COMPLETED) -> WorkflowRun:
    return WorkflowRun(state=state, started_at=NOW, ended_at=NOW + timedelta(seconds=seconds))


def test_figures_count_what_completed_or_failed() -> None:
    runs = [run_of(n) for n in range(1, 21)]
    runs += [run_of(500, RunState.FAILED)] * 5 + [run_of(900, RunState.CANCELED)] * 3
    runs.append(WorkflowRun(state=RunState.RUNNING))
    figures = figures_of(runs, "etl")
    assert (figures.runs, figures.completed, figures.failed, figures.rate) == (25, 20, 5, 0.8)
    assert (figures.p50, figures.p95, figures.lasting) == (11.0, 20.0, False)


def test_there_are_no_figures_of_nothing() -> None:
    figures = figures_of([], "etl")
    assert (figures.rate, figures.p50, figures.p95) == (None, None, None)


def test_a_pace_that_is_kept_counts_more_than_the_last_runs() -> None:
    WorkflowPace.objects.create(workflow="etl", p50=7, p95=9)
    figures = figures_of([run_of(100)], "etl")
    assert (figures.p50, figures.p95, figures.lasting) == (7, 9, True)
    assert figures_of([run_of(100)], "other").p50 == 100
