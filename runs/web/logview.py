"""Log lines for pages: the last ones, a window around the error, a search, all of them as text.

An archived or local log is a file, read from its end; any other is asked of its engine in pieces.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from django.core.files.storage import storages

from engines.base import EngineError
from engines.logfile import LogLine
from runs import logs
from runs.models import TaskRun, TaskTry
from runs.web.ansi import Piece, pieces

CHUNK = 500
EXCERPT = 30
MOST_BYTES = 2_000_000  # of a page
MOST_CHUNKS = 200  # of a log that can't be read from its end


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownLine:
    """A log line for a template. `hit`: it is the error line."""

    n: int | None
    line: LogLine
    pieces: list[Piece]
    hit: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Excerpt:
    """Some lines of a try's log. `offset`: the byte where what follows them begins; `before`: how
    many lines there are before the first, None where that isn't known; `complete`: nothing more will
    come; `trouble`: why the log can't be read now."""

    task_try: TaskTry | None
    lines: list[ShownLine]
    offset: int = 0
    complete: bool = True
    trouble: str = ""

    @property
    def before(self) -> int | None:
        first = self.lines[0].n if self.lines else 1
        return first - 1 if first is not None else None


def shown(lines: Sequence[LogLine], error: str = "") -> list[ShownLine]:
    """Lines made ready for `web/_log_lines.html`; those that hold the error's line are marked."""
    sought = _needle(error)
    return [
        ShownLine(
            n=line.n, line=line, pieces=pieces(line.text), hit=bool(sought) and sought in line.text
        )
        for line in lines
    ]


def last_try(task: TaskRun) -> TaskTry | None:
    """The newest try of a task run, ready for `read`."""
    return (
        TaskTry.objects.filter(task_run=task)
        .select_related("task_run__run__engine")
        .order_by("-attempt", "-try_number")
        .first()
    )


def excerpt(task: TaskRun | None, error: str = "") -> Excerpt | None:
    """The 30 lines of a task's newest log that end a little after its error, or its last 30."""
    task_try = last_try(task) if task else None
    if task_try is None:
        return None
    tail = last_lines(task_try, CHUNK, error)
    hits = [at for at, line in enumerate(tail.lines) if line.hit]
    end = min(hits[-1] + 4, len(tail.lines)) if hits else len(tail.lines)
    return Excerpt(
        task_try=task_try,
        lines=tail.lines[max(end - EXCERPT, 0) : end],
        complete=tail.complete,
        trouble=tail.trouble,
    )


def last_lines(task_try: TaskTry, number: int, error: str = "") -> Excerpt:
    """The last `number` lines (a few more at most) of a log."""
    return from_offset(task_try, tail_offset(task_try, number), number * 2, error)


def from_offset(task_try: TaskTry, offset: int, most: int, error: str = "") -> Excerpt:
    """Lines from a byte offset on, `most` at most, or as many as a page takes."""
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
    except EngineError as error_:
        trouble = str(error_)
    return Excerpt(
        task_try=task_try,
        lines=shown(found, error),
        offset=offset,
        complete=complete,
        trouble=trouble,
    )


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


def grep(task_try: TaskTry, words: str, most: int) -> Excerpt:
    """The first `most` lines that hold the words, in any case."""
    found: list[LogLine] = []
    trouble = ""
    try:
        found.extend(logs.search(task_try, words, limit=most))
    except EngineError as error:
        trouble = str(error)
    return Excerpt(task_try=task_try, lines=shown(found), trouble=trouble)


def as_text(task_try: TaskTry) -> Iterator[bytes]:
    """The whole log, piece by piece, for a streamed answer: time, stream, text."""
    try:
        for line in logs.stream(task_try):
            stamp = line.time.isoformat(timespec="milliseconds") if line.time else "-"
            yield f"{stamp} {line.stream} {line.text}\n".encode()
    except EngineError as error:
        yield f"[the log breaks off: {error}]\n".encode()


def _needle(error: str) -> str:
    """What to look for: the last line of an error that says something (a traceback's last)."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""
