"""Forks the hub's processes for tests, from a process that has loaded everything and holds neither
connection nor thread: a fork costs a few milliseconds, a start of Python with Django a second.

    nursery.call("once")                       # one round of the reconciler, seen to its end
    child = nursery.fork("watch", crash_at="intent.written:1", settings={…})
    child.wait()                               # its exit code; negative: the signal

What can be called are the functions of `lives`. The nursery is this file run as a script: it reads a
line of JSON for each wish and answers with one. It ends, and all it forked with it, when its standard
input closes.
"""

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

ROOT = Path(__file__).resolve().parents[2]


class Nursery:
    """The test's end of it. `output`: a file for what the children say."""

    def __init__(self, database_url: str, output: Path) -> None:
        self._output = output
        self._lock = threading.Lock()
        with output.open("a") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.nursery"],
                cwd=ROOT,
                env={**os.environ, "DATABASE_URL": database_url},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        assert self._ask() == "ready", output.read_text()

    def fork(
        self,
        life: str,
        *,
        crash_at: str = "",
        alone: bool = False,
        settings: dict[str, Any] | None = None,
        **given: Any,
    ) -> "Child":
        """A process that does what `lives` says under this name, with other settings. Where a child
        of its own comes to the crash point, it dies as well, unless that is to die `alone`."""
        wish = {"life": life, "crash_at": crash_at, "alone": alone, "given": given}
        return Child(self, self._ask(wish | {"settings": settings or {}}))

    def call(self, life: str, **options: Any) -> int:
        """The exit code of a process that was seen to its end."""
        return self.fork(life, **options).wait()

    def said(self) -> str:
        """The end of what the children said."""
        return self._output.read_text()[-5000:]

    def reap(self, pid: int) -> int | None:
        code: int | None = self._ask({"reap": pid})
        return code

    def clear(self) -> None:
        """Nothing that it forked lives on."""
        assert self._ask({"clear": True}) == "cleared"

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(20)

    def _ask(self, wish: dict[str, Any] | None = None) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._lock:
            try:
                if wish is not None:
                    self._process.stdin.write(json.dumps(wish) + "\n")
                    self._process.stdin.flush()
                return json.loads(self._process.stdout.readline())
            except (BrokenPipeError, ValueError):
                code = self._process.wait(20)
                raise AssertionError(f"The nursery ended with {code}. {self.said()}") from None


@dataclass(frozen=True, slots=True)
class Child:
    """A process of the nursery."""

    nursery: Nursery
    pid: int

    def send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> int:
        """kill -9; its exit code."""
        self.send(signal.SIGKILL)
        return self.wait()

    def wait(self, seconds: float = 30) -> int:
        until = time.monotonic() + seconds
        while (code := self.nursery.reap(self.pid)) is None:
            if time.monotonic() > until:
                raise AssertionError(f"It still runs after {seconds} s. {self.nursery.said()}")
            time.sleep(0.005)
        return code


# The other end


def main(wishes: TextIO, answers: TextIO) -> None:
    warm_up()
    alive: set[int] = set()

    def answer(value: Any) -> None:
        answers.write(json.dumps(value) + "\n")
        answers.flush()

    answer("ready")
    for line in wishes:
        wish = json.loads(line)
        if "life" in wish:
            pid = os.fork()
            if not pid:
                live(wish, answers)
            alive.add(pid)
            answer(pid)
        elif "reap" in wish:
            answer(reap(wish["reap"], alive))
        else:
            for pid in alive:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            alive.clear()
            answer("cleared")


def warm_up() -> None:
    """Loads what the children need, and opens no connection."""
    import django

    django.setup()

    from runs.management.fork import forbid_open_connections, have_children_die_with_us
    from tests.faults import lives

    lives.load()
    forbid_open_connections()
    have_children_die_with_us()
    gc.collect()
    gc.freeze()


def live(wish: dict[str, Any], answers: TextIO) -> None:
    from django.conf import settings

    from engines import faults
    from runs.management.fork import run_and_exit
    from tests.faults import lives

    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, answers.fileno())  # what it prints is no answer of the nursery's
    for name, value in wish["settings"].items():
        setattr(settings, name, value)
    faults.arm(wish["crash_at"], also=0 if wish["alone"] else os.getpid())
    run_and_exit(lambda: getattr(lives, wish["life"])(**wish["given"]))


def reap(pid: int, alive: set[int]) -> int | None:
    """Its exit code; None while it lives."""
    found, status = os.waitpid(pid, os.WNOHANG)
    if not found:
        return None
    alive.discard(pid)
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    main(sys.stdin, sys.stdout)
