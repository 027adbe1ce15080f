"""`manage.py restore`: everything comes back, on either database, whatever version wrote it."""

import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as hub_settings
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from engines.dag.logs import append
from engines.dag.models import Step
from engines.models import Engine
from runs.management.backup import rows
from runs.management.backup.places import Places
from runs.models import Lease, Restore, RunEvent, WorkflowRun
from tests.factories import make_engine, make_run, make_user, make_workflow
from tests.management.packing import (
    backup,
    file,
    fill,
    header_of,
    home,
    lines_of,
    repack,
    replace,
)

__all__ = ["file", "home"]  # fixtures

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]
ROOT = Path(hub_settings.BASE_DIR)
# Of these a restore changes rows: what was valid then is void now.
CHANGED = {
    "dag_execution", "dag_step", "dag_worker", "engines_engine", "engines_enginejob",
    "runs_apitoken", "runs_auditentry", "runs_idempotencykey", "runs_restore", "runs_runattempt",
    "runs_runevent", "runs_workflow", "runs_workflowrun", "django_content_type", "auth_permission",
}  # fmt: skip


# Everything comes back


def test_everything_comes_back_and_what_came_since_is_gone(
    file: Path, home: Path, tmp_path: Path, capsys: Any
) -> None:
    run = fill()
    append("wh-1/a/-1/1.1.log", b"a line\n")
    backup(file)
    before = lines_of(file)
    later = make_run()
    append("wh-2/a/-1/1.1.log", b"later\n")
    (home / "spool").mkdir()
    (home / "spool" / "7-1.json").write_text("{}")
    make_user(username="later")
    Engine.objects.update(cursor="now", failures=3)
    open_connection = _open_elsewhere()
    replace(file)
    said = capsys.readouterr().out

    again = lines_of(backup(tmp_path / "again.tar.gz"))
    assert {name: lines for name, lines in again.items() if name not in CHANGED} == {
        name: lines for name, lines in before.items() if name not in CHANGED
    }
    told = {"runs_restore", "runs_auditentry", "runs_runevent"}
    for table in CHANGED - told - {"runs_idempotencykey"}:  # nobody waits for an answer any more
        assert len(again.get(table, [])) == len(before.get(table, [])), table
    assert not WorkflowRun.objects.filter(pk=later.pk).exists()
    assert not get_user_model().objects.filter(username="later").exists()
    assert Step.objects.get().result == [1, {"a": None}]
    assert Engine.objects.get(name="builtin").cursor == ""
    assert Engine.objects.get(name="builtin").secrets == {"password": "canary-engine"}
    assert not Lease.objects.exists()
    assert RunEvent.objects.filter(run=run, cause="restore").count() == 1
    assert Restore.objects.count() == 2, "One of the backup, one of now."

    assert (home / "logs" / "wh-1" / "a" / "-1" / "1.1.log").read_bytes() == b"a line\n"
    assert not (home / "logs" / "wh-2").exists()
    (aside,) = (home / "logs").glob(".before-restore-*")
    assert (aside / "wh-2").exists()
    assert f"Kept: {aside}" in said
    assert "Every API token is void (1 were valid)" in said
    assert not (home / "spool").exists()
    assert make_run().pk > later.pk
    assert open_connection() == WorkflowRun.objects.count(), (
        "Who had it open sees what is there now."
    )
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    call_command("migrate", "--check", verbosity=0)


def _open_elsewhere() -> Any:
    """Counts runs on a connection that was open before; SQLite only, on PostgreSQL it is refused."""
    if connection.vendor != "sqlite":
        return WorkflowRun.objects.count
    other = sqlite3.connect(connection.settings_dict["NAME"])
    other.execute("SELECT count(*) FROM runs_workflowrun").fetchone()

    def count() -> int:
        found = other.execute("SELECT count(*) FROM runs_workflowrun").fetchone()[0]
        other.close()
        return found

    return count


