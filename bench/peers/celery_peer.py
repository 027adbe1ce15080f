"""Celery, prefork with two processes, on a Redis of its own; bare, and as one runs it to see what it
does."""

import os
import shutil
import subprocess
import time

from bench.peers.peer import HERE, CantRun, Driver, Measured, Peer, end, free_port, python_with


class CeleryOnRedis(Peer):
    isolation = "pre-forked process"
    packages = ("celery[redis]==5.7.0",)

    def __init__(self, *, observable: bool) -> None:
        self.name = f"Celery on Redis, {'observable' if observable else 'bare'}"
        self._env = {"BENCH_OBSERVABLE": str(int(observable))}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._driver: Driver | None = None

    def start(self) -> None:
        redis = shutil.which("redis-server")
        if redis is None:
            raise CantRun("there is no redis-server on this machine")
        python = python_with("celery", self.packages)
        port = free_port()
        self._env["BENCH_BROKER"] = f"redis://127.0.0.1:{port}/0"
        self._run([redis, "--port", str(port), "--bind", "127.0.0.1", "--save", ""])
        worker = ["-m", "celery", "-A", "celery_app", "worker", "-c", "2", "--loglevel", "ERROR"]
        events = ["-E"] if self._env["BENCH_OBSERVABLE"] == "1" else []
        self._run([python, *worker, *events])
        self._driver = Driver(python, "celery_driver.py", env=self._env)
        self._driver.ask("parallel", 4)  # the worker is there and has its connections

    def _run(self, words: list[str]) -> None:
        self._processes.append(
            subprocess.Popen(
                words,
                cwd=HERE,
                env=os.environ | self._env,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        time.sleep(0.5)

    def stop(self) -> None:
        if self._driver is not None:
            self._driver.stop()
        for process in reversed(self._processes):
            end(process)
        self._processes.clear()

    def parallel(self, width: int) -> Measured:
        assert self._driver is not None
        return self._driver.ask("parallel", width)

    def chain(self, length: int) -> Measured:
        assert self._driver is not None
        return self._driver.ask("chain", length)
