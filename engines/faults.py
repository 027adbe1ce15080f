"""Crash points: where the tests make a process die, to prove that nothing is lost or done twice.

One stands at each commit and each call on a run's way. They do nothing unless the environment variable
WORKFLOWHUB_CRASH_AT, `name:n`, is set when the process starts: it then dies as by kill -9 when it, or
a process forked from it, comes to that point for the n-th time. Never set it on a hub that is used:
`manage.py check` warns of it.
"""

import mmap
import os
import signal
import threading

from django.core.exceptions import ImproperlyConfigured

VARIABLE = "WORKFLOWHUB_CRASH_AT"


class _Armed:
    """`also`: a further process that dies with this one. The count is shared with what is forked."""

    def __init__(self, name: str, number: int, also: int) -> None:
        self.name = name
        self.number = number
        self.also = also
        self._passed = mmap.mmap(-1, 8)
        self._lock = threading.Lock()

    def meet(self, name: str) -> None:
        if name != self.name:
            return
        with self._lock:
            passed = int.from_bytes(self._passed[:8], "big") + 1
            self._passed[:8] = passed.to_bytes(8, "big")
        if passed == self.number:
            if self.also:
                os.kill(self.also, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)


_armed: _Armed | None = None


def crash_point(name: str) -> None:
    """Where a process may be told to die."""
    if _armed is not None:
        _armed.meet(name)


def arm(text: str, *, also: int = 0) -> None:
    """From now on this process dies at `name:n`; an empty text takes that back."""
    global _armed
    name, _, number = text.strip().partition(":")
    if name and not (number.isdecimal() and int(number)):
        raise ImproperlyConfigured(
            f"{VARIABLE} is {text!r}: write name:n, such as submit.called:1."
        )
    _armed = _Armed(name, int(number), also) if name else None


def armed() -> str:
    """The name of the point at which this process is told to die; empty for none."""
    return _armed.name if _armed is not None else ""


arm(os.environ.get(VARIABLE, ""))
