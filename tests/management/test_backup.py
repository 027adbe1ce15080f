"""`manage.py backup`, what is in its file, and when `restore` refuses one and changes nothing."""

import gzip
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings as hub_settings
from django.core.management import CommandError
from django.db import connection, connections, transaction
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from engines.dag.logs import append
from engines.dag.models import Worker
from runs.management.backup import contents, load, rows
from runs.management.backup.archive import HEADER, MANIFEST, TABLES, BadBackup
from runs.management.backup.dump import Refused, write_backup
from runs.management.backup.places import Places
from runs.management.backup.restoring import Restorer
from runs.management.commands import restore as restore_command
from runs.management.lock import HomeLock
from runs.models import Heartbeat, Label, Lease, WorkflowRun
from tests.factories import make_run
from tests.management.packing import (
    backup,
    file,
    fill,
    header_of,
    home,
    lines_of,
    parts_of,
    repack,
    restore,
)

__all__ = ["file", "home"]  # fixtures

pytestmark = pytest.mark.django_db(transaction=True)


# What is written


def test_every_column_of_a_hub_can_be_written_down() -> None:
    kinds = {
        rows.kind_of(field) for model in contents.models() for field in model._meta.concrete_fields
    }
    assert kinds <= rows.KNOWN, "Say in rows.py how it is written and read."
    assert len(contents.models()) > 35


def test_nothing_is_in_it_that_would_be_void(file: Path, home: Path) -> None:
    fill()
    Heartbeat.objects.get_or_create(name="sync", defaults={"at": timezone.now()})
    backup(file)
    parts = parts_of(file)
    tables = {name.split("/")[1] for name in parts if name.startswith(f"{TABLES}/")}
    assert {"runs_workflowrun", "auth_user", "dag_step", "runs_auditentry"} <= tables
    for table in ("django_session", "runs_lease", "runs_heartbeat", "engines_hint"):
        assert table not in tables
    assert not [table for table in tables if table.startswith("django_q")]
    assert parts["keys/secret_keys"].decode() == hub_settings.WORKFLOWHUB_SECRET_KEYS[0]


def test_what_goes_with_it_is_chosen(file: Path, home: Path, capsys: Any) -> None:
    append("wh-1/a/-1/1.1.log", b"a line\n")
    (home / "work" / "wh-1" / "a").mkdir(parents=True)
    (home / "work" / "wh-1" / "a" / ".hidden").write_text("x")
    (home / "logs" / ".before-restore-1").mkdir()
    (home / "logs" / ".before-restore-1" / "old.log").touch()
    (home / "logs" / "link").symlink_to("/etc/passwd")
    backup(file, "--without-keys", "--without-logs")
    assert not [name for name in parts_of(file) if name.split("/")[0] in {"keys", "logs", "work"}]
    assert "holds no keys" in capsys.readouterr().err
    file.unlink()
    backup(file, "--with-artifacts")
    assert "logs/wh-1/a/-1/1.1.log" in parts_of(file)
    assert "work/wh-1/a/.hidden" in parts_of(file)
    assert not [name for name in parts_of(file) if "old.log" in name or "link" in name]
    assert "Keep it as you keep a password." in capsys.readouterr().err
    assert file.stat().st_mode & 0o077 == 0


