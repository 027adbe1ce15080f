"""`manage.py up` and `down`: the whole hub from an empty home, on both databases."""

import re
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import CommandError

from engines.models import Engine
from runs.management import prepare
from runs.management.prepare import make_administrator, make_local_engine
from tests.e2e.hubs import Hub, all_gone, environment, family, is_up, status, title, up
from tests.e2e.processes import ROOT, eventually


def is_there(hub: Hub, name: str) -> bool:
    """Whether a process of the hub has a title that begins so."""
    return any(title(one).startswith(name) for one in family(hub.process.pid))


def test_fault_34_an_empty_home_becomes_a_hub_and_drains_on_ctrl_c(
    database_url: str, tmp_path: Path
) -> None:
    with up(tmp_path, database_url) as hub:
        eventually(lambda: is_up(hub.url), seconds=60, what="the hub answers")
        for name in ("supervisor", "web", "web worker", "sync", "worker"):
            eventually(partial(is_there, hub, f"workflowhub: {name}"), what=f"{name} is there")
        titles = {title(one) for one in family(hub.process.pid)}
        assert any(found.startswith("qcluster") for found in titles), titles
        assert status(hub.url, "/admin/") == 302
        assert len(re.findall(r"log in +admin +\S{16}\n", hub.said)) == 1
        assert str(tmp_path) in hub.said
        members = family(hub.process.pid)
        started = time.monotonic()
        hub.process.send_signal(signal.SIGINT)
        assert hub.process.wait(25) == 0
        assert time.monotonic() - started < 25
        assert all_gone(members, 1)
        assert "while stopping" not in hub.said
    users = get_user_model().objects
    assert users.get(username="admin").is_superuser
    assert Engine.objects.get().name == "local"


@pytest.mark.faults
def test_the_second_start_shows_no_password_and_keeps_the_state(
    database_url: str, tmp_path: Path
) -> None:
    get_user_model().objects.create_superuser("grace")
    with up(tmp_path, database_url) as hub:
        assert hub.url
        assert "log in" not in hub.said
    assert get_user_model().objects.count() == 1


@pytest.mark.faults
def test_a_second_hub_in_the_same_home_is_refused(database_url: str, tmp_path: Path) -> None:
    with up(tmp_path, database_url) as hub:
        url = hub.url
        second = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "up", "--port", "0"],
            env=environment(tmp_path, database_url),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert second.returncode == 1
        assert f"A hub already runs in {tmp_path} (process {hub.process.pid}, {url})" in (
            second.stderr
        )
        assert "Traceback" not in second.stderr
        assert hub.process.poll() is None


@pytest.mark.faults
def test_a_service_manager_may_run_the_processes_apart(database_url: str, tmp_path: Path) -> None:
    with up(tmp_path, database_url, "--only", "qcluster") as jobs:
        jobs.wait_for("qcluster")
        with (
            up(tmp_path, database_url, "--only", "qcluster") as twice,
            up(tmp_path, database_url, "--only", "sync") as sync,
        ):
            sync.wait_for("sync")
            assert twice.process.wait(30) == 1
            assert sync.process.poll() is None
    assert not get_user_model().objects.exists(), "Nothing is prepared."


@pytest.mark.faults
def test_what_is_killed_comes_back_and_nobody_is_refused(database_url: str, tmp_path: Path) -> None:
    with up(tmp_path, database_url) as hub:
        eventually(lambda: is_up(hub.url), seconds=60, what="the hub answers")
        (web,) = [one for one in family(hub.process.pid) if title(one) == "workflowhub: web"]
        web.kill()
        assert hub.wait_for(r"web was killed by SIGKILL\. Starting it again in 1 s")
        # The supervisor holds the socket, so this waits instead of failing.
        assert is_up(hub.url)


@pytest.mark.faults
def test_nothing_outlives_a_killed_supervisor(database_url: str, tmp_path: Path) -> None:
    with up(tmp_path, database_url) as hub:
        eventually(lambda: is_up(hub.url), seconds=60, what="the hub answers")
        eventually(lambda: len(family(hub.process.pid)) >= 10, what="all have forked")
        members = family(hub.process.pid)
        hub.process.kill()
        assert all_gone(members, 5), [title(one) for one in members if one.is_running()]
    with up(tmp_path, database_url) as again:
        assert again.url


@pytest.mark.faults
def test_it_goes_to_the_background_and_down_stops_it(database_url: str, tmp_path: Path) -> None:
    manage = [sys.executable, str(ROOT / "manage.py")]
    started = subprocess.run(
        [*manage, "up", "--port", "0", "--detach"],
        env=environment(tmp_path, database_url),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert started.returncode == 0, started.stderr
    password = re.search(r"log in +admin +(\S+)", started.stdout)
    url = re.search(r"WorkflowHub is at (\S+)", started.stdout)
    assert password
    assert url
    try:
        eventually(lambda: is_up(url[1]), seconds=60, what="the hub answers")
        assert password[1] not in (tmp_path / "hub.log").read_text()
    finally:
        stopped = subprocess.run(
            [*manage, "down"],
            env=environment(tmp_path, database_url),
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert stopped.stdout.strip() == "Stopped."
    assert status(url[1]) is None


def test_down_without_a_hub_says_so(
    tmp_path: Path, settings: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings.WORKFLOWHUB_HOME = tmp_path
    call_command("down")
    assert f"No hub runs in {tmp_path}." in capsys.readouterr().out


def test_a_port_in_use_is_said_before_anything_starts(
    tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.WORKFLOWHUB_HOME = tmp_path
    monkeypatch.setattr(prepare, "prepare", lambda say: pytest.fail("It was prepared."))
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CommandError, match=f"port {port}: another program uses it"):
            call_command("up", "--port", str(port))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--port", "70000"], "70000 is not a port"),
        (["--host", "no.such.host.invalid"], "Cannot listen on no.such.host.invalid"),
        (["--only", "web,wbe"], "--only names wbe: choose from web, sync, qcluster, worker"),
    ],
)
def test_nonsense_is_refused_with_a_remedy(
    words: list[str], message: str, tmp_path: Path, settings: Any
) -> None:
    settings.WORKFLOWHUB_HOME = tmp_path
    with pytest.raises(CommandError, match=re.escape(message)):
        call_command("up", *words)


@pytest.mark.django_db
def test_the_first_user_is_made_once() -> None:
    assert len(make_administrator()) >= 16
    assert make_administrator() == ""


@pytest.mark.django_db
def test_a_built_in_engine_under_another_name_is_left_alone() -> None:
    Engine.objects.create(name="built-in", kind="local")
    make_local_engine()
    assert [engine.name for engine in Engine.objects.all()] == ["built-in"]
