"""The database that a restore builds: all of it appears, or nothing has changed.

On PostgreSQL it is built in the transaction that takes the old tables away. On SQLite it is built in a
file of its own, then copied over the old one in one go; a copy of that is kept aside.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from django.db import connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.utils import OperationalError

from runs.management.backup.archive import BadBackup

LOCK_SECONDS = 10


@contextmanager
def building(stamp: str, tables: Iterable[str]) -> Iterator[None]:
    """The default connection leads to an empty database meanwhile. At the end that takes the old one's
    place; after an error the old one is as it was. `tables`: those that will be made."""
    if connection.vendor == "postgresql":
        with _in_one_transaction(tables):
            yield
    else:
        with _in_a_file(stamp):
            yield


def kept_aside(stamp: str) -> Path | None:
    """Where the old database is after a restore; None where there was none, or it is gone."""
    path = _aside(stamp) if connection.vendor == "sqlite" else None
    return path if path is not None and path.exists() else None


@contextmanager
def _in_one_transaction(tables: Iterable[str]) -> Iterator[None]:
    try:
        with transaction.atomic():
            with connection.cursor() as cursor:
                cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
                names = [connection.ops.quote_name(name) for name in our_tables(tables)]
                if names:
                    cursor.execute(f"DROP TABLE {', '.join(names)} CASCADE")
            yield
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    except OperationalError as error:
        if "lock timeout" in str(error):
            raise BadBackup("somebody else uses the database: stop them, then try again") from None
        raise
    finally:
        connection.close()


@contextmanager
def _in_a_file(stamp: str) -> Iterator[None]:
    old = _path()
    new = old.with_name(f".{old.name}.restoring-{stamp}")
    old.parent.mkdir(parents=True, exist_ok=True)
    for stale in old.parent.glob(f".{old.name}.restoring-*"):
        stale.unlink(missing_ok=True)  # of a restore that was killed
    os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        with _pointed_at(new):
            yield
        _replace(old, new, _aside(stamp))
    finally:
        for path in (new, *(new.with_name(new.name + end) for end in ("-wal", "-shm"))):
            path.unlink(missing_ok=True)


@contextmanager
def _pointed_at(path: Path) -> Iterator[None]:
    connection.close()
    before = connection.settings_dict["NAME"]
    connection.settings_dict["NAME"] = str(path)
    try:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous = OFF")  # nothing depends on it until it is whole
            cursor.execute("PRAGMA foreign_keys = OFF")  # they are checked once, when all is there
        yield
        connection.check_constraints()
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before


def _replace(old: Path, new: Path, aside: Path) -> None:
    """Copies page by page under SQLite's own locks: whoever has the old one open sees the new one with
    the next transaction."""
    with closing(sqlite3.connect(new)) as source, closing(sqlite3.connect(old)) as target:
        source.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        target.execute(f"PRAGMA busy_timeout = {LOCK_SECONDS * 1000}")
        if target.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            os.close(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            with closing(sqlite3.connect(aside)) as copy:
                target.backup(copy)
        try:
            source.backup(target)
        except sqlite3.OperationalError as error:
            raise BadBackup(f"the database can't be replaced: {error}") from None
    with suppress(OSError):
        handle = os.open(old, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def _path() -> Path:
    return Path(connection.settings_dict["NAME"])


def _aside(stamp: str) -> Path:
    return _path().with_name(f"{_path().name}.before-restore-{stamp}")


def our_tables(also: Iterable[str] = ()) -> list[str]:
    """The tables that are there and are the hub's own: of this version, and those named by `also`.
    Others may share the database, so no name is guessed."""
    known = {*connection.introspection.django_table_names(), *also}
    known.add(MigrationRecorder.Migration._meta.db_table)
    with connection.cursor() as cursor:
        return sorted(known & set(connection.introspection.table_names(cursor)))
