"""Why a restore is refused: something of a hub still runs on the database or in the home, or there is
a hub already. What is done here changes nothing."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection

from engines.clock import database_now
from engines.dag.models import Worker
from engines.models import Engine
from runs.management.lock import HomeLock
from runs.models import Heartbeat, Lease, Workflow, WorkflowRun

SYNC_IS_SILENT = timedelta(seconds=15)  # its heartbeat comes every five


def what_runs() -> Iterator[str]:
    """A sentence for each thing that is seen to run; the caller holds the home's own lock."""
    for path in sorted(Path(settings.WORKFLOWHUB_HOME).glob("hub-*.lock")):
        holder = HomeLock(path.parent, path.stem).holder()
        if holder is not None:
            yield f"Process {holder.pid} ({path.stem.removeprefix('hub-')}) runs in this home."
    yield from _others_with_the_database()
    if not _has(WorkflowRun):
        return
    now = database_now()
    for beat in Heartbeat.objects.filter(name="sync", at__gt=now - SYNC_IS_SILENT):
        yield f"A sync process was alive {(now - beat.at).total_seconds():.0f} s ago."
    leases = Lease.objects.filter(expires_at__gt=now).order_by("-expires_at")
    if (last := leases.values_list("expires_at", flat=True).first()) is not None:
        left = (last - now).total_seconds()
        yield f"A sync process holds leases, for another {left:.0f} s at least."
    lost_after = timedelta(seconds=settings.WORKFLOWHUB_WORKER_LOST_AFTER)
    for worker in Worker.objects.filter(ended_at=None, heartbeat_at__gt=now - lost_after):
        seconds = (now - worker.heartbeat_at).total_seconds()
        yield f"The worker {worker} was alive {seconds:.0f} s ago."


def is_in_use() -> bool:
    """Whether the database holds what somebody made: users, engines, workflows or runs."""
    models = (WorkflowRun, Workflow, Engine, get_user_model())
    return any(model._base_manager.exists() for model in models if _has(model))


def _has(model: type) -> bool:
    """Whether the table is there, and in a form that can be asked."""
    with connection.cursor() as cursor:
        names = connection.introspection.table_names(cursor)
    return model._meta.db_table in names  # type: ignore[attr-defined]


def _others_with_the_database() -> Iterator[str]:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*), min(client_addr::text), min(application_name) "
                "FROM pg_stat_activity WHERE datname = current_database() "
                "AND usename = current_user AND pid <> pg_backend_pid() "
                "AND backend_type = 'client backend'"
            )
            count, address, name = cursor.fetchone()
        if count:
            where = f", one of them from {address}" if address else ""
            what = f" ({name})" if name else ""
            yield f"{count} others are connected to the database as this user{where}{what}."
        return
    for pid in _processes_with(Path(connection.settings_dict["NAME"])):
        yield f"Process {pid} has the database open."


def _processes_with(path: Path) -> Iterator[int]:
    """Other processes that have the file open, as far as this user may see it (Linux)."""
    wanted = os.path.realpath(path)
    for entry in Path("/proc").glob("[0-9]*"):
        if entry.name == str(os.getpid()):
            continue
        try:
            if any(os.readlink(link) == wanted for link in (entry / "fd").iterdir()):
                yield int(entry.name)
        except OSError:
            continue
