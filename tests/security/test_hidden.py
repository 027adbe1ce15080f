"""A permission factory that hides runs, workflows and engines hides all that belongs to them."""

from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.db.models import QuerySet
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from engines.dag.models import Document, Execution, Step
from engines.inbound import Hint
from engines.models import Engine, EngineJob
from runs.models import TaskTry, Workflow, WorkflowRun
from runs.policy import OWNERS
from tests.factories import make_engine, make_run, make_token, make_user, make_workflow

pytestmark = pytest.mark.django_db
WORD = "veiled"


class HidesTheVeiled:
    """Hides what is called veiled…, and knows no models but these three."""

    def allow(self, user: Any, action: str, obj: Any) -> bool:
        return not str(getattr(obj, "title", "")).startswith(WORD)

    def visible(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = {
            Workflow: "title__startswith",
            WorkflowRun: "workflow__title__startswith",
            Engine: "name__startswith",
        }[queryset.model]
        return queryset.exclude(**{name: WORD})


@pytest.fixture
def hidden(settings: Any) -> WorkflowRun:
    """A hidden run of a hidden workflow on a hidden engine; and one of each that isn't."""
    found = None
    for word in (WORD, "plain"):
        engine = make_engine(name=f"{word}-engine")
        tasks = {f"{word}-task": [], f"{word}-next": [f"{word}-task"]}
        workflow = make_workflow(tasks, title=f"{word}-title", labels={word: f"{word}-label"})
        run = make_run(
            workflow,
            engine=engine,
            state="FAILED",
            error=f"{word}-error",
            error_task=f"{word}-task",
            fingerprint=f"{word}-print",
            ended_at=timezone.now(),
            parameters={"p": f"{word}-value"},
        )
        active = make_run(workflow, engine=engine, state="RUNNING")
        WorkflowRun.objects.filter(pk=active.pk).update(flags={"stuck": "x"})
        task = run.task_runs.first()
        TaskTry.objects.create(task_run=task, attempt=1, try_number=1, state="FAILED", error=word)
        EngineJob.objects.create(engine=engine, kind="local", action="test", message=word)
        Hint.objects.create(engine=engine, external_id=f"{word}-hint")
        document = Document.objects.create(digest=f"{word}-digest", format="x", text=word)
        execution = Execution.objects.create(
            engine=engine,
            document=document,
            external_id=run.external_id,
            run_uuid=str(run.uuid),
            title=f"{word}-title",
            max_parallel=1,
            created_at=timezone.now(),
        )
        Step.objects.create(execution=execution, name=f"{word}-step", position=0)
        found = found or run
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.security.test_hidden.HidesTheVeiled"
    return found


@pytest.fixture
def api() -> Client:
    return Client(headers={"authorization": f"Bearer {make_token()}"})


@pytest.fixture
def browser() -> Client:
    client = Client()
    client.force_login(make_user(is_staff=True))
    return client


LISTS = [
    "workflows", "workflow-runs", "engines", "events", "labels",
    "labels/veiled", "triage", "health", "workflow-runs?labels=veiled", "workflows?labels=veiled",
    "workflow-runs?count=true",
]  # fmt: skip


@pytest.mark.parametrize("path", LISTS)
def test_no_list_of_the_api_names_the_hidden(api: Client, hidden: WorkflowRun, path: str) -> None:
    answer = api.get(f"/api/v1/{path}")
    assert answer.status_code == 200, answer.content
    assert WORD not in answer.content.decode().replace(path, "")


def test_counts_leave_out_the_hidden(api: Client, hidden: WorkflowRun, browser: Client) -> None:
    assert api.get("/api/v1/workflow-runs?count=true").json()["count"] == 2
    assert api.get("/api/v1/health").json()["runs"]["active"] == 1
    assert len(api.get("/api/v1/triage").json()["failures"]) == 1
    assert "veiled" not in api.get("/metrics").content.decode()
    shown = browser.get("/").context
    assert (len(shown["trouble"]), shown["active"]) == (1, 0)  # the other active run is hidden


def test_nothing_of_a_hidden_run_is_found_by_its_id(api: Client, hidden: WorkflowRun) -> None:
    run = f"workflow-runs/{hidden.pk}"
    task = f"task-runs/{hidden.task_runs.first().pk}"
    job = EngineJob.objects.get(engine=hidden.engine)
    details = ["", "/task-runs", "/events", "/logs", "/results", "/status"]
    paths = [run + end for end in details] + [task + end for end in ("", "/tries", "/logs")]
    paths += [
        f"workflows/{hidden.workflow_id}{end}"
        for end in ("", "/tasks", "/graph", "/schema", "/runs")
    ]
    paths += [f"engines/{hidden.engine_id}", f"engines/{hidden.engine_id}/capabilities"]
    paths += [f"engine-jobs/{job.pk}"]
    assert {path: api.get(f"/api/v1/{path}").status_code for path in paths} == dict.fromkeys(
        paths, 404
    )
    plain = Workflow.objects.get(title="plain-title")
    diff = api.get(f"/api/v1/workflows/{plain.pk}/diff?with={hidden.workflow_id}")
    assert diff.status_code == 404


def test_no_page_shows_the_hidden(browser: Client, hidden: WorkflowRun) -> None:
    task = hidden.task_runs.first()
    job = EngineJob.objects.get(engine=hidden.engine)
    gone = [
        reverse("run", args=[hidden.pk]),
        reverse("task", args=[hidden.pk, task.pk]),
        reverse("logs", args=[hidden.pk]),
        reverse("raw_log", args=[hidden.pk]),
        *(
            reverse(name, args=[hidden.pk])
            for name in ("cancel_run", "retry_run", "restart_run", "mark_run", "edit_run")
        ),
        reverse("workflow", args=["veiled-title"]),
        reverse("start_run", args=["veiled-title"]),
        reverse("edit_workflow", args=["veiled-title"]),
        reverse("engine", args=[hidden.engine_id]),
        reverse("edit_engine", args=[hidden.engine_id]),
        reverse("delete_engine", args=[hidden.engine_id]),
        reverse("engine_job", args=[job.pk]),
    ]
    assert {url: browser.get(url).status_code for url in gone} == dict.fromkeys(gone, 404)
    for url in ("/", "/runs/", "/workflows/", "/engines/", "/workflows/new/", "/settings/"):
        assert WORD not in browser.get(url).content.decode(), url
    new = browser.get("/workflows/new/?from=veiled-title").content.decode()
    assert "veiled-title" not in new


def test_a_visible_run_tells_nothing_of_hidden_ones_that_it_started(
    browser: Client, hidden: WorkflowRun
) -> None:
    run = WorkflowRun.objects.get(workflow__title="plain-title", state="FAILED")
    task = run.task_runs.first()
    WorkflowRun.objects.filter(pk=hidden.pk).update(parent_task_run=task, previous=run)
    for url in (reverse("task", args=[run.pk, task.pk]), reverse("run", args=[run.pk])):
        html = browser.get(url).content.decode()
        assert WORD not in html
        assert reverse("run", args=[hidden.pk]) not in html


def test_a_visible_run_tells_nothing_of_hidden_ones_that_it_comes_from(
    api: Client, browser: Client, hidden: WorkflowRun
) -> None:
    run = WorkflowRun.objects.get(workflow__title="plain-title", state="FAILED")
    other = WorkflowRun.objects.get(workflow__title="plain-title", state="RUNNING")
    task = hidden.task_runs.first()
    runs = WorkflowRun.objects.filter(pk=run.pk)
    runs.update(parent_task_run=task, previous=hidden, flags={"stuck": "x"})
    url = f"/api/v1/workflow-runs/{run.pk}"
    lists = ["workflow-runs", f"workflows/{run.workflow_id}/runs"]

    def bodies() -> list[Any]:
        found = [api.get(f"/api/v1/{path}").json()["results"] for path in lists]
        refused = api.post(f"{url}/cancel", {}, "application/json")
        answers = [api.get(url), api.patch(url, {"note": "x"}, "application/json")]
        assert refused.status_code == 409
        shown = [body for rows in found for body in rows if body["id"] == run.pk]
        return [*shown, refused.json()["current"], *(answer.json() for answer in answers)]

    def triage() -> Any:
        runs.update(state="RUNNING")
        (body,) = [b for b in api.get("/api/v1/triage").json()["stuck"] if b["id"] == run.pk]
        runs.update(state="FAILED")
        return body

    for body in [*bodies(), triage()]:
        assert (body["previous"], body["parent"], body["parent_task_run"]) == (None, None, None)
    for path in (f"{path}?{name}={hidden.pk}" for path in lists for name in ("parent", "previous")):
        assert api.get(f"/api/v1/{path}").json()["results"] == [], path
    html = browser.get(reverse("run", args=[run.pk])).content.decode()
    assert reverse("run", args=[hidden.pk]) not in html
    task = other.task_runs.first()
    runs.update(parent_task_run=task, previous=other)
    for body in [*bodies(), triage()]:
        assert (body["previous"], body["parent_task_run"]) == (other.pk, task.pk)
        assert body["parent"] == {"run": other.pk, "task_run": task.pk}
    for path in (f"{path}?{name}={other.pk}" for path in lists for name in ("parent", "previous")):
        assert [row["id"] for row in api.get(f"/api/v1/{path}").json()["results"]] == [run.pk], path


def test_no_list_of_the_admin_shows_the_hidden(browser: Client, hidden: WorkflowRun) -> None:
    for model, page in admin.site._registry.items():
        if model._meta.app_label not in {"runs", "engines", "dag", "engines_dag"}:
            continue
        if model.__name__ == "AuditEntry":  # the right to read it is the factory's to refuse
            continue
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        answer = browser.get(url)
        assert answer.status_code == 200, url
        html = answer.content.decode()
        assert WORD not in html, (model, page)
    for obj in (hidden, hidden.task_runs.first(), hidden.engine, hidden.workflow):
        name = f"admin:{obj._meta.app_label}_{obj._meta.model_name}_change"
        assert browser.get(reverse(name, args=[obj.pk])).status_code == 302


def test_whatever_belongs_to_a_run_is_hidden_with_it() -> None:
    """A new model that points to one of the three, or to what they own, needs an owner."""
    known = {Workflow, WorkflowRun, Engine, EngineJob, *OWNERS}
    for model in apps.get_models():
        ways = [f.related_model for f in model._meta.fields if f.is_relation]
        if model._meta.app_label in {"runs", "engines", "dag", "engines_dag"}:
            assert not known.intersection(ways) or model in known, model


def test_nobody_writes_to_what_is_hidden_from_them(api: Client, hidden: WorkflowRun) -> None:
    before = Workflow.objects.count(), WorkflowRun.objects.count()
    plain = Workflow.objects.get(title="plain-title")
    body = {"definition": hidden.workflow.definition, "title": "veiled-title"}
    posted = api.post("/api/v1/workflows", body, "application/json")
    assert posted.status_code == 409
    assert "current" not in posted.json()
    taken = {"workflow": plain.pk, "uuid": str(hidden.uuid)}
    answer = api.post("/api/v1/workflow-runs", taken, "application/json")
    assert answer.status_code == 409
    assert WORD not in answer.content.decode()
    by_title = api.post(
        "/api/v1/workflow-runs", {"workflow": {"title": "veiled-title"}}, "application/json"
    )
    assert by_title.status_code == 400
    engine = {"workflow": plain.pk, "engine": "veiled-engine"}
    assert api.post("/api/v1/workflow-runs", engine, "application/json").status_code == 400
    for end in ("cancel", "retry", "restart", "rerun", "start", "mark"):
        body = {"state": "FAILED", "note": "x"} if end == "mark" else {}
        url = f"/api/v1/workflow-runs/{hidden.pk}/{end}"
        assert api.post(url, body, "application/json").status_code == 404, end
    forced = {"run": hidden.pk, "state": "CANCELED", "note": "x"}
    for body in (forced, {**forced, "run": 0}, {"task_run": hidden.task_runs.first().pk, **forced}):
        assert api.post(
            "/api/v1/housekeeping/force-state", body, "application/json"
        ).status_code in {400, 404}
    task = {"task_run": hidden.task_runs.first().pk, "state": "CANCELED", "note": "x"}
    url = "/api/v1/housekeeping/force-state"
    assert api.post(url, task, "application/json").status_code == 404
    assert (Workflow.objects.count(), WorkflowRun.objects.count()) == before


class HidesTheLabelled(HidesTheVeiled):
    def visible(self, user: Any, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if queryset.model is WorkflowRun:
            return queryset.exclude(labels__key="secret")
        return queryset


def test_who_hides_a_run_from_themselves_is_answered_once_more(api: Client, settings: Any) -> None:
    run = make_run(make_workflow())
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.security.test_hidden.HidesTheLabelled"
    url = f"/api/v1/workflow-runs/{run.pk}"
    answer = api.patch(url, {"labels": {"secret": "yes"}}, "application/json")
    assert answer.status_code == 200
    assert api.get(url).status_code == 404
