"""/housekeeping: what only administrators do to rows. Everything is audited and can be tried dry."""

from datetime import timedelta
from typing import Any

from django.db.models import Model
from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from engines.models import Engine
from runs import actions
from runs.api.concurrency import etag, expected_version
from runs.api.errors import Problem
from runs.api.fields import (
    FINAL_TASK_WORDS,
    Anything,
    Choice,
    Flag,
    Id,
    Object,
    Strict,
    Text,
    Whole,
    read_input,
)
from runs.api.openapi import ADMIN, doc, path_id
from runs.api.views import HubView
from runs.models import TaskRun, Workflow, WorkflowRun
from runs.policy import Action

KINDS: dict[str, type[Model]] = {
    "workflows": Workflow,
    "workflow-runs": WorkflowRun,
    "task-runs": TaskRun,
    "engines": Engine,
}


class PurgeInput(Strict):
    what = Choice(choices=["archived", "finished"])
    older_than_days = Whole(min_value=0, max_value=36_500)
    dry_run = Flag(required=False)


class PurgedShape(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    deleted = serializers.DictField(child=serializers.IntegerField())


class ForceInput(Strict):
    run = Id(required=False)
    task_run = Id(required=False)
    state = Choice(choices=FINAL_TASK_WORDS)
    note = Text(max_length=10_000)
    dry_run = Flag(required=False)

    def validate(self, attrs: Any) -> Any:
        if ("run" in attrs) == ("task_run" in attrs):
            raise serializers.ValidationError({"run": "Name a run or a task run, and not both."})
        return attrs


class ForcedShape(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    old = serializers.CharField()
    new = serializers.CharField()


class CorrectionInput(Strict):
    """Which fields there are depends on the kind; the answer to an unknown one lists them."""

    set = Object(help_text="Field -> value.")
    dry_run = Flag(required=False)


class OldAndNew(serializers.Serializer[Any]):
    field = serializers.CharField()
    old = Anything(allow_null=True)
    new = Anything(allow_null=True)


class CorrectedShape(serializers.Serializer[Any]):
    dry_run = serializers.BooleanField()
    changed = OldAndNew(many=True)


class Purge(HubView):
    needs = {"POST": Action.HOUSEKEEPING}

    @doc("purge", ADMIN, "Delete archived workflows, or runs that ended long ago",
         takes=PurgeInput, answer=PurgedShape)  # fmt: skip
    def post(self, request: Request) -> Response:
        given = read_input(PurgeInput, request.data)
        dry = given.get("dry_run", False)
        age = {given["what"]: timedelta(days=given["older_than_days"])}
        return Response({"dry_run": dry, "deleted": actions.purge(self.actor, dry_run=dry, **age)})


class ForceState(HubView):
    needs = {"POST": Action.HOUSEKEEPING}

    @doc("force_state", ADMIN, "Make a run or a task run final, whatever its engine says",
         takes=ForceInput, answer=ForcedShape, if_match=True)  # fmt: skip
    def post(self, request: Request) -> Response:
        given = read_input(ForceInput, request.data)
        obj: WorkflowRun | TaskRun
        if "run" in given:
            obj = self.one(WorkflowRun.objects.for_list(), pk=given["run"])
            version = expected_version(request, obj.version)
        else:
            obj = self.one(TaskRun.objects.select_related("run"), pk=given["task_run"])
            expected_version(request, obj.run.version)
            version = None
        dry = given.get("dry_run", False)
        old, new = actions.force_state(
            self.actor,
            obj,
            given["state"],
            note=given["note"],
            dry_run=dry,
            expected_version=version,
        )
        return Response({"dry_run": dry, "old": old, "new": new})


class Correct(HubView):
    needs = {"PATCH": Action.HOUSEKEEPING}

    @doc("correct_fields", ADMIN, "Correct listed fields of an object by hand",
         takes=CorrectionInput, answer=CorrectedShape, query=[path_id(),
         OpenApiParameter("kind", str, OpenApiParameter.PATH, enum=sorted(KINDS))])  # fmt: skip
    def patch(self, request: Request, kind: str, id: int) -> Response:
        if kind not in KINDS:
            raise Problem(404, "not-found", f"Kinds are {', '.join(sorted(KINDS))}.")
        given = read_input(CorrectionInput, request.data)
        obj: Any = self.one(KINDS[kind]._default_manager.all(), pk=id)
        dry = given.get("dry_run", False)
        changed = actions.correct(
            self.actor,
            obj,
            given["set"],
            dry_run=dry,
            expected_version=expected_version(request, _version(obj)),
        )
        rows = [{"field": name, "old": old, "new": new} for name, (old, new) in changed.items()]
        fresh: Any = KINDS[kind]._default_manager.get(pk=id)
        return Response({"dry_run": dry, "changed": rows}, headers={"ETag": etag(_version(fresh))})


def _version(obj: Any) -> int:
    if isinstance(obj, TaskRun):
        obj = obj.run
    version: int = obj.row_version if isinstance(obj, Workflow) else obj.version
    return version
