"""/api/schema and /docs; and the promise that `core` does not break for those who call it."""

from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.core.management import call_command
from django.test import Client

from tests.api.conftest import Caller
from tests.factories import make_user

COMMITTED = Path(settings.BASE_DIR) / "docs/openapi.yaml"
Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
REMEDY = "manage.py spectacular --file docs/openapi.yaml"


@pytest.fixture(scope="module")
def generated() -> str:
    """The schema as the code gives it; a warning is an error."""
    out = StringIO()
    call_command("spectacular", "--fail-on-warn", "--validate", stdout=out)
    return out.getvalue()


def operations(schema: Any) -> Iterator[tuple[str, Any]]:
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            if "core" in operation.get("tags", ()):
                yield f"{method.upper()} {path}", operation


def breaks(old: Any, new: Any) -> list[str]:
    """What callers of the old schema's core would miss in the new one."""
    known = dict(operations(new))
    found = []
    for name, operation in operations(old):
        if name not in known:
            found.append(f"{name} is gone")
            continue
        found += [f"{name}: {text}" for text in _operation(operation, known[name], old, new)]
    return found


def _operation(old: Any, new: Any, old_all: Any, new_all: Any) -> Iterator[str]:
    names = {(p["in"], p["name"]) for p in new.get("parameters", ())}
    for parameter in old.get("parameters", ()):
        if (parameter["in"], parameter["name"]) not in names:
            yield f"the parameter {parameter['name']} is gone"
    before = {p["name"] for p in old.get("parameters", ()) if p.get("required")}
    for parameter in new.get("parameters", ()):
        if parameter.get("required") and parameter["name"] not in before:
            yield f"the parameter {parameter['name']} is required now"
    yield from _body(_content(old.get("requestBody")), _content(new.get("requestBody")),
                     old_all, new_all)  # fmt: skip
    for status, answer in old["responses"].items():
        if status not in new["responses"]:
            yield f"the status {status} is gone"
            continue
        was, now = _content(answer), _content(new["responses"][status])
        yield from _answer(was, now, old_all, new_all, f"{status}:", frozenset())


def _content(part: Any) -> Any:
    return (part or {}).get("content", {}).get("application/json", {}).get("schema", {})


def _deref(shape: Any, schema: Any) -> Any:
    while "$ref" in shape:
        shape = schema["components"]["schemas"][shape["$ref"].rsplit("/", 1)[1]]
    return shape


def _body(was: Any, now: Any, old: Any, new: Any) -> Iterator[str]:
    was, now = _deref(was, old), _deref(now, new)
    for name in was.get("properties", ()):
        if name not in now.get("properties", ()):
            yield f"the input {name} is gone"
    for name in set(now.get("required", ())) - set(was.get("required", ())):
        yield f"the input {name} is required now"


def _answer(was: Any, now: Any, old: Any, new: Any, at: str, seen: frozenset[str]) -> Iterator[str]:
    if was.get("$ref", "") in seen:
        return
    seen |= {was.get("$ref", "-")}
    was, now = _deref(was, old), _deref(now, new)
    if was.get("type") != now.get("type"):
        yield f"{at} was {was.get('type')}, is {now.get('type')}"
    for name, part in was.get("properties", {}).items():
        if name not in now.get("properties", {}):
            yield f"{at} {name} is gone"
        else:
            yield from _answer(part, now["properties"][name], old, new, f"{at} {name}", seen)
    if "items" in was:
        yield from _answer(was["items"], now.get("items", {}), old, new, f"{at} []", seen)


def test_core_is_not_broken(generated: str) -> None:
    old, new = yaml.load(COMMITTED.read_text(), Loader), yaml.load(generated, Loader)
    assert breaks(old, new) == []


def test_the_committed_schema_is_the_codes(generated: str) -> None:
    assert generated.strip() == COMMITTED.read_text().strip(), f"Run {REMEDY}"


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (["paths", "/api/v1/workflow-runs/{id}/cancel"], "is gone"),
        (["components", "schemas", "Run", "properties", "external_id"], "external_id is gone"),
        (["components", "schemas", "NewRunRequest", "properties", "note"], "input note is gone"),
    ],
)
def test_a_break_of_core_is_found(generated: str, path: list[str], words: str) -> None:
    old, new = yaml.load(generated, Loader), yaml.load(generated, Loader)
    part = new
    for name in path[:-1]:
        part = part[name]
    del part[path[-1]]
    assert any(words in text for text in breaks(old, new))


def test_core_holds_what_it_must(generated: str) -> None:
    """The exclusive list: post workflows, configure and start runs, lifecycle information and
    events, logs."""
    names = dict(operations(yaml.load(generated, Loader)))
    for name in (
        "POST /api/v1/workflows",
        "GET /api/v1/workflows",
        "POST /api/v1/workflow-runs",
        "POST /api/v1/workflow-runs/{id}/start",
        "GET /api/v1/workflow-runs/{id}",
        "GET /api/v1/workflow-runs/{id}/task-runs",
        "POST /api/v1/workflow-runs/{id}/cancel",
        "POST /api/v1/workflow-runs/{id}/retry",
        "GET /api/v1/workflow-runs/{id}/events",
        "GET /api/v1/task-runs/{id}/logs",
    ):
        assert name in names


def test_the_schema_is_served_to_those_who_are_logged_in(api: Caller) -> None:
    answer = api.client.get("/api/schema", headers={"accept": "application/vnd.oai.openapi+json"})
    assert answer.json()["info"]["title"] == "WorkflowHub"
    assert Client().get("/api/schema").status_code == 401


def test_the_docs_have_a_content_policy_of_their_own(db: None) -> None:
    client = Client()
    stranger = client.get("/docs")
    assert stranger.status_code == 302
    client.force_login(make_user("viewer"))
    page = client.get("/docs")
    assert page.status_code == 200
    policy = page["Content-Security-Policy"]
    assert "img-src 'self' data:" in policy
    assert "style-src 'self' 'unsafe-inline'" in policy
    assert "script-src 'self';" in f"{policy};"
    assert b"<script>" not in page.content
    script = client.get("/docs?script=")
    assert script["Content-Type"].startswith("application/javascript")
