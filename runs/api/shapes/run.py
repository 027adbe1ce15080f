"""A workflow run as the API shows it. Give it rows of RunQuerySet.for_list()."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from runs.api.errors import CURRENT
from runs.api.fields import Object
from runs.api.shapes.label import LabelShape, show_labels
from runs.models import WorkflowRun
from runs.policy import Actor, visible
from runs.states import RunState, TaskState, Trigger, Wanted


class WorkflowRef(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    title = serializers.CharField()
    version = serializers.IntegerField()


class TriggerShape(serializers.Serializer[Any]):
    event = serializers.ChoiceField(choices=Trigger.choices)
    by = serializers.CharField(allow_null=True)


class ParentShape(serializers.Serializer[Any]):
    run = serializers.IntegerField(source="run_id")
    task_run = serializers.IntegerField(source="id")


class RunErrorShape(serializers.Serializer[Any]):
    task = serializers.CharField(allow_blank=True)
    line = serializers.CharField(allow_blank=True)
    fingerprint = serializers.CharField(allow_blank=True)


class RunShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    uuid = serializers.UUIDField()
    workflow = WorkflowRef()
    engine = serializers.CharField(allow_null=True, source="engine.name", default=None)
    state = serializers.ChoiceField(choices=RunState.choices)
    raw_state = serializers.CharField(help_text="The engine's own word.")
    wanted = serializers.ChoiceField(choices=Wanted.choices)
    attempt = serializers.IntegerField()
    reason = serializers.CharField()
    flags = Object(help_text="Trouble that needs a person: the flag and what is known of it.")
    marked = serializers.BooleanField(help_text="A person has set the state by hand.")
    external_id = serializers.CharField()
    parameters = Object()
    labels = serializers.SerializerMethodField()
    note = serializers.CharField()
    previous = serializers.IntegerField(source="previous_id", allow_null=True)
    parent_task_run = serializers.IntegerField(source="parent_task_run_id", allow_null=True)
    parent = ParentShape(
        source="parent_task_run",
        allow_null=True,
        help_text="The run and the task that asked for it, where you may see that run.",
    )
    trigger = serializers.SerializerMethodField()
    source = Object()  # type: ignore[assignment]
    created_at = serializers.DateTimeField()
    scheduled_at = serializers.DateTimeField(allow_null=True)
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    engine_started_at = serializers.DateTimeField(allow_null=True)
    engine_ended_at = serializers.DateTimeField(allow_null=True)
    deadline_at = serializers.DateTimeField(
        allow_null=True, help_text="When it has run for longer than its workflow allows."
    )
    updated_at = serializers.DateTimeField()
    observed_at = serializers.SerializerMethodField()
    error = serializers.SerializerMethodField()
    trouble = serializers.SerializerMethodField(
        help_text="What keeps the hub from going on with it, such as an engine that is away."
    )
    version = serializers.IntegerField()

    @extend_schema_field(LabelShape(many=True))
    def get_labels(self, run: WorkflowRun) -> list[dict[str, str]]:
        return show_labels(run)

    @extend_schema_field(TriggerShape)
    def get_trigger(self, run: WorkflowRun) -> dict[str, Any]:
        return {"event": run.trigger, "by": run.created_by and run.created_by.get_username()}

    def get_observed_at(self, run: WorkflowRun) -> datetime | None:
        return observed_at(run)

    @extend_schema_field(RunErrorShape(allow_null=True))
    def get_error(self, run: WorkflowRun) -> dict[str, str] | None:
        if not run.error and not run.fingerprint:
            return None
        return {"task": run.error_task, "line": run.error, "fingerprint": run.fingerprint}

    def get_trouble(self, run: WorkflowRun) -> str:
        return "" if run.final else run.last_error


class ResultsShape(serializers.Serializer[Any]):
    state = serializers.ChoiceField(choices=RunState.choices)
    completed = serializers.BooleanField()
    results = Object(help_text="Task -> its result; a mapped task's is a list by index.")
    outputs = serializers.JSONField(allow_null=True, help_text="The run's own result.")


class StatusShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    uuid = serializers.UUIDField()
    state = serializers.ChoiceField(choices=RunState.choices)
    wanted = serializers.ChoiceField(choices=Wanted.choices)
    final = serializers.BooleanField()
    attempt = serializers.IntegerField()
    reason = serializers.CharField()
    flags = Object()
    tasks = serializers.DictField(
        child=serializers.IntegerField(), help_text=f"Counts by state: {', '.join(TaskState)}."
    )
    observed_at = serializers.DateTimeField(allow_null=True)
    version = serializers.IntegerField()


def observed_at(run: WorkflowRun) -> datetime | None:
    """When the engine was last asked about it. Of an active run nothing is written where nothing
    changed: then it is when the engine's active runs were last looked at."""
    if run.final or run.engine is None or run.state == RunState.PENDING:
        return run.observed_at
    return max(filter(None, (run.observed_at, run.engine.observed_at)), default=None)


def show_runs(runs: Sequence[WorkflowRun], reader: Actor) -> list[Any]:
    """The runs; what one points to is null where the reader may not see that run."""
    bodies = list(RunShape(runs, many=True).data)
    seen = _seen(runs, reader)
    for run, body in zip(runs, bodies, strict=True):
        if run.previous_id not in seen:
            body["previous"] = None
        if _asker(run) not in seen:
            body["parent"] = body["parent_task_run"] = None
    return bodies


def show_run(run: WorkflowRun, reader: Actor) -> dict[str, Any]:
    return dict(show_runs([run], reader)[0])


def _asker(run: WorkflowRun) -> int | None:
    """The key of the run that asked for it."""
    return run.parent_task_run.run_id if run.parent_task_run else None


def _seen(runs: Sequence[WorkflowRun], reader: Actor) -> set[int]:
    """Which of the runs that these point to the reader may see."""
    keys = {key for run in runs for key in (run.previous_id, _asker(run)) if key is not None}
    if not keys:
        return set()
    return set(
        visible(reader, WorkflowRun.objects.filter(pk__in=keys)).values_list("pk", flat=True)
    )


CURRENT[WorkflowRun] = show_run
