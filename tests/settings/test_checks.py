"""`manage.py check` finds what doesn't fit together, and says how to mend it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as real
from django.core.checks import Tags, run_checks

from engines import faults
from workflowhub import checks


def ids(found: list[Any]) -> list[str]:
    assert all(message.hint for message in found)
    return [message.id for message in found]


def test_the_default_settings_are_in_order() -> None:
    assert [message for message in run_checks() if message.is_serious()] == []


def test_a_bad_key_is_found(settings: Any) -> None:
    settings.WORKFLOWHUB_SECRET_KEYS = [*real.WORKFLOWHUB_SECRET_KEYS, "hunter2"]
    (found,) = checks.secret_keys(None)
    assert found.id == "workflowhub.E001"
    assert "Key 2" in found.msg
    assert "hunter2" not in found.msg


def test_an_open_home_is_found(settings: Any, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    settings.WORKFLOWHUB_HOME = tmp_path
    assert ids(checks.home_is_private(None)) == ["workflowhub.W001"]
    tmp_path.chmod(0o700)
    assert checks.home_is_private(None) == []


def test_a_missing_address_is_found_before_others_reach_the_hub(settings: Any) -> None:
    assert ids(checks.public_address(None)) == ["workflowhub.W002"]
    assert "workflowhub.W002" not in [message.id for message in run_checks(tags=[Tags.security])]
    settings.WORKFLOWHUB_URL = "https://hub.example.org"
    assert checks.public_address(None) == []


def test_a_worker_needs_two_heartbeats(settings: Any) -> None:
    settings.WORKFLOWHUB_HEARTBEAT, settings.WORKFLOWHUB_WORKER_LOST_AFTER = 5, 9
    assert ids(checks.lengths(None)) == ["workflowhub.E002"]
    settings.WORKFLOWHUB_WORKER_LOST_AFTER = 10
    assert checks.lengths(None) == []


@pytest.mark.parametrize("entry", ["10.0.0.0/99", "a b", "host:0", "host:http"])
def test_a_bad_inside_address_is_found(settings: Any, entry: str) -> None:
    settings.WORKFLOWHUB_HTTP_ALLOW = ["10.0.0.0/8", entry]
    assert ids(checks.inside_addresses(None)) == ["workflowhub.E003"]


@pytest.mark.parametrize("dotted", ["nowhere.at.all", "os.nothing", "justaword"])
def test_a_permission_factory_that_is_not_there_is_found(settings: Any, dotted: str) -> None:
    settings.WORKFLOWHUB_PERMISSION_FACTORY = dotted
    assert ids(checks.permission_factory(None)) == ["workflowhub.E004"]


def test_a_doorbell_that_rings_twice_is_found(settings: Any) -> None:
    assert checks.doorbell(None) == []
    settings.Q_CLUSTER = {**settings.Q_CLUSTER, "retry": 60}
    assert ids(checks.doorbell(None)) == ["workflowhub.E005"]


def test_a_hub_that_is_told_to_die_is_found() -> None:
    assert checks.crash_points(None) == []
    faults.arm("submit.called:1")
    try:
        assert ids(checks.crash_points(None)) == ["workflowhub.W003"]
    finally:
        faults.arm("")


def test_a_hub_behind_https_is_ready_for_others(tmp_path: Path) -> None:
    checked = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=real.BASE_DIR,
        env={
            **os.environ,
            "WORKFLOWHUB_HOME": str(tmp_path / "home"),
            "DATABASE_URL": "",
            "WORKFLOWHUB_URL": "https://hub.example.org",
        },
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert checked.returncode == 0, checked.stderr
    assert "no issues" in checked.stdout
