"""`sync --watch`: woken by changes, a thread for each engine, leases given up at the end."""

import os
import signal
import subprocess
import sys
import threading
import time
import uuid

import pytest
from django.conf import settings as django_settings
from django.db import connection

from engines.testing.fake_http import Fault
from runs import actions, leases
from runs.models import Heartbeat, Lease, WorkflowRun
from runs.reconciler.wakeups import FileVersion, listener
from runs.states import RunState
from tests.reconciler.conftest import leases_held, wait_for

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def hub(make_hub, transactional_db):
    return make_hub()


def test_a_run_is_brought_to_its_end_and_the_leases_are_given_up(hub, start_loop):
    _, stop, thread = start_loop()
    wait_for(lambda: f"engine:{hub.engine.pk}" in leases_held())
    run = hub.start()
    wait_for(lambda: hub.seen(run).state == RunState.SCHEDULED)
    hub.fake.engine.finish()
    wait_for(lambda: hub.seen(run).state == RunState.COMPLETED)
    assert Heartbeat.objects.get(name="sync").at is not None
    stop.set()
    thread.join(10)
    assert leases_held() == set()


def test_a_change_wakes_the_loop_long_before_its_poll(hub, start_loop, settings):
    settings.WORKFLOWHUB_POLL = settings.WORKFLOWHUB_ACTIVE_POLL = 30
    start_loop()
    wait_for(lambda: f"engine:{hub.engine.pk}" in leases_held())
    time.sleep(0.3)
    run = hub.start()
    assert wait_for(lambda: hub.seen(run).state == RunState.SCHEDULED) < 2


def test_fault_34_another_loop_takes_over_within_two_seconds_of_a_stop(hub, start_loop, settings):
    settings.WORKFLOWHUB_LEASE = 30
    _, stop, thread = start_loop()
    wait_for(lambda: f"engine:{hub.engine.pk}" in leases_held())
    second, _, _ = start_loop()
    time.sleep(0.3)
    stop.set()
    thread.join(10)
    wait_for(lambda: Lease.objects.get(name=f"engine:{hub.engine.pk}").owner == second.owner, 2.0)


def test_fault_21_a_hung_engine_does_not_hold_up_the_others(make_hub, hub, start_loop):
    hung = make_hub(hang=4)
    hung.fake.inject(Fault.HANG, times=1000)
    start_loop()
    hung.start()
    time.sleep(0.3)
    run = hub.start()
    assert wait_for(lambda: hub.seen(run).state == RunState.SCHEDULED) < 2
    hub.fake.engine.finish()
    assert wait_for(lambda: hub.seen(run).state == RunState.COMPLETED) < 2
    hung.fake.stop()  # its thread needn't be waited for


def test_an_engine_that_is_added_is_looked_after_soon(make_hub, hub, start_loop):
    start_loop()
    wait_for(lambda: f"engine:{hub.engine.pk}" in leases_held())
    other = make_hub()
    run = other.start()
    wait_for(lambda: other.seen(run).state == RunState.SCHEDULED, 5)


@pytest.mark.faults
def test_an_idle_loop_costs_next_to_nothing(hub, start_loop, settings):
    settings.WORKFLOWHUB_POLL = settings.WORKFLOWHUB_LEASE = 10
    start_loop()
    wait_for(lambda: f"engine:{hub.engine.pk}" in leases_held())
    time.sleep(2.5)
    before = time.process_time()
    time.sleep(3)
    # The aim is half a percent; a busy machine and the fake engine's thread count too.
    assert (time.process_time() - before) / 3 < 0.05


def test_the_listener_hears_a_commit_and_nothing_else(hub):
    stop = threading.Event()
    with listener() as ears:
        while ears.wait(0.2, stop):
            pass
        assert not ears.wait(0.2, stop)
        other = threading.Thread(target=in_another_thread, args=(hub,))
        other.start()
        heard = ears.wait(30, stop)
        other.join(30)
        assert heard


def test_fault_06_a_database_file_that_cannot_be_looked_at_is_looked_at_again(tmp_path):
    stop, path = threading.Event(), tmp_path / "db.sqlite3"
    path.write_bytes(b"no database" * 1000)
    with FileVersion(str(path)) as ears:
        assert not ears.wait(0.01, stop)
        path.unlink()
        assert ears.wait(0.01, stop)
        assert not ears.wait(0.01, stop)


def in_another_thread(hub):
    hub.start()
    connection.close()


@pytest.fixture
def start_process(database_url):
    running = []

    def start():
        process = subprocess.Popen(
            [sys.executable, "manage.py", "sync", "--watch"],
            cwd=django_settings.BASE_DIR,
            env=os.environ | {"DATABASE_URL": database_url},
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.faults
def test_fault_10_a_killed_process_is_followed_by_another_and_no_run_starts_twice(
    hub, start_process
):
    workflow = hub.post([{"name": "a"}])
    first = start_process()
    wait_for(lambda: f"engine:{hub.engine.pk}" in leases_held(), 90)
    runs = [actions.start_run(hub.actor, workflow) for _ in range(30)]
    wait_for(lambda: WorkflowRun.objects.filter(state=RunState.SCHEDULED).count() > 3)
    first.send_signal(signal.SIGKILL)
    first.wait()
    second = start_process()
    wait_for(lambda: not WorkflowRun.objects.filter(state=RunState.PENDING).exists(), 90)
    hub.fake.engine.finish()
    wait_for(lambda: WorkflowRun.objects.filter(state=RunState.COMPLETED).count() == len(runs), 90)
    assert set(hub.fake.engine.starts.values()) == {1}
    owner = Lease.objects.get(name=f"engine:{hub.engine.pk}").owner
    second.send_signal(signal.SIGTERM)
    assert second.wait(20) == 0
    # What the killed one held may still run out by itself: the second need not have wanted all of it.
    assert not Lease.objects.filter(owner=owner).exclude(expires_at=None).exists()


def test_fault_11_a_loop_without_its_lease_does_nothing(hub, start_loop, settings):
    settings.WORKFLOWHUB_LEASE = 60
    assert leases.acquire(f"engine:{hub.engine.pk}", uuid.uuid4(), 60)
    start_loop()
    run = hub.start()
    time.sleep(1)
    assert hub.seen(run).state == RunState.PENDING
