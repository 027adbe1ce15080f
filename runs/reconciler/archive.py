"""Keeps the logs of ended tries in the storage `logs`, so that they outlive their engine.

An engine that writes into that storage itself names the file in its reports, and has nothing fetched.
Of one that says that more of a log is to come it is asked again, later and later, from where it got
to; the logs of others come first meanwhile. What was read so far is this process's own, and may be
lost at any time.
"""

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import transaction
from django.db.models import QuerySet

from engines.base import (
    EngineError,
    EngineRejected,
    EngineUnavailable,
    LogChunk,
    LogLine,
    RunNotFound,
    Submission,
)
from engines.clock import database_now
from engines.faults import crash_point
from engines.logfile import STREAMS, format_line
from engines.models import Engine
from runs import leases
from runs.models import RunAttempt, TaskTry
from runs.reconciler.backoff import full_jitter
from runs.reconciler.calls import Calls
from runs.states import FINAL_TASK_STATES

logger = logging.getLogger("workflowhub.sync")

AT_ONCE = 20
SECONDS = 0.5  # of one tick
PATIENCE = timedelta(minutes=5)  # for an engine that says that more is to come after the end
PAUSE, LONGEST_PAUSE = 1.0, 60.0  # seconds, before an unfinished log is asked for again
KEPT_BYTES = 32_000_000  # of an engine's unfinished logs; what is beyond is read anew
_SHORT = {name: short for short, name in STREAMS.items()}


@dataclass(slots=True)
class Part:
    """What was read so far of one log. `offset`: where its engine goes on, in bytes; `lines`: the
    number of the last one; `looks` that didn't reach the end; `due`: not asked for again before,
    monotonic."""

    text: bytearray = field(default_factory=bytearray)
    offset: int = 0
    lines: int = 0
    looks: int = 0
    due: float = float("-inf")

    def add(self, chunk: LogChunk) -> None:
        """Each line once, in its place. What is told again, or late, is known; what got lost is said
        to be missing."""
        if chunk.next_offset <= self.offset and self.text:
            return
        for line in chunk.lines:
            if line.n is not None:
                if line.n <= self.lines:
                    continue
                if gap := line.n - self.lines - 1:
                    missing = f"{gap} line{'s' * (gap > 1)} of the log got lost here."
                    self.text += format_line(missing, "hub", line.time).encode()
                self.lines = line.n
            self.text += as_text(line).encode(errors="replace")
        self.offset = chunk.next_offset

    def forget(self) -> None:
        """It is read anew."""
        self.text, self.offset, self.lines = bytearray(), 0, 0


@dataclass(slots=True)
class Memory:
    """What one process remembers of an engine's unfinished logs: key of the try -> part."""

    parts: dict[int, Part] = field(default_factory=dict)

    def put_off(self, part: Part) -> None:
        """It is asked for again after a pause that grows."""
        part.looks += 1
        part.due = time.monotonic() + full_jitter(part.looks, first=PAUSE / 2, most=LONGEST_PAUSE)
        if sum(len(other.text) for other in self.parts.values()) > KEPT_BYTES:
            part.forget()


