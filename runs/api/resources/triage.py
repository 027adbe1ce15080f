"""/triage: what needs a person now: open failures by their kind, those that somebody knows of, stuck and
late runs, runs without engine, runs whose turn never comes."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.utils import timezone
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from engines.clock import database_now
from runs import actions
from runs.actions.acknowledgements import LONGEST_NOTE
from runs.api.fields import Strict, Text, read_input
from runs.api.openapi import HUB, doc, path_id
from runs.api.parsers import MAX_INTEGER
from runs.api.query import moment
from runs.api.shapes.run import RunShape, show_runs
from runs.api.views import HubView
from runs.models import Acknowledgement, WorkflowRun
from runs.policy import Action, visible
from runs.standstill import without_a_turn
from runs.states import Reason
from runs.triage import KIND, Kind, kinds, late

WINDOW = timedelta(days=30)
MOST_GROUPS = 100
MOST_RUNS = 20


class AcknowledgementShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    fingerprint = serializers.CharField(allow_blank=True)
    workflow = serializers.CharField(help_text="The title.")
    newest = serializers.IntegerField(
        help_text="A run above this one that fails of it ends the acknowledgement."
    )
    note = serializers.CharField(allow_blank=True)
    by = serializers.CharField()
    at = serializers.DateTimeField()


class NewAcknowledgement(Strict):
    fingerprint = Text(max_length=64, allow_blank=True, help_text="As /triage has it.")
    workflow = Text(max_length=200, help_text="The title.")
    note = Text(required=False, allow_blank=True, max_length=LONGEST_NOTE)
    newest = serializers.IntegerField(
        required=False,
        min_value=1,
        max_value=MAX_INTEGER,
        help_text="The last run that you saw failing of it; left out: all that there are.",
    )


class FailureShape(serializers.Serializer[Any]):
    fingerprint = serializers.CharField()
    workflow = serializers.CharField(help_text="The title.")
    task = serializers.CharField(help_text="The task that failed first.")
    reason = serializers.CharField()
    error = serializers.CharField(help_text="The newest one's.")
    count = serializers.IntegerField()
    under_way = serializers.IntegerField(help_text="How many have a rerun that hasn't ended.")
    first_at = serializers.DateTimeField(allow_null=True)
    last_at = serializers.DateTimeField(allow_null=True)
    runs = serializers.ListField(
        child=serializers.IntegerField(), help_text=f"The newest {MOST_RUNS}."
    )
    acknowledgement = AcknowledgementShape(allow_null=True)


class LateShape(serializers.Serializer[Any]):
    run = RunShape()
    since = serializers.DateTimeField(help_text="When it was scheduled, or began.")
    usual_seconds = serializers.FloatField(
        allow_null=True,
        help_text="In which 95 % of its workflow's runs are done; null where it hasn't begun.",
    )


class TriageShape(serializers.Serializer[Any]):
    since = serializers.DateTimeField()
    failures = FailureShape(many=True)
    acknowledged = FailureShape(many=True, help_text="Kinds of failure that somebody knows of.")
    stuck = RunShape(many=True)
    late = LateShape(many=True)
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
        behind: Any = visible(self.actor, WorkflowRun.objects.for_list())
        still = without_a_turn()
        lists = {
            "stuck": waiting.exclude(reason__in=unrouted),
            "no_engine": waiting.filter(reason__in=unrouted),
            "no_turn": behind.filter(pk__in=still).order_by("id") if still else (),
        }
        failed = runs.open_failures().filter(ended_at__gte=since)
        acknowledgements = visible(self.actor, Acknowledgement.objects.all())
        fresh, known = kinds(failed, acknowledgements)
        fresh, known = fresh[:MOST_GROUPS], known[:MOST_GROUPS]
        shown = _failures(failed, [*fresh, *known])
        late_ones = late(runs, MOST_GROUPS, timezone.now())
        late_runs = show_runs([one.run for one in late_ones], self.actor)
        return Response(
            {
                "since": since,
                "failures": shown[: len(fresh)],
                "acknowledged": shown[len(fresh) :],
                **{name: show_runs(rows[:MOST_GROUPS], self.actor) for name, rows in lists.items()},
                "late": [
                    {"run": run, "since": one.since, "usual_seconds": one.usual}
                    for run, one in zip(late_runs, late_ones, strict=True)
                ],
            }
        )


class Acknowledgements(HubView):
    """Sets a kind of failure apart until a newer run fails of it. One that is acknowledged already gets
    this note."""

    needs = {"POST": Action.EDIT_RUN}

    @doc("acknowledge_failure", HUB, "Say that one knows of a kind of failure",
         takes=NewAcknowledgement, answer=AcknowledgementShape, status=201,
         also={200: AcknowledgementShape})  # fmt: skip
    def post(self, request: Request) -> Response:
        row, new = actions.acknowledge(self.actor, **read_input(NewAcknowledgement, request.data))
        return Response(AcknowledgementShape(row).data, status=201 if new else 200)


class OneAcknowledgement(HubView):
    needs = {"DELETE": Action.EDIT_RUN}

    @doc("withdraw_acknowledgement", HUB, "Have a kind of failure among the open ones again",
         status=204, writes=True, query=[path_id()], if_match=False)  # fmt: skip
    def delete(self, request: Request, id: int) -> Response:
        row = self.one(Acknowledgement.objects.all(), pk=id)
        actions.withdraw_acknowledgement(self.actor, row)
        return Response(status=204)


def _failures(failed: Any, groups: Sequence[Kind]) -> list[dict[str, Any]]:
    newest = WorkflowRun.objects.in_bulk([group["newest"] for group in groups])
    members: dict[tuple[str, ...], list[int]] = {}
    marks = {group["fingerprint"] for group in groups}
    rows = failed.filter(fingerprint__in=marks).order_by("-id").values_list("pk", *KIND)
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
            "under_way": group["under_way"],
            "first_at": group["first_at"],
            "last_at": group["last_at"],
            "runs": members.get(tuple(group[name] for name in KIND), [])[:MOST_RUNS]
            or [group["newest"]],
            "acknowledgement": AcknowledgementShape(group["acknowledgement"]).data
            if group["acknowledgement"]
            else None,
        }
        for group in groups
        if group["newest"] in newest  # else it was purged meanwhile
    ]
