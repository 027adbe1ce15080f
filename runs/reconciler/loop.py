"""`sync --watch`: a thread for each engine, one for the runs without and one for bulk jobs, woken when
something changed.

A thread that hangs in a call holds up its own engine only. The main thread renews the leases, writes
the heartbeat, and wakes the others. Any number of these processes may run: whoever has a thing's lease
does it, the others ask for it again now and then.
"""

import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime
from uuid import UUID, uuid4

from django.conf import settings
from django.db import DatabaseError, InterfaceError, close_old_connections, connection, transaction

from engines.clock import database_now
from engines.faults import crash_point
from engines.inbound import Hint
from engines.models import Engine, EngineJob
from runs import leases
from runs.actions.bulk import OPEN as OPEN_JOBS
from runs.models import BulkJob, Heartbeat, Workflow, WorkflowRun
from runs.reconciler import bulk, jobs, metrics, turns
from runs.reconciler.hold import Hold, take
from runs.reconciler.observe import WATCHED
from runs.reconciler.once import BULK, PROBE, ROUTER, lease_name
from runs.reconciler.router import Router
from runs.reconciler.sweep import EngineSweep, Tick
from runs.reconciler.wakeups import Listener, listener

logger = logging.getLogger("workflowhub.sync")

HEARTBEAT = "sync"
HEARTBEAT_EVERY = 5.0
IDLE_CONNECTION = 5.0  # a thread that sleeps for longer gives its connection back
STOP_SECONDS = 15.0
LEAST_WAIT = 0.01
ASK_LATER = 0.02, 0.1  # seconds after a lease has run out, so that not all ask at once
MUSTER_EVERY, LEAST_MUSTER = 2.0, 0.3  # seconds between two looks at which engines there are
Ticker = Callable[[bool], Tick]


class Hand(threading.Thread):
    """Looks after one thing, for as long as this process holds its lease."""

    def __init__(self, name: str, owner: UUID, make: Callable[[Hold], Ticker]) -> None:
        super().__init__(name=name, daemon=True)
        self.owner = owner
        self.hold: Hold | None = None
        self._make = make
        self._ticker: Ticker | None = None
        self._awake = threading.Event()
        self._stopping = threading.Event()
        self._errors = 0
        # An end of the lease that can't be, and until when it may be put right (monotonic).
        self._impossible: tuple[datetime, float] | None = None

    def wake(self) -> None:
        self._awake.set()

    def stop(self) -> None:
        self._stopping.set()
        hold = self.hold
        if hold is not None:
            hold.end_soon()
        self._awake.set()

    def run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._sleep(self._once())
        finally:
            self._give_up()
            connection.close()

    def _once(self) -> float:
        """One tick where the lease is ours; seconds until the next."""
        self._awake.clear()
        try:
            left = self._take_it()
            if self._ticker is None:
                return left + random.uniform(*ASK_LATER)  # noqa: S311
            wait = self._ticker(False).wait
            self._errors = 0
            return wait
        except leases.LeaseLost as error:
            logger.warning("%s", error)
            self.hold = self._ticker = None
            return random.uniform(*ASK_LATER)  # noqa: S311
        except (DatabaseError, InterfaceError) as error:
            logger.warning("%s waits for the database: %s", self.name, error)
            connection.close()
        except Exception:  # noqa: BLE001 - a bug in one engine's tick must not end its thread
            logger.exception("The tick of %s broke", self.name)
            metrics.note("executor_errors_total", [("error_type", "Tick")])
        self._errors += 1
        return min(4.0, 0.2 * 2.0 ** min(self._errors, 6)) * random.uniform(0.5, 1)  # noqa: S311

    def _take_it(self) -> float:
        """Makes the lease ours, where it is free. Else seconds until it runs out: if its holder has
        died by then, nothing else will tell."""
        if self.hold is not None and self.hold.lost:
            self.hold = self._ticker = None
        if self.hold is None:
            held = leases.held(self.name)
            left = self._left(held) if held else 0.0
            if left > 0:
                return left
            self.hold = take(self.name, self.owner, until=held.until if held else None)
            if self.hold is None:
                return 0.0  # somebody was faster: we see for how long the next time
            self._ticker = self._make(self.hold)
        self.hold.come_by()
        return 0.0

    def _left(self, held: leases.Held) -> float:
        """For how long to leave the lease to its holder. Where the database's clock was put back it
        would last for ever; but whoever holds it and lives renews it within its length."""
        if held.left <= 2 * settings.WORKFLOWHUB_LEASE:
            return held.left
        now = time.monotonic()
        if self._impossible is None or self._impossible[0] != held.until:
            self._impossible = held.until, now + settings.WORKFLOWHUB_LEASE
        return self._impossible[1] - now

    def _sleep(self, wait: float) -> None:
        until = time.monotonic() + max(wait, LEAST_WAIT)
        if wait > IDLE_CONNECTION and not self._awake.wait(IDLE_CONNECTION):
            close_idle()
        while not self._stopping.is_set():
            left = until - time.monotonic()
            if left <= 0 or self._awake.wait(min(left, 5.0)):
                return
            if self.hold is not None:
                self.hold.come_by()

    def _give_up(self) -> None:
        hold, self.hold = self.hold, None
        if hold is not None and not hold.lost:
            try:
                hold.release()
            except (DatabaseError, InterfaceError) as error:
                logger.warning("The lease %s runs out by itself: %s", self.name, error)


