"""A worker's parent: keeps the worker's leases, wakes its children, ends what runs too long or was
cancelled, and records what becomes of a try whose process died. It runs no step itself."""

import gc
import os
import signal
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

import structlog
from django.conf import settings
from django.db import DatabaseError, InterfaceError, OperationalError, connection, connections

from engines.adapters.local.worker.batch import Waiting
from engines.adapters.local.worker.board import StopCode
from engines.adapters.local.worker.child import Child
from engines.adapters.local.worker.crew import NO_TRY, Crew, Death, Place
from engines.adapters.local.worker.wakeups import Wakeups
from engines.adapters.local.worker.watcher import Watcher
from engines.dag import leases, lookups, requests, spool
from engines.dag.held import Taker
from engines.dag.models import Step, Worker
from engines.dag.outcome import Stop
from engines.dag.processes import MARKER, adopt_orphans
from engines.dag.spool import Ended
from engines.states import TaskState

log = structlog.get_logger("engines.worker")

BUSY_TICK = 0.1
IDLE_TICK = 1.0
HOUSEKEEPING_SECONDS = 1.0
STOPS_SECONDS = 0.5
RELIEF_SECONDS = 0.05  # a step that takes longer keeps back nothing that was taken with it
LISTEN_SECONDS = 1.0
SAY_SECONDS = 5.0  # between two words about a database that is away

CODES = {
    Stop.CANCELED: StopCode.CANCELED,
    Stop.SIBLING: StopCode.SIBLING,
    Stop.TIMEOUT: StopCode.RUN_TIMEOUT,
}


