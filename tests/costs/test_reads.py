"""What each page and each GET of the API asks the database: as much for many rows as for few, and no
more than stands in MOST. Who raises a number says why in the change that does it."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, URLResolver, get_resolver
from django.utils import timezone

from engines.models import EngineJob
from runs.models import (
    AuditEntry,
    BulkJob,
    HourlyRollup,
    SavedView,
    Secret,
    TaskRun,
    TaskTry,
    Variable,
    WorkflowRun,
)
from runs.states import RunState, TaskState
from tests.factories import (
    make_bulk_job,
    make_engine,
    make_run,
    make_secret,
    make_token,
    make_user,
    make_variable,
    make_workflow,
)

pytestmark = pytest.mark.django_db

FEW, MORE = 2, 7
API = "api/v1/"
# Of a browser: its session, its user and their role; of a token: itself and the role.
MOST: dict[str, int] = {
    "": 18,  # acknowledgements, failures by hour, the oldest scheduled and running ones: five more
    "admin/auth/group/": 5,
    "admin/auth/user/": 6,
    "admin/dag/clock/": 4,
    "admin/dag/document/": 4,
    "admin/dag/execution/": 4,
    "admin/dag/step/": 4,
    "admin/dag/steptry/": 4,
    "admin/dag/worker/": 4,
    "admin/engines/engine/": 4,
    "admin/engines/enginejob/": 4,
    "admin/engines/hint/": 4,
    "admin/runs/apitoken/": 4,
    "admin/runs/auditentry/": 4,
    "admin/runs/childrun/": 4,
    "admin/runs/counter/": 4,
    "admin/runs/downstreamtask/": 4,
    "admin/runs/heartbeat/": 4,
    "admin/runs/idempotencykey/": 4,
    "admin/runs/label/": 4,
    "admin/runs/lease/": 4,
    "admin/runs/restore/": 4,
    "admin/runs/workflowpace/": 4,
    "admin/runs/savedview/": 4,
    "admin/runs/preference/": 4,
    "admin/runs/hourlyrollup/": 4,
    "admin/runs/bulkjob/": 4,
    "admin/runs/acknowledgement/": 4,
    "admin/runs/runattempt/": 4,
    "admin/runs/runevent/": 4,
    "admin/runs/runlabel/": 4,
    "admin/runs/secret/": 4,
    "admin/runs/task/": 4,
    "admin/runs/taskrun/": 4,
    "admin/runs/tasktry/": 4,
    "admin/runs/variable/": 4,
    "admin/runs/workflow/": 5,
    "admin/runs/workflowlabel/": 4,
    "admin/runs/workflowrun/": 5,
    "api/schema": 2,
    "api/v1/audit": 3,
    "api/v1/bulk-jobs": 3,
    "api/v1/bulk-jobs/<id:id>": 3,
    "api/v1/engine-jobs/<id:id>": 4,
    "api/v1/engine-kinds": 2,
    "api/v1/engines": 3,
    "api/v1/engines/<id:id>": 6,
    "api/v1/engines/<id:id>/capabilities": 3,
    "api/v1/engines/<id:id>/drift": 5,
    "api/v1/events": 3,
    "api/v1/health": 7,
    "api/v1/health/live": 0,
    "api/v1/health/ready": 3,
    "api/v1/insights": 9,
    "api/v1/labels": 3,
    "api/v1/labels/<path:key>": 3,
    "api/v1/me": 3,
    "api/v1/saved-views": 3,
    "api/v1/saved-views/<id:id>": 3,
    "api/v1/secrets": 3,
    "api/v1/secrets/<id:id>": 3,
    "api/v1/task-runs/<id:id>": 7,
    "api/v1/task-runs/<id:id>/artifacts": 9,
    "api/v1/task-runs/<id:id>/history": 10,
    "api/v1/task-runs/<id:id>/logs": 8,
    "api/v1/task-runs/<id:id>/tries": 6,
    "api/v1/tokens": 3,
    "api/v1/triage": 9,
    "api/v1/variables": 3,
    "api/v1/variables/<id:id>": 3,
    "api/v1/workflow-runs": 5,
    "api/v1/workflow-runs/<id:id>": 6,
    "api/v1/workflow-runs/<id:id>/engine-page": 3,
    "api/v1/workflow-runs/<id:id>/events": 4,
    "api/v1/workflow-runs/<id:id>/failure": 11,
    "api/v1/workflow-runs/<id:id>/logs": 8,
    "api/v1/workflow-runs/<id:id>/results": 4,
    "api/v1/workflow-runs/<id:id>/status": 4,
    "api/v1/workflow-runs/<id:id>/task-runs": 5,
    "api/v1/workflow-runs/compare": 7,
    "api/v1/workflows": 4,
    "api/v1/workflows/<id:id>": 7,
    "api/v1/workflows/<id:id>/diff": 10,
    "api/v1/workflows/<id:id>/graph": 6,
    "api/v1/workflows/<id:id>/grid": 7,
    "api/v1/workflows/<id:id>/runs": 6,
    "api/v1/workflows/<id:id>/schema": 3,
    "api/v1/workflows/<id:id>/tasks": 6,
    "audit/": 4,
    "compare/": 5,
    "docs": 2,
    "engines/": 5,
    "engines/<int:pk>/": 8,
    "engines/jobs/<int:pk>/": 3,
    "engines/new/": 2,
    "jobs/": 3,
    "jobs/<int:pk>/": 4,
    "insights/": 9,
    "metrics": 9,
    "runs/": 7,
    "runs/bulk/": 4,
    "runs/<int:pk>/": 14,
    "runs/<int:pk>/logs/": 9,
    "runs/<int:pk>/tasks/<int:task_pk>/": 19,
    "runs/export.csv": 4,
    "runs/export.json": 4,
    "runs/views/<int:pk>/": 3,
    "runs/views/new/": 2,
    "secrets/": 5,
    "secrets/<int:pk>/": 3,
    "secrets/new/": 3,
    "settings/": 4,
    "variables/<int:pk>/": 3,
    "variables/new/": 3,
    "workflows/": 7,
    "workflows/<title:title>/": 11,
    "workflows/new/": 3,
}
# They ask an engine, or read files.
UNMEASURED = {
    "api/v1/task-runs/<id:id>/artifacts/<path:path>",
    "runs/<int:pk>/tasks/<int:task_pk>/files/<path:path>",
    "runs/<int:pk>/logs/raw/",
}
# What is asked for by a question, or changes something.
NO_PAGE = {
    "jump/",
    "jump/suggestions/",
    "log-in/",
    "log-out/",
    "runs/views/default/",
    "settings/preferences/",
    "settings/theme/",
    "settings/tokens/",
    "settings/password/",
}


def routes() -> Iterator[tuple[str, Any]]:
    """(route, view) of everything that this project serves."""

    def of(patterns: list[Any], before: str) -> Iterator[tuple[str, Any]]:
        for one in patterns:
            route = before + str(one.pattern)
            if isinstance(one, URLResolver):
                yield from of(one.url_patterns, route)
            elif isinstance(one, URLPattern):
                yield route, one.callback

    yield from of(get_resolver().url_patterns, "")


def measured() -> list[str]:
    """The routes of the API that can be read, of the pages, and of the admin's lists."""
    found = []
    for route, view in routes():
        if route.startswith("admin/"):
            if view.__name__ == "changelist_view" and "axes" not in route:
                found.append(route)
        elif route.startswith(API):
            if hasattr(getattr(view, "view_class", view), "get") and "^" not in route:
                found.append(route)
        elif "<" not in route or route.split("/")[-2].startswith("<") or "logs" in route:
            found.append(route)
    return [route for route in found if route not in UNMEASURED | NO_PAGE]


