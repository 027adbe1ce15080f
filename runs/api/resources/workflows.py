"""/workflows: posting, reading and editing workflow versions."""

from difflib import unified_diff
from functools import partial
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runs import actions
from runs.api.concurrency import etag, expected_version
from runs.api.fields import Flag, Labels, Length, Nothing, Strict, Text, Whole, read_input
from runs.api.filters import RunFilter, WorkflowFilter, filtered, names
from runs.api.openapi import CORE, HUB, doc, listing, path_id
from runs.api.pagination import PAGING, page
from runs.api.parsers import MAX_INTEGER
from runs.api.query import bad_query, whole
from runs.api.references import EngineName, find_engine
from runs.api.shapes.run import RunShape, show_runs
from runs.api.shapes.workflow import (
    DiffShape,
    GraphShape,
    TaskShape,
    ValidationShape,
    WorkflowRowShape,
    WorkflowShape,
    show_problems,
    show_tasks,
    show_workflow,
    show_workflows,
)
from runs.api.views import HubView
from runs.models import Workflow, WorkflowRun
from runs.policy import Action, visible


@extend_schema_field(
    {"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": {}}]}
)
class Document(serializers.Field[Any, Any, Any, Any]):
    """A definition as text (YAML or JSON), or as an object."""

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, (str, dict)):
            raise serializers.ValidationError("Give a text or an object.")
        return data


class DefinitionInput(Strict):
    definition = Document()
    format = Text(max_length=40, required=False, help_text="Guessed when left out.")
    engine = EngineName(required=False, allow_null=True)
    title = Text(max_length=200, required=False, help_text="Else the definition's own.")
    labels = Labels(required=False)


class Limits(Strict):
    """They are those of all versions of the title, whichever is changed. `paused`: runs that are
    started wait. `max_active_runs`: of all versions together. `run_timeout`: how long an attempt may
    run."""

    paused = Flag(required=False)
    max_active_runs = Whole(
        required=False,
        allow_null=True,
        min_value=1,
        max_value=2**31 - 1,
        error_messages={"min_value": "must be at least {min_value}, or null for no limit."},
    )
    run_timeout = Length(required=False, allow_null=True)


LIMITS = ("paused", "max_active_runs", "run_timeout")


class PostInput(DefinitionInput, Limits):
    """Limits that are given are from now on those of all versions."""


class WorkflowChange(Limits):
    labels = Labels(required=False)
    archived = Flag(required=False)


POSTED = OpenApiExample(
    "Two steps",
    request_only=True,
    value={
        "definition": "title: hello\nsteps:\n  - name: wait\n    handler: sleep\n"
        "    with: {seconds: 1}\n",
        "labels": {"team": "physics"},
    },
)


class Workflows(HubView):
    needs = {"GET": Action.VIEW, "POST": Action.POST_WORKFLOW}
    query = (*names(WorkflowFilter), *PAGING)

    @doc("list_workflows", CORE, "List workflows", many=WorkflowRowShape,
         query=listing(WorkflowFilter))  # fmt: skip
    def get(self, request: Request) -> Response:
        rows = visible(self.actor, Workflow.objects.for_rows())
        return page(request, filtered(request, WorkflowFilter, rows), show_workflows)

    @doc("post_workflow", CORE, "Post a workflow: a new version, or the same one again",
         takes=PostInput, answer=WorkflowShape, status=201, also={200: WorkflowShape},
         examples=[POSTED])  # fmt: skip
    def post(self, request: Request) -> Response:
        given = read_input(PostInput, request.data)
        workflow, created = actions.post_workflow(
            self.actor,
            definition=given["definition"],
            form=given.get("format", ""),
            title=given.get("title", ""),
            engine=find_engine(self.actor, given.get("engine")),
            labels=given.get("labels"),
            **{name: given[name] for name in LIMITS if name in given},
        )
        answer = _shown(workflow.pk)
        answer.status_code = 201 if created else 200
        answer["Location"] = f"{request.path}/{workflow.pk}"
        return answer


class Validate(HubView):
    """No side effects: what the definition says, and what is wrong with it."""

    needs = {"POST": Action.VIEW}
    changes_nothing = True

    @doc("validate_workflow", CORE, "Check a definition without posting it",
         takes=DefinitionInput, answer=ValidationShape, examples=[POSTED])  # fmt: skip
    def post(self, request: Request) -> Response:
        given = read_input(DefinitionInput, request.data)
        _, found = actions.read_definition(
            given["definition"],
            form=given.get("format", ""),
            engine=find_engine(self.actor, given.get("engine")),
        )
        labels = [{"key": key, "value": value} for key, value in sorted(found.labels.items())]
        tasks = [
            {
                "name": task.name,
                "display_name": task.display_name,
                "type": task.type,
                "downstream": sorted(task.downstream),
                "trigger_rule": task.trigger_rule,
                "repeats": task.repeats,
            }
            for task in found.tasks
        ]
        return Response(
            {
                "valid": not found.problems,
                "title": given.get("title") or found.title,
                "format": found.format,
                "problems": show_problems(found.problems),
                "warnings": show_problems(found.warnings),
                "tasks": tasks,
                "hooks": [
                    {"name": hook.name, "display_name": hook.display_name, "type": hook.type}
                    for hook in found.hooks
                ],
                "labels": labels,
                "parameters_schema": dict(found.parameters_schema),
                "secrets": sorted(found.secrets),
                "variables": sorted(found.variables),
                "normalised": found.normalised,
            }
        )


