"""/events and /audit: what happened to runs, and who did what to which object."""

from collections.abc import Sequence
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runs.api.fields import Object
from runs.api.filters import AuditFilter, EventFilter, filtered, names
from runs.api.openapi import ADMIN, CORE, doc, listing
from runs.api.pagination import PAGING, page
from runs.api.shapes.event import EventShape, show_events
from runs.api.views import HubView
from runs.models import AuditEntry, RunEvent, WorkflowRun
from runs.policy import Action, visible


class AuditShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    actor = serializers.CharField(source="actor_name")
    face = serializers.ChoiceField(choices=AuditEntry.Face.choices)
    action = serializers.CharField()
    object_kind = serializers.CharField()
    object_id = serializers.CharField()
    object_name = serializers.CharField()
    detail = Object()


class Events(HubView):
    needs = {"GET": Action.VIEW}
    query = (*names(EventFilter), *PAGING)

    @doc("list_events", CORE, "What happened to all runs, the newest first", many=EventShape,
         query=listing(EventFilter))  # fmt: skip
    def get(self, request: Request) -> Response:
        runs = visible(self.actor, WorkflowRun.objects.all())
        rows = RunEvent.objects.filter(run__in=runs).select_related("task_run")
        return page(request, filtered(request, EventFilter, rows), show_events)


class Audit(HubView):
    needs = {"GET": Action.AUDIT}
    query = (*names(AuditFilter), *PAGING)

    @doc("list_audit_entries", ADMIN, "Who did what, the newest first", many=AuditShape,
         query=listing(AuditFilter))  # fmt: skip
    def get(self, request: Request) -> Response:
        return page(request, filtered(request, AuditFilter, AuditEntry.objects.all()), _show)


def _show(rows: Sequence[AuditEntry]) -> list[Any]:
    return list(AuditShape(rows, many=True).data)
