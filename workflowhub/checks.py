"""System checks: what is wrong with the settings, said at start-up with the remedy.

Each has an id that stays; `manage.py check --deploy` adds those for a hub that others reach.
"""

import sqlite3
from collections.abc import Sequence
from math import ceil
from typing import Any

from cryptography.fernet import Fernet
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connection

from engines import faults
from engines.addresses import parse_rule
from workflowhub import discovery

SQLITE_LEAST = (3, 35, 0)  # RETURNING


@register(Tags.security)
def secret_keys(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for number, key in enumerate(settings.WORKFLOWHUB_SECRET_KEYS, start=1):
        try:
            Fernet(key)
        except ValueError:
            found.append(
                Error(
                    f"Key {number} of WORKFLOWHUB_SECRET_KEYS is not 32 bytes in URL-safe base64.",
                    hint="Make one with: python -c 'from cryptography.fernet import Fernet; "
                    "print(Fernet.generate_key().decode())'",
                    id="workflowhub.E001",
                )
            )
    return found


@register(Tags.security)
def home_is_private(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    mode = settings.WORKFLOWHUB_HOME.stat().st_mode
    if not mode & 0o007:
        return []
    return [
        Warning(
            f"Every user of this machine can look into {settings.WORKFLOWHUB_HOME}, "
            "where keys and the database lie.",
            hint=f"Run: chmod o-rwx '{settings.WORKFLOWHUB_HOME}'",
            id="workflowhub.W001",
        )
    ]


@register(Tags.security, deploy=True)
def public_address(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    if settings.WORKFLOWHUB_URL:
        return []
    return [
        Warning(
            "WORKFLOWHUB_URL is not set: links in notifications and the protection of cookies "
            "follow from it.",
            hint="Set it to the address that browsers use, such as https://hub.example.org.",
            id="workflowhub.W002",
        )
    ]


@register()
def lengths(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    if settings.WORKFLOWHUB_WORKER_LOST_AFTER >= 2 * settings.WORKFLOWHUB_HEARTBEAT:
        return []
    return [
        Error(
            "WORKFLOWHUB_WORKER_LOST_AFTER is less than two heartbeats "
            f"({settings.WORKFLOWHUB_WORKER_LOST_AFTER:g} s < 2 x "
            f"{settings.WORKFLOWHUB_HEARTBEAT:g} s): healthy workers would be given up.",
            hint="Raise it, or lower WORKFLOWHUB_HEARTBEAT.",
            id="workflowhub.E002",
        )
    ]


@register()
def inside_addresses(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    return [
        Error(
            f"WORKFLOWHUB_HTTP_ALLOW has {entry!r}, which is neither a network nor host:port.",
            hint="Write 10.1.0.0/16, 10.1.2.3, airflow.internal:8080 or [::1]:8080.",
            id="workflowhub.E003",
        )
        for entry in settings.WORKFLOWHUB_HTTP_ALLOW
        if not _is_rule(entry)
    ]


@register()
def permission_factory(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    dotted = settings.WORKFLOWHUB_PERMISSION_FACTORY
    if not dotted:
        return []
    try:
        discovery.load(dotted)
    except (ImportError, AttributeError, ValueError) as error:
        return [
            Error(
                f"WORKFLOWHUB_PERMISSION_FACTORY names {dotted!r}, which can't be loaded: {error}.",
                hint="Give module:name of something that can be imported.",
                id="workflowhub.E004",
            )
        ]
    return []


@register()
def doorbell(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    """docs/decisions/0001: a shorter retry hands a task out again while it still runs."""
    cluster: dict[str, Any] = settings.Q_CLUSTER
    least = cluster["timeout"] * (1 + ceil(cluster["queue_limit"] / cluster["workers"]))
    if cluster["retry"] > least:
        return []
    return [
        Error(
            f"Q_CLUSTER retries after {cluster['retry']} s, but a task may wait and run {least} s.",
            hint="Keep retry > timeout x (1 + ceil(queue_limit / workers)).",
            id="workflowhub.E005",
        )
    ]


@register(Tags.database)
def sqlite_version(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    if connection.vendor != "sqlite" or sqlite3.sqlite_version_info >= SQLITE_LEAST:
        return []
    return [
        Error(
            f"This Python has SQLite {sqlite3.sqlite_version}, and 3.35 or newer is needed.",
            hint="Use a newer Python, or PostgreSQL through DATABASE_URL.",
            id="workflowhub.E006",
        )
    ]


@register(Tags.security)
def crash_points(app_configs: Sequence[Any] | None, **_: Any) -> list[CheckMessage]:
    if not faults.armed():
        return []
    return [
        Warning(
            f"{faults.VARIABLE} is set: this process will kill itself at {faults.armed()!r}.",
            hint="That is for the hub's own tests. Unset it.",
            id="workflowhub.W003",
        )
    ]


def _is_rule(entry: str) -> bool:
    try:
        parse_rule(entry)
    except ValueError:
        return False
    return True
