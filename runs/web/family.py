"""Runs inside runs, as pages show them: which step asked for this one, and which runs its own steps
asked for; and the run that one repeats."""

from django.db.models import QuerySet, Sum
from django.http import HttpRequest

from runs.models import RunEvent, TaskRun, WorkflowRun
from runs.states import Cause, Wanted
from runs.web.access import seen

MOST = 1000


def asker(request: HttpRequest, run: WorkflowRun) -> TaskRun | None:
    """The task run that asked for a run, if the visitor may see its run."""
    task = run.parent_task_run
    if task is None or not seen(request, WorkflowRun.objects.filter(pk=task.run_id)).exists():
        return None
    return task


def repeated(request: HttpRequest, run: WorkflowRun) -> WorkflowRun | None:
    """The run that this one is a rerun of, if the visitor may see it."""
    if run.previous_id is None:
        return None
    return seen(request, WorkflowRun.objects.filter(pk=run.previous_id)).first()


def why_called_off(run: WorkflowRun) -> str:
    """Why the hub itself asked for the end of a run that another had asked for; empty if it didn't."""
    if run.parent_task_run_id is None or run.wanted != Wanted.CANCEL:
        return ""
    by_us = run.events.filter(
        cause=Cause.CANCEL, task_run=None, actor_kind=RunEvent.ActorKind.RECONCILER
    )
    return by_us.exclude(detail="").values_list("detail", flat=True).last() or ""


def children_by_task(request: HttpRequest, run: WorkflowRun) -> dict[int, list[WorkflowRun]]:
    """Task run's key -> the runs that it asked for."""
    runs: QuerySet[WorkflowRun] = seen(
        request, WorkflowRun.objects.filter(parent_task_run__run=run)
    )
    children: dict[int, list[WorkflowRun]] = {}
    for child in runs.select_related("workflow").order_by("pk")[:MOST]:
        children.setdefault(child.parent_task_run_id or 0, []).append(child)
    return children


def children_of(request: HttpRequest, task: TaskRun) -> list[WorkflowRun]:
    """The runs that one task run asked for, the newest first."""
    runs: QuerySet[WorkflowRun] = seen(request, WorkflowRun.objects.filter(parent_task_run=task))
    return list(runs.select_related("workflow").order_by("-pk")[:MOST])


def children_version(task: TaskRun) -> int:
    """A number that rises with every change of a run that a task run asked for."""
    runs = WorkflowRun.objects.filter(parent_task_run=task).order_by()
    total: int = runs.aggregate(Sum("version", default=0))["version__sum"]
    return total
