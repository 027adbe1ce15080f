"""Log lines for pages: the last ones, a window around the error, a search, all of them as text. What
is read, and how much of it, is runs.excerpts' business."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engines.base import EngineError
from engines.logfile import LogLine
from runs import excerpts, logs
from runs.excerpts import CHUNK, last_try, tail_offset
from runs.models import TaskRun, TaskTry
from runs.web.ansi import Piece, pieces

__all__ = [
    "CHUNK",
    "Excerpt",
    "ShownLine",
    "as_text",
    "excerpt",
    "from_offset",
    "grep",
    "last_lines",
    "last_try",
    "shown",
    "tail_offset",
]


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

    @property
    def error_line(self) -> int | None:
        """The number of the last line that holds the error, where it is known."""
        return next((line.n for line in reversed(self.lines) if line.hit), None)


def shown(lines: Sequence[LogLine], error: str = "") -> list[ShownLine]:
    """Lines made ready for `web/_log_lines.html`; those that hold the error's line are marked."""
    return [
        ShownLine(n=line.n, line=line, pieces=pieces(line.text), hit=excerpts.is_hit(line, error))
        for line in lines
    ]


def excerpt(task: TaskRun | None, error: str = "") -> Excerpt | None:
    """The 30 lines of a task's newest log that end a little after its error, or its last 30."""
    found = excerpts.around(task, error) if task else None
    if found is None:
        return None
    return Excerpt(
        task_try=found.task_try,
        lines=shown(found.lines, error),
        complete=found.complete,
        trouble=found.trouble,
    )


def last_lines(task_try: TaskTry, number: int, error: str = "") -> Excerpt:
    """The last `number` lines (a few more at most) of a log."""
    return from_offset(task_try, tail_offset(task_try, number), number * 2, error)


def from_offset(task_try: TaskTry, offset: int, most: int, error: str = "") -> Excerpt:
    """Lines from a byte offset on, `most` at most, or as many as a page takes."""
    part = excerpts.read_from(task_try, offset, most)
    return Excerpt(
        task_try=task_try,
        lines=shown(part.lines, error),
        offset=part.offset,
        complete=part.complete,
        trouble=part.trouble,
    )


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
