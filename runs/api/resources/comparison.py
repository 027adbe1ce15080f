"""/workflow-runs/compare and /workflow-runs/{id}/failure: what is different between two runs, and what
a run failed of."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runs import excerpts
from runs.api.openapi import HUB, doc, path_id
from runs.api.parsers import MAX_INTEGER
from runs.api.query import bad_query, whole
from runs.api.resources.logs import LineShape
from runs.api.shapes.comparison import (
    ChangesShape,
    ComparisonShape,
    RunRef,
    show_task_difference,
)
from runs.api.shapes.run import RunErrorShape
from runs.api.views import HubView
from runs.comparison import compare
from runs.failure import background, root_task
from runs.models import TaskRun, WorkflowRun
from runs.policy import Action, visible


class LogAroundShape(serializers.Serializer[Any]):
    attempt = serializers.IntegerField()
    try_number = serializers.IntegerField()
    lines = LineShape(many=True)
    error_line = serializers.IntegerField(allow_null=True, help_text="The number of the error's.")
    trouble = serializers.CharField(help_text="Why the log can't be read now.")


class RootShape(serializers.Serializer[Any]):
    task_run = serializers.IntegerField()
    task = serializers.CharField()
    map_index = serializers.IntegerField()
    error = serializers.CharField()
    log = LogAroundShape(allow_null=True)


class SimilarShape(serializers.Serializer[Any]):
    count = serializers.IntegerField(source="number", help_text="Besides this one.")
    first_at = serializers.DateTimeField(allow_null=True)
    last_at = serializers.DateTimeField(allow_null=True)


class RunFailureShape(serializers.Serializer[Any]):
    error = RunErrorShape(allow_null=True)
    root = RootShape(allow_null=True, help_text="The task that failed first.")
    last_success = RunRef(
        allow_null=True, help_text="The newest completed run of the title before this one."
    )
    changes = ChangesShape(allow_null=True, help_text="From that run to this one.")
    similar = SimilarShape(help_text="Other open failures with its fingerprint.")


def _run(name: str, text: str) -> OpenApiParameter:
    schema = {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}
    return OpenApiParameter(name, schema, required=True, description=text)


class Compare(HubView):
    """Only the differences. Durations count as different from a second and a tenth of the longer one on;
    of each run the first 2,000 tasks by name are compared."""

    needs = {"GET": Action.VIEW}
    query = ("a", "b")

    @doc("compare_runs", HUB, "What is different between two runs", answer=ComparisonShape,
         query=[_run("a", "The id of a run."), _run("b", "The id of another.")])  # fmt: skip
    def get(self, request: Request) -> Response:
        for name in self.query:
            if name not in request.query_params:
                raise bad_query(name, "must be the id of a run.")
        keys = [whole(request, name, 0, 1, MAX_INTEGER) for name in self.query]
        a, b = (self.one(WorkflowRun.objects.for_list(), pk=key) for key in keys)
        found = compare(a, b)
        own = {
            "a": a,
            "b": b,
            "tasks": [show_task_difference(one) for one in found.tasks],
            **{name: getattr(found, name) for name in ("same", "facts", "parameters", "labels")},
            **{name: getattr(found, name) for name in ("result", "tasks_same", "more_tasks")},
            "not_compared": found.not_compared,
        }
        return Response(ComparisonShape(own).data)


class Failure(HubView):
    """Of a run that hasn't failed there is no error and no root, and all else."""

    needs = {"GET": Action.VIEW}

    @doc("read_run_failure", HUB, "What a run failed of, and what changed since the last success",
         answer=RunFailureShape, query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        run = self.one(WorkflowRun.objects.for_list(), pk=id)
        runs: Any = visible(self.actor, WorkflowRun.objects.all())
        story = background(run, runs)
        root = root_task(run)
        error = {"task": run.error_task, "line": run.error, "fingerprint": run.fingerprint}
        body = {
            "error": error if run.error or run.fingerprint else None,
            "root": _root(root, run) if root else None,
            "last_success": story.before,
            "changes": story.changes,
            "similar": story.similar,
        }
        return Response(RunFailureShape(body).data)


def _root(task: TaskRun, run: WorkflowRun) -> dict[str, Any]:
    found = excerpts.around(task, task.error or run.error)
    log = None
    if found is not None:
        log = {
            "attempt": found.task_try.attempt,
            "try_number": found.task_try.try_number,
            "lines": found.lines,
            "error_line": found.lines[found.hit].n if found.hit is not None else None,
            "trouble": found.trouble,
        }
    return {
        "task_run": task.pk,
        "task": task.name,
        "map_index": task.map_index,
        "error": task.error,
        "log": log,
    }
