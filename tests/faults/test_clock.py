"""Clocks that are wrong: the hub's own by an hour, the database's put forward or back.

What is kept in the database is moved instead of its clock: an hour back for one, an hour on for the
other. tests/faults/test_clock_workers.py has what becomes of workers. Schedules, and with them the hour
that an autumn night has twice, are not there yet.
"""

import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models import F

from engines.clock import database_now
from engines.models import Engine
from runs import leases
from runs.models import Lease, Workflow, WorkflowRun
from runs.querysets import LONGEST_WAIT
from runs.reconciler import backoff, plan
from runs.reconciler.hold import take
from runs.reconciler.once import lease_name
from runs.reconciler.sweep import EngineSweep
from runs.states import RunState, WorkflowState
from tests.faults.nursery import Nursery
from tests.faults.test_reconciler import Loops
from tests.reconciler.conftest import Hub, wait_for

HOUR = timedelta(hours=1)


def clock_was_put(ahead: timedelta) -> None:
    """Leases and waits are as they would be if the database's clock had been put forward, or back."""
    Lease.objects.filter(expires_at__isnull=False).update(expires_at=F("expires_at") - ahead)
    for model in (WorkflowRun, Workflow):
        waiting = model._default_manager.filter(next_check_at__isnull=False)
        waiting.update(next_check_at=F("next_check_at") - ahead)
    Engine.objects.filter(breaker_until__isnull=False).update(
        breaker_until=F("breaker_until") - ahead
    )


@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_fault_31_a_loop_whose_own_clock_is_an_hour_off_takes_nothing_and_keeps_nothing(
    nursery: Nursery, hub: Hub, ahead: timedelta, settings: Any
) -> None:
    if connection.vendor == "sqlite":
        pytest.skip("With SQLite all processes share the database's clock: the machine's.")
    loops = Loops(nursery, hub, 1)
    owner, right = loops.holder()
    wrong = loops.start(changed=[f"clock:{ahead.total_seconds()}"])
    until = time.monotonic() + 1.5 * settings.WORKFLOWHUB_LEASE
    while time.monotonic() < until:
        assert loops.owner == owner, "it is renewed, so nobody takes it"
        time.sleep(0.02)
    right.kill()
    loops.taken_over(owner)
    owner, holder = loops.holder()
    assert holder == wrong
    run = hub.start()
    wait_for(lambda: hub.seen(run).state == RunState.SCHEDULED)
    run = hub.seen(run)
    assert run.created_at <= run.scheduled_at <= database_now(), "our times are the database's"
    loops.start()
    wrong.kill()
    assert loops.taken_over(owner) < settings.WORKFLOWHUB_LEASE + 1


@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
def test_fault_31_no_lease_is_immortal_when_the_clock_is_put_back(
    nursery: Nursery, hub: Hub, settings: Any
) -> None:
    loops = Loops(nursery, hub)
    owner, holder = loops.holder()
    clock_was_put(-HOUR)
    # Who holds it and lives puts it right, and nobody takes it away meanwhile.
    longest = timedelta(seconds=settings.WORKFLOWHUB_LEASE)
    wait_for(lambda: not Lease.objects.filter(expires_at__gt=database_now() + longest).exists())
    assert loops.owner == owner
    holder.kill()
    clock_was_put(-HOUR)
    assert loops.taken_over(owner) < 2 * settings.WORKFLOWHUB_LEASE + 1


@pytest.mark.django_db
def test_fault_31_whoever_loses_a_lease_by_a_clock_put_forward_writes_nothing(
    hub: Hub, sweep_of: Callable[[Hub], EngineSweep], settings: Any
) -> None:
    settings.WORKFLOWHUB_LEASE = 60
    run = hub.start()
    first = sweep_of(hub)
    first.tick(full=True)
    clock_was_put(HOUR)
    hold = take(lease_name(hub.engine.pk), uuid.uuid4())
    assert hold is not None
    second = EngineSweep(hub.engine.pk, hold)
    hub.fake.engine.advance()
    with pytest.raises(leases.LeaseLost):
        first.tick(full=True)
    assert hub.seen(run).state == RunState.SCHEDULED
    second.tick(full=True)
    assert hub.seen(run).state == RunState.RUNNING
    assert list(hub.fake.engine.starts.values()) == [1]
    hold.release()