def test_a_hub_moves_to_the_other_database_and_back(
    file: Path, home: Path, tmp_path: Path, database_url: str
) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("It begins on PostgreSQL: SQLite is at hand everywhere.")
    fill()
    before = lines_of(backup(file))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    environment = {
        **os.environ,
        "WORKFLOWHUB_HOME": str(elsewhere),
        "DATABASE_URL": f"sqlite:///{elsewhere / 'hub.sqlite3'}",
    }
    back = tmp_path / "back.tar.gz"
    for words in (["restore", str(file)], ["migrate", "--check"], ["backup", str(back)]):
        done = subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert header_of(back)["database"] == "sqlite"
    there = lines_of(back)
    replace(back)
    again = lines_of(backup(tmp_path / "again.tar.gz"))
    for other in (there, again):
        assert {name: _read(lines) for name, lines in other.items() if name not in CHANGED} == {
            name: _read(lines) for name, lines in before.items() if name not in CHANGED
        }
    assert (elsewhere / "secret_keys").read_bytes() == (home / "secret_keys").read_bytes()
    assert Engine.objects.get(name="builtin").secrets == {"password": "canary-engine"}


def _read(lines: list[bytes]) -> list[Any]:
    """Rows without the way in which a database writes JSON and UUIDs."""

    def plain(value: Any) -> Any:
        if isinstance(value, str) and value.startswith(("[", "{")):
            return json.loads(value)
        return value

    return [[plain(value) for value in json.loads(line)] for line in lines]


def test_an_older_backup_is_brought_up_to_date(file: Path) -> None:
    """Of a version that lacks the last migrations of the hub's own tables."""
    make_user(username="ada")
    header = header_of(backup(file))
    users = [json.loads(line) for line in lines_of(file)["auth_user"]]
    executor = MigrationExecutor(connection)
    last = {
        ("runs", "0007_views"),
        ("runs", "0005_backfill_figures"),
        ("runs", "0004_operators"),
        ("runs", "0003_secrets_and_children"),
        ("dag", "0002_graph_features"),
    }
    targets = [("runs", "0002_log_archive"), ("dag", "0001_executions")]
    others = [key for key in executor.loader.graph.leaf_nodes() if key[0] not in {"runs", "dag"}]
    past = executor.loader.project_state([*targets, *others]).apps
    header["migrations"] = [key for key in header["migrations"] if tuple(key) not in last]
    header["tables"] = {
        model._meta.db_table: rows.columns_of(model)
        for model in past.get_models(include_auto_created=True)
        if model._meta.db_table in header["tables"]
    }
    assert "runs_childrun" not in header["tables"]
    replace(repack(file.with_name("older"), header, {"auth_user": users}))
    assert get_user_model().objects.get().username == "ada"
    run = make_run(make_workflow(), engine=make_engine())
    assert run.deadline_at is None
    assert Restore.objects.count() == 1
    call_command("migrate", "--check", verbosity=0)


def test_tables_of_others_in_the_same_database_stay(file: Path) -> None:
    """Names like these are another program's."""
    if connection.vendor != "postgresql":
        pytest.skip("A file of SQLite is the hub's alone.")
    make_run()
    backup(file)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE dag_run (id int, run_id bigint REFERENCES runs_workflowrun)")
        cursor.execute("INSERT INTO dag_run SELECT 7, id FROM runs_workflowrun")
    try:
        replace(file)
        with connection.cursor() as cursor:
            cursor.execute("SELECT id FROM dag_run")
            assert cursor.fetchall() == [(7,)]
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TABLE dag_run")


def test_files_that_find_no_place_are_said_apart(
    file: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run()
    backup(file)
    make_run()

    def fail(places: Places) -> None:
        raise PermissionError(13, "Permission denied", str(home / "logs"))

    monkeypatch.setattr(Places, "settle", fail)
    with pytest.raises(CommandError, match="The database is restored, but files could not"):
        replace(file)
    assert WorkflowRun.objects.get().pk == run.pk
    monkeypatch.undo()
    replace(file)
    assert WorkflowRun.objects.get().pk == run.pk