def close_idle() -> None:
    """Gives this thread's connection back. SQLite's costs nothing to keep."""
    if connection.vendor == "postgresql":
        connection.close()
    else:
        close_old_connections()


class Loop:
    """All hands of one process. `engine`: only this one is looked after."""

    def __init__(self, engine: Engine | None = None) -> None:
        self.owner = uuid4()
        self.engine = engine
        self.hands: dict[str, Hand] = {}
        self._renewed = self._beaten = self._mustered = float("-inf")

    def watch(self, stop: threading.Event) -> None:
        """Until `stop` is set; then every lease is released."""
        logger.info("Syncing, as %s", self.owner)
        with listener() as ears:
            try:
                while not stop.is_set():
                    try:
                        self._keep()
                    except (DatabaseError, InterfaceError) as error:
                        logger.warning("The database can't be reached: %s", error)
                        connection.close()
                        stop.wait(0.5)
                    if ears.wait(self._pause(), stop):
                        self._mustered -= MUSTER_EVERY - LEAST_MUSTER  # perhaps a new engine
                        self._wake_hands(ears)
            finally:
                self._end()

    def _keep(self) -> None:
        """What the main thread does: muster, renew, beat."""
        now = time.monotonic()
        if now - self._mustered >= MUSTER_EVERY:
            self._muster()
            self._mustered = now
        if now - self._renewed >= settings.WORKFLOWHUB_LEASE / 3:
            with transaction.atomic():  # one commit for all of them
                for hand in list(self.hands.values()):
                    hold = hand.hold
                    if hold is not None:
                        hold.renew()
                crash_point("renew.writing")
            crash_point("renew.written")
            self._renewed = now
        if now - self._beaten >= HEARTBEAT_EVERY:
            beat(HEARTBEAT, {"owner": str(self.owner), "engines": len(self.hands)})
            crash_point("beat.written")
            metrics.flush()
            self._beaten = now

    def _wake_hands(self, ears: Listener) -> None:
        """Wakes those that may have something to do. On SQLite any commit is heard, also our own
        heartbeat: a few cheap questions are asked before everybody looks."""
        some = True
        if connection.vendor == "sqlite":
            try:
                some = anything_to_do()
            except (DatabaseError, InterfaceError):
                connection.close()
        if some:
            ears.quicken()
        for hand in list(self.hands.values()):
            if some or hand.hold is None:
                hand.wake()

    def _pause(self) -> float:
        return min(settings.WORKFLOWHUB_LEASE / 3, settings.WORKFLOWHUB_POLL, 1.0)

    def _muster(self) -> None:
        wanted: dict[str, Callable[[Hold], Ticker]] = {}
        engines = Engine.objects.enabled()
        if self.engine is not None:
            engines = engines.filter(pk=self.engine.pk)
        else:
            wanted[ROUTER] = lambda hold: _tick_of_router(Router(hold))
            wanted[PROBE] = _tick_of_probe
            wanted[BULK] = _tick_of_bulk
        for pk in engines.values_list("pk", flat=True):
            wanted[lease_name(pk)] = _maker(pk)
        for name in set(self.hands) - set(wanted):
            self.hands.pop(name).stop()
        for name, make in wanted.items():
            if name not in self.hands or not self.hands[name].is_alive():
                self.hands[name] = Hand(name, self.owner, make)
                self.hands[name].start()

    def _end(self) -> None:
        for hand in self.hands.values():
            hand.stop()
        until = time.monotonic() + STOP_SECONDS
        for hand in self.hands.values():
            hand.join(max(0.0, until - time.monotonic()))
            if hand.is_alive():
                logger.warning("%s still waits for an answer: its lease runs out", hand.name)
        try:
            metrics.flush()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The last metrics are lost: %s", error)
        connection.close()


def watch(stop: threading.Event, *, engine: Engine | None = None) -> None:
    """Syncs until `stop` is set."""
    Loop(engine).watch(stop)


def anything_to_do() -> bool:
    """Whether a run is watched or due or waits for its turn, a definition is due, or somebody asked
    something."""
    now = database_now()
    return (
        WorkflowRun.objects.due(now).exists()
        or WorkflowRun.objects.filter(state__in=WATCHED).exists()
        or turns.anybody_waits()
        or EngineJob.objects.filter(state__in=jobs.OPEN).exists()
        or BulkJob.objects.filter(state__in=OPEN_JOBS).exists()
        or Workflow.objects.due(now).exists()
        or Hint.objects.exists()
    )


def beat(name: str, detail: dict[str, object]) -> None:
    """Says that a background process works."""
    Heartbeat.objects.update_or_create(name=name, defaults={"at": database_now(), "detail": detail})


def _maker(engine_id: int) -> Callable[[Hold], Ticker]:
    def make(hold: Hold) -> Ticker:
        sweep = EngineSweep(engine_id, hold)
        return lambda full: sweep.tick(full=full)

    return make


def _tick_of_router(router: Router) -> Ticker:
    return lambda _: router.tick()


def _tick_of_bulk(hold: Hold) -> Ticker:
    return lambda _: bulk.tick(hold)


def _tick_of_probe(hold: Hold) -> Ticker:
    def tick(_: bool) -> Tick:
        hold.check()
        jobs.test_unsaved(hold)
        return Tick(wait=settings.WORKFLOWHUB_POLL)

    return tick
