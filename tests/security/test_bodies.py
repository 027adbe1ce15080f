"""Bodies made to hurt: refused at once with 4xx, in little memory, and nothing is half done."""

import json
import re
import time
import tracemalloc
from typing import Any

import pytest
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT
from django.urls import reverse

from engines.models import Engine
from runs.models import ApiToken, AuditEntry, Workflow, WorkflowRun
from runs.models.access import Role
from tests.api.test_authorisation import RIGHTS, VIEWS
from tests.factories import make_engine, make_run, make_token, make_user, make_workflow

pytestmark = pytest.mark.django_db
SECONDS = 5.0
MEGABYTES = 20.0
POSTS = [name for name, rights in RIGHTS.items() if "POST" in rights]

BODIES = {
    "deep list": b"[" * 10_000 + b"]" * 10_000,
    "deep object": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "deep value": b'{"definition":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "a name twice": b'{"note":"a","note":"b"}',
    "NaN": b'{"parameters":{"a":NaN}}',
    "infinity": b'{"parameters":{"a":1e999}}',
    "NUL": b'{"note":"a\\u0000b"}',
    "raw NUL": b'{"note":"a\x00b"}',
    "half a surrogate": b'{"note":"\\ud800"}',
    "half a surrogate as a name": b'{"\\udfff":1}',
    "huge integer": b'{"parameters":{"a":' + b"9" * 5000 + b"}}",
    "integer beyond 64 bits": b'{"parameters":{"a":9223372036854775808}}',
    "not UTF-8": b'{"note":"\xff"}',
    "a list": b"[]",
    "a text": b'"x"',
    "a BOM": b"\xef\xbb\xbf{}",
    "a million objects": b'{"labels":[' + b"{}," * 1_000_000 + b"{}]}",
    "a million labels": b'{"labels":{' + b",".join(b'"%x":""' % n for n in range(400_000)) + b"}}",
    "a million lists": b'{"tasks":[' + b"[]," * 1_000_000 + b"[]]}",
}


@pytest.fixture
def client() -> Client:
    client = Client(headers={"authorization": f"Bearer {make_token()}"})
    client.raise_request_exception = False
    return client


@pytest.fixture
def run() -> WorkflowRun:
    return make_run(make_workflow(), engine=make_engine())


def address(name: str, run: WorkflowRun) -> str:
    path = VIEWS[name][1]
    kinds = {"workflows": run.workflow_id, "engines": run.engine_id}
    kinds["task-runs"] = run.task_runs.first().pk
    return path.format(id=next((pk for kind, pk in kinds.items() if f"/{kind}/" in path), run.pk))


def counts() -> list[Any]:
    models = (Workflow, WorkflowRun, Engine, AuditEntry)
    return [
        *(model.objects.count() for model in models),
        list(WorkflowRun.objects.values_list("version", "state", "wanted", "note")),
    ]


@pytest.mark.parametrize("kind", BODIES)
def test_fault_05_a_hostile_body_is_refused_by_every_post(
    client: Client, run: WorkflowRun, kind: str
) -> None:
    before = counts()
    wrong = {}
    body = BODIES[kind]
    # The same parser reads them all: the largest are sent to a few.
    names = POSTS if len(body) < 100_000 else ["api-runs"]
    for name in names:
        started = time.monotonic()
        answer = client.post(address(name, run), body, content_type="application/json")
        if not 400 <= answer.status_code < 500 or time.monotonic() - started > SECONDS:
            wrong[name] = answer.status_code
    assert wrong == {}
    assert counts() == before


def peak(call: Any) -> tuple[Any, float]:
    """What the call gives, and the memory in MB that it needed at most."""
    tracemalloc.start()
    try:
        answer = call()
        return answer, tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.faults
@pytest.mark.parametrize("kind", ["a million objects", "a million labels", "a million lists"])
def test_fault_05_a_body_of_a_million_values_is_not_read(client: Client, kind: str) -> None:
    body = BODIES[kind]
    assert 3_000_000 < len(body) < 5_000_000
    answer, used = peak(
        lambda: client.post("/api/v1/workflow-runs", body, content_type="application/json")
    )
    assert answer.status_code == 400
    assert used < MEGABYTES + len(body) / 1e6  # the test's own copy


def test_fault_05_fifty_megabytes_are_refused_before_a_byte_is_read(client: Client) -> None:
    session = Client()
    session.force_login(make_user())
    for url in ("/api/v1/workflows", "/api/v1/workflow-runs", "/api/v1/workflows/validate"):
        answer, used = peak(
            lambda url=url: client.post(
                url, b"{}", content_type="application/json", CONTENT_LENGTH="50000000"
            )
        )
        assert answer.status_code == 413
        assert used < MEGABYTES
    form = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=x; filename=x\r\n\r\n".encode()
    for one in (session, Client(enforce_csrf_checks=True)):
        for url in (reverse("new_workflow"), reverse("login")):
            answer, used = peak(
                lambda one=one, url=url: one.generic(
                    "POST", url, form, content_type=MULTIPART_CONTENT, CONTENT_LENGTH="50000000"
                )
            )
            assert answer.status_code in {400, 403}, url
            assert used < MEGABYTES


