"""Reads all that is known of many runs in a fixed number of statements."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from django.db.models import F, Q

from engines.base import RunSnapshot, TaskKey
from engines.states import FINAL_RUN_STATES, FINAL_TASK_STATES
from runs.models import RunAttempt, Task, TaskRun, TaskTry, WorkflowRun

TryKey = tuple[str, int, int, int]
"""(task name, map index, attempt, try number)"""


@dataclass(slots=True, kw_only=True)
class Case:
    """One run and what belongs to it, as read. `tasks` and `tries` hold those that were asked for:
    all of them where `whole`."""

    run: WorkflowRun
    attempts: dict[int, RunAttempt]
    tasks: dict[TaskKey, TaskRun] = field(default_factory=dict)
    tries: dict[TryKey, TaskTry] = field(default_factory=dict)
    graph: dict[str, Task] = field(default_factory=dict)
    whole: bool = True

    @property
    def attempt(self) -> RunAttempt:
        return self.attempts[self.run.attempt]

    @property
    def queued(self) -> RunAttempt | None:
        return self.attempts.get(self.run.attempt + 1)

    def open_tasks(self) -> list[TaskRun]:
        return [task for task in self.tasks.values() if task.state not in FINAL_TASK_STATES]

    @property
    def kept(self) -> RunAttempt | None:
        """The newest attempt before the present one that the engine took."""
        earlier = [
            row
            for number, row in self.attempts.items()
            if number < self.run.attempt and row.accepted_at is not None
        ]
        return max(earlier, key=lambda row: row.number, default=None)


def read_cases(
    run_ids: Collection[int], reports: Iterable[RunSnapshot] | None = None
) -> dict[int, Case]:
    """Runs by key. With `reports` only the task runs that those name are read, unless a report says
    that its run has ended: then all of that run's, because they must be closed."""
    runs = WorkflowRun.objects.filter(pk__in=run_ids).select_related(
        "workflow", "created_by", "engine"
    )
    cases = {
        run.pk: Case(run=run, attempts={})
        for run in runs.defer("workflow__definition").order_by("pk")
    }
    for attempt in RunAttempt.objects.filter(run_id__in=cases):
        cases[attempt.run_id].attempts[attempt.number] = attempt
    of_tasks, of_tries = _asked_for(cases, None if reports is None else list(reports))
    for task in TaskRun.objects.filter(of_tasks).select_related("task").order_by("pk"):
        cases[task.run_id].tasks[task.name, task.map_index] = task
    by_pk = {task.pk: task for case in cases.values() for task in case.tasks.values()}
    tries = TaskTry.objects.filter(of_tries, attempt__gte=F("task_run__attempt"))
    for row in tries:
        found = by_pk.get(row.task_run_id)
        if found is not None:
            row.task_run = found
            key = (found.name, found.map_index, row.attempt, row.try_number)
            cases[found.run_id].tries[key] = row
    return cases


def read_graph(cases: Iterable[Case]) -> None:
    """Fills in `graph`, the static tasks by name: needed where a task run is new."""
    by_workflow: dict[int, list[Case]] = {}
    for case in cases:
        by_workflow.setdefault(case.run.workflow_id, []).append(case)
    for task in Task.objects.filter(workflow_id__in=by_workflow):
        for case in by_workflow[task.workflow_id]:
            case.graph[task.name] = task


def _asked_for(cases: dict[int, Case], reports: list[RunSnapshot] | None) -> tuple[Q, Q]:
    """Which task runs to read, as a condition on them and on what points to them."""
    if reports is None:
        return Q(run_id__in=cases), Q(task_run__run_id__in=cases)
    by_external_id = {case.run.external_id: case for case in cases.values()}
    ended: set[int] = set()
    names: set[str] = set()
    indexes: set[int] = set()
    for report in reports:
        case = by_external_id.get(report.external_id)
        if case is not None and report.state in FINAL_RUN_STATES:
            ended.add(case.run.pk)
        for task in report.tasks:
            for name, index in {(task.task, task.map_index), task.parent or (task.task, -1)}:
                names.add(name)
                indexes.add(index)
    for pk, case in cases.items():
        case.whole = pk in ended
    others = set(cases) - ended
    return (
        Q(run_id__in=ended) | Q(run_id__in=others, name__in=names, map_index__in=indexes),
        Q(task_run__run_id__in=ended)
        | Q(
            task_run__run_id__in=others,
            task_run__name__in=names,
            task_run__map_index__in=indexes,
        ),
    )
