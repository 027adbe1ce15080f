"""Puts a running step's message and progress into its row, at most twice a second, from a thread, so
that a step which reports often, or a database that is slow, holds nothing up."""

import threading
import time
from dataclasses import dataclass

import structlog
from django.db import DatabaseError, connection

from engines.dag import statements

log = structlog.get_logger("engines.worker")

INTERVAL_SECONDS = 0.5


@dataclass(slots=True)
class Report:
    step_id: int
    token: int
    message: str
    progress: float | None


class Reporter:
    """`report` may be called as often as a step likes; the thread starts with the first call."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._waiting: Report | None = None
        self.thread: threading.Thread | None = None

    def report(self, report: Report) -> None:
        with self._condition:
            self._waiting = report
            if self.thread is None:
                self.thread = threading.Thread(target=self._run, name="progress", daemon=True)
                self.thread.start()
            self._condition.notify()

    def forget(self) -> None:
        """The step has ended: its row says everything."""
        with self._condition:
            self._waiting = None

    def _run(self) -> None:
        while True:
            with self._condition:
                while self._waiting is None:
                    self._condition.wait()
                report, self._waiting = self._waiting, None
            try:
                statements.show_progress(
                    report.step_id, report.token, report.message, report.progress
                )
            except DatabaseError as error:
                log.warning("progress could not be written", error=str(error))
                connection.close()
            time.sleep(INTERVAL_SECONDS)