def test_a_key_from_the_environment_stays_there(file: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("WORKFLOWHUB_SECRET_KEYS", hub_settings.WORKFLOWHUB_SECRET_KEYS[0])
    backup(file)
    assert "keys/secret_keys" not in parts_of(file)
    assert header_of(file)["keys"] == {"secret_key": "file", "secret_keys": "environment"}


def test_a_file_that_is_there_is_not_written_over(file: Path) -> None:
    file.write_text("precious")
    with pytest.raises(CommandError, match="is there already"):
        backup(file)
    assert file.read_text() == "precious"


def test_a_folder_that_can_not_be_written_to_is_named(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="can't be written: No such file"):
        backup(tmp_path / "none" / "hub.tar.gz")


def test_it_is_one_look_while_others_write_and_keeps_nobody_waiting(file: Path) -> None:
    """Between two tables a run and its label are written in one transaction."""
    make_run()
    written = []

    def write() -> None:
        try:
            with transaction.atomic():
                Label.objects.create(key="late", value="yes")
                make_run()
            written.append(True)
        finally:
            connections.close_all()

    def say(name: str) -> None:
        if name == "runs_label":
            thread = threading.Thread(target=write)
            thread.start()
            thread.join(10)

    write_backup(file, keys=False, logs=False, work=False, say=say)
    assert written, "A writer had to wait for the backup."
    found = lines_of(file)
    assert len(found["runs_workflowrun"]) == 1
    assert "runs_label" not in found
    assert WorkflowRun.objects.count() == 2


def test_within_another_transaction_it_is_refused(file: Path) -> None:
    with transaction.atomic(), pytest.raises(Refused, match="within another"):
        write_backup(file, keys=False, logs=False, work=False, say=lambda name: None)
    assert not file.exists()


def test_a_database_that_is_not_up_to_date_is_refused(file: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(MigrationExecutor, "migration_plan", lambda *_: ["one"])
    with pytest.raises(CommandError, match=r"manage\.py migrate"):
        backup(file)
    assert not file.exists()


# Refused, and nothing changed


def refused(file: Path, match: str, *words: str) -> None:
    before = WorkflowRun.objects.count()
    with pytest.raises(CommandError, match=match):
        restore(file, *words)
    assert WorkflowRun.objects.count() == before


def test_a_hub_is_not_given_up_unasked(file: Path, monkeypatch: Any) -> None:
    make_run()
    backup(file)
    make_run()
    refused(file, "say --replace")
    refused(file, "confirm it with --yes", "--replace")
    monkeypatch.setattr(restore_command.sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda prompt: "no")
    refused(file, "Nothing was changed", "--replace")


def test_while_anything_runs_it_is_refused(file: Path, home: Path) -> None:
    make_run()
    backup(file)
    now = timezone.now()
    later = now + timedelta(minutes=1)
    lock = HomeLock(home)
    lock.take()
    lock.sign("http://127.0.0.1:1")
    refused(file, "A hub already runs", "--replace", "--yes")
    lock.release()
    alone = HomeLock(home, "hub-qcluster")
    alone.take()
    refused(file, r"\(qcluster\) runs in this home", "--replace", "--yes")
    alone.release()
    beat = Heartbeat.objects.create(name="sync", at=now)
    refused(file, "sync process was alive", "--replace", "--yes")
    beat.delete()
    lease = Lease.objects.create(name="engine:1", expires_at=later)
    refused(file, "holds leases, for another", "--replace", "--yes")
    lease.delete()
    Worker.objects.create(
        id="12345678-1234-5678-1234-567812345678",
        host="elsewhere", pid=7, concurrency=1, started_at=now, heartbeat_at=now,
    )  # fmt: skip
    refused(file, "worker elsewhere:7 was alive", "--replace", "--yes")


def test_while_another_process_has_the_database_it_is_refused(
    file: Path, database_url: str
) -> None:
    make_run()
    backup(file)
    if connection.vendor == "postgresql":
        to = connection.settings_dict
        with psycopg.connect(
            host=to["HOST"],
            port=to["PORT"] or None,
            dbname=to["NAME"],
            user=to["USER"],
            password=to["PASSWORD"],
            application_name="a hub elsewhere",
        ):
            refused(file, "connected to the database.*a hub elsewhere", "--replace", "--yes")
        return
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA page_count'); "
        "c.execute('SELECT 1 FROM auth_user'); print('open', flush=True); sys.stdin.read()"
    )
    name = str(connection.settings_dict["NAME"])
    with subprocess.Popen(
        [sys.executable, "-c", code, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdin is not None
        other.stdout.readline()
        refused(file, f"Process {other.pid} has the database open", "--replace", "--yes")
        other.stdin.close()


def test_a_damaged_file_changes_nothing(file: Path) -> None:
    make_run()
    backup(file)
    whole = file.read_bytes()
    file.write_bytes(whole[:-200])
    refused(file, "can't be restored: .*Nothing was changed", "--replace", "--yes")
    file.write_bytes(b"hello")
    refused(file, "Nothing was changed", "--replace", "--yes")
    refused(file.with_name("none"), "No such file", "--replace", "--yes")


def test_a_backup_of_a_newer_version_is_refused(file: Path) -> None:
    backup(file)
    header = header_of(file)
    header["migrations"].append(["runs", "9999_teleportation"])
    header["version"] = "9.9"
    newer = repack(file.with_name("newer"), header, {})
    refused(newer, r"version 9\.9.*runs\.9999_teleportation.*update the hub", "--replace", "--yes")


def test_a_backup_that_does_not_say_when_it_was_made_is_refused(file: Path) -> None:
    header = header_of(backup(file))
    for when in (None, "yesterday", "2026-01-01T00:00:00", 7):
        header["created_at"] = when
        path = file.with_name(f"b{when}".replace(":", ""))
        refused(repack(path, dict(header), {}), "when it was made", "--replace", "--yes")


@pytest.mark.faults
@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        ("runs_label", {"not": "a row"}, "a row of runs_label can't be kept"),
        ("runs_runlabel", [[1, 10**9, 10**9]], "don't fit together"),
    ],
)
def test_rows_that_make_no_sense_change_nothing(
    file: Path, home: Path, table: str, change: Any, said: str
) -> None:
    make_run(labels={"team": "physics"})
    backup(file)
    header = header_of(file)
    values = change if isinstance(change, list) else [change]
    columns = header["tables"][table]
    assert len(columns) == 3
    bad = repack(file.with_name("bad"), header, {table: values})
    append("wh-1/a.log", b"still here\n")
    before = set(os.listdir(_folder_of_database(home)))
    refused(bad, said, "--replace", "--yes")
    assert WorkflowRun.objects.get().labels.get().value == "physics"
    assert os.listdir(home / "logs") == ["wh-1"]
    left = set(os.listdir(_folder_of_database(home))) - before
    assert not [name for name in left if "restoring" in name]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda header: header["tables"].update(nonsense=["id"]), "a table 'nonsense'"),
        (lambda header: header["tables"].update(django_session=["x"]), "a table 'django_session'"),
        (lambda header: header["tables"]["runs_label"].append("x"), "runs_label has other columns"),
        (lambda header: header.pop("tables"), "doesn't say which tables"),
        (lambda header: header["migrations"].remove(["runs", "0001_initial"]), "a mixture"),
    ],
)
def test_a_description_that_makes_no_sense_changes_nothing(
    file: Path, change: Any, said: str
) -> None:
    make_run()
    header = header_of(backup(file))
    change(header)
    refused(repack(file.with_name("bad"), header, {}), said, "--replace", "--yes")


