"""People and programs that ask twice, or at the same moment: threads and processes of their own."""

import json
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.urls import reverse

from runs.actions import attempts
from runs.actions import runs as run_actions
from runs.models import RunEvent, WorkflowRun
from runs.states import Cause, RunState, TaskState, Wanted
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run, make_user, make_workflow
from tests.faults.nursery import Nursery

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 20


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What the calls answer, each made in a thread of its own."""
    answers: list[Any] = [None] * len(calls)

    def make(at: int) -> None:
        try:
            answers[at] = calls[at]()
        finally:
            connection.close()

    threads = [threading.Thread(target=make, args=(at,)) for at in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not any(thread.is_alive() for thread in threads)
    return answers


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes so many intents read the run before any of them writes."""

    def make(number: int) -> None:
        barrier = threading.Barrier(number)
        met = threading.local()

        def patch(module: Any) -> None:
            require = module.require

            def meet(*given: Any, **more: Any) -> None:
                require(*given, **more)
                if not hasattr(met, "once"):
                    met.once = True
                    barrier.wait(PATIENCE)

            monkeypatch.setattr(module, "require", meet)

        patch(attempts)
        patch(run_actions)

    return make


def events(run: WorkflowRun, cause: Cause) -> int:
    return RunEvent.objects.filter(run=run, cause=cause, task_run=None).count()


# The same request with the same key


@pytest.mark.faults
def test_fault_01_processes_that_send_the_same_request_with_one_key_start_one_run(
    nursery: Nursery, tmp_path: Path
) -> None:
    api = Caller()
    body = {"workflow": make_workflow().pk}
    headers = {"idempotency-key": "k", "authorization": f"Bearer {api.token}"}
    files = [tmp_path / str(number) for number in range(8)]
    callers = [
        nursery.fork("post", path="workflow-runs", body=body, headers=headers, answer=str(file))
        for file in files
    ]
    assert {caller.wait() for caller in callers} == {0}, nursery.said()
    told = [json.loads(file.read_text()) for file in files]
    assert WorkflowRun.objects.count() == 1
    statuses = Counter(answer["status"] for answer in told)
    assert set(statuses) <= {201, 409}
    assert all("Retry-After" in answer["headers"] for answer in told if answer["status"] == 409)
    # Those that were told to wait ask again, and get what the others got.
    again = api.post("workflow-runs", body, headers={"idempotency-key": "k"})
    assert again.status_code == 201
    assert all(answer["body"] == again.json() for answer in told if answer["status"] == 201)
    other = api.post("workflow-runs", body | {"note": "x"}, headers={"idempotency-key": "k"})
    assert other.status_code == 422
    assert WorkflowRun.objects.count() == 1


# Double clicks


@pytest.fixture
def operator() -> Client:
    client = Client()
    client.force_login(make_user("operator"))
    return client


def test_fault_02_a_double_click_on_start_starts_one_run(
    operator: Client, together: Callable[[int], None]
) -> None:
    workflow = make_workflow()
    url = reverse("start_run", args=[workflow.title])
    form = {"uuid": str(uuid4()), "json": "", "labels": "", "engine": "", "note": ""}
    together(2)
    first, second = at_once(lambda: operator.post(url, form), lambda: operator.post(url, form))
    run = WorkflowRun.objects.get()
    assert first.url == second.url == reverse("run", args=[run.pk])
    assert events(run, Cause.CREATE) == 1


def test_fault_02_a_double_click_on_the_start_of_a_held_run_starts_it_once(
    operator: Client, together: Callable[[int], None]
) -> None:
    run = make_run(hold=True)
    url = reverse("start_held_run", args=[run.pk])
    together(2)
    answers = at_once(lambda: operator.post(url), lambda: operator.post(url))
    assert [answer.status_code for answer in answers] == [302, 302]
    run.refresh_from_db()
    assert (run.wanted, events(run, Cause.START)) == (Wanted.RUN, 1)


def test_fault_02_a_double_click_on_retry_begins_one_attempt(
    operator: Client, together: Callable[[int], None]
) -> None:
    run = make_run(
        state=RunState.FAILED,
        engine=make_engine(),
        task_states={"extract": TaskState.FAILED, "load": TaskState.UPSTREAM_FAILED},
    )
    url = reverse("retry_run", args=[run.pk])
    together(2)
    answers = at_once(lambda: operator.post(url), lambda: operator.post(url))
    assert [answer.status_code for answer in answers] == [302, 302]
    run.refresh_from_db()
    assert (run.attempt, run.attempts.count(), events(run, Cause.RETRY)) == (2, 2, 1)


def test_fault_02_a_double_click_on_cancel_cancels_once(
    operator: Client, together: Callable[[int], None]
) -> None:
    run = make_run(state=RunState.RUNNING, engine=make_engine())
    url = reverse("cancel_run", args=[run.pk])
    together(2)
    answers = at_once(lambda: operator.post(url), lambda: operator.post(url))
    assert [answer.status_code for answer in answers] == [302, 302]
    run.refresh_from_db()
    assert (run.wanted, events(run, Cause.CANCEL)) == (Wanted.CANCEL, 1)


