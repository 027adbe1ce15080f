"""Some lines of a log: its end, or those around an error. Called by pages and the API; no read takes
more than MOST_BYTES, however long the log or a line of it is."""

from dataclasses import dataclass, replace

from django.core.files.storage import storages

from engines.base import EngineError
from engines.logfile import LogLine
from runs import logs
from runs.models import TaskRun, TaskTry

CHUNK = 500
AROUND = 30
AFTER = 3  # lines behind the error
LONGEST = 600  # characters of a line in an excerpt
MOST_BYTES = 2_000_000
MOST_CHUNKS = 200  # of a log that can't be read from its end


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Lines that follow each other. `offset`: the byte where what comes behind them begins; `complete`:
    nothing more will come; `trouble`: why the log can't be read now."""

    lines: list[LogLine]
    offset: int
    complete: bool
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """At most AROUND lines that end a little after the error, or the last ones. `hit`: which of them is
    the error's; None where none is."""

    task_try: TaskTry
    lines: list[LogLine]
    hit: int | None
    complete: bool
    trouble: str = ""


def last_try(task: TaskRun) -> TaskTry | None:
    """The newest try of a task run, ready for `read_from`."""
    return (
        TaskTry.objects.filter(task_run=task)
        .select_related("task_run__run__engine")
        .order_by("-attempt", "-try_number")
        .first()
    )


def around(task: TaskRun, error: str) -> Around | None:
    """Of a task's newest log; None where it has none yet."""
    task_try = last_try(task)
    if task_try is None:
        return None
    end = read_from(task_try, tail_offset(task_try, CHUNK), CHUNK * 2)
    hits = [at for at, line in enumerate(end.lines) if is_hit(line, error)]
    stop = min(hits[-1] + 1 + AFTER, len(end.lines)) if hits else len(end.lines)
    start = max(stop - AROUND, 0)
    return Around(
        task_try=task_try,
        lines=[_cut(line) for line in end.lines[start:stop]],
        hit=hits[-1] - start if hits else None,
        complete=end.complete,
        trouble=end.trouble,
    )


def is_hit(line: LogLine, error: str) -> bool:
    """Whether a log line holds what an error says last, as a traceback does."""
    sought = _needle(error)
    return bool(sought) and sought in line.text


def read_from(task_try: TaskTry, offset: int, most: int) -> Part:
    """Lines from a byte offset on, `most` at most, or as many as MOST_BYTES hold."""
    found: list[LogLine] = []
    complete, trouble, first, start = False, "", None, offset
    try:
        for _ in range(MOST_CHUNKS):
            chunk = logs.read(task_try, offset, min(CHUNK, most - len(found)), first=first)
            found += chunk.lines
            first = logs.number_after(chunk)
            moved, offset, complete = chunk.next_offset > offset, chunk.next_offset, chunk.complete
            if complete or not moved or len(found) >= most or offset - start >= MOST_BYTES:
                break
    except EngineError as error:
        trouble = str(error)
    return Part(lines=found, offset=offset, complete=complete, trouble=trouble)


def tail_offset(task_try: TaskTry, number: int) -> int:
    """The byte where the last `number` lines begin, or at most MOST_BYTES before the end: read
    backwards from the end of a file; 0 for a log that only its engine has."""
    storage = storages["logs"]
    if not task_try.log or not storage.exists(task_try.log):
        return 0
    with storage.open(task_try.log) as file:
        file.seek(0, 2)
        end: int = file.tell()
        least = max(end - MOST_BYTES, 0)
        newlines = 0
        while end > least:
            begin = max(end - 65_536, 0)
            file.seek(begin)
            block = file.read(end - begin)
            at = len(block)
            while (at := block.rfind(b"\n", 0, at)) >= 0:
                newlines += 1
                if newlines > number:
                    return int(begin + at + 1)
            end = begin
    return end


def _needle(error: str) -> str:
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def _cut(line: LogLine) -> LogLine:
    if len(line.text) <= LONGEST:
        return line
    return replace(line, text=f"{line.text[: LONGEST - 1]}…")
