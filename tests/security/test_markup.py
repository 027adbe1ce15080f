"""Hostile texts everywhere that a text can stand: no page makes an element or an attribute of one."""

from html.parser import HTMLParser
from typing import Any

import pytest
from django.contrib import admin
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from engines.logfile import format_line
from engines.models import Engine, EngineJob
from runs.models import RunEvent, TaskRun, TaskTry, Workflow, WorkflowRun
from tests.factories import make_engine, make_run, make_token, make_user, make_workflow

pytestmark = pytest.mark.django_db

EVIL = (
    "<script src=//evil>xssmark</script>\"'><img src=x onerror=xssmark()>"
    "</title></textarea></pre></style><svg onload=xssmark>{{7*7}}{%x%}&lt;b&gt;"
)
CONTROLS = (
    "\x1b[31m\x1b]8;;javascript:xssmark\x07a\x1b]8;;\x07\x1b[2J\u202egpj\u2066\x07\x08\x9b31m"
)
LINES = [
    EVIL,
    CONTROLS + EVIL,
    "\x1b[31;<script>m" + EVIL,
    "\u2028\u2029\r" + EVIL,
    "x" * 1_000_000,
]


class Reader(HTMLParser):
    """Elements and attributes of a page that bear the mark."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.evil: list[str] = []
        self.inside: list[str] = []
        self.controls = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if "xssmark" in tag:
            self.evil.append(tag)
        for name, value in attrs:
            if name.startswith("on") or "xssmark" in name or "evil" in name:
                self.evil.append(f"{tag} {name}")
            value = value or ""
            address = name in {"href", "src", "action", "hx-get", "hx-post", "formaction"}
            bad = ("javascript:", "data:text", "//evil")
            if address and value.strip().lower().startswith(bad):
                self.evil.append(f"{tag} {name}={value}")
            if tag in {"script", "img", "iframe", "object", "embed"} and "evil" in value:
                self.evil.append(f"{tag} {name}={value}")
        if tag in {"script", "style"}:
            self.inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in {"script", "style"} and self.inside:
            self.inside.pop()

    def handle_data(self, data: str) -> None:
        if self.inside and "xssmark" in data:
            self.evil.append(f"in {self.inside[-1]}")


def check(html: str, where: str) -> None:
    reader = Reader()
    reader.feed(html)
    assert reader.evil == [], where
    assert "<img src=x" not in html, where
    assert "<svg onload" not in html, where
    assert "\x1b" not in html, where


@pytest.fixture
def run() -> WorkflowRun:
    engine = make_engine(
        health="unhealthy",
        health_message=EVIL,
        engine_version=EVIL[:200],
        capabilities={"live_logs": EVIL, "retry_failed": EVIL},
        cursor=EVIL,
        config={"url": EVIL, EVIL: EVIL},
    )
    schema = {
        "type": "object",
        "properties": {
            EVIL: {"type": "string", "title": EVIL, "description": EVIL, "default": EVIL},
            "choice": {"enum": [EVIL, "b"], "title": EVIL},
            "list": {"type": "array", "items": {"enum": [EVIL]}},
            "object": {"type": "object", "default": {EVIL: EVIL}},
        },
    }
    workflow = make_workflow(
        {EVIL: [], "b": [EVIL]},
        title=EVIL[:200],
        labels={"note": EVIL[:200]},
        engine=engine,
        parameters_schema=schema,
        warnings=[{"line": 1, "path": EVIL, "message": EVIL}],
        state_message=EVIL,
        definition=EVIL,
    )
    run = make_run(
        workflow,
        labels={"note": EVIL[:200]},
        engine=engine,
        state="FAILED",
        error=EVIL,
        error_task=EVIL[:250],
        fingerprint="f" * 64,
        note=EVIL,
        raw_state=EVIL[:90],
        reason=EVIL[:90],
        flags={"stuck": EVIL, EVIL: EVIL},
        source={"ref": EVIL, "url": "javascript:xssmark()"},
        parameters={EVIL: EVIL, "nested": {EVIL: [EVIL]}},
        result={EVIL: EVIL},
        ended_at=timezone.now(),
    )
    make_run(workflow, engine=engine, state="RUNNING", raw_state=EVIL[:90])
    task = run.task_runs.get(name=EVIL)
    TaskRun.objects.filter(pk=task.pk).update(
        state="FAILED", error=EVIL, message=EVIL, worker=EVIL[:200], raw_state=EVIL[:90],
        reason=EVIL[:90], inputs={EVIL: EVIL}, result={EVIL: EVIL}, external_id=EVIL[:200],
    )  # fmt: skip
    name = storages["logs"].save(
        "tests/hostile.log",
        ContentFile("".join(format_line(line, "out") for line in LINES).encode()),
    )
    TaskTry.objects.create(
        task_run=task, attempt=1, try_number=1, state="FAILED", log=name, log_complete=True,
        error=EVIL, worker=EVIL[:200], reason=EVIL[:90],
    )  # fmt: skip
    EngineJob.objects.create(
        engine=engine, kind="local", action="test", state="failed", message=EVIL,
        result={EVIL: EVIL},
    )  # fmt: skip
    RunEvent.objects.filter(run=run).update(detail=EVIL, actor=EVIL[:90])
    return WorkflowRun.objects.get(pk=run.pk)


@pytest.fixture
def browser() -> Client:
    client = Client()
    user = make_user(is_staff=True, username="<b>@evil", first_name="<script>xssmark</script>")
    client.force_login(user)
    return client


def test_no_page_makes_markup_of_a_text(browser: Client, run: WorkflowRun) -> None:
    task = run.task_runs.get(name=EVIL)
    job = EngineJob.objects.get()
    title = run.workflow.title
    urls = [reverse(name) for name in ("overview", "runs", "workflows", "engines", "account")]
    for name in ("run", "logs", "cancel_run", "retry_run", "restart_run", "mark_run", "edit_run"):
        urls.append(reverse(name, args=[run.pk]))
    tabs = ("tasks", "graph", "parameters", "results", "events", "raw")
    urls += [f"{reverse('run', args=[run.pk])}?tab={tab}" for tab in tabs]
    for name in ("task", "cancel_task", "mark_task"):
        urls.append(reverse(name, args=[run.pk, task.pk]))
    urls += [
        reverse(name, args=[title])
        for name in ("workflow", "start_run", "edit_workflow", "archive_workflow")
    ]
    tabs = ("runs", "tasks", "definition", "parameters", "versions")
    urls += [f"{reverse('workflow', args=[title])}?tab={tab}" for tab in tabs]
    urls += [f"{reverse('start_run', args=[title])}?from={run.pk}"]
    urls += [
        reverse(name, args=[run.engine_id]) for name in ("engine", "edit_engine", "delete_engine")
    ]
    urls += [reverse("engine_job", args=[job.pk])]
    for url in urls:
        answer = browser.get(url)
        assert answer.status_code == 200, url
        check(answer.content.decode(), url)
    for name, query in (
        ("runs", "q"), ("runs", "workflow"), ("runs", "labels"), ("runs", "since"),
        ("runs", "state"), ("workflows", "q"), ("workflows", "labels"), ("new_workflow", "from"),
    ):  # fmt: skip
        check(browser.get(reverse(name), {query: EVIL}).content.decode(), f"{name} {query}")
    logs = browser.get(reverse("logs", args=[run.pk]), {"q": "xssmark", "task": task.pk})
    check(logs.content.decode(), "search in logs")
    check(browser.get(f"/{EVIL}/").content.decode(), "not found")


def test_no_form_makes_markup_of_what_was_typed(browser: Client, run: WorkflowRun) -> None:
    title = run.workflow.title
    fields = ("definition", "title", "format", "labels", "note", "state", "json", "name", "url")
    data = dict.fromkeys([*fields, "selector", "priority", "p.choice", f"p.{EVIL}"], EVIL)
    for url in (
        reverse("new_workflow"),
        reverse("start_run", args=[title]),
        reverse("edit_run", args=[run.pk]),
        reverse("mark_run", args=[run.pk]),
        reverse("edit_workflow", args=[title]),
        reverse("edit_engine", args=[run.engine_id]),
        reverse("issue_token"),
        reverse("change_password"),
        reverse("admin:runs_workflow_add"),
        reverse("admin:engines_engine_add"),
    ):
        check(browser.post(url, data, follow=True).content.decode(), url)
    stranger = Client()
    check(
        stranger.post(reverse("login"), {"username": EVIL, "password": EVIL}).content.decode(), ""
    )
    check(stranger.get(reverse("login"), {"next": EVIL}).content.decode(), "login")


def test_no_page_of_the_admin_makes_markup_of_a_text(browser: Client, run: WorkflowRun) -> None:
    seen = 0
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        listed = browser.get(reverse(f"{name}_changelist"))
        if listed.status_code != 200:
            continue
        check(listed.content.decode(), name)
        obj = model._default_manager.first()
        if obj is not None:
            page = browser.get(reverse(f"{name}_change", args=[obj.pk]))
            check(page.content.decode(), name)
            seen += 1
    assert seen > 10
    for model, pk in ((Workflow, run.workflow_id), (Engine, run.engine_id), (WorkflowRun, run.pk)):
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_deed"
        html = browser.get(reverse(name, args=[pk, "edit"])).content.decode()
        check(html, name)


def test_a_log_is_text_however_it_is_asked_for(browser: Client, run: WorkflowRun) -> None:
    task = run.task_runs.get(name=EVIL)
    api = Client(headers={"authorization": f"Bearer {make_token()}", "accept": "text/plain"})
    raw = f"{reverse('raw_log', args=[run.pk])}?task={task.pk}"
    shown = [browser.get(raw), api.get(f"/api/v1/task-runs/{task.pk}/logs")]
    saved = [
        browser.get(f"{raw}&download=1"),
        api.get(f"/api/v1/task-runs/{task.pk}/logs?download=true"),
    ]
    for answer in shown + saved:
        assert answer.status_code == 200
        assert answer["Content-Type"] == "text/plain; charset=utf-8"
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in answer["Content-Security-Policy"]
    for answer in saved:
        assert answer["Content-Disposition"].startswith("attachment; filename=")
        assert "xssmark" not in answer["Content-Disposition"]


def test_json_is_never_sniffed_as_a_page(run: WorkflowRun) -> None:
    api = Client(headers={"authorization": f"Bearer {make_token()}"})
    for path in ("workflow-runs", "workflows", f"workflow-runs/{run.pk}", "triage", "x<script>"):
        answer: Any = api.get(f"/api/v1/{path}")
        assert answer["Content-Type"].partition(";")[0] in {
            "application/json",
            "application/problem+json",
        }
        assert answer["X-Content-Type-Options"] == "nosniff"
