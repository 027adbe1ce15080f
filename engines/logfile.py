"""Log files: one text line an entry, `<RFC 3339 UTC> <stream> <text>`, written by workers and the
archive, read by pages and the API. Offsets are bytes, so that a tail never reads from the start, and
no read takes more than a few megabytes, however long the log or a line of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import IO

CHUNK_BYTES = 2_000_000  # of one read
LONGEST = 100_000  # bytes of a line: what is longer comes in pieces
COUNTED = 32_000_000  # bytes from the beginning in which lines are counted
STREAMS = {"out": "stdout", "err": "stderr", "hub": "hub"}


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line: `n` counts from 1, and is None so far into a log that lines aren't counted; `time`
    may be unknown; `stream` is stdout, stderr or hub."""

    n: int | None
    time: datetime | None
    stream: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """Lines from one offset on. `next_offset` (bytes) is where to go on; `complete` means that
    nothing more will come."""

    lines: tuple[LogLine, ...]
    next_offset: int
    complete: bool


def format_line(text: str, stream: str, when: datetime | None = None) -> str:
    """One entry with its newline; `stream` is out, err or hub. Inner newlines become spaces."""
    stamp = (when or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return f"{stamp} {stream} {text.replace(chr(10), ' ')}\n"


def parse_line(n: int | None, line: str) -> LogLine:
    """The entry that `format_line` wrote; a line of another shape is taken whole, time unknown."""
    stamp, _, rest = line.partition(" ")
    stream, _, text = rest.partition(" ")
    try:
        when = datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError:
        return LogLine(n=n, time=None, stream="stdout", text=line)
    return LogLine(n=n, time=when, stream=STREAMS.get(stream, stream), text=text)


def read_chunk(
    file: IO[bytes],
    *,
    offset: int = 0,
    limit: int = 500,
    complete: bool = True,
    first: int | None = None,
) -> LogChunk:
    """Up to `limit` whole lines, or a little over CHUNK_BYTES, from byte `offset` on. A last line
    without its newline is kept for the next call unless the log is `complete`. `first`: the number of
    the first line, for those who know it."""
    if first is None and offset <= COUNTED:
        first = _lines_before(file, offset) + 1
    file.seek(offset)
    lines: list[LogLine] = []
    position, at_end = offset, False
    while len(lines) < limit and position - offset < CHUNK_BYTES:
        raw = file.readline(LONGEST)
        ended = raw.endswith(b"\n")
        if not raw or (not ended and len(raw) < LONGEST and not complete):
            at_end = True
            break
        position += len(raw)
        lines.append(parse_line(first, raw.decode("utf-8", "replace").rstrip("\n")))
        if first is not None and ended:
            first += 1
    return LogChunk(lines=tuple(lines), next_offset=position, complete=complete and at_end)


def search(file: IO[bytes], words: str, *, limit: int = 500) -> Iterator[LogLine]:
    """The first `limit` lines that contain `words` in any case; reads line by line, memory flat."""
    needle = words.lower()
    file.seek(0)
    found, n = 0, 1
    while raw := file.readline(LONGEST):
        text = raw.decode("utf-8", "replace").rstrip("\n")
        if needle in text.lower():
            yield parse_line(n, text)
            found += 1
            if found >= limit:
                return
        n += raw.endswith(b"\n")


def _lines_before(file: IO[bytes], offset: int) -> int:
    file.seek(0)
    count, left = 0, offset
    while left > 0:
        block = file.read(min(left, 1 << 20))
        if not block:
            break
        count += block.count(b"\n")
        left -= len(block)
    return count