def fill(count: int) -> None:
    """So many more of everything, all of it to be seen on first pages."""
    for _ in range(count):
        engine = make_engine()
        number = engine.pk
        labels = {"team": "physics", "sample": f"S{number}"}
        workflow = make_workflow(labels=labels)
        states = {"extract": TaskState.COMPLETED, "load": TaskState.FAILED}
        given = {"engine": engine, "labels": labels}
        run = make_run(
            workflow,
            state=RunState.FAILED,
            task_states=states,
            fingerprint=f"{number:064x}",
            **given,
        )
        make_run(workflow, state=RunState.RUNNING, **given)
        make_run(workflow, previous=run, **given)
        for task in TaskRun.objects.filter(run=run):
            TaskTry.objects.create(task_run=task, attempt=1, try_number=1, state=task.state)
        make_secret(f"secret-{number}")
        make_variable(f"variable-{number}")
        make_bulk_job(requested_by=make_user())
        SavedView.objects.create(user=make_user(), name=f"view-{number}", shared=True)
        make_token(role="viewer")
        AuditEntry.objects.create(action="edit", object_kind="workflowrun", object_id=run.pk)
        EngineJob.objects.create(engine=engine, kind="test")
        figures = {"completed": 1, "failed": 1, "seconds": 5, "durations": [[30, 1]]}
        HourlyRollup.objects.create(
            hour=timezone.now(), workflow=workflow.title, engine=engine.name, **figures
        )


