"""Writes a backup while everything runs: the rows as one transaction sees them, then the files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.recorder import MigrationRecorder
from django.db.models import Model

from engines import folders
from engines.clock import database_now
from engines.secrets import encrypt
from runs.management.backup import contents, rows
from runs.management.backup.archive import TABLES, Writer
from workflowhub import __version__

CHUNK = 4 * 2**20  # of rows in one member
KEY_CHECK = "workflowhub"


class Refused(Exception):
    """No backup was made. The text says why."""


def write_backup(
    path: Path, *, keys: bool, logs: bool, work: bool, say: Callable[[str], None]
) -> dict[str, Any]:
    """The manifest of the new file. Raises Refused, OSError."""
    if path.exists():
        raise Refused(f"{path} is there already. Choose another name, or take it away first.")
    wanted = {"logs": logs, "work": work}
    try:
        writer = Writer(path)
    except OSError as error:
        raise Refused(f"{path} can't be written: {error.strerror}.") from None
    try:
        with _one_look():
            writer.header(_header(keys, [name for name, chosen in wanted.items() if chosen]))
            for model in contents.models():
                say(model._meta.db_table)
                _add_table(writer, model)
        if keys:
            _add_keys(writer)
        for folder in contents.folders():
            if wanted[folder.name]:
                say(folder.name)
                _add_folder(writer, folder)
        return writer.finish()
    except FileExistsError:
        writer.abandon()
        raise Refused(f"{path} has appeared meanwhile. Choose another name.") from None
    except BaseException:
        writer.abandon()
        raise


@contextmanager
def _one_look() -> Iterator[None]:
    """A transaction that sees the database as it is now, keeps nobody from writing, and writes
    nothing."""
    if connection.in_atomic_block:
        raise Refused("A backup can't be made within another transaction.")
    connection.ensure_connection()
    mode = getattr(connection, "transaction_mode", None)
    if connection.vendor == "sqlite":
        connection.transaction_mode = None  # type: ignore[attr-defined]  # else it would begin by locking all writers out
    try:
        with transaction.atomic():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    finally:
        if connection.vendor == "sqlite":
            connection.transaction_mode = mode  # type: ignore[attr-defined]


def _header(keys: bool, files: list[str]) -> dict[str, Any]:
    executor = MigrationExecutor(connection)
    if executor.migration_plan(executor.loader.graph.leaf_nodes()):
        raise Refused("The database isn't up to date with this version: run manage.py migrate.")
    known = set(executor.loader.graph.nodes)
    applied = sorted(set(MigrationRecorder(connection).applied_migrations()) & known)
    created_at: datetime = database_now()
    return {
        "version": __version__,
        "created_at": created_at.isoformat(),
        "database": connection.vendor,
        "migrations": [list(key) for key in applied],
        "tables": {model._meta.db_table: rows.columns_of(model) for model in contents.models()},
        "sequences": _sequences(),
        "files": files,
        "keys": {name: _whence(name) if keys else "left out" for name in sorted(contents.KEYS)},
        # By this a restore sees whether the keys that it has are the right ones.
        "key_check": encrypt(KEY_CHECK),
    }


def _whence(name: str) -> str:
    return "environment" if contents.is_from_environment(name) else "file"


def _add_table(writer: Writer, model: type[Model]) -> None:
    table = model._meta.db_table
    chunk, number, count = bytearray(), 0, 0
    for row in rows.read_rows(model):
        chunk += rows.to_line(row)
        count += 1
        if len(chunk) >= CHUNK:
            number += 1
            writer.add(f"{TABLES}/{table}/{number:06}.jsonl", bytes(chunk), rows=count)
            chunk.clear()
            count = 0
    if chunk:
        writer.add(f"{TABLES}/{table}/{number + 1:06}.jsonl", bytes(chunk), rows=count)


def _add_keys(writer: Writer) -> None:
    for name in contents.KEYS:
        if not contents.is_from_environment(name):
            writer.add(f"keys/{name}", contents.key_file(name).read_bytes())


def _add_folder(writer: Writer, folder: contents.Folder) -> None:
    try:
        with folders.folder(folder.path, ()) as handle:
            for path, file in folders.walk(handle):
                with file:
                    writer.add_file(f"{folder.name}/{path}", file)
    except FileNotFoundError:
        return  # nothing was ever written there


def _sequences() -> dict[str, int]:
    """Table -> the last key that was given, so that no key of a deleted row is given again."""
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT name, seq FROM sqlite_sequence")
            return dict(cursor.fetchall())
        found: dict[str, int] = {}
        for model in contents.models():
            table = model._meta.db_table
            for sequence in connection.introspection.get_sequences(cursor, table):
                name = connection.ops.quote_name(sequence["name"])
                cursor.execute(f"SELECT last_value, is_called FROM {name}")  # noqa: S608
                last, called = cursor.fetchone()
                found[table] = last if called else 0
        return found