def store_some(engine: Engine, calls: Calls, memory: Memory) -> int:
    """Fetches the logs of a few ended tries that have none stored; how many. A tick has only so
    much time for it. Errors of the engine end it, and it goes on with the next tick."""
    waiting = TaskTry.objects.filter(
        log_complete=False, state__in=sorted(FINAL_TASK_STATES), task_run__run__engine=engine
    )
    keys = _due(waiting, memory)
    if not keys:
        return 0
    if calls.adapter.submission is Submission.OURS or engine.can("live_logs") is not True:
        # What our own engine has written is in the storage already.
        with transaction.atomic():
            leases.check(calls.hold.fence)
            return waiting.update(log_complete=True)
    tries = list(waiting.filter(pk__in=keys).select_related("task_run__run").order_by("pk"))
    external_ids = {
        (run_id, number): external_id
        for run_id, number, external_id in RunAttempt.objects.filter(
            run_id__in={row.task_run.run_id for row in tries}
        ).values_list("run_id", "number", "external_id")
    }
    until = time.monotonic() + SECONDS
    stored = 0
    for row in tries:
        if time.monotonic() >= until or calls.blocked:
            break
        external_id = external_ids.get((row.task_run.run_id, row.attempt), "")
        part = memory.parts.setdefault(row.pk, Part())
        try:
            if not _store(row, external_id, calls, part):
                memory.put_off(part)
                continue
            stored += 1
        except EngineUnavailable:
            memory.put_off(part)  # perhaps it is this log that the engine can't give
            break
        except EngineError as error:
            logger.info("No log of %s: %s", row, error)
            _save(row, "", calls)
        except OSError as error:
            # A full disk is no fault of the engine's, and no other log will find room either.
            logger.warning("The log of %s can't be stored now: %s", row, error)
            memory.put_off(part)
            break
        del memory.parts[row.pk]
    return stored


def _due(waiting: QuerySet[TaskTry], memory: Memory) -> list[int]:
    """The keys of the oldest that wait and aren't put off; forgets those that wait no more."""
    now = time.monotonic()
    put_off = {key for key, part in memory.parts.items() if part.due > now}
    most = AT_ONCE + len(put_off)
    keys = list(waiting.order_by("pk").values_list("pk", flat=True)[:most])
    if len(keys) < most:
        memory.parts = {key: memory.parts[key] for key in keys if key in memory.parts}
    return [key for key in keys if key not in put_off][:AT_ONCE]


def _store(row: TaskTry, external_id: str, calls: Calls, part: Part) -> bool:
    """Reads on, and stores the log where that was the last of it; whether it did."""
    task = row.task_run
    most = settings.WORKFLOWHUB_LOG_MAX_BYTES
    complete = False
    while len(part.text) < most:
        at = part.offset
        try:
            chunk = calls.ask(
                "logs",
                lambda at=at: calls.adapter.logs(  # type: ignore[misc]
                    external_id, task.name, task.map_index, row.try_number, at
                ),
            )
        except (RunNotFound, EngineRejected):
            if not part.text:
                raise
            break
        complete = chunk.complete and chunk.next_offset >= at
        part.add(chunk)
        if complete or chunk.next_offset <= at:
            break
    ended = row.ended_at or database_now()
    if not complete and len(part.text) < most and not _too_late(ended):
        return False
    name = ""
    if part.text:
        name = _put(archive_name(row), bytes(part.text))
    crash_point("log.stored")
    _save(row, name, calls)
    return True


def _put(name: str, text: bytes) -> str:
    """Stores it whole or not at all; under which name. Raises OSError."""
    try:
        return storages["logs"].save(name, ContentFile(text))
    except OSError:
        with suppress(OSError):
            storages["logs"].delete(name)
        raise


def archive_name(row: TaskTry) -> str:
    """Where a try's log goes: made of keys only, so that no name of a task can lead elsewhere."""
    run_id = row.task_run.run_id
    return f"archive/{run_id // 1000}/{run_id}/{row.task_run_id}-{row.attempt}-{row.try_number}.log"


def as_text(line: LogLine) -> str:
    """The line as engines.logfile writes it; without a time, as it came."""
    if line.time is None:
        return line.text + "\n"
    return format_line(line.text, _SHORT.get(line.stream, "out"), line.time)


def _too_late(ended: datetime) -> bool:
    return database_now() - ended > PATIENCE


def _save(row: TaskTry, name: str, calls: Calls) -> None:
    with transaction.atomic():
        leases.check(calls.hold.fence)
        TaskTry.objects.filter(pk=row.pk).update(log=name or row.log, log_complete=True)
        crash_point("log.writing")
    crash_point("log.written")
