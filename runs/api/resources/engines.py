"""/engines: registered backends, and what can be asked of them. An engine is never called here:
tests, syncs and imports are jobs that the reconciler does and callers poll."""

from typing import Any, cast

from rest_framework.request import Request
from rest_framework.response import Response

from engines.clock import database_now
from engines.models import Engine, EngineJob
from engines.registry import adapters
from runs import actions, keyset
from runs.api.concurrency import etag, expected_version
from runs.api.errors import Missing
from runs.api.fields import Choice, Flag, Nothing, Object, Strict, Text, Whole, read_input
from runs.api.filters import EngineListFilter, filtered, names
from runs.api.openapi import CORE, HUB, doc, listing, path_id
from runs.api.pagination import PAGING, Order, page
from runs.api.shapes.engine import (
    MOST_DRIFT,
    CapabilityShape,
    DriftShape,
    EngineShape,
    JobShape,
    KindShape,
    WatchedEngineShape,
    show_capabilities,
    show_drift,
    show_engine,
    show_engines,
    show_kind,
    show_watched,
)
from runs.api.views import HubView
from runs.drift import drifting
from runs.lag import load_of
from runs.models import WorkflowRun
from runs.policy import Action, visible
from runs.querysets import RunQuerySet

OLDEST = Order(descending=False)
BY_NAME = Order(field="name", descending=False, whole=False)
IMPORTS = {
    "definitions": EngineJob.Action.IMPORT_DEFINITIONS,
    "runs": EngineJob.Action.IMPORT_RUNS,
}


class EngineFields(Strict):
    config = Object(required=False, help_text="Settings and secrets, as its kind declares them.")
    selector = Text(required=False, allow_blank=True, max_length=1000)
    priority = Whole(required=False, min_value=-(2**31), max_value=2**31 - 1)
    enabled = Flag(required=False)
    accepts_runs = Flag(required=False)


class NewEngine(EngineFields):
    name = Text(max_length=63)
    kind = Text(max_length=63)


class EngineChange(EngineFields):
    """A secret that is left out stays; null takes it away."""


class SettingsToTest(Strict):
    kind = Text(max_length=63)
    config = Object(required=False)


class ImportInput(Strict):
    what = Choice(choices=sorted(IMPORTS))


class EngineView(HubView):
    def engine(self, id: int) -> Engine:
        return self.one(Engine.objects.all(), pk=id)

    def runs(self) -> RunQuerySet:
        return cast(RunQuerySet, visible(self.actor, WorkflowRun.objects.all()))

    def job(self, request: Request, engine: Engine, action: EngineJob.Action) -> Response:
        job = actions.request_engine_job(self.actor, engine, action)
        return _accepted(request, job)


class Engines(EngineView):
    needs = {"GET": Action.VIEW, "POST": Action.MANAGE_ENGINES}
    query = (*names(EngineListFilter), *PAGING)

    @doc("list_engines", HUB, "List the engines by name", many=EngineShape,
         query=listing(EngineListFilter))  # fmt: skip
    def get(self, request: Request) -> Response:
        rows = visible(self.actor, Engine.objects.all())
        return page(request, filtered(request, EngineListFilter, rows), show_engines, BY_NAME)

    @doc("create_engine", HUB, "Register an engine", takes=NewEngine, answer=EngineShape,
         status=201)  # fmt: skip
    def post(self, request: Request) -> Response:
        engine = actions.create_engine(self.actor, **read_input(NewEngine, request.data))
        answer = _shown(engine.pk)
        answer.status_code = 201
        answer["Location"] = f"{request.path}/{engine.pk}"
        return answer


class Kinds(HubView):
    needs = {"GET": Action.VIEW}

    @doc("list_engine_kinds", HUB, "The kinds of engine that this hub knows, with their settings",
         answer=KindShape(many=True))  # fmt: skip
    def get(self, request: Request) -> Response:
        return Response([show_kind(kind) for kind in adapters()])