def test_a_form_with_a_large_file_is_refused_and_leaves_none(tmp_path: Any, settings: Any) -> None:
    settings.FILE_UPLOAD_TEMP_DIR = str(tmp_path)
    client = Client()
    client.force_login(make_user())
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="x"\r\n\r\n'
    body = head.encode() + b"x" * 6_000_000 + f"\r\n--{BOUNDARY}--\r\n".encode()
    answer = client.generic("POST", reverse("new_workflow"), body, content_type=MULTIPART_CONTENT)
    assert answer.status_code in {400, 413}
    small = head.encode() + b"x" * 4_000_000 + f"\r\n--{BOUNDARY}--\r\n".encode()
    answer = client.generic("POST", reverse("new_workflow"), small, content_type=MULTIPART_CONTENT)
    assert b"At most" in answer.content
    assert list(tmp_path.iterdir()) == []


LAUGHS = "a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
DEFINITIONS = {
    "a billion laughs": LAUGHS,
    "an alias to itself": "a: &a [*a]\nsteps: []\n",
    "a Python object": "!!python/object/apply:os.system ['touch /tmp/x']\n",
    "a Python name": "title: !!python/name:os.system\nsteps: []\n",
    "ten thousand levels of flow": "a: " + "[" * 10_000 + "]" * 10_000,
    "ten thousand levels of block": "\n".join(" " * n + "a:" for n in range(1000)),
    "ten thousand levels of JSON": '{"a":' * 10_000 + "1" + "}" * 10_000,
    "a long key": "? " + "x" * 900_000 + "\n: 1\n",
    "many anchors": "".join(f"k{n}: &x{n} 1\n" for n in range(60_000)),
    "merge keys": "a: &a {b: 1}\nc:\n  <<: *a\n",
    "numbers": "a: " + "9" * 900_000,
    "a NUL": "title: a\x00b\nsteps: []\n",
    "two documents": "title: a\n---\ntitle: b\n",
}


@pytest.mark.parametrize("kind", DEFINITIONS)
def test_a_hostile_definition_is_refused_at_once(client: Client, kind: str) -> None:
    body = json.dumps({"definition": DEFINITIONS[kind], "title": "x"})
    started = time.monotonic()
    answer, used = peak(
        lambda: client.post("/api/v1/workflows", body, content_type="application/json")
    )
    assert answer.status_code == 400, answer.content
    assert time.monotonic() - started < SECONDS
    assert used < 6 * MEGABYTES
    assert Workflow.objects.count() == 0


def test_ten_thousand_steps_are_taken_or_refused_in_words(client: Client) -> None:
    steps = [{"name": f"s{n}", "handler": "sleep", "with": {"seconds": 0}} for n in range(10_000)]
    body = json.dumps({"definition": {"title": "long", "steps": steps}})
    started = time.monotonic()
    answer = client.post("/api/v1/workflows/validate", body, content_type="application/json")
    assert answer.status_code == 200
    assert time.monotonic() - started < 4 * SECONDS


BOMBS = [
    "(a+)+$", "(a*)*b", "(a|a)*b", "(a|aa)+$", "([a-z]+)*1", "((a+)b?)+$", "(?:a+){2,}$",
    "(.*a){20}", "(?P<n>a+)+$", "(?=a+)*(a+)+$", "x" * 3000, "(", "[", "(?<=a+)b",
]  # fmt: skip


@pytest.mark.parametrize("pattern", BOMBS)
def test_a_pattern_that_can_take_for_ever_is_refused(client: Client, pattern: str) -> None:
    schema = {"p": {"type": "string", "pattern": pattern}}
    step = {"name": "a", "handler": "sleep", "with": {"seconds": 0}}
    for parameters in (schema, {"type": "object", "properties": schema}):
        body = {"definition": {"title": "x", "parameters": parameters, "steps": [step]}}
        started = time.monotonic()
        answer = client.post("/api/v1/workflows", body, content_type="application/json")
        assert answer.status_code == 400, (pattern, answer.content)
        assert time.monotonic() - started < SECONDS


@pytest.mark.faults
def test_a_query_made_to_hurt_is_refused(client: Client) -> None:
    hostile = ["%00", "%ED%A0%80", "9" * 5000, "%C2%B2", "x" * 9000, "[" * 5000]
    lists = {
        name: getattr(VIEWS[name][0], "query", None) or ()
        for name, rights in RIGHTS.items()
        if "GET" in rights
    }
    wrong = []
    for name, names in lists.items():
        path = VIEWS[name][1]
        if "{id}" in path:
            continue
        for query in names:
            for text in hostile:
                answer = client.get(f"{path}?{query}={text}")
                if answer.status_code >= 500:
                    wrong.append((name, query, text[:20], answer.status_code))
    assert wrong == []


