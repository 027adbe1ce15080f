"""Keeps the hub's processes alive, and ends them together.

One process without threads: it forks each of the others into a session of its own, waits for
signals, starts what died again (each time a little later), and on SIGTERM or Ctrl-C asks all to
finish, then kills what is left. When it is killed itself, the kernel kills its children.
"""

import contextlib
import gc
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from runs.management.fork import (
    die_with_parent,
    forbid_open_connections,
    how_it_ended,
    run_and_exit,
)
from workflowhub.logging import name_process

DRAIN_SECONDS = 20.0
PAUSE_FIRST, PAUSE_MOST = 1.0, 30.0
STEADY_SECONDS = 60.0
LOOK_SECONDS = 15.0
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
SIGNALS = STOP_SIGNALS | {signal.SIGCHLD}


@dataclass(slots=True, kw_only=True)
class Process:
    """One process of the hub. `wedged` is asked now and then, and says why it must be restarted."""

    name: str
    run: Callable[[], object]
    wedged: Callable[[float], str] = field(default=lambda seconds_up: "")
    pid: int | None = None
    started: float = 0.0
    start_at: float = 0.0
    deaths: int = 0


class Supervisor:
    """Runs `processes` until a stop signal. `say` tells the operator what happened."""

    def __init__(self, processes: list[Process], say: Callable[[str], None]) -> None:
        self.processes = processes
        self.say = say

    def run(self) -> None:
        """Returns when every process has ended. Blocks the signals that it waits for."""
        name_process("supervisor")
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            # What is here now is shared by all and never freed: kept out of collections, its pages
            # are not copied.
            gc.collect()
            gc.freeze()
            self._watch()
            self._drain()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _watch(self) -> None:
        look_at = time.monotonic() + LOOK_SECONDS
        while True:
            now = time.monotonic()
            for process in self.processes:
                if process.pid is None and process.start_at <= now:
                    self._start(process)
            if now >= look_at:
                self._look()
                look_at = time.monotonic() + LOOK_SECONDS
            waiting = [process.start_at for process in self.processes if process.pid is None]
            if self._wait(min([look_at, *waiting]) - time.monotonic()):
                return
            for process, status in self._ended():
                self._plan_restart(process, status)

    def _wait(self, seconds: float) -> bool:
        """Until a signal comes or the time is over; True when it asks us to stop."""
        received = signal.sigtimedwait(SIGNALS, max(seconds, 0.0))
        return received is not None and received.si_signo in STOP_SIGNALS

    def _start(self, process: Process) -> None:
        forbid_open_connections()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            run_and_exit(lambda: self._live(process, parent))
        process.pid, process.started = pid, time.monotonic()

    def _live(self, process: Process, parent: int) -> None:
        os.setsid()  # Ctrl-C is for the supervisor, which then asks in order
        die_with_parent(parent)
        name_process(process.name)
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        process.run()

    def _ended(self) -> list[tuple[Process, int]]:
        ended = []
        for process in self.processes:
            if process.pid is None:
                continue
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid:
                kill_group(process.pid)  # what it had started
                process.pid = None
                ended.append((process, status))
        return ended

    def _plan_restart(self, process: Process, status: int) -> None:
        now = time.monotonic()
        if now - process.started >= STEADY_SECONDS:
            process.deaths = 0
        pause = min(PAUSE_FIRST * 2**process.deaths, PAUSE_MOST)
        process.deaths += 1
        process.start_at = now + pause
        self.say(f"{process.name} {how_it_ended(status)}. Starting it again in {pause:g} s.")

    def _look(self) -> None:
        for process in self.processes:
            if process.pid is None:
                continue
            reason = process.wedged(time.monotonic() - process.started)
            if reason:
                self.say(f"{process.name} hangs: {reason}. Killing it.")
                kill_group(process.pid)

    def _drain(self) -> None:
        """Asks all to end; kills what is left after DRAIN_SECONDS, or at a second stop signal."""
        self.say("Stopping: work in flight is finished or handed back.")
        for process in self.processes:
            if process.pid is not None:
                os.kill(process.pid, signal.SIGTERM)
        end = time.monotonic() + DRAIN_SECONDS
        while any(process.pid is not None for process in self.processes):
            hurried = self._wait(end - time.monotonic())
            for process, status in self._ended():
                # By SIGTERM: it hadn't come so far as to need a drain.
                if os.waitstatus_to_exitcode(status) not in (0, -signal.SIGTERM):
                    self.say(f"{process.name} {how_it_ended(status)} while stopping.")
            if hurried or time.monotonic() >= end:
                self._kill_the_rest()
        self.say("Stopped.")

    def _kill_the_rest(self) -> None:
        for process in self.processes:
            if process.pid is not None:
                self.say(f"{process.name} did not end in time: killed.")
                kill_group(process.pid)
                os.waitpid(process.pid, 0)
                process.pid = None


def kill_group(leader: int) -> None:
    """SIGKILL to a process and all that it started without a session of their own."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)
