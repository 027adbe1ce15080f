"""What wakes the loop: NOTIFY on PostgreSQL, a look at the database file's version on SQLite.

A wake-up may be lost, doubled or late: the loop looks by itself every WORKFLOWHUB_POLL seconds.
"""

import contextlib
import logging
import sqlite3
import threading
import time
from typing import Any, Protocol, Self

import psycopg
from django.db import connection

from engines.inbound import CHANNEL as ENGINE_CHANNEL
from runs.wakeups import CHANNEL as SYNC_CHANNEL

logger = logging.getLogger("workflowhub.sync")

QUICK, SLOW = 0.02, 0.06  # seconds between two looks at SQLite's version: busy, idle
BUSY_FOR = 2.0  # seconds after there was something to do


class Listener(Protocol):
    """`wait` returns at the latest after so many seconds, sooner when something changed, which it
    says. `quicken` tells that there was something to do, so that more may follow soon."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def wait(self, seconds: float, stop: threading.Event) -> bool: ...

    def quicken(self) -> None: ...


def listener() -> Listener:
    """The one for the database in use."""
    if connection.vendor == "postgresql":
        return Notifications(connection.get_connection_params())
    return FileVersion(str(connection.settings_dict["NAME"]))


class Notifications:
    """LISTEN on a connection of its own, which is opened anew when it breaks."""

    def __init__(self, params: dict[str, Any]) -> None:
        known = {"dbname", "user", "password", "host", "port", "sslmode", "options", "service"}
        known |= {"connect_timeout", "sslrootcert", "sslcert", "sslkey", "passfile"}
        self._params = {name: value for name, value in params.items() if name in known}
        self._connection: psycopg.Connection[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """True also when the connection is new: what was told before it is not known."""
        if self._connection is None:
            return self._open(seconds, stop)
        try:
            # Short waits, because a signal only sets `stop`.
            until = time.monotonic() + seconds
            while not stop.is_set():
                left = until - time.monotonic()
                if left <= 0:
                    return False
                found = list(self._connection.notifies(timeout=min(left, 0.5), stop_after=1))
                if found:
                    return True
        except psycopg.Error as error:
            logger.warning("The database connection that listens broke: %s", error)
            self._close()
        return False

    def quicken(self) -> None:
        """Nothing to do: it hears at once anyway."""

    def _open(self, seconds: float, stop: threading.Event) -> bool:
        try:
            self._connection = psycopg.connect(**self._params, autocommit=True)
            for channel in (SYNC_CHANNEL, ENGINE_CHANNEL):
                self._connection.execute(f"LISTEN {channel}")
        except psycopg.Error as error:
            logger.warning("The database can't be listened to: %s", error)
            self._close()
            stop.wait(min(seconds, 1.0))
            return False
        return True

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(psycopg.Error):
                self._connection.close()
        self._connection = None


class FileVersion:
    """PRAGMA data_version on a connection of its own changes when another one commits."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self._busy_at = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def wait(self, seconds: float, stop: threading.Event) -> bool:
        """True also for the first look of a new connection: what was written before is not known."""
        until = time.monotonic() + seconds
        while not stop.is_set():
            try:
                version = self._look()
            except sqlite3.Error as error:
                logger.warning("The database file can't be looked at: %s", error)
                self._close()
                stop.wait(min(seconds, 1.0))
                return False
            now = time.monotonic()
            if version != self._version:
                self._version = version
                return True
            if now >= until:
                return False
            pause = QUICK if now - self._busy_at < BUSY_FOR else SLOW
            stop.wait(min(pause, max(until - now, 0.001)))
        return False

    def quicken(self) -> None:
        self._busy_at = time.monotonic()

    def _look(self) -> int:
        if self._connection is None:
            self._version = -1
            self._connection = sqlite3.connect(self._path, timeout=20, check_same_thread=False)
        (version,) = self._connection.execute("PRAGMA data_version").fetchone()
        return int(version)

    def _close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
        self._connection = None
