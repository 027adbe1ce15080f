"""/triage: what needs a person now: open failures by their kind, stuck runs, runs without engine, runs
whose turn never comes."""

from datetime import timedelta
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from engines.clock import database_now
from runs.api.openapi import HUB, doc
from runs.api.query import moment
from runs.api.shapes.run import RunShape, show_runs
from runs.api.views import HubView
from runs.models import WorkflowRun
from runs.policy import Action, visible
from runs.standstill import without_a_turn
from runs.states import Reason

WINDOW = timedelta(days=30)
MOST_GROUPS = 100
MOST_RUNS = 20


class FailureShape(serializers.Serializer[Any]):
    fingerprint = serializers.CharField()
    workflow = serializers.CharField(help_text="The title.")
    task = serializers.CharField(help_text="The task that failed first.")
    reason = serializers.CharField()
    error = serializers.CharField(help_text="The newest one's.")
    count = serializers.IntegerField()
    first_at = serializers.DateTimeField(allow_null=True)
    last_at = serializers.DateTimeField(allow_null=True)
    runs = serializers.ListField(
        child=serializers.IntegerField(), help_text=f"The newest {MOST_RUNS}."
    )


class TriageShape(serializers.Serializer[Any]):
    since = serializers.DateTimeField()
    failures = FailureShape(many=True)
    stuck = RunShape(many=True)
    no_engine = RunShape(many=True)
    no_turn = RunShape(
        many=True, help_text="They wait for a turn, and all that have one wait for such runs."
    )


class Triage(HubView):
    needs = {"GET": Action.VIEW}
    query = ("since",)

    @doc("read_triage", HUB, "What needs a person now", answer=TriageShape, query=[
         OpenApiParameter("since", OpenApiTypes.DATETIME,
                          description="Failures since then; 30 days where it is left out.")])  # fmt: skip
    def get(self, request: Request) -> Response:
        runs: Any = visible(self.actor, WorkflowRun.objects.all())
        since = moment(request, "since") or database_now() - WINDOW
        waiting: Any = visible(self.actor, WorkflowRun.objects.for_list().troubled()).order_by("id")
        unrouted = [Reason.NO_ENGINE, Reason.ENGINE_OFF]
        behind = visible(self.actor, WorkflowRun.objects.for_list()).order_by("id")
        still = without_a_turn()
        lists = {
            "stuck": waiting.exclude(reason__in=unrouted),
            "no_engine": waiting.filter(reason__in=unrouted),
            "no_turn": behind.filter(pk__in=still) if still else (),
        }
        return Response(
            {
                "since": since,
                "failures": _failures(runs.open_failures().filter(ended_at__gte=since)),
                **{name: show_runs(rows[:MOST_GROUPS], self.actor) for name, rows in lists.items()},
            }
        )


def _failures(failed: Any) -> list[dict[str, Any]]:
    groups = list(failed.by_fingerprint()[:MOST_GROUPS])
    newest = WorkflowRun.objects.in_bulk([group["newest"] for group in groups])
    members: dict[tuple[str, ...], list[int]] = {}
    key = ("fingerprint", "workflow__title", "error_task", "reason")
    marks = {group["fingerprint"] for group in groups}
    rows = failed.filter(fingerprint__in=marks).order_by("-id").values_list("pk", *key)
    for pk, *kind in rows[: MOST_GROUPS * MOST_RUNS]:
        members.setdefault(tuple(kind), []).append(pk)
    return [
        {
            "fingerprint": group["fingerprint"],
            "workflow": group["workflow__title"],
            "task": group["error_task"],
            "reason": group["reason"],
            "error": newest[group["newest"]].error,
            "count": group["number"],
            "first_at": group["first_at"],
            "last_at": group["last_at"],
            "runs": members.get(tuple(group[name] for name in key), [])[:MOST_RUNS]
            or [group["newest"]],
        }
        for group in groups
    ]
