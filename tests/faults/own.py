"""A PostgreSQL server of a test's own, which it may kill, with databases that are ready for a hub."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.contrib.contenttypes.models import ContentType
from django.core.management import call_command
from django.db import connection, connections

from tests.database import EmbeddedPostgreSQL
from tests.environment import database_url

READY = "ready"
_numbers = itertools.count(1)


class OwnPostgreSQL:
    """`server` may be killed and started; `new_database` gives a migrated, empty one."""

    def __init__(self) -> None:
        self.server = EmbeddedPostgreSQL(durable=True)
        self.folder = "/" + self.server.url.partition("@//")[2].rpartition("/")[0]
        try:
            self.run(f"CREATE DATABASE {READY}")
            with self.connected(READY):
                call_command("migrate", verbosity=0, interactive=False)
        except BaseException:
            self.server.stop()
            raise

    def run(self, statement: str, database: str = "postgres") -> Any:
        """One statement outside any transaction; its rows, if it gives some."""
        with self.open(database) as raw:
            cursor = raw.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def open(self, database: str, **options: Any) -> psycopg.Connection[Any]:
        options.setdefault("host", self.folder)
        return psycopg.connect(user="postgres", dbname=database, autocommit=True, **options)

    def new_database(self) -> str:
        name = f"hub{next(_numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE {READY}")
        return name

    def drop(self, database: str) -> None:
        self.run(f"DROP DATABASE {database} WITH (FORCE)")

    @contextmanager
    def connected(self, database: str, **options: Any) -> Iterator[str]:
        """This process's Django works on that database meanwhile; gives its DATABASE_URL."""
        known = dict(connection.settings_dict)
        connections.close_all()
        ContentType.objects.clear_cache()
        ours = {"NAME": database, "HOST": self.folder, "USER": "postgres", "PASSWORD": ""}
        connection.settings_dict.update(ours, PORT="", **options)
        try:
            yield database_url()
        finally:
            connections.close_all()
            ContentType.objects.clear_cache()
            connection.settings_dict.clear()
            connection.settings_dict.update(known)
