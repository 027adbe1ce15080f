"""One hub per home: a lock file that names the process which holds it.

The lock is the operating system's (flock), so it ends with the last process that holds it, however
that process ends. Every process of the hub inherits it: while it is held, something still runs.
"""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

# Somebody who only asks who holds the lock has it for an instant.
PROBE_SECONDS = 0.3


class AlreadyRunning(Exception):
    """Another hub has this home."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds the lock: the supervisor's process id, and the address that it serves."""

    pid: int
    url: str


class HomeLock:
    """The lock of `home` under `name`; nothing happens before `take`."""

    def __init__(self, home: Path, name: str = "hub") -> None:
        self.path = home / f"{name}.lock"
        self._handle: int | None = None

    def take(self) -> None:
        """Raises AlreadyRunning."""
        handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
        for _ in _ticks(PROBE_SECONDS):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._handle = handle
                return
        os.close(handle)
        raise AlreadyRunning(self._explain())

    def sign(self, url: str) -> None:
        """Writes who we are, for `down` and for whoever is refused."""
        if self._handle is None:
            raise RuntimeError("Take the lock before you sign it.")
        text = json.dumps(asdict(Holder(pid=os.getpid(), url=url)))
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, text.encode(), 0)

    def holder(self) -> Holder | None:
        """Whoever holds it now; None when it is free."""
        try:
            handle = os.open(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self._read()
        finally:
            os.close(handle)
        return None

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def wait_until_free(self, seconds: float) -> bool:
        """Whether it became free in that time."""
        return any(self.holder() is None for _ in _ticks(seconds))

    def _read(self) -> Holder:
        try:
            return Holder(**json.loads(self.path.read_text()))
        except (ValueError, TypeError):
            return Holder(pid=0, url="")  # it is just starting

    def _explain(self) -> str:
        holder = self._read()
        if holder.pid and not _alive(holder.pid):
            return (
                f"The last processes of the hub in {self.path.parent} are still stopping. "
                "Try again in a few seconds."
            )
        who = f"process {holder.pid}, {holder.url}" if holder.pid else "it is just starting"
        return (
            f"A hub already runs in {self.path.parent} ({who}). Stop it with: make stop "
            "(or: manage.py down), or give this one a home of its own: WORKFLOWHUB_HOME=/some/folder"
        )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _ticks(seconds: float) -> Iterator[None]:
    """Ten a second, at least one."""
    end = time.monotonic() + seconds
    while True:
        yield
        if time.monotonic() >= end:
            return
        time.sleep(0.1)