def _folder_of_database(home: Path) -> Path:
    name = connection.settings_dict["NAME"]
    return Path(name).parent if connection.vendor == "sqlite" else home


# Keys of rows


def test_as_many_keys_are_passed_over_as_may_have_been_given_since() -> None:
    assert load.gap("runs_workflowrun", 0.2) == 1000
    assert load.gap("runs_workflowrun", 3600) == 360_000
    assert load.gap("dag_step", 60) == 600_000
    assert load.gap("runs_workflowrun", -5) == 1000


def test_a_restorer_says_what_is_wrong_with_its_file(file: Path) -> None:
    backup(file)
    restorer = Restorer(file)
    restorer.check()
    assert restorer.made_at.tzinfo is not None
    restorer.close()
    with pytest.raises(BadBackup, match="of which version"):
        load.past_of({"migrations": "all"})


def _members(file: Path) -> Iterator[str]:
    with gzip.open(file) as unpacked, tarfile.open(fileobj=io.BytesIO(unpacked.read())) as tar:
        yield from tar.getnames()


def test_the_sums_come_last(file: Path) -> None:
    names = list(_members(backup(file)))
    assert (names[0], names[-1]) == (HEADER, MANIFEST)


def test_keys_that_do_not_fit_are_noticed(file: Path, settings: Any) -> None:
    backup(file, "--without-keys")
    restorer, places = Restorer(file), Places("stamp")
    assert restorer.keys_fit(places)
    settings.WORKFLOWHUB_SECRET_KEYS = ["o7Jpm9VnQW0Qf1mRzGZsR3rcyoYbRNnUGJ3nX9mY4pA="]
    assert not restorer.keys_fit(places)
    restorer.close()


def test_rows_are_read_as_they_are_or_not_at_all() -> None:
    columns = rows.columns_of(Label)
    reader = rows.RowReader(Label, columns, {"value": "constant"})
    assert list(reader.rows(b'[1, "k", "v"]\n')) == [[1, "k", "constant"]]
    for nonsense in (b"{}", b"[1]", b'[1, "k", "v", "w"]', b"[", b'"abc"'):
        with pytest.raises(ValueError):
            list(reader.rows(nonsense))
