"""Engines, their kinds and jobs as the API shows them. Secrets go in and never come out."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from engines.base import CAPABILITIES
from engines.config import FieldType
from engines.models import Engine, EngineJob
from engines.registry import adapter_class
from engines.states import HealthState
from runs.api.errors import CURRENT
from runs.api.fields import Anything, Object
from runs.api.shapes.run import RunShape, show_runs
from runs.drift import AFTER, Drift, Why, explain
from runs.lag import Load
from runs.models import WorkflowRun
from runs.policy import Actor

MOST_DRIFT = 1000  # that is counted


class EngineShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.CharField()
    config = Object(help_text="Without its secrets.")
    secrets = serializers.SerializerMethodField(help_text="The names of those that are set.")
    selector = serializers.CharField()
    priority = serializers.IntegerField()
    enabled = serializers.BooleanField()
    accepts_runs = serializers.BooleanField()
    health = serializers.ChoiceField(choices=HealthState.choices)
    health_message = serializers.CharField()
    engine_version = serializers.CharField()
    checked_at = serializers.DateTimeField(allow_null=True)
    observed_at = serializers.DateTimeField(allow_null=True)
    failures = serializers.IntegerField()
    breaker_until = serializers.DateTimeField(allow_null=True)
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    version = serializers.IntegerField()

    @extend_schema_field(serializers.ListField(child=serializers.CharField()))
    def get_secrets(self, engine: Engine) -> list[str]:
        return sorted(engine.kept_secrets)


class WatchedEngineShape(EngineShape):
    active_runs = serializers.IntegerField()
    waiting_runs = serializers.IntegerField(help_text="Those of them that don't run yet.")
    lag_seconds = serializers.FloatField(
        allow_null=True,
        help_text="For how long nobody has looked at its active runs; null where it has none.",
    )
    lags = serializers.BooleanField(help_text="That is longer than it should ever be.")
    drift = serializers.IntegerField(
        help_text=f"How many runs /drift has, counted up to {MOST_DRIFT}."
    )


class DriftShape(serializers.Serializer[Any]):
    run = RunShape()
    why = serializers.ListField(
        child=serializers.ChoiceField(choices=Why.choices),
        help_text="What is not as it is wanted: "
        + "; ".join(f"{why.value} ({why.label})" for why in Why)
        + f". A cancel and an answer have {AFTER.seconds} s.",
    )
    since = serializers.DateTimeField(allow_null=True)
    next_step = serializers.CharField(help_text="What the hub does about it, in words.")
    next_at = serializers.DateTimeField(
        allow_null=True, help_text="When; null where that waits for somebody or something else."
    )


class CapabilityShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    can = serializers.BooleanField()
    reason = serializers.CharField(help_text="Why not; empty where it can.")


class ConfigFieldShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    type = serializers.ChoiceField(choices=FieldType.choices)
    required = serializers.BooleanField()  # type: ignore[assignment]
    default = Anything(allow_null=True)
    help = serializers.CharField()
    choices = serializers.ListField(child=serializers.CharField())


class KindShape(serializers.Serializer[Any]):
    kind = serializers.CharField()
    label = serializers.CharField()  # type: ignore[assignment]
    description = serializers.CharField()
    formats = serializers.ListField(child=serializers.CharField())
    fields = ConfigFieldShape(many=True)  # type: ignore[assignment]


class JobShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    engine = serializers.CharField(allow_null=True, source="engine.name", default=None)
    kind = serializers.CharField()
    action = serializers.ChoiceField(choices=EngineJob.Action.choices)
    state = serializers.ChoiceField(choices=EngineJob.State.choices)
    message = serializers.CharField()
    result = Object()
    created_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


def show_engines(rows: Sequence[Engine]) -> list[Any]:
    return list(EngineShape(rows, many=True).data)


def show_engine(engine: Engine) -> dict[str, Any]:
    return dict(EngineShape(engine).data)


def show_watched(engine: Engine, load: Load, drift: int, now: datetime) -> dict[str, Any]:
    lag = load.lag(now)
    return {
        **show_engine(engine),
        "active_runs": load.active,
        "waiting_runs": load.waiting,
        "lag_seconds": None if lag is None else round(lag.total_seconds(), 3),
        "lags": load.lags(now),
        "drift": drift,
    }


def show_drift(
    rows: Sequence[WorkflowRun], engine: Engine, now: datetime, reader: Actor
) -> list[dict[str, Any]]:
    """Of rows of `drifting`."""
    found: list[Drift] = [explain(run, engine, now) for run in rows]
    return [
        {
            "run": run,
            "why": [why.value for why in one.why],
            "since": one.since,
            "next_step": one.next_step,
            "next_at": one.next_at,
        }
        for one, run in zip(found, show_runs(rows, reader), strict=True)
    ]


def show_capabilities(engine: Engine) -> list[dict[str, Any]]:
    answers = {name: engine.can(name) for name in CAPABILITIES}
    return [
        {
            "name": name,
            "label": CAPABILITIES[name],
            "can": answer is True,
            "reason": "" if answer is True else str(answer),
        }
        for name, answer in answers.items()
    ]


def show_kind(kind: str) -> dict[str, Any]:
    adapter = adapter_class(kind)
    return {
        "kind": kind,
        "label": adapter.label,
        "description": adapter.description,
        "formats": list(adapter.formats),
        "fields": [
            {
                "name": field.name,
                "label": field.label,
                "type": field.type,
                "required": field.required,
                "default": field.default,
                "help": field.help,
                "choices": [value for value, _ in field.choices],
            }
            for field in adapter.fields
        ],
    }


CURRENT[Engine] = lambda engine, reader: show_engine(engine)
