"""The newest runs of a workflow, whatever their version: what pages and the API compare a run with.

`runs` is always what the reader may see. Everything here is led by the index (workflow, -id) and reads
no more than so many rows, however many runs there are.
"""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Max, Min

from runs.models import TaskRun, Workflow, WorkflowRun
from runs.querysets import RunQuerySet
from runs.states import RunState

RECENT = 25
REACH = 1000  # runs before a run, among which its last success is looked for
VERSIONS = 100  # of a title, the newest
UNREAD = ("definition", "parameters_schema", "warnings")


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """Other open failures of the same kind."""

    number: int
    first_at: datetime | None
    last_at: datetime | None


def newest(runs: RunQuerySet, title: str, most: int = RECENT) -> list[WorkflowRun]:
    """The last runs of a title, the oldest of them first; two queries."""
    found = _lean(runs.filter(workflow__in=_versions(title))).order_by("-pk")[:most]
    return list(found)[::-1]


def last_success(runs: RunQuerySet, run: WorkflowRun) -> WorkflowRun | None:
    """The newest completed run of the same title before this one, with its labels; three queries."""
    before = WorkflowRun.objects.filter(
        workflow__in=_versions(run.workflow.title), pk__lt=run.pk
    ).order_by("-pk")
    found = runs.filter(pk__in=before.values("pk")[:REACH], state=RunState.COMPLETED)
    return _lean(found).prefetch_related("labels").order_by("-pk").first()


def similar(runs: RunQuerySet, run: WorkflowRun) -> Similar:
    """Open failures with the run's fingerprint besides itself; one query, or none without one."""
    if not run.fingerprint:
        return Similar(number=0, first_at=None, last_at=None)
    others = runs.open_failures().filter(fingerprint=run.fingerprint).exclude(pk=run.pk)
    found = others.order_by().aggregate(n=Count("pk"), first=Min("ended_at"), last=Max("ended_at"))
    return Similar(number=found["n"], first_at=found["first"], last_at=found["last"])


def same_task(runs: RunQuerySet, task: TaskRun) -> list[tuple[WorkflowRun, TaskRun | None]]:
    """The last runs of the task's workflow, the oldest first, each with its run of the same task, or
    None where it hasn't got that; three queries."""
    found = newest(runs, task.run.workflow.title)
    rows = TaskRun.objects.filter(
        run__in=[run.pk for run in found], name=task.name, map_index=task.map_index
    ).defer("inputs", "result")
    by_run = {row.run_id: row for row in rows}
    return [(run, by_run.get(run.pk)) for run in found]


def _versions(title: str) -> list[int]:
    # Keys instead of the title: the index (workflow, -id) then leads the way.
    rows = Workflow.objects.filter(title=title).order_by("-version")
    return list(rows.values_list("pk", flat=True)[:VERSIONS])


def _lean(runs: RunQuerySet) -> RunQuerySet:
    """With workflow and engine, without what only a page of its own shows."""
    return runs.select_related("workflow", "engine").defer(
        "result", "source", *(f"workflow__{name}" for name in UNREAD)
    )
