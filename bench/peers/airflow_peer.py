"""A real Airflow 3.3 with the LocalExecutor on a PostgreSQL of its own: as it comes, and with its
scheduler looking twenty times a second."""

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from bench.hub import at
from bench.peers.peer import HERE, CantRun, Measured, Peer, end, free_port, python_with, with_host
from tests.database import EmbeddedPostgreSQL

START_SECONDS, RUN_SECONDS = 180, 300
SECRET = "bench-only-secret-0123456789-0123456789-0123456789-0123456789-abcdefgh"


class Airflow(Peer):
    isolation = "forked process for each task"
    packages = ("apache-airflow==3.3.2", "psycopg2-binary", "asyncpg")

    def __init__(self, *, tuned: bool) -> None:
        self.name = f"Airflow 3.3, {'tuned' if tuned else 'default'}"
        self._more = {"AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.05"} if tuned else {}
        self._server: EmbeddedPostgreSQL | None = None
        self._home = ""
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        python = python_with("airflow", self.packages)
        self._server = EmbeddedPostgreSQL(fsync=True)
        self._home = tempfile.mkdtemp(prefix="workflowhub-bench-airflow-")
        dags = Path(self._home, "dags")
        dags.mkdir()
        shutil.copy(HERE / "airflow_dags.py", dags / "bench.py")
        port = free_port()
        env = os.environ | _settings(self._home, port, self._server.url) | self._more
        airflow = str(Path(python).with_name("airflow"))
        quiet: dict[str, Any] = {
            "env": env,
            "cwd": self._home,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
        }
        subprocess.run([airflow, "db", "migrate"], check=True, timeout=START_SECONDS, **quiet)
        for words in (["api-server"], ["scheduler", "--skip-serve-logs"], ["dag-processor"]):
            self._processes.append(
                subprocess.Popen([airflow, *words], start_new_session=True, **quiet)
            )
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60)
        _until(self._is_healthy, "is not healthy")
        who = {"username": "admin", "password": "admin"}
        token = self._http.post("/auth/token", json=who).json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"
        _until(lambda: self._http.get("/api/v2/dags/chain_20").status_code == 200, "has no DAGs")
        self._http.patch("/api/v2/dags", params={"dag_id_pattern": "%"}, json={"is_paused": False})

    def _is_healthy(self) -> bool:
        try:
            said = self._http.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError):
            return False
        parts = ("metadatabase", "scheduler", "dag_processor")
        return all(said.get(part, {}).get("status") == "healthy" for part in parts)

    def stop(self) -> None:
        for process in self._processes:
            end(process)
        self._processes.clear()
        if self._server is not None:
            self._server.stop()
        shutil.rmtree(self._home, ignore_errors=True)

    def parallel(self, width: int) -> Measured:
        if width > 100:
            raise CantRun("two thousand processes would take minutes")
        posted, rows = self._run(f"parallel_{width}")
        return Measured(seconds=max(at(row["end_date"]) for row in rows) - posted)

    def chain(self, length: int) -> Measured:
        posted, rows = self._run(f"chain_{length}")
        times = sorted((at(row["start_date"]), at(row["end_date"])) for row in rows)
        gaps = tuple((times[n + 1][0] - times[n][1]) * 1000 for n in range(len(times) - 1))
        return Measured(seconds=times[-1][1] - posted, gaps=gaps)

    def _run(self, dag: str) -> tuple[float, list[dict[str, Any]]]:
        """(when it was posted, its task instances once it has ended)."""
        name = f"bench-{time.time_ns()}"
        path = f"/api/v2/dags/{dag}/dagRuns"
        posted = time.time()
        body = {"dag_run_id": name, "logical_date": None}
        self._http.post(path, json=body).raise_for_status()
        _until(
            lambda: self._http.get(f"{path}/{name}").json()["state"] in ("success", "failed"),
            "does not end a run",
        )
        rows: list[dict[str, Any]] = []
        while True:
            page = {"limit": 100, "offset": len(rows)}
            found = self._http.get(f"{path}/{name}/taskInstances", params=page).json()
            rows += found["task_instances"]
            if len(rows) >= found["total_entries"]:
                return posted, rows


def _settings(home: str, port: int, database: str) -> dict[str, str]:
    passwords = Path(home, "passwords.json")
    passwords.write_text(json.dumps({"admin": "admin"}))
    url = f"http://127.0.0.1:{port}"
    by_section = {
        "CORE": {
            "LOAD_EXAMPLES": "False",
            "DAGS_FOLDER": f"{home}/dags",
            "EXECUTOR": "LocalExecutor",
            "MAX_ACTIVE_TASKS_PER_DAG": "100",
            "DAGS_ARE_PAUSED_AT_CREATION": "False",
            "FERNET_KEY": "A" * 43 + "=",
            "EXECUTION_API_SERVER_URL": f"{url}/execution/",
            "SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        },
        "API_AUTH": {"JWT_SECRET": SECRET},
        "API": {
            "SECRET_KEY": SECRET,
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "BASE_URL": url,
            "WORKERS": "1",
        },
        "DATABASE": {"SQL_ALCHEMY_CONN": with_host(database).replace("://", "+psycopg2://", 1)},
        "SCHEDULER": {"ENABLE_HEALTH_CHECK": "False"},
        "LOGGING": {"BASE_LOG_FOLDER": f"{home}/logs"},
        "DAG_PROCESSOR": {"REFRESH_INTERVAL": "2", "DAG_BUNDLE_STORAGE_PATH": f"{home}/bundles"},
        "USAGE_DATA_COLLECTION": {"ENABLED": "False"},
    }
    found = {"AIRFLOW_HOME": home, "NO_PROXY": "127.0.0.1,localhost"}
    for section, values in by_section.items():
        found |= {f"AIRFLOW__{section}__{name}": text for name, text in values.items()}
    return found


def _until(holds: Any, what: str) -> None:
    deadline = time.monotonic() + RUN_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise CantRun(f"it {what} in {RUN_SECONDS} s")
        time.sleep(0.05)