class OneEngine(EngineView):
    needs = {
        "GET": Action.VIEW,
        "PATCH": Action.MANAGE_ENGINES,
        "DELETE": Action.MANAGE_ENGINES,
    }

    @doc("read_engine", HUB, "Read an engine", answer=WatchedEngineShape, query=[path_id()])
    def get(self, request: Request, id: int) -> Response:
        engine, runs, now = self.engine(id), self.runs(), database_now()
        load = load_of(engine, runs)
        drift = keyset.capped_count(drifting(runs, engine, now), MOST_DRIFT) if load.active else 0
        body = show_watched(engine, load, drift, now)
        return Response(body, headers={"ETag": etag(engine.version)})

    @doc("edit_engine", HUB, "Change an engine's settings", takes=EngineChange, answer=EngineShape,
         query=[path_id()])  # fmt: skip
    def patch(self, request: Request, id: int) -> Response:
        given = read_input(EngineChange, request.data)
        engine = self.engine(id)
        expected = expected_version(request, engine.version)
        actions.edit_engine(self.actor, engine, expected_version=expected, **given)
        return _shown(id)

    @doc("delete_engine", HUB, "Remove an engine that nothing refers to", status=204,
         writes=True, query=[path_id()])  # fmt: skip
    def delete(self, request: Request, id: int) -> Response:
        engine = self.engine(id)
        expected_version(request, engine.version)
        actions.delete_engine(self.actor, engine)
        return Response(status=204)


class TestSettings(HubView):
    """Settings that are not saved yet."""

    needs = {"POST": Action.MANAGE_ENGINES}

    @doc("test_engine_settings", HUB, "Ask whether settings would work", takes=SettingsToTest,
         answer=JobShape, status=202)  # fmt: skip
    def post(self, request: Request) -> Response:
        given = read_input(SettingsToTest, request.data)
        job = actions.request_engine_test(
            self.actor, kind=given["kind"], config=given.get("config", {})
        )
        return _accepted(request, job)


class Test(EngineView):
    needs = {"POST": Action.ASK_ENGINE}

    @doc("test_engine", HUB, "Ask whether the engine can be reached", takes=Nothing,
         answer=JobShape, status=202, if_match=False, query=[path_id()])  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        read_input(Nothing, request.data)
        return self.job(request, self.engine(id), EngineJob.Action.TEST)


class Sync(EngineView):
    needs = {"POST": Action.ASK_ENGINE}

    @doc("sync_engine", CORE, "Ask for a look at all its active runs now", takes=Nothing,
         answer=JobShape, status=202, if_match=False, query=[path_id()])  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        read_input(Nothing, request.data)
        return self.job(request, self.engine(id), EngineJob.Action.SYNC)


class Import(EngineView):
    needs = {"POST": Action.ASK_ENGINE}

    @doc("import_from_engine", HUB, "Take over workflows or runs that the engine has",
         takes=ImportInput, answer=JobShape, status=202, if_match=False, query=[path_id()])  # fmt: skip
    def post(self, request: Request, id: int) -> Response:
        given = read_input(ImportInput, request.data)
        return self.job(request, self.engine(id), IMPORTS[given["what"]])


class Capabilities(EngineView):
    needs = {"GET": Action.VIEW}

    @doc("list_engine_capabilities", HUB, "What an engine can do, and why not the rest",
         answer=CapabilityShape(many=True), query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        return Response(show_capabilities(self.engine(id)))


class Drift(EngineView):
    """Among its oldest active runs."""

    needs = {"GET": Action.VIEW}
    query = PAGING

    @doc("list_engine_drift", HUB, "Active runs that are not as they are wanted, the oldest first",
         many=DriftShape, query=[path_id(), *listing()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        engine, now = self.engine(id), database_now()
        rows = drifting(self.runs(), engine, now).for_list()
        return page(request, rows, lambda runs: show_drift(runs, engine, now, self.actor), OLDEST)


class OneJob(HubView):
    """A job is its requester's to see, and an administrator's."""

    needs = {"GET": Action.VIEW}

    @doc("read_engine_job", HUB, "What became of a test, sync or import", answer=JobShape,
         query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        job = EngineJob.objects.select_related("engine").filter(pk=id).first()
        engines = visible(self.actor, Engine.objects.all())
        mine = job is not None and job.requested_by_id == request.user.pk
        if job is None or not (mine or engines.filter(pk=job.engine_id or 0).exists()):
            raise Missing("job")
        return Response(JobShape(job).data)


def _shown(pk: int) -> Response:
    engine = Engine.objects.get(pk=pk)
    return Response(show_engine(engine), headers={"ETag": etag(engine.version)})


def _accepted(request: Request, job: EngineJob) -> Response:
    base = request.path.partition("/engines/")[0]
    body: dict[str, Any] = dict(JobShape(job).data)
    return Response(body, status=202, headers={"Location": f"{base}/engine-jobs/{job.pk}"})
