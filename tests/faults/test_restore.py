"""A hub is restored from an older backup while the engines have gone on: nothing is submitted twice, what
happened meanwhile is learnt anew, and what was valid then is void."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from engines.base import external_id
from engines.dag.models import Step, Worker
from engines.testing.fake_http import Fault
from runs import actions
from runs.fsck import run_checks
from runs.management.backup import aftermath
from runs.models import ApiToken, Lease, Restore, RunAttempt, RunEvent, WorkflowRun
from runs.policy import Actor
from runs.states import Cause, Reason, RunState, TaskState, Wanted
from tests.engines.dag.driving import Hand
from tests.factories import make_engine, make_token, make_user
from tests.management.homes import own_home
from tests.reconciler.conftest import Hub

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]
TWO_STEPS = {
    "title": "two",
    "steps": [
        {"name": "one", "handler": "input"},
        {"name": "two", "handler": "input", "needs": ["one"]},
    ],
}
LATE = 0.4  # seconds for which a lost call may still be accepted


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> Path:
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE = LATE
    settings.WORKFLOWHUB_BREAKER_FAILURES = 1000
    return own_home(settings, tmp_path)


@pytest.fixture
def saved(home: Path) -> Iterator[Path]:
    return home.parent / "hub.tar.gz"


def backup(path: Path) -> None:
    call_command("backup", str(path), verbosity=0)


def restore(path: Path) -> None:
    call_command("restore", str(path), "--replace", "--yes", verbosity=0)


def sync(hub: Hub, times: int = 4) -> None:
    for _ in range(times):
        hub.make_due()
        hub.sync()


def after_the_quarantine(hub: Hub) -> None:
    """Long enough that whatever would be sent again has been."""
    sync(hub)
    time.sleep(LATE + 0.1)
    sync(hub)


def broken() -> list[str]:
    return [f"{one.check.code}: {one.examples}" for one in run_checks()]


@pytest.mark.parametrize(
    ("submission", "incremental"), [("A", True), ("B", False), ("C", False)], ids=["A", "B", "C"]
)
def test_fault_38_an_older_backup_is_restored_under_a_live_engine(
    make_hub: Any, saved: Path, submission: str, incremental: bool
) -> None:
    hub: Hub = make_hub(submission=submission, incremental=incremental)
    engine = hub.fake.engine
    by_tag = engine.tagged
    user = make_user(username="ada")
    old_token = make_token(user)
    browser = Client()
    browser.force_login(user)

    # Runs in all stages
    runs = {name: hub.start() for name in ("completed", "failed", "canceling", "retrying")}
    runs |= {name: hub.start() for name in ("running", "scheduled", "forgotten")}
    sync(hub, 2)
    ids = {name: hub.seen(run).external_id for name, run in runs.items()}
    engine.finish(ids["completed"])
    engine.fail(ids["failed"])
    engine.advance(ids["running"])
    engine.advance(ids["retrying"])
    sync(hub, 2)
    hub.fake.inject(Fault.LOSE_REPLY, method="POST")
    runs["unclear"] = hub.start()
    hub.fake.inject(Fault.DROP, method="GET", path=str(runs["unclear"].uuid), times=99)
    hub.sync()
    hub.fake.clear()
    actions.cancel_run(hub.actor, hub.seen(runs["canceling"]))
    actions.retry_run(hub.actor, hub.seen(runs["retrying"]), mode="all")
    runs["held"] = hub.start(hold=True)
    runs["held still"] = hub.start(hold=True)
    runs["unsent"] = hub.start()
    runs["canceled unsent"] = hub.start()
    before = {name: hub.seen(run).state for name, run in runs.items()}
    assert set(before.values()) == {
        RunState.PENDING,
        RunState.SCHEDULED,
        RunState.RUNNING,
        RunState.COMPLETED,
        RunState.FAILED,
    }
    unclear = RunAttempt.objects.get(run=runs["unclear"])
    assert unclear.sent_at is not None
    assert unclear.accepted_at is None or incremental, "Such an engine tells of it by itself."

    backup(saved)

    # Meanwhile life goes on
    actions.start_held_run(hub.actor, hub.seen(runs["held"]))
    actions.cancel_run(hub.actor, hub.seen(runs["canceled unsent"]))
    actions.retry_run(hub.actor, hub.seen(runs["failed"]), mode="all")
    late = hub.start()
    after_the_quarantine(hub)
    engine.finish()
    after_the_quarantine(hub)
    still_going = hub.start()
    after_the_quarantine(hub)
    late_token = make_token(user)
    ended = {name: hub.seen(run) for name, run in runs.items()}
    assert ended["unsent"].state == ended["held"].state == RunState.COMPLETED
    assert (ended["retrying"].state, ended["retrying"].attempt) == (RunState.COMPLETED, 2)
    assert (ended["failed"].state, ended["failed"].attempt) == (RunState.COMPLETED, 2)
    assert ended["canceling"].state == ended["canceled unsent"].state == RunState.CANCELED
    starts = Counter(engine.starts)
    assert set(starts.values()) == {1}

    # The disaster
    restore(saved)
    assert {name: hub.seen(run).state for name, run in runs.items()} == before
    hub.sync()
    engine.forget(by_tag(external_id(runs["forgotten"].uuid, 1))[0].id)
    after_the_quarantine(hub)
    after_the_quarantine(hub)

    # Nothing is submitted twice: only what nobody had sent is new
    new = engine.starts - starts
    assert new == {external_id(runs["canceled unsent"].uuid, 1): 1}
    assert set(engine.starts.values()) == {1}

    # Everything is learnt anew
    now = {name: hub.seen(run) for name, run in runs.items()}
    states = {name: run.state for name, run in now.items()}
    assert states.pop("canceled unsent") in {RunState.SCHEDULED, RunState.RUNNING}
    assert states == {
        "completed": RunState.COMPLETED,
        "failed": RunState.FAILED,
        "canceling": RunState.CANCELED,
        "retrying": RunState.COMPLETED,
        "running": RunState.COMPLETED,
        "scheduled": RunState.COMPLETED,
        "forgotten": RunState.COMPLETED,
        "unclear": RunState.COMPLETED,
        "held": RunState.COMPLETED,
        "held still": RunState.PENDING,
        "unsent": RunState.COMPLETED,
    }
    assert now["retrying"].attempt == 2
    assert (now["held"].wanted, now["held still"].wanted) == (Wanted.RUN, Wanted.HOLD)
    assert now["held still"].reason == Reason.HELD
    assert RunEvent.objects.filter(run=runs["running"], cause=Cause.RESTORE).exists()
    assert not RunEvent.objects.filter(run=runs["completed"], cause=Cause.RESTORE).exists()
    assert not RunAttempt.objects.exclude(ask_first=[]).exists()

    # What was started after the backup is unknown here, and left alone there
    for run in (late, still_going):
        assert not WorkflowRun.objects.filter(uuid=run.uuid).exists()
    assert by_tag(external_id(still_going.uuid, 1))[0].state == "queued"

    # A retry of now is not the retry of then
    actions.retry_run(hub.actor, hub.seen(runs["failed"]), mode="all")
    sync(hub, 2)
    engine.finish()
    sync(hub, 2)
    again = hub.seen(runs["failed"])
    life = Restore.objects.get().life
    assert (again.state, again.attempt) == (RunState.COMPLETED, 2)
    assert engine.starts[external_id(again.uuid, 2)] == 1
    assert engine.starts[external_id(again.uuid, 2, life)] == 1

    # Nobody comes in as then
    for token in (old_token, late_token):
        client = Client(headers={"authorization": f"Bearer {token}"})
        assert client.get("/api/v1/workflow-runs").status_code == 401
    assert not ApiToken.objects.filter(revoked_at=None).exists()
    assert browser.get("/").status_code == 302
    client = Client(headers={"authorization": f"Bearer {make_token(user)}"})
    assert client.get("/api/v1/workflow-runs").status_code == 200
    assert hub.run_to_end(hub.start()).state == RunState.COMPLETED
    assert broken() == []


def test_fault_38_a_backup_restored_twice_starts_nothing_twice_either(
    make_hub: Any, saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second restore undoes what the first one's hub did."""
    hub: Hub = make_hub(submission="B")
    failed = hub.start()
    sync(hub, 2)
    hub.fake.engine.fail(hub.seen(failed).external_id)
    sync(hub, 2)
    unsent = hub.start()
    backup(saved)
    for life in ("one", "two"):
        monkeypatch.setattr(aftermath, "life_at", lambda seconds, life=life: life)
        restore(saved)
        actions.retry_run(hub.actor, hub.seen(failed), mode="all")
        after_the_quarantine(hub)
        hub.fake.engine.finish()
        after_the_quarantine(hub)
        assert hub.seen(failed).state == hub.seen(unsent).state == RunState.COMPLETED
    assert set(hub.fake.engine.starts.values()) == {1}
    assert len(hub.fake.engine.starts) == 4, "Two first attempts, and the retry of each life."
    assert Restore.objects.get().life == "two"
    assert broken() == []


