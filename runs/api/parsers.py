"""Reads a request's body strictly: one way to write a thing, nothing that no database keeps, and
nothing so large or deep that reading it would hurt."""

import json
import math
import re
from collections.abc import Mapping
from typing import IO, Any

from django.conf import settings
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import BaseParser

MAX_DEPTH = 60
MAX_PARTS = 200_000
MAX_INTEGER = 2**63 - 1
# Possessive (*+, ++): a long text is passed over without a note of where one might go back to.
_PART = re.compile(rb'"(?:[^"\\]++|\\.)*+"|[,\[{]', re.DOTALL)


class TooLarge(APIException):
    status_code = 413
    default_code = "too_large"


class StrictJSONParser(BaseParser):
    """application/json: an object, in UTF-8; no duplicate names, no NaN or infinity, no NUL, no half
    surrogate pairs, integers within 64 bits, at most MAX_DEPTH levels and MAX_PARTS values."""

    media_type = "application/json"

    def parse(
        self,
        stream: IO[bytes],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        return parse_object(read_limited(stream))


def read_limited(stream: IO[bytes]) -> bytes:
    """The whole body, unless it is larger than the setting allows. Raises TooLarge."""
    limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    length = getattr(stream, "META", {}).get("CONTENT_LENGTH") or 0
    # What the client announces is refused before a byte of it is read.
    if limit is not None and int(length) > limit:
        raise TooLarge(f"The body has {int(length):,} bytes; at most {limit:,} are taken.")
    data = stream.read() if limit is None else stream.read(limit + 1)
    if limit is not None and len(data) > limit:
        raise TooLarge(f"The body has more than {limit:,} bytes.")
    return data


def parse_object(data: bytes) -> dict[str, Any]:
    """The object that a body holds. Raises ParseError saying what is wrong and where."""
    _check_parts(data)
    try:
        text = data.decode("utf-8")
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_constant,
            parse_float=_float,
            parse_int=_integer,
        )
    except UnicodeDecodeError as error:
        raise ParseError(f"The body is not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise ParseError(
            f"The body is not JSON: {error.msg} at line {error.lineno} column {error.colno}."
        ) from None
    except RecursionError:
        raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.") from None
    except ValueError as error:
        raise ParseError(str(error)) from None
    if not isinstance(value, dict):
        raise ParseError("The body must be a JSON object.")
    # No document with few brackets is deep, and few hold escapes: most are not walked at all.
    if data.count(b"[") + data.count(b"{") > MAX_DEPTH or b"\\u" in data:
        _check(value)
    return value


def _check_parts(data: bytes) -> None:
    """A few bytes of JSON make a value of fifty: what would fill the memory isn't read at all."""
    if data.count(b",") + data.count(b"[") + data.count(b"{") <= MAX_PARTS:
        return
    parts = 0
    for part in _PART.finditer(data):
        parts += not part[0].startswith(b'"')
        if parts > MAX_PARTS:
            raise ParseError(f"The body has more than {MAX_PARTS:,} values.")


def _check(value: Any) -> None:
    level: list[Any] = [value]
    depth = 0
    while level:
        depth += 1
        if depth > MAX_DEPTH:
            raise ParseError(f"The body is nested deeper than {MAX_DEPTH} levels.")
        below: list[Any] = []
        for item in level:
            if isinstance(item, str):
                _check_text(item)
            elif isinstance(item, dict):
                below += item
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = [item for item in below if isinstance(item, (str, dict, list))]


def _check_text(text: str) -> None:
    if "\x00" in text:
        raise ParseError("A text in the body holds the character NUL, which can't be kept.")
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ParseError("A text in the body holds half a surrogate pair, which can't be kept.")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"The name {twice[:100]!r} stands twice in one object of the body.")
    return found


def _constant(word: str) -> Any:
    raise ValueError(f"The body holds {word}, which is not JSON.")


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"The number {text[:50]} in the body is too large.")
    return value


def _integer(text: str) -> int:
    if len(text) > 20 or abs(int(text)) > MAX_INTEGER:
        raise ValueError(
            f"The integer {text[:50]} in the body is beyond 64 bits: give it as a text."
        )
    return int(text)
