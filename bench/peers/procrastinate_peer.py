"""procrastinate: a queue in PostgreSQL, claimed with SKIP LOCKED and woken by NOTIFY, with two worker
processes."""

import os
import subprocess
import time

from bench.peers.peer import HERE, Driver, Measured, Peer, end, python_with, with_host
from tests.database import EmbeddedPostgreSQL

WORKERS = 2


class Procrastinate(Peer):
    name = "procrastinate on PostgreSQL"
    isolation = "coroutine of a worker process"
    packages = ("procrastinate==3.10.0", "psycopg[binary,pool]")

    def __init__(self) -> None:
        self._server: EmbeddedPostgreSQL | None = None
        self._processes: list[subprocess.Popen[bytes]] = []
        self._driver: Driver | None = None

    def start(self) -> None:
        python = python_with("procrastinate", self.packages)
        self._server = EmbeddedPostgreSQL(fsync=True)
        env = {"BENCH_DATABASE": with_host(self._server.url)}
        command = [python, "-m", "procrastinate", "--app", "procrastinate_app.app"]
        subprocess.run(
            [*command, "schema", "--apply"],
            cwd=HERE,
            env=os.environ | env,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        import psycopg

        with psycopg.connect(env["BENCH_DATABASE"], autocommit=True) as connection:
            connection.execute("CREATE TABLE bench_times (times text)")
        for _ in range(WORKERS):
            self._processes.append(
                subprocess.Popen(
                    [*command, "worker", "--queues", "bench", "--concurrency", "4"],
                    cwd=HERE,
                    env=os.environ | env,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        time.sleep(1.0)
        self._driver = Driver(python, "procrastinate_driver.py", env=env)
        self._driver.ask("parallel", 4)

    def stop(self) -> None:
        if self._driver is not None:
            self._driver.stop()
        for process in self._processes:
            end(process)
        self._processes.clear()
        if self._server is not None:
            self._server.stop()

    def parallel(self, width: int) -> Measured:
        assert self._driver is not None
        return self._driver.ask("parallel", width)

    def chain(self, length: int) -> Measured:
        assert self._driver is not None
        return self._driver.ask("chain", length)
