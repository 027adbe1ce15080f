"""`manage.py up`: the whole hub under one supervisor, from an empty folder to a page."""

import errno
import socket
from ipaddress import ip_address
from pathlib import Path
from typing import IO, Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, OutputWrapper
from django.db import connection, connections

from runs.management import processes
from runs.management.detach import DidNotStart, fork_to_background
from runs.management.fork import ForkFailed, answer_of
from runs.management.lock import AlreadyRunning, HomeLock
from runs.management.prepare import FIRST_USER, prepare
from runs.management.supervisor import Supervisor


class Command(BaseCommand):
    help = (
        "Runs the hub: prepares the home, then keeps web, sync, qcluster and worker alive "
        "until Ctrl-C."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=int, default=8000, help="0: any free one")
        parser.add_argument(
            "--workers",
            type=int,
            default=settings.WORKFLOWHUB_WORKERS,
            help="steps of the built-in engine at a time; 0: none here",
        )
        parser.add_argument(
            "--only",
            default="",
            metavar="NAMES",
            help="some of web,sync,qcluster,worker: nothing is prepared, and several may share "
            "a home (for service managers)",
        )
        parser.add_argument("--detach", action="store_true", help="go to the background")

    def handle(
        self, *, host: str, port: int, workers: int, only: str, detach: bool, **_: Any
    ) -> None:
        names = _names(only, workers)
        home: Path = settings.WORKFLOWHUB_HOME
        lock = HomeLock(home, f"hub-{'-'.join(names)}" if only else "hub")
        try:
            lock.take()
        except AlreadyRunning as error:
            raise CommandError(str(error)) from None
        listener = _listen(host, port) if "web" in names else None
        url = _serve_at(listener) if listener else ""

        terminal: IO[str] | OutputWrapper = self.stdout
        if detach:
            try:
                answer = fork_to_background(home / "hub.log")
            except DidNotStart as error:
                raise CommandError(str(error)) from None
            if isinstance(answer, str):
                self.stdout.write(answer, ending="")
                return
            terminal = answer
        lock.sign(url)
        password = "" if only else self._prepare()
        hub = Supervisor(
            [processes.process(name, listener=listener, workers=workers) for name in names],
            self._say,
        )
        terminal.write(_welcome(url, password, names, detach))
        terminal.flush()
        if detach:
            terminal.close()
        hub.run()

    def _prepare(self) -> str:
        """The new administrator's password, or empty."""
        connections.close_all()
        try:
            answer = answer_of(lambda: prepare(self._say))
        except ForkFailed:
            raise CommandError("The hub could not be prepared: the lines above say why.") from None
        return str(answer["password"])

    def _say(self, text: str) -> None:
        self.stderr.write(f"workflowhub: {text}", str)
        self.stderr.flush()


def _names(only: str, workers: int) -> list[str]:
    """The processes to run, in the order in which they start."""
    asked = [name.strip() for name in only.split(",") if name.strip()]
    unknown = sorted(set(asked) - set(processes.NAMES))
    if unknown:
        raise CommandError(
            f"--only names {', '.join(unknown)}: choose from {', '.join(processes.NAMES)}."
        )
    names = [name for name in processes.NAMES if not asked or name in asked]
    return [name for name in names if name != "worker" or workers > 0]


def _listen(host: str, port: int) -> socket.socket:
    """A bound, listening socket, or the reason why not, before anything else starts."""
    if not 0 <= port <= 65535:
        raise CommandError(f"{port} is not a port: they go from 1 to 65535.")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server((address[0], port), family=family, backlog=1024)
    except OSError as error:
        reason = {
            errno.EADDRINUSE: "another program uses it",
            errno.EACCES: "ports below 1024 need privileges",
        }.get(error.errno or 0, error.strerror or str(error))
        raise CommandError(
            f"Cannot listen on {host} port {port}: {reason}. "
            "Choose another: make run PORT=8001 (or: manage.py up --port 8001)"
        ) from None


def _serve_at(listener: socket.socket) -> str:
    """The address for browsers on this machine; it is allowed as a host and as a target."""
    host, port = listener.getsockname()[:2]
    if ip_address(host).is_unspecified:  # listening on all: browsers here use the loopback
        host = "::1" if ":" in host else "127.0.0.1"
    host = f"[{host}]" if ":" in host else host
    settings.ALLOWED_HOSTS.append(host)
    # Workflows may call the hub that runs them.
    settings.WORKFLOWHUB_HTTP_ALLOW.append(f"{host}:{port}")
    settings.WORKFLOWHUB_OWN_URL = f"http://{host}:{port}"
    return str(settings.WORKFLOWHUB_OWN_URL)


def _welcome(url: str, password: str, names: list[str], detached: bool) -> str:
    lines = [f"WorkflowHub is at {settings.WORKFLOWHUB_URL or url}" if url else ", ".join(names)]
    if password:
        lines += [
            f"  log in     {FIRST_USER}  {password}",
            "             (shown only this once; change it on the page of your account)",
        ]
    database = "PostgreSQL" if connection.vendor == "postgresql" else "SQLite"
    lines += [f"  state      {settings.WORKFLOWHUB_HOME} ({database})"]
    if detached:
        lines += [f"  log        {settings.WORKFLOWHUB_HOME / 'hub.log'}"]
    lines += ["  stop       make stop (or: manage.py down)" if detached else "  stop       Ctrl-C"]
    return "\n".join(lines) + "\n"