def path_of(route: str) -> str:
    """The route with what was made first in its places."""
    run = WorkflowRun.objects.filter(state=RunState.FAILED).order_by("pk")[0]
    task = run.task_runs.order_by("-pk")[0]
    if route.startswith(("engines/jobs", f"{API}engine-jobs")):
        key = EngineJob.objects.order_by("pk")[0].pk
    elif route.startswith(("engines", f"{API}engines")):
        key = run.engine_id or 0
    elif route.startswith(f"{API}workflows"):
        key = run.workflow_id
    elif route.startswith(f"{API}task-runs"):
        key = task.pk
    elif route.startswith(("jobs/", f"{API}bulk-jobs")):
        key = BulkJob.objects.order_by("pk")[0].pk
    elif "views" in route:
        key = SavedView.objects.order_by("pk")[0].pk
    elif "secrets" in route:
        key = Secret.objects.order_by("pk")[0].pk
    elif "variables" in route:
        key = Variable.objects.order_by("pk")[0].pk
    else:
        key = run.pk
    path = route.replace("<int:task_pk>", str(task.pk)).replace("<title:title>", run.workflow.title)
    path = path.replace("<int:pk>", str(key)).replace("<id:id>", str(key))
    path = path.replace("<path:key>", "team")
    asked = {"diff": f"?with={key}", "compare": f"?a={run.pk}&b={run.pk + 1}"}
    asked["bulk"] = "?action=retry&query=state%3DFAILED"
    return f"/{path}{asked.get(path.rstrip('/').rpartition('/')[2], '')}"


def statements(client: Client, path: str) -> list[str]:
    client.get(path)  # what is kept in memory from then on
    with CaptureQueriesContext(connection) as asked:
        response = client.get(path)
        if response.streaming:
            b"".join(response.streaming_content)
    assert response.status_code in {200, 204}, (path, response.status_code, response.content[:500])
    return [query["sql"] for query in asked.captured_queries]


@pytest.fixture
def clients() -> dict[bool, Client]:
    """Of the API, and of the pages."""
    user = make_user(is_superuser=True, is_staff=True)
    browser = Client()
    browser.force_login(user)
    token = make_token(user)
    return {True: Client(headers={"authorization": f"Bearer {token}"}), False: browser}


def test_nothing_costs_more_for_many_rows_than_for_few_and_no_more_than_it_did(
    clients: dict[bool, Client],
) -> None:
    found: list[dict[str, list[str]]] = []
    for count in (FEW, MORE):
        fill(count)
        found.append(
            {
                route: statements(clients[route.startswith(API)], path_of(route))
                for route in measured()
            }
        )
    few, more = found
    grown = {
        route: (len(few[route]), len(more[route]), more[route][-8:])
        for route in few
        if len(more[route]) > len(few[route])
    }
    assert not grown, "It costs more for more rows."
    costs = {route: len(asked) for route, asked in more.items()}
    assert costs.keys() == MOST.keys(), "Say what the new ones cost."
    assert {route: cost for route, cost in costs.items() if cost > MOST[route]} == {}
    if connection.vendor == "postgresql":  # whose clock has to be asked
        assert costs == MOST, "It costs less now: write that down."
