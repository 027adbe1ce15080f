"""A worker's child processes: forked, stopped, killed and buried. Knows no database."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import setproctitle
import structlog
from django.conf import settings
from django.db import connections

from engines.adapters.local.worker.batch import Waiting
from engines.adapters.local.worker.board import Slot, StopCode, make_board
from engines.dag.processes import LINUX, end_children, kill

log = structlog.get_logger("engines.worker")

NO_TRY = (0, 0)
FORK_AGAIN_SECONDS = 0.5  # a child that dies at once isn't replaced faster


@dataclass(slots=True)
class Place:
    """Where one child runs. `wake` is our end of its pipe; `stopping` the try (step and token) that
    was asked to stop, to be killed at `kill_at`. `seen`: the try that it ran at `seen_at`; `relieved`:
    the one during which it was relieved of what waited for it; `left`: what is still to be given back."""

    index: int
    slot: Slot
    pid: int = 0
    wake: int = -1
    name: str = ""
    born: float = 0.0
    stopping: tuple[int, int] = NO_TRY
    kill_at: float = 0.0
    waiting: Waiting | None = None
    kept: Path = Path()
    seen: tuple[int, int] = NO_TRY
    seen_at: float = 0.0
    relieved: tuple[int, int] = NO_TRY
    left: list[tuple[int, int]] = field(default_factory=list)

    def withdraw(self) -> list[tuple[int, int]]:
        """The tries that wait for this child and that it won't begin now."""
        if self.waiting is not None:
            self.left += self.waiting.withdraw()
        return self.left


@dataclass(frozen=True, slots=True)
class Death:
    """How a child ended: its exit code (negative: the signal), and what it was doing; `step_id` is the
    last that it ran, `trying` the try that it was running. `waiting`: the
    tries that it had taken and not begun; `kept`: the file of its outcomes."""

    name: str
    code: int
    stop: StopCode
    step_id: int
    trying: tuple[int, int] = NO_TRY
    waiting: tuple[tuple[int, int], ...] = ()
    kept: Path = Path()


class Crew:
    """`main(place, wake)` is what a child does; its return or exception ends the process. `kept(place)`:
    the file for its outcomes that aren't recorded yet."""

    def __init__(
        self,
        count: int,
        main: Callable[[Place, int], None],
        inherited: Sequence[int],
        kept: Callable[[Place], Path],
    ) -> None:
        self.places = [Place(index, slot) for index, slot in enumerate(make_board(count))]
        self._main = main
        self._inherited = inherited
        self._kept = kept

    @property
    def busy(self) -> bool:
        return any(place.slot.token or place.slot.holds for place in self.places)

    @property
    def alive(self) -> bool:
        return any(place.pid for place in self.places)

    def fill(self, host: str) -> None:
        """Forks a child for every free place."""
        now = time.monotonic()
        free = [
            place
            for place in self.places
            if not place.pid and now - place.born >= FORK_AGAIN_SECONDS
        ]
        if free:
            # A connection must not be open in two processes.
            connections.close_all()
        for place in free:
            self._fork(place, f"{host}:{os.getpid()}/{place.index}")

    def wake_idle(self) -> None:
        for place in self.places:
            if place.pid and not place.slot.token:
                with suppress(OSError):
                    os.write(place.wake, b"w")

    def drain(self) -> None:
        """The children end instead of taking another step."""
        for place in self.places:
            place.slot.drain()
            if place.wake >= 0:
                with suppress(OSError):
                    os.write(place.wake, b"d")

    def stop(self, place: Place, trying: tuple[int, int], code: StopCode) -> None:
        """SIGTERM now; SIGKILL after the grace, unless the try has ended by then."""
        step_id, token = trying
        if not token or place.stopping == trying:
            return
        place.slot.ask_to_stop(step_id, token, code)
        # A step may need the grace for its own programs, and then a moment for itself.
        place.stopping = trying
        place.kill_at = time.monotonic() + float(settings.WORKFLOWHUB_KILL_GRACE) + 0.5
        kill(place.pid, signal.SIGTERM)

    def watch(self) -> None:
        """Stops what is over its limit, and kills what didn't stop."""
        now = time.monotonic()
        for place in self.places:
            trying, deadline = place.slot.trying, place.slot.deadline
            # The limit is of this try only if the try is still the same after it was read.
            if deadline and now >= deadline and place.slot.trying == trying:
                self.stop(place, trying, StopCode.TIMEOUT)
            stopping = place.stopping != NO_TRY
            if stopping and place.stopping != place.slot.trying:
                place.stopping = NO_TRY
            elif stopping and now >= place.kill_at:
                self._kill_try(place)

    def kill_all(self) -> None:
        for place in self.places:
            self._kill(place)

    def bury(self) -> Iterator[Death]:
        """The children that have died, each once; what they left running is ended first."""
        for place in self.places:
            if not place.pid:
                continue
            pid, status = os.waitpid(place.pid, os.WNOHANG)
            if not pid:
                continue
            code = os.waitstatus_to_exitcode(status)
            death = Death(
                place.name,
                code,
                place.slot.stop,
                place.slot.step_id,
                place.slot.trying if place.slot.token else NO_TRY,
                tuple(place.withdraw()),
                place.kept,
            )
            if place.slot.token or code:
                log.warning("a child died", child=place.name, code=code, step=death.step_id)
            os.close(place.wake)
            place.pid, place.wake, place.stopping = 0, -1, NO_TRY
            place.left = []
            if place.waiting is not None:
                place.waiting.close()
                place.waiting = None
            place.slot.clear()
            self.end_orphans()
            yield death

    def end_orphans(self) -> None:
        """Ends the processes that dead children left to this one."""
        if LINUX:
            end_children(frozenset(place.pid for place in self.places if place.pid))

    def _fork(self, place: Place, name: str) -> None:
        others = [other.waiting for other in self.places if other.waiting is not None]
        reader, writer = os.pipe()
        place.slot.clear()
        place.name, place.born = name, time.monotonic()
        place.waiting, place.kept = Waiting(), self._kept(place)
        place.seen = place.relieved = NO_TRY
        pid = os.fork()
        if pid:
            os.close(reader)
            place.pid, place.wake, place.stopping = pid, writer, NO_TRY
            return
        code = 1
        try:
            for end in (writer, *self._inherited, *self._wakes()):
                os.close(end)
            for waiting in others:
                waiting.close()
            setproctitle.setproctitle(f"workflowhub worker child {place.index}")
            self._main(place, reader)
            code = 0
        except BaseException:  # noqa: BLE001  the process ends here, and says why
            log.exception("a worker's child failed")
        finally:
            with suppress(OSError, ValueError):
                sys.stderr.flush()
            os._exit(code)

    def _wakes(self) -> list[int]:
        return [place.wake for place in self.places if place.wake >= 0]

    def _kill_try(self, place: Place) -> None:
        """Kills the child only if it still runs the try, which it can't leave while it is frozen."""
        kill(place.pid, signal.SIGSTOP)
        time.sleep(0.01)
        if place.slot.trying == place.stopping:
            self._kill(place)
        else:
            kill(place.pid, signal.SIGCONT)

    def _kill(self, place: Place) -> None:
        if place.pid:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(place.pid, signal.SIGKILL)
            kill(place.pid)
