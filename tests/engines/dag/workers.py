"""Real worker processes for tests: started with a bounded life, always ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings

from engines.dag.models import Execution, Worker
from engines.dag.processes import descendants_of

MANAGE = Path(settings.BASE_DIR) / "manage.py"


class WorkerProcess:
    """`manage.py worker` on the test database. `stderr`: a file for what it says."""

    def __init__(
        self, database_url: str, *arguments: str, stderr: Any = None, **environment: str
    ) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(MANAGE), "worker", *arguments],
            env=os.environ
            | {"DATABASE_URL": database_url, "WORKFLOWHUB_HANDLER_MODULES": "tests.handlers"}
            | environment,
            cwd=settings.BASE_DIR,
            start_new_session=True,
            stdout=stderr,
            stderr=stderr,
        )
        self.pid = self.process.pid

    def children(self) -> list[int]:
        return descendants_of(self.pid)

    def kill(self) -> None:
        """kill -9 of the worker alone."""
        self.process.kill()
        self.process.wait(10)

    def stop(self, seconds: float = 25) -> int:
        """SIGTERM, as a supervisor sends it."""
        if self.process.poll() is None:
            self.process.terminate()
        return self.process.wait(seconds)

    def end(self) -> None:
        """Whatever state it is in, nothing of it is left."""
        left = self.children()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def wait_for(condition: Callable[[], Any], seconds: float = 60, what: str = "") -> Any:
    """The condition's first true value; fails the test after so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"Waited {seconds} s in vain{': ' + what if what else ''}.")


def wait_for_worker() -> Worker:
    return wait_for(lambda: Worker.objects.filter(ended_at=None).first(), what="a worker")


def wait_for_end(external_id: str, seconds: float = 60) -> Execution:
    """The execution once it has ended."""
    try:
        return wait_for(
            lambda: Execution.objects.filter(
                external_id=external_id, ended_at__isnull=False
            ).first(),
            seconds,
        )
    except AssertionError:
        execution = Execution.objects.get(external_id=external_id)
        steps = [(str(s), s.state, s.error, s.token) for s in execution.steps.all()]
        raise AssertionError(f"{execution.state} after {seconds} s: {steps}") from None


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and not yet buried doesn't."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
