"""Secrets are given to steps that tell them in every way they have; then everything that the hub keeps,
shows and says is searched for them."""

import base64
import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings as hub_settings
from django.test import Client
from django.urls import reverse

from engines.dag.models import Execution, Step, StepTry
from engines.masking import MASK
from runs import actions
from runs.models import ApiToken, Secret, TaskRun, WorkflowRun
from runs.policy import Actor
from runs.reconciler.once import once
from runs.states import RunState, TaskState
from tests.api.test_authorisation import VIEWS
from tests.engines.dag.workers import WorkerProcess, wait_for
from tests.factories import make_engine, make_user
from tests.security.test_canary import every_text_of_the_database

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]

ABOUT = tuple(
    f"/api/v1/{name}" for name in ("workflow", "task-runs", "secrets", "events", "audit", "triage")
)
VALUES = {
    "token": "canary-token-5e8f1c",
    "odd": 'canary "odd" %41/\\å&77',
    "key": "-----BEGIN CANARY-----\nMIIcanaryAAKCAQEA7bq\nq5XJ0canary8mWn2kT\n-----END CANARY-----",
    "hook": "canary-hook-90b1e2",
}


class Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent; /bad with a refusal that quotes it at its very end."""

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        body = json.dumps({"headers": dict(self.headers), "body": sent})
        if self.path == "/bad":
            body = "x" * 290 + self.headers["X-Token"]
        self.send_response(400 if self.path == "/bad" else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Echo", self.headers["X-Token"])
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the test's own output is searched too."""


@pytest.fixture
def echo() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=[0.05])
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def said(tmp_path: Path) -> Path:
    return tmp_path / "worker.log"


@pytest.fixture
def worker(database_url: str, said: Path) -> Iterator[WorkerProcess]:
    with said.open("wb") as file:
        worker = WorkerProcess(database_url, "--concurrency", "2", stderr=file)
        yield worker
        worker.end()


def definition(echo: str) -> dict[str, Any]:
    def blab(name: str, secret: str, **more: Any) -> dict[str, Any]:
        arguments = {"callable": "blab", "secret": f"${{secrets.{secret}}}"}
        return step(name, "python", arguments | more.pop("arguments", {}), **more)

    def step(name: str, handler: str, arguments: Any, **more: Any) -> dict[str, Any]:
        return {"name": name, "handler": handler, "with": arguments, **more}

    def shell(name: str, script: str) -> dict[str, Any]:
        env = {"TOKEN": "${secrets.token}", "KEY": "${secrets.key}"}
        return step(name, "shell", {"argv": ["sh", "-c", script], "env": env})

    def http(name: str, path: str) -> dict[str, Any]:
        headers = {"X-Token": "${secrets.token}", "Authorization": "Bearer ${secrets.token}"}
        arguments = {"method": "POST", "url": f"{echo}{path}", "headers": headers}
        return step(name, "http", arguments | {"body": {"odd": "${secrets.odd}"}})

    tells = 'echo "$TOKEN"; printf "%s" "$TOKEN"; echo "$KEY"; echo "$KEY" | base64 >&2'
    return {
        "title": "canary",
        "failure_policy": "continue",
        "steps": [
            blab("tells", "token"),
            blab("tells_odd", "odd"),
            blab("tells_key", "key"),
            blab("raises", "odd", arguments={"fails": True}, retry={"limit": 1, "delay": 0}),
            shell("prints", tells),
            shell("dies", f'{tells}; echo "dead of $TOKEN" >&2; exit 3'),
            http("asks", "/"),
            http("is_refused", "/bad"),
            step(
                "passes_on", "output", {"given": "${steps.tells.result}", "t": "${secrets.token}"}
            ),
        ],
        "on_failure": {
            "handler": "python",
            "with": {"callable": "blab", "secret": "${secrets.hook}"},
        },
    }


def words() -> list[str]:
    """What must not be found anywhere."""
    found = []
    for value in VALUES.values():
        lines = value.split("\n")
        # The beginning too: a text that is cut must not be cut within a secret.
        found += [value, value[:9], *lines, *(json.dumps(line)[1:-1] for line in lines)]
        found += [quote(line, safe="") for line in lines]
        found.append(base64.b64encode(value.encode()).decode())
        found.append(base64.b64encode(value.encode()).decode()[:60])
    return found


def check(text: str, where: str) -> None:
    for word in words():
        at = text.find(word)
        assert at < 0, f"{where} holds {word[:9]}…: {text[max(at - 60, 0) : at]!r}"


def sync_until_ended(run: WorkflowRun) -> None:
    """Until the run and its hook have ended."""

    def look() -> bool:
        WorkflowRun.objects.filter(pk=run.pk).update(next_check_at="2020-01-01T00:00Z")
        once()
        hook = TaskRun.objects.filter(run=run, name="on_failure", ended_at__isnull=False)
        return WorkflowRun.objects.get(pk=run.pk).state == RunState.FAILED and hook.exists()

    wait_for(look, 40, "the run's end")