class OneWorkflow(HubView):
    needs = {"GET": Action.VIEW, "PATCH": Action.EDIT_WORKFLOW}

    @doc("read_workflow", CORE, "Read a workflow", answer=WorkflowShape, query=[path_id()])
    def get(self, request: Request, id: int) -> Response:
        return _shown(self.one(Workflow.objects.all(), pk=id).pk)

    @doc("edit_workflow", CORE, "Change labels and limits, pause it, archive it and take it back",
         takes=WorkflowChange, answer=WorkflowShape, query=[path_id()])  # fmt: skip
    def patch(self, request: Request, id: int) -> Response:
        given = read_input(WorkflowChange, request.data)
        workflow = self.one(Workflow.objects.all(), pk=id)
        actions.edit_workflow(
            self.actor,
            workflow,
            expected_version=expected_version(request, workflow.row_version),
            **given,
        )
        return _shown(id)


class Redeploy(HubView):
    needs = {"POST": Action.EDIT_WORKFLOW}

    @doc("redeploy_workflow", HUB, "Send the definition to its engine again",
         takes=Nothing, answer=WorkflowShape, query=[path_id()])  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        read_input(Nothing, request.data)
        workflow = self.one(Workflow.objects.all(), pk=id)
        expected_version(request, workflow.row_version)
        actions.redeploy_workflow(self.actor, workflow)
        return _shown(id)


class Tasks(HubView):
    needs = {"GET": Action.VIEW}

    @doc("list_workflow_tasks", CORE, "The tasks of a workflow in their order",
         answer=TaskShape(many=True), query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        return Response(show_tasks(self.one(Workflow.objects.whole(), pk=id)))


class Graph(HubView):
    needs = {"GET": Action.VIEW}

    @doc("read_workflow_graph", CORE, "The tasks and what follows what",
         answer=GraphShape, query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        nodes = show_tasks(self.one(Workflow.objects.whole(), pk=id))
        edges = [{"source": n["name"], "target": name} for n in nodes for name in n["downstream"]]
        return Response({"nodes": nodes, "edges": edges})


class Schema(HubView):
    needs = {"GET": Action.VIEW}

    @doc("read_parameters_schema", CORE, "The parameters as a JSON Schema (draft 2020-12)",
         answer={"type": "object", "additionalProperties": {}}, query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        workflow = self.one(Workflow.objects.all(), pk=id)
        return Response(
            {"$schema": "https://json-schema.org/draft/2020-12/schema"}
            | (workflow.parameters_schema or {"type": "object"})
        )


class Runs(HubView):
    needs = {"GET": Action.VIEW}
    query = (*names(RunFilter), *PAGING)

    @doc("list_runs_of_workflow", CORE, "The runs of one workflow version", many=RunShape,
         query=[path_id(), *listing(RunFilter)])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        workflow = self.one(Workflow.objects.all(), pk=id)
        rows = visible(self.actor, WorkflowRun.objects.for_list()).filter(workflow=workflow)
        return page(
            request, filtered(request, RunFilter, rows), partial(show_runs, reader=self.actor)
        )


class Diff(HubView):
    needs = {"GET": Action.VIEW}
    query = ("with",)

    @doc("diff_workflows", HUB, "What changed from another workflow to this one", answer=DiffShape,
         query=[path_id(), OpenApiParameter("with", {"type": "integer", "minimum": 1,
                "maximum": MAX_INTEGER}, required=True, description="The other's id.")])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        this = self.one(Workflow.objects.whole(), pk=id)
        if "with" not in request.query_params:
            raise bad_query("with", "must be the id of a workflow.")
        other = self.one(Workflow.objects.whole(), pk=whole(request, "with", 0, 1, MAX_INTEGER))
        lines = unified_diff(
            other.definition.splitlines(),
            this.definition.splitlines(),
            fromfile=str(other),
            tofile=str(this),
            lineterm="",
        )
        mine = {task.name for task in this.tasks.all()}
        its = {task.name for task in other.tasks.all()}
        return Response(
            {
                "same": this.content_hash == other.content_hash,
                "diff": "\n".join(lines),
                "tasks_added": sorted(mine - its),
                "tasks_removed": sorted(its - mine),
            }
        )


def _shown(pk: int) -> Response:
    workflow = Workflow.objects.whole().get(pk=pk)
    return Response(show_workflow(workflow), headers={"ETag": etag(workflow.row_version)})