@pytest.mark.django_db
def test_fault_31_a_lease_that_is_held_impossibly_long_is_taken_only_as_it_was_seen() -> None:
    first = leases.acquire("x", uuid.uuid4(), 10)
    assert first is not None
    clock_was_put(-HOUR)
    seen = leases.held("x")
    assert seen is not None and seen.left > 3600
    assert leases.acquire("x", uuid.uuid4(), 10) is None
    assert leases.renew(first, 10)
    assert leases.acquire("x", uuid.uuid4(), 10, until=seen.until) is None, "it was renewed"
    clock_was_put(-HOUR)
    seen = leases.held("x")
    second = leases.acquire("x", uuid.uuid4(), 10, until=seen.until if seen else None)
    assert second is not None and second.token == first.token + 1


def told_to_wait(seconds: float) -> None:
    """The runs, and the versions that they are of, are due so much later."""
    at = database_now() + timedelta(seconds=seconds)
    WorkflowRun.objects.update(next_check_at=at)
    Workflow.objects.update(next_check_at=at, state=WorkflowState.DEPLOYING)


@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_fault_31_a_loop_looks_at_what_waits_wherever_the_clock_is_put(
    nursery: Nursery, hub: Hub, ahead: timedelta
) -> None:
    run = hub.start()
    told_to_wait(20)
    Loops(nursery, hub, 1).holder()
    clock_was_put(ahead)
    wait_for(lambda: hub.seen(run).state == RunState.SCHEDULED, 60)


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
@pytest.mark.parametrize("wait", [2, LONGEST_WAIT])
def test_fault_31_nothing_waits_an_hour_more_because_the_clock_was_put_back(
    hub: Hub, ahead: timedelta, wait: float
) -> None:
    run = hub.start()
    told_to_wait(wait)
    clock_was_put(ahead)
    hub.sync(2)
    assert hub.seen(run).state == RunState.SCHEDULED
    assert Workflow.objects.get().state == WorkflowState.READY


@pytest.mark.django_db
def test_fault_31_what_waits_for_as_long_as_it_may_is_left_waiting(hub: Hub, settings: Any) -> None:
    assert max(backoff.MOST, plan.WAIT_FOR_TURN, plan.WAIT_FOR_OTHERS) <= LONGEST_WAIT
    run = hub.start()
    told_to_wait(LONGEST_WAIT)
    hub.sync()
    assert hub.seen(run).state == RunState.PENDING
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE = 2 * LONGEST_WAIT
    told_to_wait(2 * LONGEST_WAIT)
    hub.sync()
    assert hub.seen(run).state == RunState.PENDING


@pytest.mark.django_db
@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_fault_31_no_engine_is_left_alone_for_ever_when_the_clock_is_put(
    hub: Hub, ahead: timedelta
) -> None:
    run = hub.start()
    Engine.objects.update(failures=9, breaker_until=database_now() + timedelta(seconds=60))
    hub.sync()
    assert hub.seen(run).state == RunState.PENDING
    clock_was_put(ahead)
    hub.sync()
    assert hub.seen(run).state == RunState.SCHEDULED
    assert Engine.objects.get().breaker_until is None


@pytest.mark.django_db
def test_fault_31_fsck_finds_what_waits_for_too_long_and_makes_it_due(hub: Hub) -> None:
    hub.start()
    call_command("fsck", "--only", "I5c", verbosity=0)
    told_to_wait(20)
    clock_was_put(-HOUR)
    with pytest.raises(CommandError):
        call_command("fsck", "--only", "I5c", verbosity=0)
    call_command("fsck", "--fix", "--only", "I5c", verbosity=0)
    now = database_now()
    assert WorkflowRun.objects.due(now).exists() and Workflow.objects.due(now).exists()


@pytest.mark.django_db
@pytest.mark.parametrize("offset", [-7200, 7200])
def test_fault_19_no_length_of_time_is_negative_whatever_the_engine_s_clock_says(
    make_hub: Callable[..., Hub], offset: int
) -> None:
    hub = make_hub(clock_offset=offset)
    run = hub.start([{"name": "a", "fails": 1}, {"name": "b"}])
    hub.sync()
    hub.fake.engine.advance()
    hub.sync()
    hub.fake.engine.clock_offset = -offset  # and it is put right, and too far
    hub.fake.engine.finish()
    hub.sync()
    run = hub.seen(run)
    assert run.state == RunState.FAILED
    assert run.created_at <= run.started_at <= run.ended_at
    assert run.engine_started_at <= run.engine_ended_at
    for task in run.task_runs.all():
        assert run.created_at <= task.started_at <= task.ended_at <= run.ended_at
        for row in task.tries.all():
            assert row.started_at <= row.ended_at
