"""/task-runs/{id}: one task of a run, and what can be done to it."""

from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework.request import Request
from rest_framework.response import Response

from runs import actions
from runs.api.concurrency import etag, expected_version
from runs.api.errors import Missing
from runs.api.fields import (
    FINAL_TASK_WORDS,
    Choice,
    Flag,
    Nothing,
    Object,
    Strict,
    Text,
    read_input,
)
from runs.api.openapi import CORE, doc, listing, path_id
from runs.api.pagination import PAGING, Order, page
from runs.api.resources.run_actions import RetryPlan, retry
from runs.api.shapes.run import RunShape
from runs.api.shapes.task_run import TaskRunShape, TryShape, show_task_runs
from runs.api.views import HubView
from runs.models import TaskRun, TaskTry, WorkflowRun
from runs.policy import Action, visible
from runs.querysets import TaskRunQuerySet
from runs.states import RetryMode, TaskState


class TaskRetryInput(Strict):
    downstream = Flag(required=False, help_text="Also what follows it.")
    parameters = Object(required=False, help_text="Merged over the run's.")
    dry_run = Flag(required=False, help_text="Only say which tasks would run again.")


class TaskMarkInput(Strict):
    state = Choice(choices=FINAL_TASK_WORDS)
    note = Text(max_length=10_000)


class TaskView(HubView):
    """Something of one task run: it is visible where its run is."""

    def task_run(self, id: int) -> TaskRun:
        task = self._rows().filter(pk=id).first()
        if task is None or not self._visible(task):
            raise Missing("task run")
        return task

    def task_and_run(self, request: Request, id: int) -> tuple[TaskRun, WorkflowRun, int | None]:
        task = self.task_run(id)
        run = WorkflowRun.objects.for_list().get(pk=task.run_id)
        return task, run, expected_version(request, run.version)

    def shown(self, id: int) -> Response:
        task: Any = self._rows().get(pk=id)
        return Response(show_task_runs([task])[0], headers={"ETag": etag(task.run_version)})

    def _rows(self) -> TaskRunQuerySet:
        return TaskRun.objects.for_rows(visible(self.actor, WorkflowRun.objects.all()))

    def _visible(self, task: TaskRun) -> bool:
        return visible(self.actor, WorkflowRun.objects.filter(pk=task.run_id)).exists()


class OneTaskRun(TaskView):
    needs = {"GET": Action.VIEW}

    @doc("read_task_run", CORE, "Read a task run", answer=TaskRunShape, query=[path_id()])
    def get(self, request: Request, id: int) -> Response:
        return self.shown(self.task_run(id).pk)


class Cancel(TaskView):
    needs = {"POST": Action.CANCEL_RUN}

    @doc("cancel_task_run", CORE, "Ask the engine to stop one task", takes=Nothing,
         answer=TaskRunShape, query=[path_id()])  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        read_input(Nothing, request.data)
        task, _, _ = self.task_and_run(request, id)
        actions.cancel_task(self.actor, task)
        return self.shown(id)


class Retry(TaskView):
    needs = {"POST": Action.RETRY_RUN}

    @doc("retry_task_run", CORE, "Run one task again", takes=TaskRetryInput, query=[path_id()],
         answer=PolymorphicProxySerializer(component_name="RunOrRetryPlan",
         serializers=[RunShape, RetryPlan], resource_type_field_name=None))  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        given = read_input(TaskRetryInput, request.data)
        task, run, version = self.task_and_run(request, id)
        chosen = {"mode": RetryMode.TASK, "tasks": [(task.name, task.map_index)]}
        return retry(self, run, version, given | chosen)


class Mark(TaskView):
    needs = {"POST": Action.MARK_RUN}

    @doc("mark_task_run", CORE, "Say by hand how a task ended", takes=TaskMarkInput,
         answer=TaskRunShape, query=[path_id()])  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        given = read_input(TaskMarkInput, request.data)
        task, _, _ = self.task_and_run(request, id)
        actions.mark_task(self.actor, task, TaskState(given["state"]), note=given["note"])
        return self.shown(id)


class Tries(TaskView):
    needs = {"GET": Action.VIEW}
    query = PAGING

    @doc("list_tries", CORE, "Every attempt and try of a task run, the oldest first",
         many=TryShape, query=[path_id(), *listing()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        rows = TaskTry.objects.filter(task_run=self.task_run(id))
        return page(
            request,
            rows,
            lambda tries: list(TryShape(tries, many=True).data),
            Order(descending=False),
        )
