"""A supervisor over small processes, run as a script by the tests: `small_hub.py NAME…`."""

import os
import signal
import subprocess
import sys
import time

import django

django.setup()

from runs.management import supervisor  # noqa: E402
from runs.management.fork import have_children_die_with_us  # noqa: E402
from runs.management.supervisor import Process, Supervisor  # noqa: E402

supervisor.DRAIN_SECONDS = 1.5
supervisor.PAUSE_FIRST = 0.1
supervisor.LOOK_SECONDS = 0.2


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def steady() -> None:
    say(f"steady {os.getpid()}")
    signal.pause()


def polite() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    say(f"polite {os.getpid()}")
    signal.pause()


def clumsy() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(4))
    say(f"clumsy {os.getpid()}")
    signal.pause()


def stubborn() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    say(f"stubborn {os.getpid()}")
    while True:
        time.sleep(60)


def dying() -> None:
    say(f"dying {os.getpid()}")
    sys.exit(3)


def forking() -> None:
    have_children_die_with_us()
    if os.fork() == 0:
        if os.fork() == 0:
            say(f"forking {os.getpid()}")
        signal.pause()
    signal.pause()


def leaving() -> None:
    """Starts a process in its own group and dies."""
    child = subprocess.Popen(["sleep", "60"])
    say(f"leaving {child.pid}")
    sys.exit(1)


if __name__ == "__main__":
    chosen = [
        Process(
            name=name,
            run=globals()[name],
            wedged=(lambda up: "it was told to" if up > 0.3 else "")
            if "wedged" in sys.argv
            else (lambda up: ""),
        )
        for name in sys.argv[1:]
        if name != "wedged"
    ]
    say(f"supervisor {os.getpid()}")
    Supervisor(chosen, say).run()
