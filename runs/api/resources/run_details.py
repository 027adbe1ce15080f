"""/workflow-runs/{id}/…: what is known of a run."""

from collections import Counter
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runs.api.filters import RunEventFilter, TaskRunFilter, filtered, names
from runs.api.openapi import CORE, HUB, doc, listing, path_id
from runs.api.pagination import PAGING, Order, page
from runs.api.shapes.event import EventShape, show_events
from runs.api.shapes.run import ResultsShape, StatusShape, observed_at
from runs.api.shapes.task_run import TaskRunShape, show_task_runs
from runs.api.views import HubView
from runs.engine_page import engine_page
from runs.models import RunEvent, TaskRun, WorkflowRun
from runs.policy import Action, visible

OLDEST_FIRST = Order(descending=False)
BY_SEQ = Order(field="seq", descending=False)


class EngineLinkShape(serializers.Serializer[Any]):
    url = serializers.CharField(help_text="Empty where the engine has no page for it.")


class TaskRuns(HubView):
    needs = {"GET": Action.VIEW}
    query = (*names(TaskRunFilter), *PAGING)

    @doc("list_task_runs", CORE, "The task runs of a run", many=TaskRunShape,
         query=[path_id(), *listing(TaskRunFilter)])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        run = self.one(WorkflowRun.objects.all(), pk=id)
        children = visible(self.actor, WorkflowRun.objects.all())
        rows = TaskRun.objects.for_rows(children).filter(run=run)
        return page(request, filtered(request, TaskRunFilter, rows), show_task_runs, OLDEST_FIRST)


class Events(HubView):
    needs = {"GET": Action.VIEW}
    query = (*names(RunEventFilter), *PAGING)

    @doc("list_run_events", CORE, "The history of a run, the oldest first; seq has no gaps",
         many=EventShape, query=[path_id(), *listing(RunEventFilter)])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        run = self.one(WorkflowRun.objects.all(), pk=id)
        rows = RunEvent.objects.filter(run=run).select_related("task_run")
        return page(request, filtered(request, RunEventFilter, rows), show_events, BY_SEQ)


class Results(HubView):
    needs = {"GET": Action.VIEW}

    @doc("read_run_results", CORE, "What the tasks and the run gave", answer=ResultsShape,
         query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        run = self.one(WorkflowRun.objects.all(), pk=id)
        results: dict[str, Any] = {}
        whole: set[str] = set()
        rows = TaskRun.objects.filter(run=run, kind=TaskRun.Kind.TASK, result__isnull=False)
        for name, index, result in rows.order_by("name", "map_index").values_list(
            "name", "map_index", "result"
        ):
            if index < 0:
                whole.add(name)
                results[name] = result
            elif name not in whole:  # else its own row has the list of what its items gave
                results.setdefault(name, []).append(result)
        body = {"state": run.state, "completed": run.final, "results": results}
        return Response({**body, "outputs": run.result})


class Status(HubView):
    needs = {"GET": Action.VIEW}

    @doc("read_run_status", CORE, "A run's state and how many tasks are in which, in few bytes",
         answer=StatusShape, query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        run = self.one(WorkflowRun.objects.select_related("engine"), pk=id)
        tasks = TaskRun.objects.tasks().filter(run=run)
        states = Counter(tasks.values_list("state", flat=True))
        return Response(
            {
                "id": run.pk,
                "uuid": str(run.uuid),
                "state": run.state,
                "wanted": run.wanted,
                "final": run.final,
                "attempt": run.attempt,
                "reason": run.reason,
                "flags": run.flags,
                "tasks": dict(sorted(states.items())),
                "observed_at": observed_at(run),
                "version": run.version,
            }
        )


class EnginePage(HubView):
    needs = {"GET": Action.VIEW}

    @doc("read_run_engine_page", HUB, "Where the engine's own pages show the run",
         answer=EngineLinkShape, query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        run = self.one(WorkflowRun.objects.select_related("engine"), pk=id)
        return Response({"url": engine_page(run)})
