"""Log files: lines with a time and a stream, read from any byte on."""

from datetime import UTC, datetime
from io import BytesIO

from engines.logfile import format_line, parse_line, read_chunk, search

WHEN = datetime(2026, 3, 29, 1, 30, 0, 250000, tzinfo=UTC)


def a_log(count: int) -> BytesIO:
    return BytesIO("".join(format_line(f"líne {n}", "out", WHEN) for n in range(count)).encode())


def test_a_line_is_read_as_it_was_written() -> None:
    written = format_line("two  words\nand more", "err", WHEN)
    assert written.endswith("\n")
    line = parse_line(7, written.rstrip("\n"))
    assert (line.n, line.time, line.stream) == (7, WHEN, "stderr")
    assert line.text == "two  words and more"


def test_a_line_of_another_shape_is_taken_whole() -> None:
    line = parse_line(1, "Traceback (most recent call last):")
    assert (line.time, line.stream) == (None, "stdout")
    assert line.text == "Traceback (most recent call last):"


def test_chunks_follow_each_other_without_gap_or_repeat() -> None:
    file, offset, seen = a_log(25), 0, []
    while True:
        chunk = read_chunk(file, offset=offset, limit=10)
        seen += [(line.n, line.text) for line in chunk.lines]
        offset = chunk.next_offset
        if chunk.complete:
            break
    assert seen == [(n + 1, f"líne {n}") for n in range(25)]
    assert offset == len(file.getvalue())


def test_a_half_written_line_waits_for_its_end() -> None:
    file = BytesIO(a_log(2).getvalue()[:-3])
    chunk = read_chunk(file, complete=False)
    assert len(chunk.lines) == 1
    assert not chunk.complete
    file = a_log(2)
    rest = read_chunk(file, offset=chunk.next_offset)
    assert [line.n for line in rest.lines] == [2]


def test_the_last_line_of_a_finished_log_needs_no_newline() -> None:
    chunk = read_chunk(BytesIO(b"killed"), complete=True)
    assert [line.text for line in chunk.lines] == ["killed"]
    assert chunk.complete


def test_a_running_log_is_never_complete() -> None:
    assert not read_chunk(a_log(3), complete=False).complete


def test_an_offset_behind_the_end_gives_nothing() -> None:
    file = a_log(1)
    chunk = read_chunk(file, offset=10_000)
    assert (chunk.lines, chunk.next_offset, chunk.complete) == ((), 10_000, True)


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert read_chunk(BytesIO(b"\xff\xfe\n")).lines[0].text == "\ufffd\ufffd"


def test_a_search_ignores_case_and_stops_at_its_limit() -> None:
    found = list(search(a_log(30), "LÍNE 1", limit=4))
    assert [line.n for line in found] == [2, 11, 12, 13]
