"""Wakes the reconciler when a transaction that gave it work commits.

A wake-up may be lost, doubled or late without effect beyond the poll interval. PostgreSQL delivers it
by NOTIFY; on SQLite the loop sees the database file change.
"""

from django.db import connection

CHANNEL = "workflowhub_sync"


def wake_reconciler(what: str = "") -> None:
    """Inside a transaction: it is delivered with the commit, or not at all."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, what])
