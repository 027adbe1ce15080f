"""Every call to an engine goes through here: the lease is looked at before, the breaker learns how it
went, the metrics count it."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from engines.base import EngineAdapter, EngineError, EngineRejected, EngineUnavailable, Page
from engines.clock import database_now
from engines.faults import crash_point
from runs.reconciler import metrics
from runs.reconciler.breaker import Breaker
from runs.reconciler.hold import Hold

T = TypeVar("T")


class Calls:
    """The calls of one tick. `kind`: of the engine, for the metrics."""

    def __init__(self, adapter: EngineAdapter, breaker: Breaker, hold: Hold, kind: str) -> None:
        self.adapter = adapter
        self.breaker = breaker
        self.hold = hold
        self.kind = kind
        self._rejected_by_health: bool | None = None

    @property
    def blocked(self) -> bool:
        """Whether nothing more is to be asked of the engine now."""
        if self.hold.ending:
            return True
        return self.breaker.until is not None and self.breaker.is_open(database_now())

    def ask(self, what: str, call: Callable[[], T]) -> T:
        """The answer; raises what the adapter raises. `what` names the call in the metrics."""
        self.hold.check()
        crash_point(f"{what}.calling")
        began = time.monotonic()
        try:
            answer = call()
        except EngineError as error:
            crash_point(f"{what}.called")
            self._note(what, began, error)
            raise
        crash_point(f"{what}.called")
        self.breaker.succeeded()
        metrics.note("scheduler_query_duration_seconds", seconds=time.monotonic() - began)
        return answer

    def observe(self, cursor: str | None, watching: Sequence[str]) -> Iterator[Page]:
        """The adapter's pages, counted in the same way. Raises EngineUnavailable where we have to
        end before the last one, because what it would have said is not known."""
        pages = self.adapter.observe(cursor, watching)
        while not self.hold.ending:
            page = self.ask("observe", lambda: next(pages, None))
            if page is None:
                return
            yield page
        raise EngineUnavailable("The look was cut short: this process ends, or is out of time.")

    def refuses_us(self) -> bool:
        """Whether the engine refuses us altogether (credentials, address), which is no fault of the
        run that was just refused. Asked at most once a tick."""
        if self._rejected_by_health is None:
            try:
                self.ask("health", self.adapter.health)
                self._rejected_by_health = False
            except EngineRejected:
                self._rejected_by_health = True
            except EngineError:
                return True
        return self._rejected_by_health

    def _note(self, what: str, began: float, error: EngineError) -> None:
        kind = type(error).__name__
        if isinstance(error, EngineUnavailable):
            self.breaker.failed(database_now(), retry_after=error.retry_after)
            metrics.note("executor_errors_total", [("error_type", kind)])
            metrics.note("scheduler_query_errors_total")
        else:
            self.breaker.succeeded()
            if isinstance(error, EngineRejected):
                metrics.note("executor_errors_total", [("error_type", kind)])
        if what == "submit":
            metrics.note("scheduler_submit_errors_total", [("app", self.kind)])
