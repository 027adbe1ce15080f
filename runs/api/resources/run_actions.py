"""/workflow-runs/{id}/…: what can be done to a run."""

import re
from typing import Any

from drf_spectacular.utils import (
    OpenApiExample,
    PolymorphicProxySerializer,
    extend_schema_field,
)
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runs import actions
from runs.api.concurrency import expected_version
from runs.api.fields import (
    FINAL_RUN_WORDS,
    Choice,
    Flag,
    Labels,
    Nothing,
    Object,
    Strict,
    Text,
    Whole,
    read_input,
)
from runs.api.openapi import CORE, doc, path_id
from runs.api.references import WorkflowName, find_workflow
from runs.api.resources.runs import shown
from runs.api.shapes.run import RunShape
from runs.api.views import HubView
from runs.models import TaskRun, WorkflowRun
from runs.policy import Action
from runs.states import RetryMode, RunState, TaskState

MODES = [mode.value for mode in (RetryMode.FAILED, RetryMode.ALL, RetryMode.TASK)]
_INDEXED = re.compile(r"(.*)\[(\d{1,9})\]\Z", re.DOTALL)


class TaskAndIndex(Strict):
    task = Text(max_length=250)
    map_index = Whole(required=False, min_value=-1, max_value=10**9)


@extend_schema_field(
    {
        "oneOf": [
            {"type": "string", "minLength": 1, "maxLength": 270},
            {
                "type": "object",
                "properties": {
                    "task": {"type": "string", "minLength": 1, "maxLength": 250},
                    "map_index": {"type": "integer", "minimum": -1, "maximum": 10**9},
                },
                "required": ["task"],
                "additionalProperties": False,
            },
        ]
    }
)
class TaskName(serializers.Field[Any, Any, Any, Any]):
    """`align`, `align[3]` or {task, map_index}: without an index every mapped instance."""

    def to_internal_value(self, data: Any) -> tuple[str, int | None]:
        if isinstance(data, str) and 0 < len(data) <= 270 and "\x00" not in data:
            match = _INDEXED.match(data)
            return (match[1], int(match[2])) if match else (data, None)
        if not isinstance(data, dict):
            raise serializers.ValidationError("Give a task's name, or {task, map_index}.")
        named = TaskAndIndex(data=data)
        named.is_valid(raise_exception=True)
        return named.validated_data["task"], named.validated_data.get("map_index")


class RetryInput(Strict):
    mode = Choice(choices=MODES, required=False, help_text="failed, where it is left out.")
    tasks = serializers.ListField(
        child=TaskName(), required=False, max_length=1000, help_text="For the mode task."
    )
    downstream = Flag(required=False, help_text="Also what follows the chosen tasks.")
    parameters = Object(required=False, help_text="Merged over the run's.")
    dry_run = Flag(required=False, help_text="Only say which tasks would run again.")


class ParametersInput(Strict):
    parameters = Object(required=False, help_text="Merged over the run's.")


class RerunInput(Strict):
    workflow = WorkflowName(required=False)
    parameters = Object(required=False, help_text="Merged over the run's.")
    labels = Labels(required=False)
    start = Flag(required=False)
    note = Text(required=False, allow_blank=True, max_length=10_000)


class MarkInput(Strict):
    state = Choice(choices=FINAL_RUN_WORDS)
    note = Text(max_length=10_000)


