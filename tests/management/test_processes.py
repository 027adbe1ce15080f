"""What the supervisor knows about the hub's own processes."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import OperationalError, connection

from engines.clock import database_now
from runs.management import processes
from runs.management.fork import forbid_open_connections
from runs.models import Heartbeat

LONG = processes.CANARY_STALE.total_seconds() + 1


def beat(age: timedelta) -> None:
    Heartbeat.objects.update_or_create(
        name="qcluster", defaults={"at": database_now() - age, "detail": {}}
    )


def test_a_cluster_whose_canary_sings_is_well(transactional_db: None) -> None:
    beat(timedelta(seconds=70))
    assert processes.qcluster_is_wedged(LONG) == ""


def test_a_cluster_whose_canary_fell_silent_hangs(transactional_db: None) -> None:
    beat(timedelta(minutes=10))
    assert processes.qcluster_is_wedged(LONG) == "its canary last reported 600 s ago"


def test_a_cluster_that_never_reported_hangs(transactional_db: None) -> None:
    assert processes.qcluster_is_wedged(LONG) == "its canary has never reported"


def test_a_cluster_that_was_just_started_gets_its_time(transactional_db: None) -> None:
    beat(timedelta(days=1))
    assert processes.qcluster_is_wedged(LONG - 2) == ""


def test_asking_leaves_no_connection_open(transactional_db: None) -> None:
    processes.qcluster_is_wedged(LONG)
    forbid_open_connections()
    connection.ensure_connection()


def test_a_database_that_is_down_is_no_reason_to_kill(
    transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise OperationalError("the server went away")

    monkeypatch.setattr(Heartbeat.objects, "filter", fail)
    assert processes.qcluster_is_wedged(LONG) == ""


def test_web_needs_a_socket() -> None:
    with pytest.raises(ValueError, match="socket"):
        processes.process("web")
