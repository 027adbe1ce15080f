"""One hub per home."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from django.conf import settings

from runs.management.lock import AlreadyRunning, HomeLock

HOLD = """
import os, subprocess, sys, time
from pathlib import Path
from runs.management.lock import HomeLock
lock = HomeLock(Path(sys.argv[1]))
lock.take()
lock.sign("http://127.0.0.1:8000")
if sys.argv[2] == "fork" and os.fork() == 0:
    time.sleep(60)
print("held", flush=True)
time.sleep(60)
"""


def hold(home: Path, how: str = "alone") -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home), how],
        cwd=settings.BASE_DIR,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_hub_is_refused_and_told_why(tmp_path: Path) -> None:
    with hold(tmp_path) as first:
        with pytest.raises(AlreadyRunning) as refusal:
            HomeLock(tmp_path).take()
        first.kill()
    assert f"(process {first.pid}, http://127.0.0.1:8000)" in str(refusal.value)
    assert "make stop" in str(refusal.value)


def test_two_homes_are_two_hubs(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    a, b = HomeLock(tmp_path / "a"), HomeLock(tmp_path / "b")
    a.take()
    b.take()
    a.release()
    b.release()


def test_the_lock_ends_with_its_holder_even_by_kill_9(tmp_path: Path) -> None:
    with hold(tmp_path) as first:
        first.kill()
    lock = HomeLock(tmp_path)
    lock.take()
    lock.release()


def test_the_home_stays_locked_until_the_last_process_has_ended(tmp_path: Path) -> None:
    with hold(tmp_path, "fork") as first:
        first.kill()
        first.wait()
        with pytest.raises(AlreadyRunning, match="still stopping"):
            HomeLock(tmp_path).take()
        assert not HomeLock(tmp_path).wait_until_free(0.2)
        os.killpg(first.pid, 9)
    assert HomeLock(tmp_path).wait_until_free(5)


def test_the_holder_can_be_asked_for(tmp_path: Path) -> None:
    lock = HomeLock(tmp_path)
    assert lock.holder() is None
    with hold(tmp_path) as first:
        holder = lock.holder()
        first.kill()
    assert holder is not None
    assert (holder.pid, holder.url) == (first.pid, "http://127.0.0.1:8000")
    assert lock.holder() is None


def test_asking_does_not_refuse_a_start(tmp_path: Path) -> None:
    lock = HomeLock(tmp_path)
    end = time.monotonic() + 1
    while time.monotonic() < end:
        lock.holder()
        lock.take()
        lock.release()


def test_a_lock_that_is_not_held_cannot_be_signed(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        HomeLock(tmp_path).sign("http://127.0.0.1:8000")


def test_the_file_is_private(tmp_path: Path) -> None:
    lock = HomeLock(tmp_path)
    lock.take()
    lock.sign("")
    assert lock.path.stat().st_mode & 0o777 == 0o600
    assert json.loads(lock.path.read_text())["pid"] == os.getpid()
    lock.release()
