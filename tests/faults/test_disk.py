"""A disk that is full, or fails, under the database: what can't be kept is refused, never half kept,
and all goes on by itself when there is room again."""

import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection

from engines.states import RunState, TaskState
from runs import actions
from runs.models import IdempotencyKey, TaskRun, WorkflowRun
from runs.policy import Actor
from tests.api.conftest import Caller
from tests.e2e.hubs import ask, family, up
from tests.e2e.processes import eventually
from tests.factories import make_engine, make_run, make_token, make_workflow
from tests.faults.chains import all_end, ended_once
from tests.reconciler.conftest import Hub

pytestmark = pytest.mark.django_db(transaction=True)
DOCUMENT = {
    "title": "sleepy",
    "steps": [
        {
            "name": f"s{n}",
            "handler": "sleep",
            "needs": [f"s{n - 1}"] if n else [],
            "with": {"seconds": 0.3},
        }
        for n in range(6)
    ],
}


@contextmanager
def full_sqlite(table: str) -> Iterator[None]:
    """The file may not grow by a page."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA max_page_count")
        (most,) = cursor.fetchone()
        cursor.execute("CREATE TABLE ballast (text)")
        cursor.execute("PRAGMA max_page_count = 1")  # as few as there are
        try:
            while True:  # what is free within the file is used up
                cursor.execute("INSERT INTO ballast VALUES (zeroblob(3000))")
        except Exception as error:  # noqa: BLE001 - Django's or SQLite's own
            assert "full" in str(error)
        try:
            yield
        finally:
            cursor.execute(f"PRAGMA max_page_count = {most}")
            cursor.execute("DROP TABLE ballast")


@contextmanager
def full_postgresql(table: str) -> Iterator[None]:
    """Rows of that table find no room: the server says so with its own code for it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE "
            "EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; "
            "END $$"
        )
        cursor.execute(
            f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()"
        )
        try:
            yield
        finally:
            cursor.execute("DROP FUNCTION full_disk CASCADE")


def full(table: str) -> Any:
    return (full_sqlite if connection.vendor == "sqlite" else full_postgresql)(table)


@pytest.mark.parametrize("table", ["runs_workflowrun", "runs_runevent", "runs_idempotencykey"])
def test_fault_33_what_finds_no_room_is_503_and_leaves_nothing(table: str) -> None:
    api, run = Caller(), make_run()
    # Far more than the last free bytes of any page.
    body = {"workflow": make_workflow().pk, "note": "x" * 10_000}
    key = {"idempotency-key": "abc"}
    with full(table):
        answers = [
            api.post("workflow-runs", body, headers=key),
            api.patch(f"workflow-runs/{run.pk}", {"labels": {"a": "b" * 60}, "note": "x" * 9000}),
        ]
        read = api.get("workflow-runs")
    started, edited = answers
    assert (started.status_code, read.status_code) == (503, 200)
    assert started["Retry-After"]
    assert started["Content-Type"] == "application/problem+json"
    assert edited.status_code == (200 if table != "runs_runevent" and is_postgresql() else 503)
    assert [row["id"] for row in read.json()["results"]] == [run.pk]
    assert not IdempotencyKey.objects.exists()
    again = api.post("workflow-runs", body, headers=key)
    assert again.status_code == 201
    assert "Idempotent-Replay" not in again
    assert WorkflowRun.objects.count() == 2
    call_command("fsck", verbosity=0)


def is_postgresql() -> bool:
    return bool(connection.vendor == "postgresql")


def no_room_for_events(execute: Callable[..., Any], sql: str, *given: Any) -> Any:
    if sql.startswith('INSERT INTO "runs_runevent"'):
        raise OperationalError("database or disk is full")
    return execute(sql, *given)


def test_fault_33_a_run_whose_acceptance_finds_no_room_starts_once_all_the_same(hub: Hub) -> None:
    run = hub.start()
    with connection.execute_wrapper(no_room_for_events):
        for _ in range(3):
            hub.make_due()
            with suppress(OperationalError):
                hub.sync()
    assert sum(hub.fake.engine.starts.values()) == 1
    assert hub.seen(run).state == RunState.PENDING
    hub.make_due()
    hub.sync()
    assert hub.seen(run).state == RunState.SCHEDULED
    assert sum(hub.fake.engine.starts.values()) == 1


@contextmanager
def failing_disk(processes: list[psutil.Process]) -> Iterator[None]:
    """Every write of theirs to any file fails."""
    for limit in (0, resource.RLIM_INFINITY):
        for process in processes:
            with suppress(ProcessLookupError):
                resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, -1))
        if limit == 0:
            yield


@pytest.mark.faults
def test_fault_33_a_hub_whose_disk_fails_refuses_and_goes_on_when_it_is_well_again(
    database_url: str, tmp_path: Path
) -> None:
    """SQLite's file is on that disk; with PostgreSQL only logs and results that are spooled are."""
    make_engine("local", name="local")
    token = make_token()
    workflow, _ = actions.post_workflow(Actor(), definition=DOCUMENT)
    body, headers = {"workflow": workflow.pk}, {"authorization": f"Bearer {token}"}
    connection.close()
    with up(tmp_path, database_url, "--only", "web,sync,worker", "--port", "0") as hub:
        url = hub.url

        def post(key: str) -> int:
            path = "/api/v1/workflow-runs"
            answer = ask(url, path, body=body, idempotency_key=key, **headers)
            assert answer
            return answer.status

        assert post("before") == 201
        begun = TaskRun.objects.filter(state=TaskState.RUNNING)
        eventually(begun.exists, what="a step runs")
        members = family(hub.process.pid)
        with failing_disk(members):
            statuses = {post(f"during {number}") for number in range(5)}
            assert statuses == ({503} if connection.vendor == "sqlite" else {201})
            read = ask(url, "/api/v1/workflow-runs", **headers)
            assert read and read.status == 200
            runs = WorkflowRun.objects.count()
            assert runs == (1 if connection.vendor == "sqlite" else 6)
            time.sleep(2)  # steps end meanwhile
        assert post("after") == 201
        assert [post(f"during {number}") for number in range(5)] == [201] * 5
        all_end()
        assert "Starting it again" not in hub.said, hub.said
    assert WorkflowRun.objects.count() == 7
    ended_once(tmp_path)