def test_nothing_that_a_step_does_shows_its_secrets(
    echo: str, worker: WorkerProcess, said: Path, caplog: Any
) -> None:
    caplog.set_level(logging.DEBUG)
    make_engine("local")
    workflow = actions.post_workflow(Actor(), definition=definition(echo))[0]
    for name, value in VALUES.items():
        actions.set_secret(Actor(), name=name, value=value, workflow="canary")
    run = actions.start_run(Actor(), workflow)
    sync_until_ended(run)
    once()
    # What a thread still says goes to the worker's own standard error.
    wait_for(lambda: f"late: {MASK}" in said.read_text(), 60)
    states = {row.name: row.state for row in Step.objects.all()}
    assert states == {
        **dict.fromkeys(["tells", "tells_odd", "tells_key", "prints", "asks"], TaskState.COMPLETED),
        **dict.fromkeys(["raises", "dies", "is_refused"], TaskState.FAILED),
        **dict.fromkeys(["passes_on", "on_failure"], TaskState.COMPLETED),
    }
    check_what_is_shown_instead(run)
    for place, text in every_text_of_the_database():
        check(text, place)
    assert Execution.objects.get().secrets == ""
    assert StepTry.objects.get().error.startswith("ValueError: ")
    files = [path for path in Path(hub_settings.WORKFLOWHUB_HOME).rglob("*") if path.is_file()]
    logs = [path for path in files if path.suffix == ".log"]
    assert len(logs) >= 10
    for path in files:
        if ".sqlite3" not in path.name:  # its pages were read as rows
            check(path.read_text(errors="replace"), str(path))
    check(said.read_text(), "the worker's standard error")
    check(caplog.text, "the log")
    check_faces(run)


def check_what_is_shown_instead(run: WorkflowRun) -> None:
    tasks = {task.name: task for task in TaskRun.objects.filter(run=run)}
    assert tasks["tells"].inputs == {"callable": "blab", "secret": MASK}
    assert tasks["tells"].result == {
        "secret": MASK,
        MASK: [MASK, {"deep": f"in {MASK} it"}],
        "n": 1,
    }
    assert tasks["raises"].error == f"ValueError: {MASK}"
    assert tasks["dies"].error == f"sh ended with exit code 3: dead of {MASK}"
    assert f"{MASK}{MASK}\n" in tasks["prints"].result["stdout_tail"]
    assert tasks["asks"].result["body"]["headers"]["X-Token"] == MASK
    assert tasks["asks"].result["headers"]["x-echo"] == MASK
    assert tasks["is_refused"].error.startswith("The answer was 400: xxx")
    assert tasks["passes_on"].result["given"]["secret"] == MASK


def check_faces(run: WorkflowRun) -> None:
    """The API and the pages, about the run and its tasks."""
    user = make_user(username="ada", is_staff=True, is_superuser=True)
    token = ApiToken.issue(user=user, role="administrator")[1]
    api = Client(headers={"authorization": f"Bearer {token}"})
    browser = Client()
    browser.force_login(user)
    told = ["tells", "raises", "dies", "is_refused"]
    tasks = list(TaskRun.objects.filter(run=run, name__in=told).values_list("pk", flat=True))
    of_kinds = {
        "/task-runs/": tasks,
        "/secrets/": list(Secret.objects.values_list("pk", flat=True)),
        "/workflows/": [run.workflow_id],
    }
    urls = []
    for view, path in VIEWS.values():
        if "GET" not in getattr(view, "needs", {}) or not path.startswith(ABOUT):
            continue
        keys = next((keys for kind, keys in of_kinds.items() if kind in path), [run.pk])
        urls += [path.format(id=key) for key in keys] if "{id}" in path else [path]
    for url in urls:
        answer = api.get(url)
        text = b"".join(answer) if answer.streaming else answer.content
        check(text.decode() + str(dict(answer.items())), url)
    pages = [reverse("run", args=[run.pk]), reverse("logs", args=[run.pk]), reverse("secrets")]
    pages += [f"{pages[0]}?tab={tab}" for tab in ("events", "results", "raw", "graph")]
    pages += [reverse("task", args=[run.pk, pk]) for pk in tasks]
    pages += [f"{pages[1]}?task={pk}" for pk in tasks]
    pages.append(reverse("workflow", args=["canary"]))
    step = Step.objects.get(name="tells").pk
    pages += [f"/admin/dag/step/{step}/change/", f"/admin/runs/taskrun/{tasks[0]}/change/"]
    pages += [f"/admin/dag/execution/{Execution.objects.get().pk}/change/", "/admin/runs/secret/"]
    for url in pages:
        answer = browser.get(url)
        assert answer.status_code == 200, url
        text = b"".join(answer) if answer.streaming else answer.content
        check(text.decode(), url)
