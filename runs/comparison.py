"""Two runs side by side: what is different between them, and what can't be compared. Also what changed
between a failed run and the last success before it. Called by pages and the API; reads the hub's tables
only, in a fixed number of queries."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import TextField
from django.db.models.functions import MD5, Cast

from runs.differences import Differences, differences
from runs.labels import labels_of
from runs.models import TaskRun, WorkflowRun
from runs.states import FINAL_TASK_STATES

MOST_TASKS = 2000  # of each run, by name
MOST_LISTED = 500
LEAST_SECONDS = 1.0  # durations that are less apart count as the same …
LEAST_SHARE = 0.1  # … and so do those that are apart by less than this share of the longer one


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One thing about the runs that isn't the same. Of `name` duration the values are seconds."""

    name: str
    a: Any
    b: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDifference:
    """A task, or one mapped instance, that went another way. `a`, `b`: None where a run hasn't got it.
    `differs`: which of state, duration, error and result do."""

    name: str
    map_index: int
    a: TaskRun | None
    b: TaskRun | None
    differs: tuple[str, ...]

    def __str__(self) -> str:
        return self.name if self.map_index < 0 else f"{self.name}[{self.map_index}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What people or the hub chose differently for a run than for an earlier one."""

    facts: tuple[Fact, ...]
    parameters: Differences
    labels: Differences

    def __bool__(self) -> bool:
        return bool(self.facts or self.parameters or self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Only what differs. `tasks_same`: how many tasks went the same way in both; `not_compared`: in
    sentences."""

    facts: tuple[Fact, ...]
    parameters: Differences
    labels: Differences
    result: Differences
    tasks: tuple[TaskDifference, ...]
    tasks_same: int
    more_tasks: bool
    not_compared: tuple[str, ...]

    @property
    def same(self) -> bool:
        found = (self.facts, self.parameters, self.labels, self.result, self.tasks)
        return not any(found)


def changes(a: WorkflowRun, b: WorkflowRun) -> Changes:
    """From run `a` to run `b`; two queries where their labels aren't at hand."""
    chosen = [
        Fact(name="version", a=a.workflow.version, b=b.workflow.version),
        Fact(name="engine", a=_engine(a), b=_engine(b)),
        Fact(name="attempt", a=a.attempt, b=b.attempt),
    ]
    return Changes(
        facts=tuple(fact for fact in chosen if fact.a != fact.b),
        parameters=differences(a.parameters, b.parameters),
        labels=differences(labels_of(a), labels_of(b)),
    )


def compare(a: WorkflowRun, b: WorkflowRun) -> Comparison:
    """Give it rows of RunQuerySet.for_list(). One query, and one for each run that hasn't its labels."""
    own = changes(a, b)
    tasks, same, more = _tasks(a, b)
    return Comparison(
        facts=(*_facts(a, b), *own.facts, *_times(a, b)),
        parameters=own.parameters,
        labels=own.labels,
        result=differences(a.result, b.result),
        tasks=tuple(tasks[:MOST_LISTED]),
        tasks_same=same,
        more_tasks=more or len(tasks) > MOST_LISTED,
        not_compared=tuple(_not_compared(a, b, more)),
    )


def seconds(started: datetime | None, ended: datetime | None) -> float | None:
    """How long something took, never negative; None while that isn't known."""
    if started is None or ended is None:
        return None
    return max((ended - started).total_seconds(), 0.0)


def notable(a: float | None, b: float | None) -> bool:
    """Whether two durations in seconds are as far apart as people would call different; unknown ones
    are not."""
    if a is None or b is None:
        return False
    return abs(a - b) >= max(LEAST_SECONDS, LEAST_SHARE * max(a, b))


def _facts(a: WorkflowRun, b: WorkflowRun) -> Iterator[Fact]:
    pairs = {
        "workflow": (a.workflow.title, b.workflow.title),
        "state": (a.state, b.state),
        "reason": (a.reason, b.reason),
        "error_task": (a.error_task, b.error_task),
        "error": (a.error, b.error),
        "trigger": (a.trigger, b.trigger),
        "created_by": (_user(a), _user(b)),
    }
    for name, (old, new) in pairs.items():
        if old != new:
            yield Fact(name=name, a=old, b=new)


def _times(a: WorkflowRun, b: WorkflowRun) -> Iterator[Fact]:
    old, new = (seconds(run.started_at, run.ended_at) for run in (a, b))
    if a.final and b.final and notable(old, new):
        yield Fact(name="duration", a=old, b=new)


def _engine(run: WorkflowRun) -> str | None:
    return run.engine.name if run.engine else None


def _user(run: WorkflowRun) -> str | None:
    return run.created_by.get_username() if run.created_by else None


def _not_compared(a: WorkflowRun, b: WorkflowRun, more: bool) -> Iterator[str]:
    if a.pk == b.pk:
        yield "It is the same run twice."
    if a.workflow.title != b.workflow.title:
        yield "They are runs of different workflows: tasks are matched by their names alone."
    for run in (a, b):
        if not run.final:
            yield f"Run {run.pk} hasn't ended: its duration and its open tasks may still change."
    if more:
        yield f"Only the first {MOST_TASKS:,} tasks by name are compared."


def _tasks(a: WorkflowRun, b: WorkflowRun) -> tuple[list[TaskDifference], int, bool]:
    """Those that differ, the ones of which only the duration does last; how many don't, and whether there
    are more than are read."""
    runs = {a.pk, b.pk}
    rows = (
        TaskRun.objects.tasks()
        .filter(run__in=runs)
        .defer("inputs", "result", "message")
        # A result may have megabytes: the databases tell whether two of them are the same.
        .annotate(result_mark=MD5(Cast("result", TextField())))
        .order_by("name", "map_index", "run")
    )
    found = list(rows[: len(runs) * MOST_TASKS + 1])
    more = len(found) > len(runs) * MOST_TASKS
    pairs: dict[tuple[str, int], dict[int, TaskRun]] = {}
    for row in found[: len(runs) * MOST_TASKS]:
        pairs.setdefault((row.name, row.map_index), {})[row.run_id] = row
    if more and len(pairs) > 1:
        pairs.popitem()  # it may be cut in two
    tasks, same = [], 0
    for (name, index), pair in pairs.items():
        old, new = pair.get(a.pk), pair.get(b.pk)
        if differs := _differing(old, new):
            tasks.append(TaskDifference(name=name, map_index=index, a=old, b=new, differs=differs))
        else:
            same += 1
    tasks.sort(key=lambda task: (task.differs == ("duration",), "state" not in task.differs))
    return tasks, same, more


def _differing(a: Any, b: Any) -> tuple[str, ...]:
    if a is None or b is None:
        return ("state",)
    over = a.state in FINAL_TASK_STATES and b.state in FINAL_TASK_STATES
    lengths = (seconds(a.started_at, a.ended_at), seconds(b.started_at, b.ended_at))
    found = {
        "state": a.state != b.state,
        "duration": over and notable(*lengths),
        "error": a.error != b.error,
        "result": a.result_mark != b.result_mark,
    }
    return tuple(name for name, differs in found.items() if differs)
