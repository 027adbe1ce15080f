"""Between a client and the database: lists that grow, answers that get lost, transactions that the
database rolls back."""

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import Client
from django.urls import reverse

from runs import rollbacks
from runs.models import AuditEntry, IdempotencyKey, RunEvent, Workflow, WorkflowRun
from runs.states import RunState, TaskState, Wanted
from tests.api.conftest import Caller
from tests.e2e.processes import eventually
from tests.factories import make_engine, make_run, make_user, make_workflow
from tests.faults.answers import lose_next_answer
from tests.faults.chance import chance

pytestmark = pytest.mark.django_db(transaction=True)
KEY = {"idempotency-key": "abc"}


def pages(api: Caller, path: str) -> Iterator[list[Any]]:
    url: str | None = f"/api/v1/{path}"
    while url:
        parts = urlsplit(url)
        answer = api.client.get(f"{parts.path}?{parts.query}")
        assert answer.status_code == 200, answer.content
        yield [row["id"] for row in answer.json()["results"]]
        url = answer.json()["next"]


@pytest.mark.faults
@pytest.mark.parametrize("path", ["workflow-runs", "workflows", "events", "audit"])
def test_fault_04_a_list_paged_while_others_insert_has_nothing_twice_and_misses_nothing(
    path: str,
) -> None:
    api, rng = Caller(), chance(f"pages of {path}")
    workflow = make_workflow()

    def insert() -> None:
        if path == "workflows":
            make_workflow()
        else:
            make_run(workflow)
        AuditEntry.objects.create(action="x", object_kind="y")

    for _ in range(8):
        insert()
    model = {"workflow-runs": WorkflowRun, "workflows": Workflow, "events": RunEvent}.get(path)
    there = set((model or AuditEntry).objects.values_list("pk", flat=True))
    stop = threading.Event()

    def go_on() -> None:
        while not stop.is_set():
            insert()
        connection.close()

    others = [threading.Thread(target=go_on) for _ in range(2)]
    for other in others:
        other.start()
    try:
        seen = []
        for page in pages(api, f"{path}?limit={rng.randint(2, 4)}"):
            seen += page
    finally:
        stop.set()
        for other in others:
            other.join()
    assert len(seen) == len(set(seen))
    assert there <= set(seen)


def test_fault_07_a_retry_after_a_lost_answer_of_the_database_gets_the_same_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    api = Caller()
    body = {"workflow": make_workflow().pk}
    with monkeypatch.context() as patch:
        lose_next_answer(patch)
        lost = api.post("workflow-runs", body, headers=KEY)
    assert lost.status_code == 503
    assert lost["Retry-After"]
    assert "Nothing was changed" not in lost.json()["detail"]
    again = api.post("workflow-runs", body, headers=KEY)
    assert again.status_code == 201
    assert again["Idempotent-Replay"] == "true"
    assert again.json()["id"] == WorkflowRun.objects.get().pk


