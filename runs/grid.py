"""The last runs of a workflow against its tasks: a cell for each, and what they say about the workflow:
how often it succeeds, how long it takes, which tasks are slow and which fail now and then.

Called by pages and the API. However many runs there are, it reads the tasks of RECENT of them, in one
statement, and of those the cells of MOST_TASKS tasks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median
from typing import Any

from django.db.models import Case, Count, F, IntegerField, Max, Min, Q, Value, When
from django.db.models.functions import Coalesce

from runs.comparison import seconds
from runs.models import TaskRun, WorkflowPace, WorkflowRun
from runs.querysets import TaskRunQuerySet
from runs.states import WORST_FIRST, RunState, TaskState

MOST_TASKS = 50
LISTED = 5  # slowest and flakiest tasks


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A task in one run. Of several mapped instances: `state` is the one that matters most, `task_run`
    the first that failed, else the first; `seconds` from the first start to the last end; `tries` the
    most that one needed."""

    task_run: int
    run: int
    state: str
    instances: int
    tries: int
    seconds: float | None

    @property
    def troubled(self) -> bool:
        """It failed, or needed more than one try."""
        return self.state == TaskState.FAILED or self.tries > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A task; `cells` in the order of the runs, None where a run hasn't got it."""

    name: str
    cells: tuple[Cell | None, ...]

    @property
    def ran(self) -> int:
        return sum(cell.state in (TaskState.FAILED, TaskState.COMPLETED) for cell in self._cells)

    @property
    def failed(self) -> int:
        return sum(cell.state == TaskState.FAILED for cell in self._cells)

    @property
    def troubled(self) -> int:
        return sum(cell.troubled for cell in self._cells)

    @property
    def usual(self) -> float | None:
        """The median of its completed runs, in seconds."""
        lengths = [
            cell.seconds
            for cell in self._cells
            if cell.state == TaskState.COMPLETED and cell.seconds is not None
        ]
        return median(lengths) if lengths else None

    @property
    def _cells(self) -> Sequence[Cell]:
        return [cell for cell in self.cells if cell]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """`runs`: the oldest first. `more`: there are more tasks than rows, and those that failed come first;
    else they are in the order of the definition."""

    runs: tuple[WorkflowRun, ...]
    rows: tuple[Row, ...]
    more: bool

    # Both among the rows: what isn't shown isn't read.
    @property
    def slowest(self) -> list[Row]:
        timed = [row for row in self.rows if row.usual]
        return sorted(timed, key=lambda row: -(row.usual or 0))[:LISTED]

    @property
    def flakiest(self) -> list[Row]:
        """Those that sometimes fail or need another try, and sometimes complete."""
        found = [row for row in self.rows if row.troubled and row.ran > row.failed]
        return sorted(found, key=lambda row: (-row.troubled / row.ran, row.name))[:LISTED]


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of the last runs: `rate` is the share of the completed among those that completed or failed. `p50`
    and `p95` in seconds: of the completed ones among them, or where `lasting`, of all that completed, the
    newest counting most. None where there are none."""

    runs: int
    completed: int
    failed: int
    rate: float | None
    p50: float | None
    p95: float | None
    lasting: bool


def grid_of(runs: Sequence[WorkflowRun]) -> Grid:
    """The grid of these runs, which are in the order of its columns; one query."""
    found = list(_cells([run.pk for run in runs])) if runs else []
    names: dict[str, tuple[int, int, str]] = {}
    cells: dict[str, dict[int, Cell]] = {}
    for row in found:
        name = row["name"]
        cells.setdefault(name, {})[row["run"]] = _cell(row)
        failed, place, _ = names.get(name, (0, row["place"], name))
        names[name] = (failed - row["failed"], min(place, row["place"]), name)
    more = len(names) > MOST_TASKS
    order = sorted(names, key=lambda name: names[name] if more else names[name][1:])[:MOST_TASKS]
    return Grid(
        runs=tuple(runs),
        rows=tuple(
            Row(name=name, cells=tuple(cells[name].get(run.pk) for run in runs)) for name in order
        ),
        more=more,
    )


def figures_of(runs: Iterable[WorkflowRun], title: str) -> Figures:
    """Of the last runs of a title; one query."""
    ended = [run for run in runs if run.state in (RunState.COMPLETED, RunState.FAILED)]
    completed = [run for run in ended if run.state == RunState.COMPLETED]
    lengths = sorted(
        length for run in completed if (length := seconds(run.started_at, run.ended_at)) is not None
    )
    pace = WorkflowPace.objects.filter(workflow=title).first()
    lasting = pace is not None and pace.p95 > 0
    return Figures(
        runs=len(ended),
        completed=len(completed),
        failed=len(ended) - len(completed),
        rate=len(completed) / len(ended) if ended else None,
        p50=pace.p50 if pace and lasting else _share(lengths, 0.5),
        p95=pace.p95 if pace and lasting else _share(lengths, 0.95),
        lasting=lasting,
    )


def _cells(runs: Sequence[int]) -> Any:
    """A row (name -> value) for each run and task, of one task more than are shown. One statement."""
    tasks = TaskRun.objects.tasks().filter(run__in=runs)
    failed = Count("pk", filter=Q(state=TaskState.FAILED))
    names = (
        tasks.order_by()
        .values("name")
        .annotate(failed=failed, place=_place())
        .order_by("-failed", "place", "name")
    )
    weighed = [When(state=state, then=Value(at)) for at, state in enumerate(WORST_FIRST)]
    shown: TaskRunQuerySet = tasks.filter(name__in=names.values("name")[: MOST_TASKS + 1])
    return (
        shown.order_by()
        .values("run", "name")
        .annotate(
            failed=failed,
            place=_place(),
            worst=Min(Case(*weighed, default=Value(0), output_field=IntegerField())),
            first_failed=Min("pk", filter=Q(state=TaskState.FAILED)),
            first=Min("pk"),
            # Beside its mapped instances a task may have a row of its own.
            instances=Count("pk", filter=Q(map_index__gte=0)),
            most_tries=Max("try_number"),
            started=Min("started_at"),
            ended=Max("ended_at"),
        )
    )


def _place() -> Any:
    """Where the definition has it; behind everything else where it hasn't."""
    return Coalesce(Min(F("task__position")), Value(1_000_000))


def _cell(row: dict[str, Any]) -> Cell:
    state = WORST_FIRST[row["worst"]]
    started: datetime | None = row["started"]
    return Cell(
        task_run=row["first_failed"] or row["first"],
        run=row["run"],
        state=state.value,
        instances=row["instances"],
        tries=row["most_tries"],
        seconds=seconds(started, row["ended"]),
    )


def _share(lengths: Sequence[float], share: float) -> float | None:
    """By the nearest rank."""
    if not lengths:
        return None
    return lengths[min(int(share * len(lengths)), len(lengths) - 1)]
