"""Task runs and their tries as the API shows them."""

from collections.abc import Sequence
from typing import Any

from rest_framework import serializers

from runs.api.fields import Anything
from runs.models import TaskRun
from runs.states import RunState, TaskState, Wanted


class ChildShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    uuid = serializers.UUIDField()
    state = serializers.ChoiceField(choices=RunState.choices)


class TaskRunShape(serializers.Serializer[Any]):
    """Give it rows of TaskRunQuerySet.for_rows()."""

    id = serializers.IntegerField()
    uuid = serializers.UUIDField()
    run = serializers.IntegerField(source="run_id")
    task = serializers.CharField(source="name")
    map_index = serializers.IntegerField(help_text="-1 for a task that is not mapped.")
    kind = serializers.ChoiceField(choices=TaskRun.Kind.choices)
    state = serializers.ChoiceField(choices=TaskState.choices)
    raw_state = serializers.CharField(help_text="The engine's own word.")
    wanted = serializers.ChoiceField(choices=Wanted.choices)
    marked = serializers.BooleanField()
    external_id = serializers.CharField()
    reason = serializers.CharField()
    error = serializers.CharField()
    worker = serializers.CharField()
    inputs = Anything(allow_null=True)
    attempt = serializers.IntegerField()
    try_number = serializers.IntegerField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    result = Anything(allow_null=True)
    message = serializers.CharField()
    progress = serializers.FloatField(allow_null=True, help_text="From 0 to 1.")
    parent = serializers.IntegerField(source="parent_id", allow_null=True)  # type: ignore[assignment]
    child_runs = ChildShape(many=True, help_text="Those that it asked for, the oldest first.")
    version = serializers.IntegerField(source="run_version", help_text="Its run's version.")


class TryShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    attempt = serializers.IntegerField()
    try_number = serializers.IntegerField()
    state = serializers.ChoiceField(choices=TaskState.choices)
    reason = serializers.CharField()
    error = serializers.CharField()
    worker = serializers.CharField()
    external_id = serializers.CharField()
    log_complete = serializers.BooleanField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


def show_task_runs(rows: Sequence[TaskRun]) -> list[Any]:
    return list(TaskRunShape(rows, many=True).data)