TASK = {"mode": "task", "tasks": ["extract"]}
RETRIES = [{"mode": "failed"}, {"mode": "all"}, TASK, TASK | {"downstream": True}]


def failed(state: RunState) -> WorkflowRun:
    """A run whose next attempt waits, where it is active, or else is on its way."""
    states = {"extract": TaskState.FAILED, "load": TaskState.FAILED}
    return make_run(state=state, task_states=states, engine=make_engine())


@pytest.mark.parametrize("body", RETRIES)
@pytest.mark.parametrize("state", [RunState.FAILED, RunState.RUNNING])
def test_fault_02_the_same_retry_asked_for_again_while_it_waits_or_is_on_its_way_is_one(
    state: RunState, body: dict[str, Any]
) -> None:
    run, api = failed(state), Caller("operator")
    answers = [api.post(f"workflow-runs/{run.pk}/retry", body) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert (run.attempts.count(), events(run, Cause.RETRY)) == (2, 1)


# Two people, at once or one after the other


def test_fault_03_of_a_cancel_and_a_retry_at_once_one_wins_and_the_other_sees_the_fresh_run(
    together: Callable[[int], None],
) -> None:
    run = make_run(state=RunState.RUNNING, engine=make_engine())
    one, other = Caller("operator"), Caller("operator")
    together(2)
    canceled, retried = at_once(
        lambda: one.post(f"workflow-runs/{run.pk}/cancel"),
        lambda: other.post(f"workflow-runs/{run.pk}/retry", {"mode": "all"}),
    )
    assert sorted([canceled.status_code, retried.status_code]) == [200, 409]
    lost = canceled if canceled.status_code == 409 else retried
    run.refresh_from_db()
    current = lost.json()["current"]
    assert (current["id"], current["wanted"]) == (run.pk, Wanted.CANCEL)
    # The retry stops the attempt first; only it leaves another that waits.
    assert run.wanted == Wanted.CANCEL
    assert run.attempts.count() == (2 if lost is canceled else 1)
    assert events(run, Cause.CANCEL) == (0 if lost is canceled else 1)
    assert events(run, Cause.RETRY) == (1 if lost is canceled else 0)


def test_fault_03_of_two_different_retries_at_once_one_wins(
    together: Callable[[int], None],
) -> None:
    run = make_run(
        state=RunState.FAILED, engine=make_engine(), task_states={"load": TaskState.FAILED}
    )
    one, other = Caller("operator"), Caller("operator")
    together(2)
    answers = at_once(
        lambda: one.post(f"workflow-runs/{run.pk}/retry", {"mode": "failed"}),
        lambda: other.post(f"workflow-runs/{run.pk}/retry", {"mode": "all"}),
    )
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    lost = next(answer for answer in answers if answer.status_code == 409)
    assert lost.json()["current"]["attempt"] == 2
    run.refresh_from_db()
    assert (run.attempt, run.attempts.count()) == (2, 2)


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.RUNNING])
@pytest.mark.parametrize(
    ("first", "second", "named"),
    [
        (TASK, TASK | {"tasks": ["load"]}, "(chosen tasks: extract)"),
        (TASK, TASK | {"downstream": True}, "(chosen tasks: extract)"),
        (TASK, {"mode": "failed"}, "(chosen tasks: extract)"),
        ({"mode": "failed"}, {"mode": "all"}, "(what failed)"),
        ({"mode": "failed"}, TASK, "(what failed)"),
        ({"mode": "all"}, {"mode": "failed"}, "(everything)"),
    ],
)
def test_fault_03_a_retry_after_a_different_one_is_told_what_is_on_its_way(
    state: RunState, first: dict[str, Any], second: dict[str, Any], named: str
) -> None:
    run, one, other = failed(state), Caller("operator"), Caller("operator")
    url = f"workflow-runs/{run.pk}/retry"
    assert one.post(url, first).status_code == 200
    attempt = run.attempts.values("mode", "tasks", "parameters").get(number=2)
    answer = other.post(url, second)
    assert answer.status_code == 409
    said = answer.json()["detail"]
    assert f"Attempt 2 of run {run.pk} {named}, asked for by {one.user.username}," in said
    waits = state == RunState.RUNNING
    assert ("waits already" if waits else "on its way") in said and "cancel the run" in said
    assert answer.json()["current"]["attempt"] == (1 if waits else 2)
    assert run.attempts.values("mode", "tasks", "parameters").get(number=2) == attempt
    assert (run.attempts.count(), events(run, Cause.RETRY)) == (2, 1)
    # It does what it was told to do.
    assert other.post(f"workflow-runs/{run.pk}/cancel").status_code == 200
    assert other.post(url, second).status_code == 200
    assert run.attempts.latest("number").mode == second["mode"]


def test_fault_03_a_retry_of_a_run_on_its_way_for_the_first_time_is_told_so() -> None:
    run, api = make_run(engine=make_engine()), Caller("operator")
    url = f"workflow-runs/{run.pk}"
    assert "Attempt 1 of run" in api.post(f"{url}/retry", TASK).json()["detail"]
    # Everything is on its way already.
    for path, body in (("retry", {"mode": "all"}), ("restart", {})):
        assert api.post(f"{url}/{path}", body).status_code == 200
    assert run.attempts.count() == 1
