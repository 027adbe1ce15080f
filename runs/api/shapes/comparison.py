"""What is different between two runs, as the API shows it."""

from typing import Any

from rest_framework import serializers

from runs.api.fields import Anything
from runs.api.shapes.run import WorkflowRef
from runs.comparison import TaskDifference, seconds
from runs.differences import ADDED, CHANGED, REMOVED
from runs.models import TaskRun
from runs.states import RunState, TaskState


class RunRef(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    workflow = WorkflowRef()
    state = serializers.ChoiceField(choices=RunState.choices)
    ended_at = serializers.DateTimeField(allow_null=True)


class DifferenceShape(serializers.Serializer[Any]):
    path = serializers.CharField(help_text="Like samples[0].name; empty for the value as a whole.")
    kind = serializers.ChoiceField(choices=[ADDED, REMOVED, CHANGED])
    old = Anything(allow_null=True)
    new = Anything(allow_null=True)


class DifferencesShape(serializers.Serializer[Any]):
    rows = DifferenceShape(many=True)
    more = serializers.BooleanField(help_text="There are others than these.")


class FactShape(serializers.Serializer[Any]):
    name = serializers.CharField(help_text="Such as state, version, engine or duration (seconds).")
    a = Anything(allow_null=True)
    b = Anything(allow_null=True)


class ChangesShape(serializers.Serializer[Any]):
    facts = FactShape(many=True)
    parameters = DifferencesShape()
    labels = DifferencesShape()


class ComparedTaskShape(serializers.Serializer[Any]):
    task_run = serializers.IntegerField()
    state = serializers.ChoiceField(choices=TaskState.choices)
    seconds = serializers.FloatField(allow_null=True)
    error = serializers.CharField()


class TaskDifferenceShape(serializers.Serializer[Any]):
    task = serializers.CharField()
    map_index = serializers.IntegerField(help_text="-1 for a task that is not mapped.")
    differs = serializers.ListField(
        child=serializers.CharField(), help_text="Of state, duration, error and result."
    )
    a = ComparedTaskShape(allow_null=True)
    b = ComparedTaskShape(allow_null=True)


class ComparisonShape(ChangesShape):
    a = RunRef()
    b = RunRef()
    same = serializers.BooleanField()
    result = DifferencesShape()
    tasks = TaskDifferenceShape(many=True)
    tasks_same = serializers.IntegerField()
    more_tasks = serializers.BooleanField()
    not_compared = serializers.ListField(child=serializers.CharField())


def show_task_difference(found: TaskDifference) -> dict[str, Any]:
    return {
        "task": found.name,
        "map_index": found.map_index,
        "differs": list(found.differs),
        "a": _task(found.a),
        "b": _task(found.b),
    }


def _task(task: TaskRun | None) -> dict[str, Any] | None:
    if task is None:
        return None
    return {
        "task_run": task.pk,
        "state": task.state,
        "seconds": seconds(task.started_at, task.ended_at),
        "error": task.error,
    }
