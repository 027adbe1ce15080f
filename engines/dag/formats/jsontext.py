"""JSON as a stream of events with lines. The standard library's reader knows no lines, and YAML is
not quite a superset of JSON (tabs, surrogate pairs)."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from json import JSONDecodeError, JSONDecoder

from engines.dag.formats.events import DocumentError, Event, check_number

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_DECODER = JSONDecoder()
_WORDS = {"true": True, "false": False, "null": None}
_WORD = re.compile(r"-?[A-Za-z]+")


class JsonSyntaxError(DocumentError):
    """The text isn't JSON; it may be YAML."""


def json_events(text: str) -> Iterator[Event]:
    """The events of one JSON value. Raises JsonSyntaxError, and DocumentError for NaN and numbers
    that are too large."""
    starts = [0, *(match.end() for match in re.finditer("\n", text))]
    closing: list[str] = []
    at = _skip(text, 0)
    while True:
        # Here a value must stand.
        line = bisect_right(starts, at)
        letter = text[at : at + 1]
        if letter in {"{", "["} and letter:
            yield Event("object" if letter == "{" else "list", line)
            closing.append("}" if letter == "{" else "]")
            at = _skip(text, at + 1)
            if text[at : at + 1] != closing[-1]:
                if letter == "{":
                    event, at = _key(text, at, starts)
                    yield event
                continue
        else:
            event, at = _scalar(text, at, line)
            yield event
        # After a value: close what ends here, then go on after a comma.
        at = _skip(text, at)
        while closing and text[at : at + 1] == closing[-1]:
            yield Event("end", bisect_right(starts, at))
            closing.pop()
            at = _skip(text, at + 1)
        line = bisect_right(starts, at)
        if not closing:
            if at < len(text):
                raise JsonSyntaxError("there is more text after its end.", line)
            return
        if text[at : at + 1] != ",":
            raise JsonSyntaxError(f"expected a comma or {closing[-1]}.", line)
        at = _skip(text, at + 1)
        if closing[-1] == "}":
            event, at = _key(text, at, starts)
            yield event


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _key(text: str, at: int, starts: list[int]) -> tuple[Event, int]:
    line = bisect_right(starts, at)
    if text[at : at + 1] != '"':
        raise JsonSyntaxError("expected a key in double quotes.", line)
    event, at = _scalar(text, at, line)
    at = _skip(text, at)
    if text[at : at + 1] != ":":
        raise JsonSyntaxError("expected a colon after the key.", bisect_right(starts, at))
    return event, _skip(text, at + 1)


def _scalar(text: str, at: int, line: int) -> tuple[Event, int]:
    if text[at : at + 1] == '"':
        try:
            value, end = _DECODER.raw_decode(text, at)
        except JSONDecodeError as error:
            raise JsonSyntaxError(f"{error.msg}.", error.lineno) from None
        return Event("value", line, value), end
    if match := _NUMBER.match(text, at):
        if len(match[0]) > 400:
            raise DocumentError("A number is too large.", line)
        whole = match[1] is None and match[2] is None
        number = check_number(int(match[0]) if whole else float(match[0]), line)
        return Event("value", line, number), match.end()
    word = _WORD.match(text, at)
    if word and word[0] in _WORDS:
        return Event("value", line, _WORDS[word[0]]), word.end()
    if word and word[0] in {"NaN", "Infinity", "-Infinity"}:
        raise DocumentError(f"{word[0]} is not a number that JSON can hold.", line)
    raise JsonSyntaxError("expected a value.", line)