def test_fault_38_what_processes_had_in_hand_when_the_backup_was_made_goes_on(saved: Path) -> None:
    make_engine("local", name="local")
    workflow, _ = actions.post_workflow(Actor(), definition=TWO_STEPS)
    run = actions.start_run(Actor(), workflow)
    call_command("sync", "--once", verbosity=0)
    worker = Hand()
    taken = worker.take()
    assert taken is not None
    Lease.objects.create(name="of then", expires_at="2999-01-01T00:00Z", token=7)
    WorkflowRun.objects.filter(pk=run.pk).update(in_hand=True, kills=1)
    backup(saved)
    worker.end(taken, result={"of": "the other life"})
    worker.run_all()
    later = actions.start_run(Actor(), workflow)
    with pytest.raises(CommandError, match="worker"):
        restore(saved)
    Worker.objects.update(heartbeat_at="2020-01-01T00:00Z")
    Lease.objects.update(expires_at=None)
    restore(saved)
    assert not Lease.objects.exists()
    assert WorkflowRun.objects.get().kills == 0
    for _ in range(2):
        call_command("sync", "--once", verbosity=0)
    states = dict(Step.objects.values_list("name", "state"))
    assert states == {"one": TaskState.SCHEDULED, "two": TaskState.PENDING}
    accepted, again, _ = worker.report(taken, result={})
    assert not accepted, "The step was taken away from it."
    assert again is not None
    second = worker.end(again)
    assert second is not None
    worker.end(second)
    call_command("sync", "--once", verbosity=0)
    assert WorkflowRun.objects.get().state == RunState.COMPLETED
    assert actions.start_run(Actor(), workflow).pk > later.pk, "No number means two runs."
    assert broken() == []
