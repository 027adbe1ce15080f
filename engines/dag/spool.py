"""Outcomes that aren't in the database yet, kept as files under the home, so that they outlive their
worker: where the database was away, one file each; of steps that were taken together, one file for
each child, a line each. The token decides whether they still count.

`leases` records those of a worker that is gone before it takes its steps away.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from uuid import UUID

import structlog
from django.conf import settings

from engines.dag.outcome import Outcome
from engines.faults import crash_point
from engines.states import TaskState

log = structlog.get_logger("engines.worker")

SUFFIX = ".batch"
FILE_MODE, FOLDER_MODE = 0o600, 0o700  # results are nobody else's business


def folder() -> Path:
    return Path(settings.WORKFLOWHUB_HOME) / "spool"


def file_of(worker_id: UUID, index: int) -> Path:
    """Of a worker's child."""
    return folder() / f"{worker_id}-{index}{SUFFIX}"


def files_of(worker_id: UUID) -> list[Path]:
    return sorted(folder().glob(f"{worker_id}-*{SUFFIX}"))


def workers() -> set[UUID]:
    """Those of which there are files."""
    found = set()
    for path in folder().glob(f"*{SUFFIX}"):
        with suppress(ValueError):
            found.add(UUID(path.name[:36]))
    return found


def keep(outcome: Outcome) -> None:
    """Writes an outcome into a file of its own; a disk that fails too is only noted."""
    path = _single(outcome)
    try:
        path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        half = path.with_suffix(".part")
        handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, FILE_MODE)
        with os.fdopen(handle, "w") as file:
            file.write(_text(outcome))
        crash_point("spool.writing")
        half.rename(path)
        crash_point("spool.written")
    except OSError as error:
        log.error("an outcome could not be spooled", step=outcome.step_id, error=str(error))


def drop(outcome: Outcome) -> None:
    with suppress(OSError):
        _single(outcome).unlink()


def singles() -> list[Path]:
    return sorted(folder().glob("*.json"))


class Ended:
    """The file of one child. A disk that fails is only noted: the child has its outcomes, too."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: int | None = None
        self._written = self._torn = False

    def keep(self, outcome: Outcome) -> None:
        data = _text(outcome).encode() + b"\n"
        try:
            if self._file is None:
                self.path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                self._file = os.open(self.path, flags, FILE_MODE)
            self._written = True
            # What a full disk has cut off spoils no other line.
            data = b"\n" * self._torn + data
            self._torn = os.write(self._file, data) < len(data)
            crash_point("batch.kept")
        except OSError as error:
            self._torn = True
            log.error("an outcome could not be kept", step=outcome.step_id, error=str(error))

    def forget(self) -> None:
        """They are recorded."""
        if self._written and self._file is not None:
            self._written = False
            try:
                os.ftruncate(self._file, 0)
            except OSError as error:  # their tokens say that they count no more
                log.error("a file of outcomes could not be emptied", error=str(error))

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def read(path: Path) -> Iterator[Outcome]:
    """The outcomes in a file of either kind, whose child may still be writing to it."""
    try:
        data = path.read_bytes()
    except OSError as error:
        if not isinstance(error, FileNotFoundError):
            log.error("kept outcomes can't be read", file=path.name, error=str(error))
        return
    lines = data.split(b"\n")
    if path.suffix == SUFFIX:
        lines.pop()  # behind the last line's end is nothing, or half a line
    for line in filter(None, lines):
        try:
            values = json.loads(line)
            yield Outcome(**{**values, "state": TaskState(values["state"])})
        except (ValueError, TypeError, KeyError) as error:
            log.error("a kept outcome can't be read", file=path.name, error=str(error))


def _single(outcome: Outcome) -> Path:
    return folder() / f"{outcome.step_id}-{outcome.token}.json"


def _text(outcome: Outcome) -> str:
    return json.dumps(asdict(outcome))
