"""One engine's tick: everything that is to be done for it now, under its lease.

In this order: what operators asked (test, sync), how it is, definitions, the runs that are due, the
look at the runs that it has, the runs that their steps ask for. Each part may be cut short anywhere;
the next tick starts from what the database says.
"""

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Q

from engines.base import EngineAdapter, EngineError
from engines.clock import database_now
from engines.config import ConfigError
from engines.connect import connect
from engines.faults import crash_point
from engines.inbound import Hint, drain
from engines.models import Engine
from engines.registry import UnknownKind
from engines.states import HealthState
from runs import leases
from runs.models import WorkflowRun
from runs.reconciler import archive, children, deadlines, deploy, health, jobs, metrics, turns
from runs.reconciler.breaker import Breaker
from runs.reconciler.calls import Calls
from runs.reconciler.handle import BATCH, handle_due
from runs.reconciler.hold import Hold
from runs.reconciler.observe import Memory, look

logger = logging.getLogger("workflowhub.sync")

OBSERVED_EVERY = 5.0  # seconds between two notes of when everything was last looked at
KEPT_FIELDS = (
    "health",
    "health_message",
    "engine_version",
    "capabilities",
    "failures",
    "breaker_until",
    "cursor",
    "observed_at",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """`wait`: seconds until the next one, unless something wakes us. `handled`: runs that were due."""

    wait: float
    handled: int = 0


class EngineSweep:
    """The ticks of one engine in this process, as long as `hold` is ours."""

    def __init__(self, engine_id: int, hold: Hold) -> None:
        self.engine_id = engine_id
        self.hold = hold
        self.memory = Memory()
        self.logs = archive.Memory()
        self.children = children.Memory()
        self._adapter: EngineAdapter | None = None
        self._made_of: Any = None
        self._health_at = float("-inf")  # monotonic
        self._deadline: datetime | None = None  # the next that a tick has seen

    def tick(self, *, only: Collection[int] | None = None, full: bool = False) -> Tick:
        """Does what is due. `only`: these runs and nothing else. `full`: look at everything now.
        Raises LeaseLost and the database's errors; never an engine's."""
        engine = Engine.objects.filter(pk=self.engine_id, enabled=True).first()
        if engine is None:
            return Tick(wait=settings.WORKFLOWHUB_POLL)
        before = {name: getattr(engine, name) for name in KEPT_FIELDS}
        adapter = self._connect(engine)
        if adapter is None:
            self._save(engine, before)
            return Tick(wait=health.EVERY)
        breaker = Breaker(
            limit=settings.WORKFLOWHUB_BREAKER_FAILURES,
            pause=settings.WORKFLOWHUB_BREAKER_PAUSE,
            failures=engine.failures,
            until=engine.breaker_until,
        )
        calls = Calls(adapter, breaker, self.hold, engine.kind)
        handled = 0
        try:
            full = jobs.do_jobs(engine, calls) or full
            now = database_now()
            self._deadline = deadlines.stop_overdue(engine, self.hold.fence, now)
            if self._may_call(engine, calls, now):
                handled = self._work(engine, calls, only, full)
            elif only is None:
                children.call_off(Q(parent__engine=engine), self.hold.fence)
        except EngineError as error:
            logger.warning("%s: %s", engine.name, error)
        except (leases.LeaseLost, DatabaseError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - one adapter's bug stops no other engine
            logger.exception("The tick of %s broke", engine.name)
            metrics.note("executor_errors_total", [("error_type", "Tick")])
            breaker.failed(database_now())
            health.note_broken(engine, error)
        finally:
            engine.failures, engine.breaker_until = breaker.failures, breaker.until
            self._save(engine, before)
        return Tick(wait=self._wait(engine, calls), handled=handled)

    def _connect(self, engine: Engine) -> EngineAdapter | None:
        made_of = (engine.kind, repr(sorted(engine.config.items())), engine.encrypted_secrets)
        if self._adapter is None or self._made_of != made_of:
            try:
                self._adapter = connect(engine)
            except (ConfigError, UnknownKind) as error:
                health.note_unusable(engine, error)
                self._adapter = None
                return None
            self._made_of = made_of
            self._health_at = float("-inf")
            self.memory = Memory(cursor=engine.cursor or None)
            self.logs = archive.Memory()
        return self._adapter

    def _may_call(self, engine: Engine, calls: Calls, now: datetime) -> bool:
        """Whether the engine may be called now. A breaker that is half open lets one question
        through, and its answer decides."""
        if calls.breaker.is_open(now):
            return False
        half_open = calls.breaker.is_half_open(now)
        if not half_open and time.monotonic() - self._health_at < health.EVERY:
            return True
        self._health_at = time.monotonic()
        failures = calls.breaker.failures
        state = health.check(engine, calls)
        if half_open and calls.breaker.failures == failures:
            calls.breaker.close()
        if state == HealthState.REJECTED:
            return False
        return calls.breaker.failures <= failures

    def _work(self, engine: Engine, calls: Calls, only: Collection[int] | None, full: bool) -> int:
        deploy.do_due(engine, calls)
        turns.call_the_next(engine, self.hold.fence)
        due = self._due(only)
        looks = handle_due(engine, calls, due) if due else []
        if calls.blocked:
            return len(due)
        hinted = self._hinted() if only is None else []
        every = settings.WORKFLOWHUB_ACTIVE_POLL
        if calls.adapter.observes_changes:
            every = settings.WORKFLOWHUB_POLL
        elapsed = time.monotonic() - self.memory.full_at
        full = full or (only is None and elapsed >= every)
        began = time.monotonic()
        if look(engine, calls, self.memory, asked=looks, hinted=hinted, full=full):
            self.memory.full_at = began
            self._note_observed(engine)
        handled = len(due)
        if only is None:
            handled += children.tend(engine, calls, self.children, self.memory.requests)
            archive.store_some(engine, calls, self.logs)
        return handled

    def _due(self, only: Collection[int] | None) -> list[int]:
        due = WorkflowRun.objects.filter(engine_id=self.engine_id)
        if only is not None:
            due = due.filter(pk__in=only)
        return list(due.due(database_now()).values_list("pk", flat=True)[:BATCH])

    def _hinted(self) -> list[str]:
        if not Hint.objects.filter(engine_id=self.engine_id).exists():
            return []
        hinted = drain(self.engine_id)
        crash_point("hints.drained")
        return hinted

    def _note_observed(self, engine: Engine) -> None:
        now = database_now()
        if not self.memory.watched:
            return
        last = engine.observed_at
        if last is None or (now - last).total_seconds() >= OBSERVED_EVERY:
            engine.observed_at = now
            engine.cursor = self.memory.cursor or ""

    def _save(self, engine: Engine, before: dict[str, Any]) -> None:
        changed = {
            name: getattr(engine, name)
            for name in KEPT_FIELDS
            if getattr(engine, name) != before[name]
        }
        if engine.checked_at and self._health_at > float("-inf"):
            stored = Engine.objects.filter(pk=engine.pk).values_list("checked_at", flat=True)
            if changed or stored.first() != engine.checked_at:
                changed["checked_at"] = engine.checked_at
        if not changed:
            return
        with transaction.atomic():
            leases.check(self.hold.fence)
            # Somebody may have edited its settings meanwhile: then what we know is out of date.
            Engine.objects.filter(pk=engine.pk, version=engine.version).update(**changed)
            crash_point("engine.writing")
        crash_point("engine.written")

    def _wait(self, engine: Engine, calls: Calls) -> float:
        now = database_now()
        if calls.breaker.is_open(now) and calls.breaker.until:
            return min(
                settings.WORKFLOWHUB_POLL, (calls.breaker.until - now).total_seconds() + 0.01
            )
        wait = settings.WORKFLOWHUB_POLL
        if self.memory.requests:
            wait = 0.0  # there was no time for all of them
        if self.memory.watched:
            wait = min(wait, settings.WORKFLOWHUB_ACTIVE_POLL)
        first = (
            WorkflowRun.objects.filter(engine=engine, next_check_at__isnull=False)
            .order_by("next_check_at")
            .values_list("next_check_at", flat=True)
            .first()
        )
        for at in filter(None, (first, self._deadline)):
            wait = min(wait, max(0.0, (at - now).total_seconds()))
        if calls.breaker.failures:
            wait = max(wait, min(0.2 * calls.breaker.failures, 2.0))
        return wait
