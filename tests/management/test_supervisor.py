"""The supervisor keeps processes alive and ends them together."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from django.conf import settings
from django.db import connection

from runs.management import fork, supervisor

HUB = Path(__file__).parent / "small_hub.py"


class SmallHub:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def line(self, pattern: str) -> re.Match[str]:
        """The next line that matches; what comes before is dropped."""
        for line in self.process.stdout:
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"It ended without saying {pattern!r}.")

    def pids(self, *names: str) -> list[int]:
        """What processes with these names said, in whatever order they came up."""
        said: dict[str, int] = {}
        while set(said) != set(names):
            found = self.line(rf"^({'|'.join(names)}) (\d+)")
            said[found[1]] = int(found[2])
        return list(said.values())

    def pid(self, name: str) -> int:
        return self.pids(name)[0]

    def rest(self) -> str:
        return self.process.stdout.read()


@contextmanager
def small_hub(*names: str) -> Iterator[SmallHub]:
    with subprocess.Popen(
        [sys.executable, str(HUB), *names],
        env=os.environ
        | {"DJANGO_SETTINGS_MODULE": "workflowhub.settings", "PYTHONPATH": str(settings.BASE_DIR)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        too_long = threading.Timer(20, process.kill)  # then every wait for a line ends
        too_long.start()
        hub = SmallHub(process)
        hub.pid("supervisor")
        try:
            yield hub
        finally:
            too_long.cancel()
            process.kill()


def gone(pid: int, seconds: float = 5) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                return True
        except psutil.NoSuchProcess:
            return True
        time.sleep(0.02)
    return False


def test_what_dies_is_started_again_and_said() -> None:
    with small_hub("steady") as hub:
        first = hub.pid("steady")
        os.kill(first, signal.SIGKILL)
        assert hub.line(r"steady was killed by SIGKILL\. Starting it again in 0\.1 s")
        assert hub.pid("steady") != first


def test_the_pause_before_a_restart_grows() -> None:
    with small_hub("dying") as hub:
        pauses = [
            float(hub.line(r"dying ended with code 3\. Starting it again in ([\d.]+) s")[1])
            for _ in range(4)
        ]
    assert pauses == [0.1, 0.2, 0.4, 0.8]


def test_what_a_dead_process_had_started_is_killed_before_the_restart() -> None:
    with small_hub("leaving") as hub:
        orphan = hub.pid("leaving")
        hub.line("leaving ended with code 1")
        assert gone(orphan)


def test_fault_34_sigterm_asks_every_process_to_finish() -> None:
    with small_hub("polite", "steady") as hub:
        pids = [hub.pid(["polite", "steady"][0])]
        hub.process.terminate()
        said = hub.rest()
        assert hub.process.wait(5) == 0
    assert said.rstrip().endswith("Stopped.")
    assert "while stopping" not in said
    assert all(gone(pid) for pid in pids)


def test_a_process_that_fails_at_its_end_is_told() -> None:
    with small_hub("clumsy") as hub:
        hub.pid("clumsy")
        hub.process.terminate()
        assert "clumsy ended with code 4 while stopping." in hub.rest()


def test_ctrl_c_drains_as_well() -> None:
    with small_hub("polite") as hub:
        hub.pid("polite")
        hub.process.send_signal(signal.SIGINT)
        assert hub.rest().rstrip().endswith("Stopped.")
        assert hub.process.wait(5) == 0


def test_fault_34_what_does_not_end_in_time_is_killed() -> None:
    with small_hub("stubborn") as hub:
        pid = hub.pid("stubborn")
        hub.process.terminate()
        assert "stubborn did not end in time: killed." in hub.rest()
        assert hub.process.wait(5) == 0
        assert gone(pid, 0.1)


def test_a_second_stop_signal_ends_the_waiting() -> None:
    with small_hub("stubborn") as hub:
        hub.pid("stubborn")
        started = time.monotonic()
        hub.process.terminate()
        hub.line("Stopping")
        hub.process.terminate()
        hub.rest()
        assert time.monotonic() - started < 1.4


def test_nothing_outlives_a_killed_supervisor() -> None:
    with small_hub("stubborn", "forking") as hub:
        pids = hub.pids("stubborn", "forking")
        hub.process.kill()
        assert all(gone(pid) for pid in pids)


def test_a_process_that_hangs_is_killed_and_started_again() -> None:
    with small_hub("stubborn", "wedged") as hub:
        first = hub.pid("stubborn")
        hub.line("stubborn hangs: it was told to. Killing it.")
        hub.line("stubborn was killed by SIGKILL")
        assert hub.pid("stubborn") != first


def test_fault_34_the_drain_fits_into_25_seconds() -> None:
    assert supervisor.DRAIN_SECONDS <= 22


@pytest.mark.django_db
def test_nothing_is_forked_while_a_database_connection_is_open() -> None:
    connection.ensure_connection()
    with pytest.raises(RuntimeError, match="must be closed before a fork"):
        fork.answer_of(lambda: 1)
