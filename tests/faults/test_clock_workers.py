"""Workers, when the database's clock is put forward or back: none that lives is lost, and each that is
dead is noticed. Their heartbeats are moved instead of the clock."""

import time
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import F

from engines.clock import database_now
from engines.dag import leases
from engines.dag.models import Step, StepTry, Worker
from engines.states import TaskState
from tests.engines.dag.driving import Hand, states, step, step_row, submit
from tests.engines.dag.workers import wait_for
from tests.faults.nursery import Child, Nursery

HOUR = timedelta(hours=1)


def clock_was_put(ahead: timedelta) -> None:
    """Heartbeats are as they would be if the database's clock had been put forward, or back."""
    Worker.objects.filter(ended_at=None).update(heartbeat_at=F("heartbeat_at") - ahead)


def put_right() -> bool:
    """Every worker's heartbeat is of the last seconds."""
    beats = Worker.objects.filter(ended_at=None).values_list("heartbeat_at", flat=True)
    return all(abs(database_now() - at) < HOUR / 2 for at in beats)


@pytest.fixture
def lost_after(settings: Any) -> float:
    return float(settings.WORKFLOWHUB_WORKER_LOST_AFTER)


@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_fault_24_31_workers_know_who_of_them_lives_wherever_the_clock_is_put(
    nursery: Nursery, ahead: timedelta
) -> None:
    patient = {"WORKFLOWHUB_WORKER_LOST_AFTER": 5.0}
    processes: dict[int, Child] = {}
    for _ in range(2):
        child = nursery.fork("worker", drain=False, settings=patient)
        processes[child.pid] = child
    wait_for(lambda: Worker.objects.filter(ended_at=None).count() == 2, what="both are there")
    adapter, run = submit(step("slow", handler="sleep", **{"with": {"seconds": 120}}))
    wait_for(lambda: states(run)["slow"] == TaskState.RUNNING)
    Worker.objects.update(place="elsewhere")  # where nobody sees who lives
    for _ in range(5):
        clock_was_put(ahead)
        wait_for(put_right, what="both are heard")
    assert not Worker.objects.exclude(ended_at=None).exists()
    row = step_row(run, "slow")
    assert (row.state, row.try_number) == (TaskState.RUNNING, 1)

    assert row.worker is not None
    dead = row.worker
    processes[dead.pid].kill()
    clock_was_put(ahead)
    wait_for(StepTry.objects.filter(reason="lost").exists, what="the loss is noticed")
    wait_for(lambda: states(run)["slow"] == TaskState.RUNNING, what="the other has it")
    (living,) = Worker.objects.filter(ended_at=None)
    assert step_row(run, "slow").worker == living != dead
    adapter.cancel(run)


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_fault_31_no_worker_that_beats_is_lost_wherever_the_clock_is_put(
    ahead: timedelta, lost_after: float
) -> None:
    submit(step("a"))
    hand = Hand()
    assert hand.take()
    until = time.monotonic() + 1.5 * lost_after
    while time.monotonic() < until:
        clock_was_put(ahead)
        assert leases.recover() == 0
        assert leases.beat(hand.worker.pk)
        time.sleep(lost_after / 10)


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_fault_31_no_dead_worker_is_immortal_wherever_the_clock_is_put(
    ahead: timedelta, lost_after: float
) -> None:
    _, run = submit(step("a"))
    assert Hand().take()
    Worker.objects.update(place="elsewhere")
    clock_was_put(ahead)
    began = time.monotonic()
    wait_for(leases.recover, what="the loss is noticed")
    assert time.monotonic() - began >= lost_after, "whoever has just begun to listen waits"
    assert states(run) == {"a": TaskState.SCHEDULED}


@pytest.mark.django_db
def test_fault_31_fsck_finds_a_heartbeat_of_a_time_to_come_and_listens_who_lives() -> None:
    _, run = submit(step("a"))
    assert Hand().take()
    Worker.objects.update(place="elsewhere")
    call_command("fsck", "--only", "I5b", verbosity=0)
    clock_was_put(-HOUR)
    with pytest.raises(CommandError):
        call_command("fsck", "--only", "I5b", verbosity=0)
    call_command("fsck", "--fix", "--only", "I5b", verbosity=0)
    assert not Worker.objects.filter(ended_at=None).exists()
    assert states(run) == {"a": TaskState.SCHEDULED}


@pytest.mark.django_db
def test_fault_31_fsck_takes_no_step_from_a_worker_that_beats_after_the_clock_was_put_forward(
    monkeypatch: pytest.MonkeyPatch, lost_after: float
) -> None:
    _, run = submit(step("a"))
    hand = Hand()
    assert hand.take()
    Worker.objects.update(place="elsewhere")
    waited: list[float] = []

    def beats(seconds: float) -> None:
        waited.append(seconds)
        assert leases.beat(hand.worker.pk)

    monkeypatch.setattr(leases.time, "sleep", beats)
    clock_was_put(HOUR)
    Step.objects.update(started_at=F("started_at") - HOUR)
    call_command("fsck", "--fix", "--only", "I7a", verbosity=0)
    assert sum(waited) > lost_after
    assert (states(run), Worker.objects.filter(ended_at=None).count()) == ({"a": "RUNNING"}, 1)
