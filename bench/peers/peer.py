"""What a peer is to the benchmark: something that can be installed, started, and given the same work."""

import json
import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

ENGINES = Path(__file__).resolve().parents[2] / ".engines"
HERE = Path(__file__).parent
INSTALL_SECONDS = 600


class CantRun(Exception):
    """It can't be measured here, and why."""


@dataclass(frozen=True, slots=True)
class Measured:
    """`seconds`: from the request to the last task's end. `gaps`: milliseconds between one task's end
    and the next one's start, of a chain."""

    seconds: float
    gaps: tuple[float, ...] = ()


class Peer:
    """`isolation`: where a task runs. Use as a context manager: its processes live as long as that."""

    name = ""
    isolation = ""
    packages: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Installs and starts it. Raises CantRun."""
        raise NotImplementedError

    def stop(self) -> None:
        """Ends every process of its own."""

    def parallel(self, width: int) -> Measured:
        """So many tasks that do nothing, at once."""
        raise NotImplementedError

    def chain(self, length: int) -> Measured:
        """So many tasks that do nothing, each after the other."""
        raise NotImplementedError


def python_with(name: str, packages: tuple[str, ...]) -> str:
    """The interpreter of a virtual environment of its own, `.engines/<name>`, with these packages.
    Raises CantRun where they can't be installed."""
    folder = ENGINES / name
    python = folder / "bin" / "python"
    stamp = folder / "installed"
    wanted = "\n".join(packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return str(python)
    try:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", *packages],
            check=True,
            timeout=INSTALL_SECONDS,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except (subprocess.SubprocessError, OSError) as error:
        raise CantRun(f"{', '.join(packages)} can't be installed: {error}") from None
    stamp.write_text(wanted)
    return str(python)


def with_host(database_url: str) -> str:
    """The address of an embedded server, as libpq, SQLAlchemy and asyncpg all read it."""
    who, _, path = database_url.partition("@/")
    folder, _, name = path.rpartition("/")
    return f"{who.replace('postgres://', 'postgresql://', 1)}@/{name}?host={folder}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


class Driver:
    """A script of this folder that runs under a peer's own interpreter: a line of JSON asks for work,
    a line of JSON answers."""

    def __init__(self, python: str, script: str, *words: str, env: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [python, str(HERE / script), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | env,
            cwd=HERE,
            text=True,
        )

    def ask(self, work: str, number: int) -> Measured:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(json.dumps({"work": work, "number": number}) + "\n")
        stdin.flush()
        answer: dict[str, Any] = json.loads(stdout.readline() or "{}")
        if "seconds" not in answer:
            raise CantRun(f"its driver gave no answer to {work} {number}")
        return Measured(seconds=answer["seconds"], gaps=tuple(answer.get("gaps", ())))

    def stop(self) -> None:
        end(self._process)


def end(process: subprocess.Popen[Any]) -> None:
    """SIGTERM, and after ten seconds SIGKILL, for the process and all that it has started."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        family = []
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with suppress(OSError):
                stream.close()
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for left in psutil.wait_procs(family, timeout=1)[1]:
        left.kill()
