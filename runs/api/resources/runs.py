"""/workflow-runs: starting, reading and editing runs; what a run did is in run_details.py, what can
be done to it in run_actions.py."""

from functools import partial

from django.db.models import prefetch_related_objects
from drf_spectacular.utils import OpenApiExample, OpenApiParameter
from rest_framework.request import Request
from rest_framework.response import Response

from runs import actions
from runs.api.concurrency import etag, expected_version
from runs.api.fields import Flag, Labels, Object, Strict, Text, Uuid, read_input
from runs.api.filters import RunFilter, filtered, names
from runs.api.openapi import CORE, doc, listing, path_id
from runs.api.pagination import PAGING, page
from runs.api.query import number
from runs.api.references import EngineName, WorkflowName, find_engine, find_workflow
from runs.api.shapes.run import RunShape, show_run, show_runs
from runs.api.views import HubView
from runs.api.waiting import LONGEST_WAIT, wait_for_look
from runs.models import WorkflowRun
from runs.policy import Action, Actor, visible
from runs.states import Trigger


class NewRun(Strict):
    workflow = WorkflowName()
    parameters = Object(required=False)
    labels = Labels(required=False)
    engine = EngineName(required=False, allow_null=True)
    start = Flag(required=False, help_text="false: hold it until it is started.")
    uuid = Uuid(required=False, help_text="The same one twice is one run.")
    ref = Text(required=False, max_length=500, help_text="Where it comes from, in your words.")
    note = Text(required=False, allow_blank=True, max_length=10_000)


class RunChange(Strict):
    labels = Labels(required=False)
    note = Text(required=False, allow_blank=True, max_length=10_000)


STARTED = OpenApiExample(
    "The newest version of a title",
    request_only=True,
    value={"workflow": {"title": "hello"}, "parameters": {"name": "Ada"}},
)
REFRESH = OpenApiParameter(
    "refresh",
    {"type": "number", "minimum": 0, "maximum": LONGEST_WAIT},
    description="Seconds to wait until the hub has asked the engine anew. Too many waiters: none.",
)


class Runs(HubView):
    needs = {"GET": Action.VIEW, "POST": Action.START_RUN}
    query = (*names(RunFilter), *PAGING)

    @doc("list_runs", CORE, "List runs, the newest first", many=RunShape,
         query=listing(RunFilter))  # fmt: skip
    def get(self, request: Request) -> Response:
        rows = visible(self.actor, WorkflowRun.objects.for_list())
        return page(
            request, filtered(request, RunFilter, rows), partial(show_runs, reader=self.actor)
        )

    @doc("start_run", CORE, "Start a run of a workflow, or make one that is held",
         takes=NewRun, answer=RunShape, status=201, examples=[STARTED])  # fmt: skip
    def post(self, request: Request) -> Response:
        given = read_input(NewRun, request.data)
        run = actions.start_run(
            self.actor,
            find_workflow(self.actor, given["workflow"]),
            parameters=given.get("parameters"),
            labels=given.get("labels"),
            engine=find_engine(self.actor, given.get("engine")),
            hold=not given.get("start", True),
            uuid=given.get("uuid"),
            note=given.get("note", ""),
            source={"ref": given["ref"]} if "ref" in given else None,
            trigger=Trigger.API,
        )
        # One that was made just now is all at hand.
        prefetch_related_objects([run], "labels")
        return _answer(self.actor, run, status=201, location=f"{request.path}/{run.pk}")


class OneRun(HubView):
    needs = {"GET": Action.VIEW, "PATCH": Action.EDIT_RUN}
    query = ("refresh",)

    @doc("read_run", CORE, "Read a run", answer=RunShape, query=[path_id(), REFRESH])
    def get(self, request: Request, id: int) -> Response:
        run = self.one(WorkflowRun.objects.for_list(), pk=id)
        seconds = number(request, "refresh", 0, 0, LONGEST_WAIT)
        if seconds and not run.final:
            wait_for_look(self.actor, run, seconds)
        return shown(self.actor, id)

    @doc("edit_run", CORE, "Change a run's labels or note", takes=RunChange, answer=RunShape,
         query=[path_id()])  # fmt: skip
    def patch(self, request: Request, id: int) -> Response:
        given = read_input(RunChange, request.data)
        run = self.one(WorkflowRun.objects.for_list(), pk=id)
        expected = expected_version(request, run.version)
        actions.edit_run(self.actor, run, expected_version=expected, **given)
        return shown(self.actor, id)


def shown(actor: Actor, pk: int, *, status: int = 200, location: str = "") -> Response:
    """The run as it is now, with its ETag. The caller has found or made it: a change that hides it
    from them, such as another label, is answered once more."""
    run = WorkflowRun.objects.for_list().get(pk=pk)
    return _answer(actor, run, status=status, location=location)


def _answer(actor: Actor, run: WorkflowRun, *, status: int, location: str) -> Response:
    headers = {"ETag": etag(run.version), **({"Location": location} if location else {})}
    return Response(show_run(run, actor), status=status, headers=headers)