@pytest.mark.parametrize("what", ["cancel", "retry", "restart"])
def test_fault_07_an_intent_whose_answer_got_lost_is_done_once(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = Caller()
    state = RunState.RUNNING if what == "cancel" else RunState.FAILED
    run = make_run(engine=make_engine(), state=state, task_states={"load": TaskState.FAILED})
    path = f"workflow-runs/{run.pk}/{what}"
    with monkeypatch.context() as patch:
        lose_next_answer(patch)
        assert api.post(path, headers=KEY).status_code == 503
    events = RunEvent.objects.count()
    again = api.post(path, headers=KEY)
    assert (again.status_code, again["Idempotent-Replay"]) == (200, "true")
    assert RunEvent.objects.count() == events
    assert again.json()["id"] == run.pk


class Rival:
    """Another client of the database, which changes a run at the very moment at which this thread
    does, so many `times`."""

    def __init__(self, run: WorkflowRun, times: int) -> None:
        self.run = run
        self.left = times
        params = connection.get_connection_params()
        names = ("host", "port", "user", "password", "dbname")
        known = {name: params[name] for name in names if params.get(name)}
        self.raw = psycopg.connect(**known)
        self.watch = psycopg.connect(**known, autocommit=True)
        self.raw.execute("SET deadlock_timeout = '60s'")  # it is never the one that is ended
        self.raw.commit()

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        """Django asks it before each statement of ours (`execute_wrapper`)."""
        words = " ".join(sql.split()[:3]).replace('"', "")
        if self.left and words.startswith(self.moment):
            self.left -= 1
            return self.collide(lambda: execute(sql, params, many, context))
        return execute(sql, params, many, context)

    def touch(self) -> None:
        self.raw.execute("UPDATE runs_workflowrun SET note = note WHERE id = %s", [self.run.pk])

    def close(self) -> None:
        self.raw.close()
        self.watch.close()


class Deadlock(Rival):
    """We hold the run's row and want its next event, the other one the other way round."""

    moment = "INSERT INTO runs_runevent"

    def collide(self, execute: Callable[[], Any]) -> Any:
        self.raw.execute(
            "INSERT INTO runs_runevent (run_id, seq, attempt, old, new, cause, actor_kind, actor, "
            "detail, seen_at) VALUES (%s, %s, 1, '', '', '', 'user', '', '', now())",
            [self.run.pk, self.run.last_seq + 1],
        )
        other = threading.Thread(target=self.touch)
        other.start()
        text = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND cardinality(pg_blocking_pids(pid)) > 0"
        pid = self.raw.info.backend_pid
        eventually(lambda: self.watch.execute(text, [pid]).fetchone(), what="the rival waits")
        try:
            return execute()
        finally:
            other.join(30)
            self.raw.rollback()


class Overtaken(Rival):
    """The other one changes the run after we began to look: a serialisation failure."""

    moment = "UPDATE runs_workflowrun"

    def collide(self, execute: Callable[[], Any]) -> Any:
        self.touch()
        self.raw.commit()
        return execute()


@pytest.fixture
def collide() -> Iterator[Callable[..., Rival]]:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time: nothing is rolled back for another's sake.")
    with ExitStack() as stack:

        def start(kind: type[Rival], run: WorkflowRun, times: int) -> Rival:
            with connection.cursor() as cursor:
                cursor.execute("SET deadlock_timeout = '10ms'")
                # An operator may have chosen it; for deadlocks it makes no difference.
                cursor.execute("SET default_transaction_isolation = 'repeatable read'")
            rival = kind(run, times)
            stack.callback(rival.close)
            stack.callback(connection.close)
            stack.enter_context(connection.execute_wrapper(rival))
            return rival

        yield start


def cancel_by_api(run: WorkflowRun) -> Any:
    return Caller().post(f"workflow-runs/{run.pk}/cancel", headers=KEY)


def note_by_api(run: WorkflowRun) -> Any:
    return Caller().patch(f"workflow-runs/{run.pk}", {"labels": {"a": "b"}})


def cancel_by_page(run: WorkflowRun) -> Any:
    client = Client(raise_request_exception=False)
    client.force_login(make_user())
    return client.post(reverse("cancel_run", args=[run.pk]))


def cancel_by_admin(run: WorkflowRun) -> Any:
    client = Client(raise_request_exception=False)
    client.force_login(make_user(is_staff=True))
    return client.post(reverse("admin:runs_workflowrun_deed", args=[run.pk, "cancel"]))


FACES = [cancel_by_api, note_by_api, cancel_by_page, cancel_by_admin]


@pytest.mark.faults
@pytest.mark.parametrize("fault", [Deadlock, Overtaken])
@pytest.mark.parametrize("face", FACES)
def test_fault_08_what_the_database_rolled_back_is_tried_again_by_every_face(
    face: Callable[[WorkflowRun], Any], fault: type[Rival], collide: Callable[..., Rival]
) -> None:
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    rival = collide(fault, run, rollbacks.TRIES - 1)
    answer = face(run)
    assert answer.status_code in {200, 302}, answer.content
    assert rival.left == 0
    run.refresh_from_db()
    assert run.last_seq == 2
    assert face is note_by_api or run.wanted == Wanted.CANCEL


@pytest.mark.faults
@pytest.mark.parametrize("fault", [Deadlock, Overtaken])
@pytest.mark.parametrize("face", FACES)
def test_fault_08_what_is_rolled_back_again_and_again_is_503_and_changes_nothing(
    face: Callable[[WorkflowRun], Any], fault: type[Rival], collide: Callable[..., Rival]
) -> None:
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    rival = collide(fault, run, rollbacks.TRIES)
    answer = face(run)
    assert answer.status_code == 503, answer.content
    assert answer["Retry-After"]
    assert rival.left == 0
    run.refresh_from_db()
    assert (run.last_seq, run.wanted) == (1, Wanted.RUN)
    assert not IdempotencyKey.objects.exists()


@pytest.mark.parametrize("number", [1, 3, 4])
def test_fault_08_no_more_than_three_further_tries_with_a_pause_that_differs(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(rollbacks.time, "sleep", pauses.append)
    failure = OperationalError("deadlock detected")
    failure.__cause__ = psycopg.errors.DeadlockDetected()
    calls = itertools.count(1)

    def call() -> str:
        if next(calls) <= number:
            raise failure
        return "done"

    if number < rollbacks.TRIES:
        assert rollbacks.retried(call) == "done"
    else:
        with pytest.raises(OperationalError):
            rollbacks.retried(call)
    assert len(pauses) == len(set(pauses)) == min(number, rollbacks.TRIES - 1)
    assert all(0 < pause < 0.2 for pause in pauses)