class PlannedTask(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    task = serializers.CharField()
    map_index = serializers.IntegerField()
    state = serializers.ChoiceField(choices=TaskState.choices)


class RetryPlan(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    tasks = PlannedTask(many=True)


RETRY_ANSWER = PolymorphicProxySerializer(
    component_name="RunOrRetryPlan",
    serializers=[RunShape, RetryPlan],
    resource_type_field_name=None,
)
ONE_TASK = OpenApiExample(
    "One task and what follows it",
    request_only=True,
    value={"mode": "task", "tasks": ["align"], "downstream": True},
)


class RunAction(HubView):
    """A POST to one run, with If-Match and the run as the answer."""

    def run_and_version(self, request: Request, id: int) -> tuple[WorkflowRun, int | None]:
        run = self.one(WorkflowRun.objects.for_list(), pk=id)
        return run, expected_version(request, run.version)


class Start(RunAction):
    needs = {"POST": Action.START_RUN}

    @doc("start_held_run", CORE, "Start a run that is held", takes=ParametersInput,
         answer=RunShape, query=[path_id()])  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        given = read_input(ParametersInput, request.data)
        run, version = self.run_and_version(request, id)
        actions.start_held_run(self.actor, run, expected_version=version, **given)
        return shown(self.actor, id)


class Cancel(RunAction):
    needs = {"POST": Action.CANCEL_RUN}

    @doc("cancel_run", CORE, "Ask for a run's end", takes=Nothing, answer=RunShape,
         query=[path_id()])  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        read_input(Nothing, request.data)
        run, version = self.run_and_version(request, id)
        actions.cancel_run(self.actor, run, expected_version=version)
        return shown(self.actor, id)


class Retry(RunAction):
    needs = {"POST": Action.RETRY_RUN}

    @doc("retry_run", CORE, "Run again what failed, everything, or chosen tasks",
         takes=RetryInput, query=[path_id()], examples=[ONE_TASK],
         answer=RETRY_ANSWER)  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        given = read_input(RetryInput, request.data)
        run, version = self.run_and_version(request, id)
        return retry(self, run, version, given)


class Restart(RunAction):
    needs = {"POST": Action.RETRY_RUN}

    @doc("restart_run", CORE, "The whole run anew under the same id", takes=ParametersInput,
         answer=RunShape, query=[path_id()])  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        given = read_input(ParametersInput, request.data)
        run, version = self.run_and_version(request, id)
        actions.restart_run(self.actor, run, expected_version=version, **given)
        return shown(self.actor, id)


class Rerun(RunAction):
    needs = {"POST": Action.START_RUN}

    @doc("rerun", CORE, "A new run like this one", takes=RerunInput, answer=RunShape, status=201,
         query=[path_id()])  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        given = read_input(RerunInput, request.data)
        run, _ = self.run_and_version(request, id)
        new = actions.rerun(
            self.actor,
            run,
            parameters=given.get("parameters"),
            labels=given.get("labels"),
            workflow=find_workflow(self.actor, given["workflow"]) if "workflow" in given else None,
            hold=not given.get("start", True),
            note=given.get("note", ""),
        )
        base = request.path.rsplit("/", 2)[0]
        return shown(self.actor, new.pk, status=201, location=f"{base}/{new.pk}")


class Mark(RunAction):
    needs = {"POST": Action.MARK_RUN}

    @doc("mark_run", CORE, "Say by hand how a run ended", takes=MarkInput, answer=RunShape,
         query=[path_id()])  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        given = read_input(MarkInput, request.data)
        run, version = self.run_and_version(request, id)
        state = RunState(given["state"])
        actions.mark_run(self.actor, run, state, note=given["note"], expected_version=version)
        return shown(self.actor, id)


def retry(view: HubView, run: WorkflowRun, version: int | None, given: dict[str, Any]) -> Response:
    """Retries a run or says what a retry would run again."""
    mode = RetryMode(given.get("mode", RetryMode.FAILED))
    chosen = {
        "mode": mode,
        "tasks": given.get("tasks", ()),
        "downstream": given.get("downstream", False),
    }
    if given.get("dry_run"):
        tasks = actions.plan_retry(run, **chosen)
        return Response({"dry_run": True, "tasks": [_planned(task) for task in tasks]})
    actions.retry_run(
        view.actor, run, parameters=given.get("parameters"), expected_version=version, **chosen
    )
    return shown(view.actor, run.pk)


def _planned(task: TaskRun) -> dict[str, Any]:
    return {"id": task.pk, "task": task.name, "map_index": task.map_index, "state": task.state}
