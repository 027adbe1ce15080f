"""`manage.py migrate`, killed half way, goes on where it was."""

import os
import re
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from tests.e2e.processes import ROOT
from tests.environment import database_url as url_of_connection
from tests.faults.chance import chance, scaled

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

OURS = ("engines", "dag", "runs")


@pytest.fixture
def empty_database(tmp_path: Path) -> Iterator[str]:
    """DATABASE_URL of a database without a table."""
    if connection.vendor == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite3'}"
        return
    name = f"migrated_{os.getpid()}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {name}")
    yield url_of_connection().rpartition("/")[0] + f"/{name}"
    with connection.cursor() as cursor:
        cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Migrate:
    """`manage.py migrate`, and what it says."""

    def __init__(self, url: str, home: Path) -> None:
        self.said = ""
        self.process = subprocess.Popen(
            [sys.executable, "-u", "manage.py", "migrate", "--no-input"],
            cwd=ROOT,
            env={**os.environ, "DATABASE_URL": url, "WORKFLOWHUB_HOME": str(home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def read_until(self, pattern: str) -> bool:
        """Whether it came so far; else it has ended."""
        assert self.process.stdout is not None
        while not re.search(pattern, self.said):
            more = os.read(self.process.stdout.fileno(), 1000)
            if not more:
                return False
            self.said += more.decode()
        return True

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def end(self) -> int:
        self.read_until(r"\Znever")
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(60)


def migrations() -> list[str]:
    """Ours, as the output names them, in the order in which they are applied."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT app, name FROM django_migrations ORDER BY id")
        return [f"{app}.{name}" for app, name in cursor.fetchall() if app in OURS]


def test_fault_36_a_migration_killed_half_way_is_finished_by_the_next(
    empty_database: str, tmp_path: Path
) -> None:
    rng = chance("migrations")
    known = migrations()
    victims = known if scaled(1) > 1 else rng.sample(known, 3)
    for name in sorted(victims, key=known.index):
        migrate = Migrate(empty_database, tmp_path)
        assert migrate.read_until(rf"Applying {re.escape(name)}\.\.\."), migrate.said
        time.sleep(rng.uniform(0, 0.05))
        migrate.kill()
    last = Migrate(empty_database, tmp_path)
    assert last.end() == 0, last.said
    assert schema(empty_database) == schema(url_of_connection())


def schema(url: str) -> dict[str, Any]:
    """Everything that a database has but its rows, and the rows that migrations write."""
    with closing(connect(url)) as raw:
        return {name: sorted(raw.execute(text).fetchall()) for name, text in QUERIES.items()}


def connect(url: str) -> Any:
    if connection.vendor == "sqlite":
        return sqlite3.connect(url.removeprefix("sqlite:///"))
    params = connection.get_connection_params()
    names = ("host", "port", "user", "password")
    known = {name: params[name] for name in names if params.get(name)}
    return psycopg.connect(dbname=url.rpartition("/")[2], **known)


QUERIES = (
    {
        "tables and indexes": "SELECT type, name, sql FROM sqlite_master "
        "WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%'",
    }
    if settings.DATABASES["default"]["ENGINE"].endswith("sqlite3")
    else {
        "columns": "SELECT table_name, column_name, data_type, is_nullable "
        "FROM information_schema.columns WHERE table_schema = 'public'",
        "indexes": "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
        "constraints": "SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint "
        "WHERE connamespace = 'public'::regnamespace",
    }
) | {
    "applied": "SELECT app, name FROM django_migrations",
    "permissions": "SELECT codename FROM auth_permission",
}
