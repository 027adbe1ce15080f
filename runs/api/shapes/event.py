"""What happened to a run or to one of its tasks, as the API shows it."""

from collections.abc import Sequence
from typing import Any

from rest_framework import serializers

from runs.models import RunEvent
from runs.states import Cause


class EventShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    run = serializers.IntegerField(source="run_id")
    seq = serializers.IntegerField(help_text="Counts from 1 in each run, without gaps.")
    attempt = serializers.IntegerField()
    task_run = serializers.IntegerField(source="task_run_id", allow_null=True)
    task = serializers.CharField(allow_null=True, source="task_run.name", default=None)
    old = serializers.CharField(help_text="The state before; empty where none changed.")
    new = serializers.CharField(help_text="The state after; empty where none changed.")
    cause = serializers.ChoiceField(choices=Cause.choices)
    actor_kind = serializers.ChoiceField(choices=RunEvent.ActorKind.choices)
    actor = serializers.CharField()
    detail = serializers.CharField()
    engine_time = serializers.DateTimeField(allow_null=True)
    seen_at = serializers.DateTimeField()


def show_events(rows: Sequence[RunEvent]) -> list[Any]:
    return list(EventShape(rows, many=True).data)