PAGES = [
    ("jump", "q"), ("runs", "q"), ("runs", "workflow"), ("runs", "engine"), ("runs", "labels"),
    ("runs", "since"), ("runs", "state"), ("runs", "fingerprint"), ("runs", "cursor"),
    ("runs", "before"), ("runs", "after"), ("workflows", "q"), ("workflows", "labels"),
    ("new_workflow", "from"), ("new_engine", "kind"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "query"), PAGES)
def test_a_page_survives_any_query(name: str, query: str) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(make_user())
    for text in ("%00", "%C2%B2", "%ED%A0%80", "9" * 400, "%F0%9F%92%A9", "(" * 900, "a in (%00)"):
        answer = client.get(f"{reverse(name)}?{query}={text}")
        assert answer.status_code < 500, (query, text)


def test_a_form_survives_any_field(run: WorkflowRun) -> None:
    """Every form, with NUL, odd digits, half surrogates and long texts in every field at once."""
    client = Client(raise_request_exception=False)
    client.force_login(make_user(is_staff=True))
    task, pk = run.task_runs.first(), run.pk
    title = run.workflow.title
    token, _ = ApiToken.issue(user=make_user(), role=Role.VIEWER)
    forms = {
        **{reverse(n, args=[pk]): "" for n in ("edit_run", "mark_run", "retry_run", "restart_run")},
        reverse("start_held_run", args=[pk]): "",
        reverse("cancel_task", args=[pk, task.pk]): "",
        reverse("mark_task", args=[pk, task.pk]): "",
        reverse("edit_workflow", args=[title]): "",
        reverse("archive_workflow", args=[title]): "",
        reverse("pause_workflow", args=[title]): "",
        reverse("start_run", args=[title]): "",
        reverse("new_workflow"): "",
        reverse("new_engine") + "?kind=local": "",
        reverse("edit_engine", args=[run.engine_id]): "",
        reverse("ask_engine", args=[run.engine_id]): "",
        reverse("switch_engine", args=[run.engine_id]): "",
        reverse("issue_token"): "",
        reverse("set_theme"): "",
        reverse("change_password"): "",
        reverse("login"): "",
        reverse("admin:runs_apitoken_add"): "",
        reverse("admin:runs_workflow_add"): "",
        reverse("admin:engines_engine_add"): "",
        reverse("admin:runs_workflowrun_deed", args=[pk, "edit"]): "",
        reverse("admin:runs_workflowrun_deed", args=[pk, "mark"]): "",
    }
    names = [
        "note", "labels", "state", "mode", "tasks", "task", "parameters", "version", "attempt",
        "definition", "title", "format", "engine", "max_active_runs", "run_timeout",
        "paused", "archived", "name", "selector", "priority", "action",
        "what", "to", "role", "days", "theme", "next", "do",
        "username", "password", "old_password", "new_password1", "new_password2", "raw", "user",
        "expires_at", "kind", "config", "uuid", "previous", "json", "p.x", "c.url",
    ]  # fmt: skip
    good = {"state": "COMPLETED", "mode": "all", "action": "sync", "what": "enabled", "do": "post"}
    good |= {"role": "viewer", "priority": "1", "name": "x", "definition": "title: a"}
    wrong = []
    for url in forms:
        for text in ("a\x00b", "\u00b2", "\u0663", "x" * 20_000, "9" * 30):
            for keep in ({}, good):
                answer = client.post(url, dict.fromkeys(names, text) | keep | {"version": text})
                if answer.status_code >= 500:
                    wrong.append((url, text[:5], bool(keep), answer.status_code))
    assert wrong == []
    assert re.match("wh_", token.prefix)


def test_the_admin_survives_any_query(run: WorkflowRun) -> None:
    client = Client(raise_request_exception=False)
    client.force_login(make_user(is_staff=True))
    lists = ["runs_workflowrun", "runs_workflow", "runs_taskrun", "engines_engine", "runs_label"]
    wrong = []
    for name in lists:
        url = reverse(f"admin:{name}_changelist")
        for text in ("%00", "%C2%B2", "9" * 40):
            for query in ("q", "state__exact", "engine__id__exact", "title", "p", "o", "_to_field"):
                if (code := client.get(f"{url}?{query}={text}").status_code) >= 500:
                    wrong.append((name, query, text, code))
        for text in ("%00", "²", "9" * 40, "_00"):
            if (code := client.get(f"{url}{text}/change/").status_code) >= 500:
                wrong.append((name, text, code))
    for path in (
        "/workflows/%00/",
        "/workflows/%2500/",
        "/workflows/%ff/",
        "/runs/9999999999999999999999/",
    ):
        if (code := client.get(path).status_code) != 404:
            wrong.append((path, code))
    assert wrong == []
