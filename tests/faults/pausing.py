"""Stops a process as if its machine slept, and lets it go on."""

import os
import signal
import sqlite3
import time
from contextlib import closing

import psutil
from django.db import connection


def pause(pid: int) -> None:
    """Stops the process, but not while it has SQLite's one lock for writing: then nobody could go on."""
    _stop(pid)
    while not others_can_write():
        go_on(pid)
        time.sleep(0.02)
        _stop(pid)


def go_on(pid: int) -> None:
    os.kill(pid, signal.SIGCONT)


def others_can_write() -> bool:
    """Whether nobody keeps the lock for longer than a write takes."""
    if connection.vendor != "sqlite":
        return True
    with closing(sqlite3.connect(str(connection.settings_dict["NAME"]), timeout=1.0)) as own:
        try:
            own.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        own.rollback()
        return True


def _stop(pid: int) -> None:
    """Returns when each of its threads stands still: a signal is sent sooner than it is felt."""
    os.kill(pid, signal.SIGSTOP)
    threads = [psutil.Process(thread.id) for thread in psutil.Process(pid).threads()]
    until = time.monotonic() + 10
    while any(thread.status() != psutil.STATUS_STOPPED for thread in threads):
        assert time.monotonic() < until, "It doesn't stop."
        time.sleep(0.001)
