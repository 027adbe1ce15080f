"""django-q2's part: with no loop, its minute sweep brings runs to their end."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command
from django.utils import timezone
from django_q.models import OrmQ, Schedule
from django_q.scheduler import scheduler
from django_q.signing import SignedPackage

from engines.testing.fake_http import Fault
from runs.models import Heartbeat
from runs.reconciler import tasks
from runs.states import RunState
from workflowhub.discovery import load


def test_schedules_are_made_once_and_kept(db):
    call_command("ensure_schedules", verbosity=0)
    first = list(Schedule.objects.order_by("name").values("id", "name", "func", "next_run"))
    call_command("ensure_schedules", verbosity=0)
    assert list(Schedule.objects.order_by("name").values("id", "name", "func", "next_run")) == first
    assert len(first) == 3
    for row in first:
        assert callable(load(row["func"]))


def test_a_changed_or_doubled_schedule_is_put_right(db):
    call_command("ensure_schedules", verbosity=0)
    sweep = Schedule.objects.get(name="workflowhub sweep")
    Schedule.objects.create(name=sweep.name, func="os.getcwd", schedule_type=Schedule.DAILY)
    Schedule.objects.filter(pk=sweep.pk).update(minutes=30)
    call_command("ensure_schedules", verbosity=0)
    again = Schedule.objects.get(name=sweep.name)
    assert (again.pk, again.minutes, again.func) == (sweep.pk, 1, sweep.func)


def ring():
    """What the cluster does: the scheduler puts messages into the queue, a worker calls them."""
    Schedule.objects.exclude(name="workflowhub cleanup").update(next_run=timezone.now())
    time.sleep(0.01)
    scheduler()
    called = []
    for message in OrmQ.objects.all():
        package = SignedPackage.loads(message.payload)
        assert not package["args"], "a message carries nothing"
        load(package["func"])()
        called.append(package["func"])
        message.delete()
    return called


@pytest.mark.django_db(transaction=True)
def test_with_the_minute_sweep_alone_a_remote_run_reaches_its_end(make_hub, transactional_db):
    hub = make_hub()
    call_command("ensure_schedules", verbosity=0)
    run = hub.start()
    assert "runs.reconciler.tasks.sweep_all" in ring()
    assert hub.seen(run).state == RunState.SCHEDULED
    hub.fake.engine.finish()
    ring()
    assert hub.seen(run).state == RunState.COMPLETED
    assert Heartbeat.objects.filter(name="qcluster").exists()


@pytest.mark.django_db(transaction=True)
def test_fault_14_a_message_that_comes_twice_or_never_changes_nothing(make_hub, transactional_db):
    hub = make_hub()
    run = hub.start()
    tasks.sweep_all()
    tasks.sweep_all()
    hub.fake.engine.finish()
    tasks.sweep_all()
    version = hub.seen(run).version
    tasks.sweep_all()
    assert hub.seen(run).state == RunState.COMPLETED and hub.seen(run).version == version
    assert list(hub.fake.engine.starts.values()) == [1]


@pytest.mark.django_db(transaction=True)
@pytest.mark.faults
def test_fault_21_a_sweep_is_over_in_time_though_an_engine_hangs(
    make_hub, transactional_db, monkeypatch
):
    monkeypatch.setattr(tasks, "SECONDS", 1.0)
    hung, hub = make_hub(hang=3), make_hub()
    hung.fake.inject(Fault.HANG, times=100)
    hung.start()
    run = hub.start()
    began = time.monotonic()
    assert "1 left for later" in tasks.sweep_all()
    assert time.monotonic() - began < 2.5
    assert hub.seen(run).state == RunState.SCHEDULED
    hung.fake.stop()
    for thread in threading.enumerate():
        if thread.name == "sweep":
            thread.join(20)


def test_cleanup_runs_without_arguments(db):
    assert "nothing" in tasks.cleanup() or "folded" in tasks.cleanup()


@pytest.mark.long
@pytest.mark.faults  # the scheduler looks every 30 s: too slow for every run of the tests
@pytest.mark.django_db(transaction=True)
def test_a_real_cluster_brings_a_run_to_its_end(make_hub, database_url):
    hub = make_hub()
    call_command("ensure_schedules", verbosity=0)
    run = hub.start()
    cluster = subprocess.Popen(
        [sys.executable, "manage.py", "qcluster"],
        cwd=django_settings.BASE_DIR,
        env=os.environ | {"DATABASE_URL": database_url},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until = time.monotonic() + 120
        while hub.seen(run).state != RunState.COMPLETED and time.monotonic() < until:
            if hub.seen(run).state == RunState.SCHEDULED:
                hub.fake.engine.finish()
                # The scheduler looks every 30 s; the next sweep needn't be a minute away.
                Schedule.objects.filter(name="workflowhub sweep").update(next_run=timezone.now())
            time.sleep(0.5)
        assert hub.seen(run).state == RunState.COMPLETED
    finally:
        cluster.terminate()
        try:
            cluster.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(cluster.pid, signal.SIGKILL)
            cluster.wait()
