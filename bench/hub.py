"""Hubs to be measured, each with a fresh home and database, and their REST API."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[1]
DATABASES = ("SQLite", "PostgreSQL")
FINAL = {"COMPLETED", "FAILED", "CANCELED"}


@contextmanager
def database(kind: str) -> Iterator[str]:
    """DATABASE_URL of a new one that keeps what it has committed; PostgreSQL is an embedded server."""
    if kind == "SQLite":
        with tempfile.TemporaryDirectory(prefix="workflowhub-bench-") as folder:
            yield f"sqlite:///{folder}/hub.sqlite3"
        return
    from tests.database import EmbeddedPostgreSQL

    server = EmbeddedPostgreSQL(fsync=True)
    try:
        yield server.url
    finally:
        server.stop()


def environment(home: str, database_url: str, **more: str) -> dict[str, str]:
    """Of a hub with default settings, whatever this process was started with."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("WORKFLOWHUB_")}
    return kept | {
        "WORKFLOWHUB_HOME": home,
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "workflowhub.settings",
        "WORKFLOWHUB_EXAMPLES": "false",
        **more,
    }


def manage(*words: str, env: dict[str, str]) -> str:
    """What a management command prints."""
    done = subprocess.run(
        [sys.executable, "manage.py", *words],
        cwd=ROOT,
        env=env,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return done.stdout.strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """One that runs. `pid`: of its supervisor."""

    url: str
    token: str
    pid: int
    env: dict[str, str]

    def client(self) -> "Client":
        return Client(self.url, self.token)

    def processes(self) -> list[psutil.Process]:
        top = psutil.Process(self.pid)
        return [top, *top.children(recursive=True)]


@contextmanager
def up(kind: str, *words: str, **settings: str) -> Iterator[Hub]:
    """`manage.py up` on a new database, drained at the end."""
    with database(kind) as url, tempfile.TemporaryDirectory(prefix="workflowhub-bench-") as home:
        env = environment(home, url, **settings)
        said = Path(home, "said")
        with said.open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--port", "0", *words],
                cwd=ROOT,
                env=env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            address = _address(process, said)
            token = manage("create_token", "admin", env=env)
            yield Hub(url=address, token=token, pid=process.pid, env=env)
        finally:
            process.terminate()
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: subprocess.Popen[bytes], said: Path) -> str:
    before = "WorkflowHub is at "
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        text = said.read_text()
        if before in text and is_up(url := text.split(before)[1].split()[0]):
            return url
        time.sleep(0.05)
    raise RuntimeError(f"The hub did not start:\n{said.read_text()}")


def is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/api/v1/health/live", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


class Client:
    """The REST API of a hub, over one kept connection."""

    def __init__(self, url: str, token: str) -> None:
        self.http = httpx.Client(
            base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=60
        )

    def get(self, path: str) -> Any:
        answer = self.http.get(f"/api/v1{path}")
        answer.raise_for_status()
        return answer.json()

    def post(self, path: str, body: dict[str, Any]) -> Any:
        answer = self.http.post(f"/api/v1{path}", json=body)
        answer.raise_for_status()
        return answer.json()

    def workflow(self, document: dict[str, Any]) -> int:
        """Posts one; its id."""
        key: int = self.post("/workflows", {"definition": document})["id"]
        return key

    def start(self, workflow: int) -> int:
        """Starts a run; its id."""
        key: int = self.post("/workflow-runs", {"workflow": workflow})["id"]
        return key

    def wait(self, run: int, seconds: float = 300) -> dict[str, Any]:
        """Until the run has ended well."""
        end = time.monotonic() + seconds
        body: dict[str, Any] = {}
        while time.monotonic() < end:
            body = self.get(f"/workflow-runs/{run}")
            if body["state"] in FINAL:
                break
            time.sleep(0.1)  # who asks more often measures himself
        if body["state"] != "COMPLETED":
            raise RuntimeError(f"A run did not end well: {json.dumps(body)}")
        return body

    def tasks(self, run: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        path: str | None = f"/api/v1/workflow-runs/{run}/task-runs?limit=500"
        while path:
            body = self.http.get(path).raise_for_status().json()
            rows += body["results"]
            path = body["next"]
        return rows


def at(text: str) -> float:
    """Seconds of a time in an answer."""
    return datetime.fromisoformat(text).timestamp()
