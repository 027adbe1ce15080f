"""/workflows/{id}/grid and /task-runs/{id}/history: how the last runs of a workflow went, task by task."""

from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runs.api.openapi import HUB, doc, path_id
from runs.api.resources.task_runs import TaskView
from runs.api.views import HubView
from runs.comparison import seconds
from runs.grid import Grid, Row, figures_of, grid_of
from runs.models import TaskRun, Workflow, WorkflowRun
from runs.policy import Action, visible
from runs.recent import newest, same_task
from runs.states import RunState, TaskState


class ColumnShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    version = serializers.IntegerField(source="workflow.version")
    state = serializers.ChoiceField(choices=RunState.choices)
    started_at = serializers.DateTimeField(allow_null=True)
    seconds = serializers.SerializerMethodField()

    def get_seconds(self, run: WorkflowRun) -> float | None:
        return seconds(run.started_at, run.ended_at)


class CellShape(serializers.Serializer[Any]):
    run = serializers.IntegerField()
    task_run = serializers.IntegerField(help_text="The first that failed, else the first.")
    state = serializers.ChoiceField(
        choices=TaskState.choices, help_text="Of mapped instances the one that matters most."
    )
    instances = serializers.IntegerField(help_text="0 for a task that is not mapped.")
    tries = serializers.IntegerField()
    seconds = serializers.FloatField(allow_null=True)


class RowShape(serializers.Serializer[Any]):
    task = serializers.CharField(source="name")
    ran = serializers.IntegerField(help_text="In how many of the runs it completed or failed.")
    failed = serializers.IntegerField()
    troubled = serializers.IntegerField(help_text="It failed, or needed another try.")
    median_seconds = serializers.FloatField(source="usual", allow_null=True)
    cells = serializers.SerializerMethodField(help_text="Those there are, in the order of runs.")

    def get_cells(self, row: Row) -> list[Any]:
        return list(CellShape([cell for cell in row.cells if cell], many=True).data)


class FiguresShape(serializers.Serializer[Any]):
    runs = serializers.IntegerField(help_text="Those that completed or failed.")
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    rate = serializers.FloatField(allow_null=True, help_text="From 0 to 1.")
    p50 = serializers.FloatField(allow_null=True, help_text="In seconds.")
    p95 = serializers.FloatField(allow_null=True)
    lasting = serializers.BooleanField(
        help_text="p50 and p95 are of all that completed, the newest counting most."
    )


class GridShape(serializers.Serializer[Any]):
    workflow = serializers.CharField(help_text="The title.")
    figures = FiguresShape()
    runs = ColumnShape(many=True, help_text="The last 25 of all versions, the oldest first.")
    tasks = RowShape(many=True, help_text="50 at most; those that failed first if there are more.")
    more_tasks = serializers.BooleanField()
    slowest = serializers.ListField(child=serializers.CharField())
    flakiest = serializers.ListField(child=serializers.CharField())


class PastShape(serializers.Serializer[Any]):
    run = serializers.IntegerField()
    version = serializers.IntegerField()
    task_run = serializers.IntegerField(allow_null=True)
    state = serializers.ChoiceField(choices=TaskState.choices, allow_null=True)
    try_number = serializers.IntegerField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    seconds = serializers.FloatField(allow_null=True)


class WorkflowGrid(HubView):
    """Of all versions of the title."""

    needs = {"GET": Action.VIEW}

    @doc("read_workflow_grid", HUB, "How the last runs of a workflow went, task by task",
         answer=GridShape, query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        workflow = self.one(Workflow.objects.defer("definition", "parameters_schema"), pk=id)
        runs: Any = visible(self.actor, WorkflowRun.objects.all())
        recent = newest(runs, workflow.title)
        grid: Grid = grid_of(recent)
        body = {
            "workflow": workflow.title,
            "figures": figures_of(recent, workflow.title),
            "runs": recent,
            "tasks": grid.rows,
            "more_tasks": grid.more,
            "slowest": [row.name for row in grid.slowest],
            "flakiest": [row.name for row in grid.flakiest],
        }
        return Response(GridShape(body).data)


class History(TaskView):
    """The last 25 runs of its workflow, the oldest first; where one hasn't got the task, `task_run` and
    `state` are null."""

    needs = {"GET": Action.VIEW}

    @doc("read_task_history", HUB, "How the same task went in the last runs of its workflow",
         answer=PastShape(many=True), query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        runs: Any = visible(self.actor, WorkflowRun.objects.all())
        pairs = same_task(runs, self.task_run(id))
        return Response(PastShape([_past(run, task) for run, task in pairs], many=True).data)


def _past(run: WorkflowRun, task: TaskRun | None) -> dict[str, Any]:
    return {
        "run": run.pk,
        "version": run.workflow.version,
        "task_run": task.pk if task else None,
        "state": task.state if task else None,
        "try_number": task.try_number if task else None,
        "started_at": task.started_at if task else None,
        "seconds": seconds(task.started_at, task.ended_at) if task else None,
    }
