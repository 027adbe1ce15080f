"""A workflow version as the API shows it."""

from collections.abc import Iterable, Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from engines.base import Problem
from runs.api.errors import CURRENT
from runs.api.fields import Anything, Object, Seconds
from runs.api.shapes.label import LabelShape, show_labels
from runs.models import Workflow
from runs.states import WorkflowState


class ProblemLine(serializers.Serializer[Any]):
    line = serializers.IntegerField(help_text="Counts from 1; 0 where it is not known.")
    path = serializers.CharField()
    message = serializers.CharField()


class TaskShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    display_name = serializers.CharField()
    type = serializers.CharField()
    downstream = serializers.ListField(child=serializers.CharField())
    trigger_rule = serializers.CharField(
        help_text="all_done or one_failed where a failure doesn't keep it from starting, else empty."
    )
    repeats = serializers.BooleanField(help_text="Its mapped instances are passes, in order.")


class HookShape(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="Of a task's hook, the task's name comes before it.")
    display_name = serializers.CharField()
    type = serializers.CharField()


class WorkflowRowShape(serializers.Serializer[Any]):
    """What a list shows. Give it rows of WorkflowQuerySet.for_list()."""

    id = serializers.IntegerField()
    title = serializers.CharField()
    version = serializers.IntegerField()
    latest = serializers.BooleanField()
    engine = serializers.CharField(allow_null=True, source="engine.name", default=None)
    format = serializers.CharField()
    content_hash = serializers.CharField()
    state = serializers.ChoiceField(choices=WorkflowState.choices)
    state_message = serializers.CharField()
    labels = serializers.SerializerMethodField()
    paused = serializers.BooleanField(help_text="This and the limits are those of all versions.")
    max_active_runs = serializers.IntegerField(allow_null=True)
    run_timeout = Seconds(allow_null=True, help_text="In seconds.")
    archived = serializers.BooleanField()
    archived_at = serializers.DateTimeField(allow_null=True)
    created_by = serializers.CharField(allow_null=True, source="created_by.username", default=None)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    row_version = serializers.IntegerField(help_text="The ETag: what If-Match compares.")

    @extend_schema_field(LabelShape(many=True))
    def get_labels(self, workflow: Workflow) -> list[dict[str, str]]:
        return show_labels(workflow)


class WorkflowShape(WorkflowRowShape):
    """Everything. Give it a row of WorkflowQuerySet.whole()."""

    definition = serializers.CharField()
    parameters_schema = Object()
    secrets = serializers.ListField(
        child=serializers.CharField(), help_text="The names of those that it refers to."
    )
    variables = serializers.ListField(child=serializers.CharField())
    problems = ProblemLine(many=True, source="warnings", help_text="Warnings of its definition.")
    tasks = serializers.SerializerMethodField()
    hooks = HookShape(many=True, help_text="What may follow the end of a task or of a run.")

    @extend_schema_field(TaskShape(many=True))
    def get_tasks(self, workflow: Workflow) -> list[dict[str, Any]]:
        return show_tasks(workflow)


class ValidationShape(serializers.Serializer[Any]):
    valid = serializers.BooleanField()
    title = serializers.CharField()
    format = serializers.CharField()
    problems = ProblemLine(many=True)
    warnings = ProblemLine(many=True)
    tasks = TaskShape(many=True)
    hooks = HookShape(many=True)
    labels = LabelShape(many=True)
    parameters_schema = Object()
    secrets = serializers.ListField(child=serializers.CharField())
    variables = serializers.ListField(child=serializers.CharField())
    normalised = Anything(allow_null=True)


class EdgeShape(serializers.Serializer[Any]):
    source = serializers.CharField()  # type: ignore[assignment]
    target = serializers.CharField()


class GraphShape(serializers.Serializer[Any]):
    nodes = TaskShape(many=True)
    edges = EdgeShape(many=True)


class DiffShape(serializers.Serializer[Any]):
    same = serializers.BooleanField()
    diff = serializers.CharField(help_text="A unified diff from the other version to this one.")
    tasks_added = serializers.ListField(child=serializers.CharField())
    tasks_removed = serializers.ListField(child=serializers.CharField())


def show_workflows(rows: Sequence[Workflow]) -> list[Any]:
    return list(WorkflowRowShape(rows, many=True).data)


def show_workflow(workflow: Workflow) -> dict[str, Any]:
    return dict(WorkflowShape(workflow).data)


def show_tasks(workflow: Workflow) -> list[dict[str, Any]]:
    """Its tasks with the names of what follows them; uses prefetched rows where there are any."""
    return [
        {
            "name": task.name,
            "display_name": task.display_name,
            "type": task.type,
            "downstream": sorted(follower.name for follower in task.downstream.all()),
            "trigger_rule": task.trigger_rule,
            "repeats": task.repeats,
        }
        for task in workflow.tasks.all()
    ]


def show_problems(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    return [{"line": p.line, "path": p.path, "message": p.message} for p in problems]


CURRENT[Workflow] = lambda workflow, reader: show_workflow(workflow)
