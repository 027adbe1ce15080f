"""/insights: how attempts ended and how long they took, over a span."""

from collections.abc import Iterable
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from engines.models import Engine
from runs.api.openapi import HUB, doc
from runs.api.query import bad_query, text
from runs.api.views import HubView
from runs.insights import OTHER_ENGINES, SPANS, read
from runs.models import HourlyRollup
from runs.policy import Action, visible

USUAL = "7d"


class CountsShape(serializers.Serializer[Any]):
    completed = serializers.IntegerField()
    failed = serializers.IntegerField()
    canceled = serializers.IntegerField()
    failure_rate = serializers.FloatField(
        allow_null=True, help_text="Of those that completed or failed, from 0 to 1."
    )


class PeriodShape(CountsShape):
    at = serializers.DateTimeField(help_text="When the hour or day began.")


class TotalShape(CountsShape):
    p50 = serializers.FloatField(
        allow_null=True, help_text="Seconds in which half of the completed were done; ± 9 %."
    )
    p95 = serializers.FloatField(allow_null=True)


class NamedTotalShape(TotalShape):
    name = serializers.CharField(
        allow_blank=True,
        help_text=f"A workflow's title or an engine; empty for no engine, “{OTHER_ENGINES}” for those "
        "that are gone or that you may not see.",
    )


class InsightsShape(serializers.Serializer[Any]):
    since = serializers.DateTimeField()
    step = serializers.ChoiceField(choices=["hour", "day"])
    total = TotalShape()
    periods = PeriodShape(many=True, source="bars")
    failing = NamedTotalShape(many=True, help_text="The workflows that failed most.")
    slowest = NamedTotalShape(many=True)
    engines = NamedTotalShape(many=True)


class Insights(HubView):
    """Of attempts, in the hour in which they ended. Figures are kept for 400 days, whether or not the
    runs are deleted before."""

    needs = {"GET": Action.VIEW}
    query = ("span", "workflow", "engine")

    @doc("read_insights", HUB, "How runs ended and how long they took", answer=InsightsShape, query=[
         OpenApiParameter("span", OpenApiTypes.STR, enum=list(SPANS), default=USUAL),
         OpenApiParameter("workflow", OpenApiTypes.STR, description="Of this title only."),
         OpenApiParameter("engine", OpenApiTypes.STR, description="Of this name only.")])  # fmt: skip
    def get(self, request: Request) -> Response:
        span = request.query_params.get("span", USUAL)
        if span not in SPANS:
            raise bad_query("span", f"must be one of {', '.join(SPANS)}.")
        engine = text(request, "engine", 63)
        names: Iterable[str] = set(
            visible(self.actor, Engine.objects.all()).order_by().values_list("name", flat=True)
        )
        if engine and engine not in names:
            raise bad_query("engine", "is the name of no engine.")
        found = read(
            visible(self.actor, HourlyRollup.objects.all()),
            engines=names,
            span=span,
            workflow=text(request, "workflow", 200),
            engine=engine,
        )
        return Response(InsightsShape(found).data)
