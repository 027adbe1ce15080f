"""Backups in tests: made, looked into, and made of rows that a test chooses."""

import json
import tarfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.utils import timezone

from engines.dag.models import Step, Worker
from runs.management.backup import rows
from runs.management.backup.archive import HEADER, TABLES, Writer
from runs.models import Heartbeat, Variable, WorkflowRun
from tests.admin.objects import one_of_each
from tests.factories import make_workflow
from tests.management.homes import own_home

LONG_AGO = "2020-01-01T00:00Z"


@pytest.fixture
def home(settings: Any, tmp_path: Path) -> Path:
    return own_home(settings, tmp_path)


@pytest.fixture
def file(home: Path, tmp_path: Path) -> Path:
    """Where a backup goes."""
    return tmp_path / "hub.tar.gz"


def backup(file: Path, *words: str) -> Path:
    call_command("backup", str(file), *words, verbosity=0)
    return file


def restore(file: Path, *words: str) -> None:
    call_command("restore", str(file), *words, verbosity=0)


def replace(file: Path) -> None:
    restore(file, "--replace", "--yes")


def parts_of(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]


def lines_of(file: Path) -> dict[str, list[bytes]]:
    """Table -> its rows as they are in the backup."""
    found: dict[str, list[bytes]] = {}
    for name, data in parts_of(file).items():
        if name.startswith(f"{TABLES}/"):
            found.setdefault(name.split("/")[1], []).extend(data.splitlines())
    return found


def header_of(file: Path) -> dict[str, Any]:
    return json.loads(parts_of(file)[HEADER])


def repack(file: Path, header: dict[str, Any], tables: dict[str, list[list[Any]]]) -> Path:
    """A backup of these rows, with the right sums."""
    writer = Writer(file)
    header.pop("format", None)
    writer.header(header)
    for table, values in tables.items():
        data = b"".join(rows.to_line(row) for row in values)
        writer.add(f"{TABLES}/{table}/000001.jsonl", data, rows=len(values))
    writer.finish()
    return file


def fill() -> WorkflowRun:
    """A row of everything, and values that are easily spoiled."""
    one_of_each()
    run = WorkflowRun.objects.get()
    make_workflow(title='Größe 🧬 "quoted" \\ and\nlines\t', run_timeout=timedelta(microseconds=1))
    Variable.objects.create(name="empty", value="")
    Variable.objects.create(name="long", value="x" * 100_000)
    WorkflowRun.objects.filter(pk=run.pk).update(
        parameters={"n": 12345678901234567890, "f": 1e-7, "t": "ü\u2028", "null": None, "list": []},
        result=None,
    )
    Step.objects.update(result=[1, {"a": None}], item="text", started_at=timezone.now())
    # Nothing of it is alive.
    Heartbeat.objects.update(at=LONG_AGO)
    Worker.objects.update(heartbeat_at=LONG_AGO)
    return run
