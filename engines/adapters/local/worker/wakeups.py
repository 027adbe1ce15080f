"""How an idle worker hears of work: PostgreSQL notifies it, and with SQLite it looks whether the file
has changed, which costs microseconds. A wake-up that is lost costs a second, no more."""

import select
import time
from collections.abc import Sequence
from typing import Any

from django.db import connection

from engines.dag.held import STEPS_CHANNEL

POLL_SECONDS = 0.04


class Wakeups:
    """Belongs to one thread, and goes over its Django connection."""

    def __init__(self) -> None:
        self._raw: Any = None
        self._heard = False
        self._version = -1

    def wait(self, seconds: float, others: Sequence[int]) -> bool:
        """Up to so long, or until one of the `others` can be read; True if work may have come.
        Raises the database's errors."""
        if connection.vendor == "postgresql":
            return self._wait_notified(seconds, others)
        return self._wait_changed(seconds, others)

    def close(self) -> None:
        self._raw = None

    def _wait_notified(self, seconds: float, others: Sequence[int]) -> bool:
        raw = connection.connection
        if raw is None or raw.closed:
            connection.ensure_connection()
            raw = connection.connection
        if raw is not self._raw:
            # A new connection: listen first, and look at once, for what came in between.
            self._raw = raw
            raw.add_notify_handler(self._hear)
            with connection.cursor() as cursor:
                cursor.execute(f"LISTEN {STEPS_CHANNEL}")
            return True
        if not self._heard:
            with connection.wrap_database_errors:  # the server may be gone
                self._listen(raw, seconds, others)
        heard, self._heard = self._heard, False
        return heard

    def _listen(self, raw: Any, seconds: float, others: Sequence[int]) -> None:
        ready, _, _ = select.select([raw.fileno(), *others], [], [], seconds)
        if raw.fileno() in ready:
            raw.pgconn.consume_input()
            while raw.pgconn.notifies() is not None:
                self._heard = True

    def _hear(self, notification: Any) -> None:
        self._heard = True

    def _wait_changed(self, seconds: float, others: Sequence[int]) -> bool:
        end = time.monotonic() + seconds
        while True:
            version = self._data_version()
            if version != self._version:
                self._version = version
                return True
            left = end - time.monotonic()
            if left <= 0:
                return False
            ready, _, _ = select.select(others, [], [], min(POLL_SECONDS, left))
            if ready:
                return False

    def _data_version(self) -> int:
        connection.ensure_connection()
        row = connection.connection.execute("PRAGMA data_version").fetchone()
        return int(row[0])