class Parent:
    """`drain`: end by itself once nothing is ready, running or to be tried again. `grace`: seconds
    that running steps have to end after SIGTERM."""

    def __init__(self, concurrency: int, *, drain: bool = False, grace: float = 20.0) -> None:
        self.concurrency = concurrency
        self.grace = grace
        self.drain_when_idle = drain
        self.more_reader, self.more_writer = os.pipe()
        self.signal_reader, self.signal_writer = os.pipe()
        for end in (self.more_reader, self.signal_reader, self.signal_writer):
            os.set_blocking(end, False)
        self.crew = Crew(
            concurrency, self._child, [self.more_reader, self.signal_reader], self._kept
        )
        self.wakeups = Wakeups()
        self.watcher = Watcher()
        self.worker: Worker = self._register_patiently()
        # What this process itself made ready: SQLite tells it of others' changes only.
        self.made_ready = False
        self.replayed = False
        self.drain_until = 0.0
        self.sick_until = self.say_at = 0.0
        self.next_beat = self.next_look = self.next_round = self.next_stops = self.retry_at = 0.0

    def run(self) -> None:
        """Until SIGTERM or SIGINT, or with `drain` until there is nothing to do."""
        adopt_orphans()
        signal.set_wakeup_fd(self.signal_writer, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        gc.freeze()
        try:
            while not self.drain_until or self.crew.alive:
                self._tick()
        finally:
            self._end()

    def _tick(self) -> None:
        if not self.drain_until:
            self.crew.fill(self.worker.host)
        try:
            self._duties()
            # Asked once here, not by every child: the database changes for many reasons.
            work = self._wait() and lookups.anything_ready()
            self.made_ready = False
        except DatabaseError as error:
            now = time.monotonic()
            if now >= self.say_at:
                self.say_at = now + SAY_SECONDS
                log.warning("the database can't be reached", error=str(error).strip())
            self.sick_until = now + settings.WORKFLOWHUB_WORKER_LOST_AFTER
            connection.close()
            time.sleep(0.2)
            work = True
        if work:
            self.crew.wake_idle()
        self.crew.watch()
        if self.drain_until and time.monotonic() >= self.drain_until:
            for place in self.crew.places:
                self.crew.stop(place, place.slot.trying, StopCode.DRAIN)
        for death in self.crew.bury():
            self._settle(death)

    def _duties(self) -> None:
        """What is due with the database."""
        if not self.replayed:
            # Before anybody takes those steps away from a worker that is gone.
            leases.replay()
            self.replayed = True
        now = time.monotonic()
        if now >= self.next_beat:
            self._beat()
            # Not before it was heard: what failed is tried again at once.
            self.next_beat = now + settings.WORKFLOWHUB_HEARTBEAT
        # After a time without database nobody's silence says anything.
        if now >= max(self.next_look, self.sick_until):
            self.next_look = now + min(LISTEN_SECONDS, settings.WORKFLOWHUB_HEARTBEAT)
            self.made_ready |= leases.recover() > 0
        if now >= self.next_round or (self.retry_at and now >= self.retry_at):
            self.next_round = now + HOUSEKEEPING_SECONDS
            self.made_ready |= leases.promote() > 0
            self.made_ready |= requests.stop_overdue()
            wait = leases.next_retry_wait()
            self.retry_at = now + wait if wait is not None else 0.0
            idle = wait is None and not self.crew.busy
            if self.drain_when_idle and idle and not lookups.anything_ready():
                self._drain()
        for place in self.crew.places:
            trying = place.slot.trying
            if trying != place.seen:
                place.seen, place.seen_at = trying, now
            long = trying[1] and trying != place.relieved and now >= place.seen_at + RELIEF_SECONDS
            if long or place.left:
                self._relieve(place)
        if self.crew.busy and now >= self.next_stops:
            self.next_stops = now + STOPS_SECONDS
            self._find_stops()
            for place in self.watcher.too_full(self.crew.places):
                self.crew.stop(place, place.slot.trying, StopCode.ARTIFACTS)

    def _relieve(self, place: Place) -> None:
        """A child that is in a long step holds nothing up that it had taken with it."""
        trying = place.slot.trying
        tries = place.withdraw()
        outcomes = list(spool.read(place.kept))
        if tries or outcomes:
            place.slot.relieved = True
            self.made_ready |= leases.give_back(self.worker.pk, tries) > 0
            place.left = []
            leases.end_all(outcomes)
        place.relieved = trying

    def _settle_batch(self, death: Death) -> None:
        """What a dead child has done is recorded, and what it had not begun is given back: but not if
        it ended by itself, or it would do so for ever."""
        leases.end_all(list(spool.read(death.kept)))
        if death.trying != NO_TRY or death.code == -signal.SIGKILL:
            self.made_ready |= leases.give_back(self.worker.pk, death.waiting) > 0
        if self.drain_until:
            leases.replay()

    def _beat(self) -> None:
        if not leases.beat(self.worker.pk):
            log.error("this worker was declared lost: its steps are stopped, it starts anew")
            self.crew.kill_all()
            self.worker = self._register()

    def _register(self) -> Worker:
        worker = leases.register(self.concurrency)
        os.environ[MARKER] = str(worker.pk)
        return worker

    def _register_patiently(self) -> Worker:
        """A worker that is started while the database is away waits for it."""
        while True:
            try:
                return self._register()
            except (OperationalError, InterfaceError) as error:
                log.warning("the database can't be reached", error=str(error).strip())
                connection.close()
                time.sleep(0.5)

    def _child(self, place: Place, wake: int) -> None:
        taker = Taker(self.worker.pk, place.name)
        waiting, ended = place.waiting or Waiting(), Ended(place.kept)
        Child(taker, place.slot, wake, self.more_writer, waiting, ended).main(os.getppid())

    def _kept(self, place: Place) -> Path:
        return spool.file_of(self.worker.pk, place.index)

    def _wait(self) -> bool:
        """Sleeps until something is due or happens; True if it may have brought work."""
        now = time.monotonic()
        tick = BUSY_TICK if self.crew.busy or self.drain_until else IDLE_TICK
        due = [
            now + tick,
            self.next_beat,
            self.next_round,
            *([self.retry_at] * bool(self.retry_at)),
        ]
        ends = [self.more_reader, self.signal_reader]
        longest = 0.0 if self.made_ready else max(min(due) - now, 0.0)
        woken = self.wakeups.wait(longest, ends) or self.made_ready
        for end in ends:
            with suppress(BlockingIOError):
                woken = bool(os.read(end, 4096)) or woken
        if woken:
            # Perhaps somebody wants a step stopped; but a busy database wakes us all the time.
            self.next_stops = min(self.next_stops, now + BUSY_TICK)
        return woken

    def _find_stops(self) -> None:
        """Steps of ours that somebody asked to stop."""
        asked = Step.objects.filter(
            worker_id=self.worker.pk, state=TaskState.RUNNING, mapped=False
        ).exclude(stop="")
        for step_id, token, stop in asked.values_list("pk", "token", "stop"):
            running = [place for place in self.crew.places if place.slot.trying == (step_id, token)]
            for place in running:
                self.crew.stop(place, (step_id, token), CODES.get(Stop(stop), StopCode.CANCELED))
            if not running:  # it waits for a child, or has ended
                for place in self.crew.places:
                    self._relieve(place)

    def _settle(self, death: Death) -> None:
        """Records the try that a dead child was running, if it was."""
        reason, error, crashed = explain(death, draining=bool(self.drain_until))
        full = death.stop == StopCode.ARTIFACTS
        while True:
            try:
                self._settle_batch(death)
                if excess := self.watcher.settle(self.worker.pk, death.step_id):
                    reason, error, crashed, full = Stop.ARTIFACTS.value, excess, True, True
                lost = leases.lose(
                    self.worker.pk, death.name, reason, error, crashed=crashed, permanent=full
                )
            except DatabaseError as problem:
                log.warning("the database can't be reached", error=str(problem).strip())
                connection.close()
                if self.drain_until:
                    return  # whoever notices that this worker has ended takes the step back
                time.sleep(0.5)
            else:
                death.kept.unlink(missing_ok=True)
                self.made_ready |= lost > 0
                return

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self._drain()

    def _drain(self) -> None:
        self.drain_until = self.drain_until or time.monotonic() + self.grace
        self.crew.drain()

    def _end(self) -> None:
        """Nothing of ours is left: no process, and no step held."""
        self.crew.kill_all()
        self.crew.end_orphans()
        try:
            leases.replay()
            leases.retire(self.worker.pk)
        except DatabaseError as error:
            log.warning("the worker could not sign off", error=str(error).strip())
        connections.close_all()


def explain(death: Death, *, draining: bool) -> tuple[str, str, bool]:
    """(reason, error for people, whether the step itself is to blame) of a child's death."""
    if death.stop == StopCode.TIMEOUT:
        return (
            Stop.TIMEOUT.value,
            "The step took longer than its limit, and had to be killed.",
            True,
        )
    if death.stop == StopCode.ARTIFACTS:
        error = "The step's folder held more than it may, and the step had to be killed."
        return Stop.ARTIFACTS.value, error, True
    if death.stop == StopCode.DRAIN or (draining and not death.code):
        return Stop.DRAIN.value, "Its worker was stopped.", False
    if death.code == -signal.SIGKILL:
        error = "The step's process was killed: for want of memory, or by somebody."
        return "killed", error, False
    how = f"with exit code {death.code}"
    if death.code < 0:
        with suppress(ValueError):
            how = f"by {signal.Signals(-death.code).name}"
    return "crashed", f"The step ended its process {how}.", True
