"""Refusals are problem details, whatever is wrong, and bad input is never a 5xx."""

from typing import Any

import psycopg
import pytest
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, connection

from runs.api.resources import workflows
from runs.api.throttling import CallerThrottle
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run, make_workflow

JSON = "application/json"


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.content
    assert answer["Content-Type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert set(body) >= {"type", "title", "status", "detail", "instance", "errors"}
    assert body["status"] == status
    return body


def send(api: Caller, text: str | bytes) -> Any:
    return api.client.generic("POST", "/api/v1/workflow-runs", text, JSON)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        ("null", "must be a JSON object"),
        ('{"a": 1, "a": 2}', "stands twice"),
        ('{"parameters": {"x": NaN}}', "NaN"),
        ('{"parameters": {"x": -Infinity}}', "Infinity"),
        ('{"parameters": {"x": 1e999}}', "too large"),
        ('{"parameters": {"x": 99999999999999999999}}', "beyond 64 bits"),
        ('{"parameters": {"x": "a\\u0000b"}}', "NUL"),
        ('{"parameters": {"x": "\\ud800"}}', "surrogate"),
        ('{"parameters": ' + "[" * 10_000 + "]" * 10_000 + "}", "nested deeper"),
        ('{"parameters": ' + '{"a":' * 100 + "1" + "}" * 101, "nested deeper"),
        (b'{"note": "\xff"}', "not UTF-8"),
        ('{"parameters": {"x": ' + "9" * 5000 + "}}", "beyond 64 bits"),
    ],
)
def test_a_body_that_is_not_strict_json_is_refused(
    api: Caller, text: str | bytes, words: str
) -> None:
    assert words in problem(send(api, text), 400)["detail"]


def test_fault_05_a_body_of_50_mb_is_refused_before_it_is_read(api: Caller) -> None:
    class Endless:
        def read(self, *_: Any) -> bytes:
            raise AssertionError("it was read")

    answer = api.client.generic(
        "POST", "/api/v1/workflow-runs", b"{}", JSON, CONTENT_LENGTH="50000000"
    )
    assert "50,000,000 bytes" in problem(answer, 413)["detail"]


def test_fault_05_a_million_labels_are_refused_at_once(api: Caller) -> None:
    workflow = make_workflow()
    labels = ",".join(f'"k{n}":""' for n in range(100_000))
    answer = send(api, f'{{"workflow": {workflow.pk}, "labels": {{{labels}}}}}')
    assert "At most 100 labels" in problem(answer, 400)["detail"]
    million = ",".join(f'"k{n}":""' for n in range(1_000_000))
    problem(send(api, f'{{"workflow": {workflow.pk}, "labels": {{{million}}}}}'), 413)


def test_other_media_types_are_415_and_406(api: Caller) -> None:
    refused = problem(api.client.post("/api/v1/workflow-runs", {"workflow": 1}), 415)
    assert "Content-Type: application/json" in refused["detail"]
    problem(api.get("workflows", headers={"accept": "text/html"}), 406)


def test_other_methods_are_405_with_those_allowed(api: Caller) -> None:
    answer = api.delete("workflows")
    problem(answer, 405)
    assert set(answer["Allow"].split(", ")) >= {"GET", "POST", "HEAD", "OPTIONS"}


def test_head_and_options_are_fine(api: Caller) -> None:
    head = api.client.head("/api/v1/workflows")
    assert (head.status_code, head.content) == (200, b"")
    assert api.client.options("/api/v1/workflows").status_code == 204


def test_an_unknown_path_is_404_in_the_same_shape(api: Caller) -> None:
    problem(api.get("nothing/here"), 404)
    problem(api.get("workflow-runs/0"), 404)
    problem(api.get("workflow-runs/99999999999999999999"), 404)
    problem(api.get("workflow-runs/999999999"), 404)


def test_unknown_query_parameters_are_named(api: Caller) -> None:
    (error,) = problem(api.get("workflows?titel=x"), 400)["errors"]
    assert error["field"] == "titel"
    assert "title" in error["detail"]


@pytest.mark.parametrize("error", [OperationalError("gone"), InterfaceError("closed")])
def test_fault_06_a_database_that_is_down_is_503(
    api: Caller, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(workflows, "visible", fail)
    answer = api.get("workflows")
    problem(answer, 503)
    assert int(answer["Retry-After"]) >= 1


@pytest.mark.parametrize(("error", "status"), [(IntegrityError("x"), 409), (DataError("x"), 400)])
def test_what_the_database_refuses_is_no_500(
    api: Caller, error: Exception, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(workflows, "visible", fail)
    problem(api.get("workflows"), status)


def test_one_caller_has_a_bounded_rate(
    api: Caller, caller: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CallerThrottle, "rate", "2/hour", raising=False)
    assert [api.get("workflows").status_code for _ in range(2)] == [200, 200]
    answer = api.get("workflows")
    problem(answer, 429)
    assert 1 <= int(answer["Retry-After"]) <= 3601
    assert caller().get("workflows").status_code == 200


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("failures", "status"), [(3, 200), (4, 503)])
def test_fault_08_a_deadlock_is_tried_again_three_times(
    caller: Any, failures: int, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = caller()
    calls = 0
    real = workflows.visible

    def flaky(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= failures:
            raise OperationalError("database is locked") from psycopg.errors.DeadlockDetected()
        return real(*args)

    monkeypatch.setattr(workflows, "visible", flaky)
    assert api.get("workflows").status_code == status
    assert calls == 4
    assert not connection.in_atomic_block


def test_a_refused_word_is_answered_with_those_there_are(api: Caller) -> None:
    run = make_run(make_workflow(), engine=make_engine())
    listed = problem(api.get("workflow-runs?state=failed"), 400)
    assert "failed is not one of PENDING, SCHEDULED, RUNNING" in listed["detail"]
    asked = problem(api.post(f"workflow-runs/{run.pk}/retry", {"mode": "step"}), 400)
    assert asked["detail"] == "mode: must be one of failed, all, task."


def test_a_version_that_is_missing_is_named(api: Caller) -> None:
    title = make_workflow().title
    body = {"workflow": {"title": title, "version": 9}}
    assert "of version 9, or" in problem(api.post("workflow-runs", body), 400)["detail"]
