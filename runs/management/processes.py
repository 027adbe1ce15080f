"""The hub's processes, as `up` forks them: web, sync, qcluster and worker."""

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import DatabaseError, connections
from django_q.cluster import Cluster
from gunicorn.app.base import BaseApplication
from gunicorn.glogging import Logger

from engines.clock import database_now
from runs.management.fork import have_children_die_with_us
from runs.management.supervisor import DRAIN_SECONDS, Process
from runs.models import Heartbeat
from workflowhub.logging import name_process
from workflowhub.statements import bound_statements

log = structlog.get_logger(__name__)

NAMES = ("web", "sync", "qcluster", "worker")
# Requests that wait for the next look at an engine keep a thread each, at most 40 of them.
THREADS = 48
# The canary runs every minute, and the cluster looks for due jobs every 30 s.
CANARY_STALE = timedelta(seconds=180)
# What a worker needs to record what became of its steps once they are stopped, or killed.
HAND_BACK_SECONDS = 2.5


def process(name: str, *, listener: socket.socket | None = None, workers: int = 1) -> Process:
    """One of NAMES. `listener` is web's bound socket, `workers` how many steps run at once."""
    if name == "web":
        if listener is None:
            raise ValueError("web needs a socket to listen on.")
        return Process(name=name, run=serve(listener))
    if name == "sync":
        return Process(name=name, run=lambda: call_command("sync", "--watch"))
    if name == "qcluster":
        return Process(name=name, run=run_qcluster, wedged=qcluster_is_wedged)
    words = ("--concurrency", str(workers), "--grace", f"{worker_grace():.1f}")
    return Process(name=name, run=lambda: call_command("worker", *words))


def worker_grace() -> float:
    """How long steps may go on after a stop signal: so long that what is stopped then, and killed
    where it doesn't listen, is handed back before the supervisor loses patience with the worker."""
    return max(0.0, DRAIN_SECONDS - float(settings.WORKFLOWHUB_KILL_GRACE) - HAND_BACK_SECONDS)


def serve(listener: socket.socket) -> Callable[[], None]:
    """Loads the pages and the API now, so that every fork shares them; serves when called."""
    application = get_wsgi_application()
    return lambda: Web(application, listener).run()


class Web(BaseApplication):  # type: ignore[misc]  # gunicorn is untyped
    """gunicorn in this process, on a socket that outlives it: a restart refuses nobody."""

    def __init__(self, application: Any, listener: socket.socket) -> None:
        self.application = application
        self.listener = listener
        super().__init__()

    def load_config(self) -> None:
        for name, value in {
            "bind": f"fd://{self.listener.fileno()}",
            "worker_class": "gthread",
            "workers": 1,
            "threads": THREADS,
            "timeout": 60,
            "graceful_timeout": 10,
            "control_socket_disable": True,
            "logger_class": HubLogger,
            "pre_fork": lambda arbiter, worker: name_process("web"),
            "post_worker_init": lambda worker: name_process("web worker"),
        }.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        return self.application

    def run(self) -> None:
        have_children_die_with_us()
        bound_statements()
        super().run()


class HubLogger(Logger):  # type: ignore[misc]  # gunicorn is untyped
    """gunicorn's own messages go where all the others go; it keeps no access log."""

    def setup(self, cfg: Any) -> None:
        self.cfg = cfg
        self.error_log.handlers.clear()
        self.error_log.propagate = True
        self.error_log.setLevel("WARNING")
        self.access_log.propagate = False


def run_qcluster() -> None:
    """django-q2's cluster, until SIGTERM."""
    have_children_die_with_us()
    cluster = Cluster()
    cluster.start()
    cluster.sentinel.join()


def qcluster_is_wedged(seconds_up: float) -> str:
    """Why it must be restarted: its canary hasn't reported (docs/decisions/0001). Else empty."""
    if timedelta(seconds=seconds_up) < CANARY_STALE:
        return ""
    try:
        beat = Heartbeat.objects.filter(name="qcluster").first()
        age = None if beat is None else database_now() - beat.at
    except DatabaseError as error:
        log.warning("The age of the canary is unknown.", error=str(error))
        return ""
    finally:
        connections.close_all()  # nothing is forked while a connection is open
    if age is not None and age < CANARY_STALE:
        return ""
    return (
        "its canary has never reported"
        if age is None
        else f"its canary last reported {age.total_seconds():.0f} s ago"
    )
