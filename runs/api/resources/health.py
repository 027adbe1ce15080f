"""/health: how the hub is; /health/live (the one view that takes no log-in) and /health/ready."""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from engines.clock import database_now
from engines.models import Engine
from engines.states import HealthState
from runs.api.openapi import HUB, doc
from runs.api.views import HubView
from runs.models import Heartbeat, WorkflowRun
from runs.policy import Action, visible
from workflowhub import __version__

# Process -> how old its newest proof of life may be.
PROCESSES = {
    "sync": timedelta(seconds=max(30.0, 3 * settings.WORKFLOWHUB_POLL)),
    "qcluster": timedelta(minutes=3),
}


class ProcessShape(serializers.Serializer[Any]):
    name = serializers.CharField()
    ok = serializers.BooleanField()
    at = serializers.DateTimeField(allow_null=True)


class EngineHealthShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    enabled = serializers.BooleanField()
    health = serializers.ChoiceField(choices=HealthState.choices)
    message = serializers.CharField()
    observed_at = serializers.DateTimeField(allow_null=True)
    breaker_until = serializers.DateTimeField(allow_null=True)


class BacklogShape(serializers.Serializer[Any]):
    active = serializers.IntegerField()
    due = serializers.IntegerField(help_text="Runs that the reconciler has something to do for.")


class HealthShape(serializers.Serializer[Any]):
    status = serializers.ChoiceField(choices=["healthy", "degraded"])
    version = serializers.CharField()
    time = serializers.DateTimeField(help_text="The database's clock.")
    database = serializers.CharField()
    processes = ProcessShape(many=True)
    engines = EngineHealthShape(many=True)
    runs = BacklogShape()


class AliveShape(serializers.Serializer[Any]):
    status = serializers.CharField()


class Health(HubView):
    needs = {"GET": Action.VIEW}

    @doc("read_health", HUB, "How the hub, its processes and its engines are",
         answer=HealthShape)  # fmt: skip
    def get(self, request: Request) -> Response:
        now = database_now()
        beats = {beat.name: beat.at for beat in Heartbeat.objects.all()}
        processes = [
            {"name": name, "at": beats.get(name), "ok": name in beats and now - beats[name] <= most}
            for name, most in PROCESSES.items()
        ]
        engines = visible(self.actor, Engine.objects.all())
        ill = [e for e in engines if e.enabled and e.health not in WELL]
        active = visible(self.actor, WorkflowRun.objects.active())
        well = all(process["ok"] for process in processes) and not ill
        return Response(
            {
                "status": "healthy" if well else "degraded",
                "version": __version__,
                "time": now,
                "database": connection.vendor,
                "processes": processes,
                "engines": [_engine(engine) for engine in engines],
                "runs": {
                    "active": active.count(),
                    "due": active.filter(next_check_at__lte=now).count(),
                },
            }
        )


class Live(APIView):
    """The process answers. It asks nobody for anything, the database least of all."""

    authentication_classes = []
    permission_classes = []
    throttle_classes = []

    @doc("read_liveness", HUB, "Whether this process answers", answer=AliveShape)
    def get(self, request: Request) -> Response:
        return Response({"status": "alive"})


class Ready(HubView):
    needs = {"GET": Action.VIEW}

    @doc("read_readiness", HUB, "Whether this process can do its work", answer=AliveShape)
    def get(self, request: Request) -> Response:
        # Whoever asks was looked up in the database, so it answers; a failure is a 503 already.
        database_now()
        return Response({"status": "ready"})


WELL = {HealthState.HEALTHY, HealthState.UNKNOWN}


def _engine(engine: Engine) -> dict[str, Any]:
    return {
        "id": engine.pk,
        "name": engine.name,
        "enabled": engine.enabled,
        "health": engine.health,
        "message": engine.health_message,
        "observed_at": engine.observed_at,
        "breaker_until": engine.breaker_until,
    }
