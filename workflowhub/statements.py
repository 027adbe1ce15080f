"""Bounds what one statement of a page or an API call may cost PostgreSQL.

Called once by a web process, before it opens its first connection. Cleanup, fsck and migrations are
not bounded: they are long by nature and nobody waits for them.
"""

from typing import Any

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created


def bound_statements() -> None:
    """From now on each new connection of this process cancels a statement that takes too long."""
    connection_created.connect(_bound, dispatch_uid="workflowhub.statements")


def _bound(connection: BaseDatabaseWrapper, **kwargs: Any) -> None:
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            # A page of a list reads a few rows from the end of an index. A merge join would walk the other
            # index of the two to where they meet, which may be far back (docs/performance.md).
            cursor.execute(
                "SELECT set_config('statement_timeout', %s, false), "
                "set_config('enable_mergejoin', 'off', false)",
                [f"{int(settings.WORKFLOWHUB_STATEMENT_TIMEOUT * 1000)}ms"],
            )
