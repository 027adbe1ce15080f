"""The log of one try: the archived file first, else what its engine has of it now.

Called by pages and the API. A live tail has a few seconds (runs.live); whatever keeps us from reading
is LogsUnavailable, never a line of the log.
"""

from collections.abc import Iterator
from functools import partial
from typing import IO

from django.core.files.storage import storages

from engines.base import EngineError, EngineUnavailable, RunNotFound
from engines.config import ConfigError
from engines.connect import connect
from engines.logfile import LogChunk, LogLine, read_chunk
from engines.logfile import search as search_file
from engines.registry import UnknownKind
from runs import live
from runs.models import TaskTry
from runs.states import FINAL_TASK_STATES

CHUNK = 2000  # lines read at once by whoever wants all


class LogsUnavailable(EngineUnavailable):
    """The log can't be read now. The text says why, for the person who asked."""


def read(
    task_try: TaskTry, offset: int = 0, limit: int = 500, *, first: int | None = None
) -> LogChunk:
    """Up to `limit` lines from byte `offset` on; an engine may give more at once. `first`: the number
    of the first of them, for those who know it. Raises LogsUnavailable."""
    file = _open(task_try)
    if file is None:
        return _tail(task_try, offset)
    with file:
        whole = _is_whole(task_try)
        return read_chunk(file, offset=offset, limit=limit, complete=whole, first=first)


def stream(task_try: TaskTry, offset: int = 0) -> Iterator[LogLine]:
    """Every line there is by now, read piece by piece. Raises LogsUnavailable, perhaps half way."""
    first = None
    while True:
        chunk = read(task_try, offset, CHUNK, first=first)
        yield from chunk.lines
        if chunk.complete or chunk.next_offset <= offset:
            return
        offset, first = chunk.next_offset, number_after(chunk)


def number_after(chunk: LogChunk) -> int | None:
    """The number of the line that follows a chunk, where it is known."""
    last = chunk.lines[-1].n if chunk.lines else None
    return last + 1 if last is not None else None


def search(task_try: TaskTry, words: str, *, limit: int = 500) -> Iterator[LogLine]:
    """The first `limit` lines that hold the words, in any case. Raises LogsUnavailable."""
    file = _open(task_try)
    if file is not None:
        with file:
            yield from search_file(file, words, limit=limit)
        return
    found = 0
    for line in stream(task_try):
        if words.lower() in line.text.lower():
            yield line
            found += 1
            if found >= limit:
                return


def _open(task_try: TaskTry) -> IO[bytes] | None:
    storage = storages["logs"]
    if not task_try.log:
        return None
    try:
        return storage.open(task_try.log)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LogsUnavailable(f"The stored log can't be read: {error.strerror}.") from None


def _is_whole(task_try: TaskTry) -> bool:
    return task_try.log_complete or task_try.state in FINAL_TASK_STATES


def _tail(task_try: TaskTry, offset: int) -> LogChunk:
    """What the engine has from an offset on."""
    nothing = LogChunk(lines=(), next_offset=offset, complete=_is_whole(task_try))
    task = task_try.task_run
    engine = task.run.engine
    if engine is None or (task_try.log_complete and not task_try.log):
        return nothing  # it was looked for: there is none
    if not engine.enabled:
        raise LogsUnavailable(f"The engine {engine.name} is disabled, and has this log.")
    if (reason := engine.can("live_logs")) is not True:
        raise LogsUnavailable(f"The engine {engine.name} gives no logs: {reason}")
    external_id = live.external_id_of(task.run_id, task_try.attempt)
    place = (external_id, task.name, task.map_index, task_try.try_number, offset)
    try:
        adapter = connect(engine)
        return live.ask(adapter, partial(adapter.logs, *place), "the log")
    except RunNotFound:
        return nothing
    except live.TooSlow as error:
        raise LogsUnavailable(str(error)) from None
    except (EngineError, ConfigError, UnknownKind) as error:
        raise LogsUnavailable(f"The engine {engine.name} can't give the log: {error}") from None
