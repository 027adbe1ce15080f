"""Starts the hub's own commands as processes of a test and ends them, whatever happens."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from django.db import connection

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def command(*words: str, database_url: str, **environment: str) -> Iterator[subprocess.Popen]:
    """`manage.py words…` on the test's database, in a session of its own; ended with all its
    children at the end."""
    process = subprocess.Popen(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        kill(process)


def kill(process: subprocess.Popen) -> None:
    """kill -9 of the process and of everything that it started."""
    try:
        family = [
            psutil.Process(process.pid),
            *psutil.Process(process.pid).children(recursive=True),
        ]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            member.send_signal(signal.SIGKILL)
        except psutil.NoSuchProcess:
            continue
    process.wait(10)
    if process.stderr:
        process.stderr.close()


def kill_only(process: subprocess.Popen) -> None:
    """kill -9 of the process alone: what it started must notice by itself."""
    process.send_signal(signal.SIGKILL)
    process.wait(10)


def eventually(holds: Callable[[], object], *, seconds: float = 90, what: str = "") -> None:
    """Waits until `holds()` is true; fails with `what` when it isn't in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError(f"Not within {seconds} s: {what or holds}. Database: {connection.vendor}.")
