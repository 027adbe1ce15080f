"""The same POST twice has one effect and one answer."""

import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from runs import actions
from runs.api.idempotency import KEPT
from runs.api.resources import runs as resource
from runs.models import ApiToken, IdempotencyKey, WorkflowRun
from tests.api.conftest import Caller
from tests.factories import make_run, make_user, make_workflow

KEY = {"idempotency-key": "abc"}


def test_fault_01_a_replay_gets_the_first_answer_and_starts_nothing(api: Caller) -> None:
    body = {"workflow": make_workflow().pk}
    first = api.post("workflow-runs", body, headers=KEY)
    second = api.post("workflow-runs", body, headers=KEY)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert second["Idempotent-Replay"] == "true"
    assert "Idempotent-Replay" not in first
    assert second["Location"] == first["Location"]
    assert second["ETag"] == first["ETag"]
    assert WorkflowRun.objects.count() == 1


def test_fault_01_another_body_with_the_same_key_is_422(api: Caller) -> None:
    workflow = make_workflow()
    api.post("workflow-runs", {"workflow": workflow.pk}, headers=KEY)
    other = api.post("workflow-runs", {"workflow": workflow.pk, "note": "x"}, headers=KEY)
    assert other.status_code == 422
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"
    run = make_run()
    assert api.post(f"workflow-runs/{run.pk}/cancel", headers=KEY).status_code == 422
    run.refresh_from_db()
    assert run.wanted == "RUN"


def test_a_refusal_is_not_stored(api: Caller) -> None:
    body = {"workflow": {"title": "later"}}
    assert api.post("workflow-runs", body, headers=KEY).status_code == 400
    assert not IdempotencyKey.objects.exists()
    make_workflow(title="later")
    assert api.post("workflow-runs", body, headers=KEY).status_code == 201


def test_keys_belong_to_their_user_and_last_a_day(
    api: Caller, caller: Callable[..., Caller]
) -> None:
    body = {"workflow": make_workflow().pk}
    first = api.post("workflow-runs", body, headers=KEY).json()
    other = caller().post("workflow-runs", body, headers=KEY).json()
    assert first["id"] != other["id"]
    row = IdempotencyKey.objects.get(user=api.user)
    IdempotencyKey.objects.update(created_at=row.created_at - KEPT - timedelta(seconds=1))
    assert api.post("workflow-runs", body, headers=KEY).json()["id"] != first["id"]


def test_a_key_must_be_short_and_printable(api: Caller) -> None:
    for key in ("", "x" * 256, "a\tb"):
        answer = api.post("workflow-runs", {}, headers={"idempotency-key": key})
        assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


def test_the_text_of_a_token_is_not_stored_in_plain(db: None) -> None:
    client = Client()
    client.force_login(make_user())
    first, second = (
        client.post("/api/v1/tokens", {}, "application/json", headers=KEY) for _ in range(2)
    )
    assert first.status_code == 201
    assert second.json() == first.json()
    assert ApiToken.objects.count() == 1
    assert first.json()["token"] not in json.dumps(IdempotencyKey.objects.get().body)


@pytest.mark.django_db(transaction=True)
def test_fault_01_a_second_request_while_the_first_is_under_way_is_told_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = Caller()
    body = {"workflow": make_workflow().pk}
    started, go_on = threading.Event(), threading.Event()
    answers: list[Any] = []

    def slow(*args: Any, **kwargs: Any) -> Any:
        started.set()
        assert go_on.wait(10)
        return actions.start_run(*args, **kwargs)

    monkeypatch.setattr(resource.actions, "start_run", slow, raising=True)

    def first() -> None:
        answers.append(api.post("workflow-runs", body, headers=KEY))
        connection.close()

    thread = threading.Thread(target=first)
    thread.start()
    try:
        assert started.wait(10)
        busy = api.post("workflow-runs", body, headers=KEY)
    finally:
        monkeypatch.undo()
        go_on.set()
        thread.join()
    assert busy.status_code == 409
    assert busy["Retry-After"] == "1"
    assert answers[0].status_code == 201
    assert api.post("workflow-runs", body, headers=KEY).json() == answers[0].json()


@pytest.mark.django_db(transaction=True)
def test_fault_01_many_at_once_start_one_run() -> None:
    api = Caller()
    body = {"workflow": make_workflow().pk}
    statuses: list[int] = []

    def call() -> None:
        statuses.append(api.post("workflow-runs", body, headers=KEY).status_code)
        connection.close()

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert WorkflowRun.objects.count() == 1
    assert set(statuses) <= {201, 409}
    assert 201 in statuses
