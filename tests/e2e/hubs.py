"""Whole hubs, started by `manage.py up` and ended with all that they started."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil

from tests.e2e.processes import ROOT, eventually

LIVENESS = "/api/v1/health/live"


class Hub:
    """A hub that was started by `manage.py up` in `home`."""

    def __init__(self, process: subprocess.Popen[str], output: Path) -> None:
        self.process = process
        self.output = output

    @property
    def said(self) -> str:
        return self.output.read_text()

    def wait_for(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        eventually(
            lambda: re.search(pattern, self.said) or self.process.poll() is not None,
            seconds=seconds,
            what=pattern,
        )
        match = re.search(pattern, self.said)
        assert match, self.said
        return match

    @property
    def url(self) -> str:
        return self.wait_for(r"WorkflowHub is at (http://\S+)")[1]


def environment(home: Path, database_url: str, **more: str) -> dict[str, str]:
    return {
        **os.environ,
        "WORKFLOWHUB_HOME": str(home),
        "DATABASE_URL": database_url,
        "WORKFLOWHUB_EXAMPLES": "false",
        **more,
    }


@contextmanager
def up(home: Path, database_url: str, *words: str, **settings: str) -> Iterator[Hub]:
    """Started in another folder than the checkout; ended with all that it started."""
    path = home / f"output-{time.monotonic_ns()}"
    with path.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "up", "--port", "0", *words],
            cwd=home,
            env=environment(home, database_url, **settings),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        )
    try:
        yield Hub(process, path)
    finally:
        for one in family(process.pid):
            one.kill()
        process.wait(10)


def family(pid: int) -> list[psutil.Process]:
    try:
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()).strip()
    except psutil.NoSuchProcess:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(
    url: str, path: str, *, body: Any = None, seconds: float = 30, **headers: str
) -> Answer | None:
    """The answer to a GET, or with a body to a POST; None when nobody answers."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=seconds)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        if body is None:
            connection.request("GET", path, headers=named)
        else:
            text = json.dumps(body)
            connection.request("POST", path, text, {"content-type": "application/json", **named})
        answer = connection.getresponse()
        return Answer(status=answer.status, headers=answer.headers, body=answer.read())
    except (OSError, HTTPException):
        return None
    finally:
        connection.close()


def status(url: str, path: str = LIVENESS) -> int | None:
    """The status of the answer; None when nobody answers."""
    answer = ask(url, path, seconds=5)
    return answer.status if answer else None


def is_up(url: str) -> bool:
    return status(url) == 200


def all_gone(processes: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]
