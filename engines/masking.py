"""Finds secret values in what is about to be shown, and puts a mask in their place.

A value is found as it is and where it is spelled for JSON, Python, a URL or in base64; one of several
lines is also found line by line. It is a net and no wall: what spells a value in a way of its own
(backwards, letter by letter, encrypted) isn't caught.
"""

import base64
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, AnyStr
from urllib.parse import quote, quote_plus

MASK = "••••••"
SHORTEST = 4  # masking anything shorter would only tell where it stands
SHORTEST_PART = 6  # of a line of a value, or of its base64
BASE64_LINES = (64, 76)  # how long programs make them
_UPPER = re.compile(r"%[0-9A-F]{2}")
_MASK_BYTES = MASK.encode()

Span = tuple[int, int]


class Mask:
    """Of some values. `longest`: bytes of their longest spelling; a mask of nothing is false."""

    __slots__ = ("_bytes", "_texts", "longest")

    def __init__(self, values: Iterable[str]) -> None:
        found = {form for value in values if len(value) >= SHORTEST for form in spellings(value)}
        self._texts = sorted(found, key=lambda form: (-len(form), form))
        self._bytes = [form.encode("utf-8", "replace") for form in self._texts]
        self.longest = max(map(len, self._bytes), default=0)

    def __repr__(self) -> str:
        return f"<Mask of {len(self._texts)} spellings>"

    def __bool__(self) -> bool:
        return bool(self._texts)

    def text(self, text: str) -> str:
        """The text with a mask for each value in it."""
        spans = _spans(text, self._texts)
        return _covered(text, spans, MASK) if spans else text

    def data(self, data: bytes) -> bytes:
        """The same for the bytes of UTF-8 text."""
        spans = _spans(data, self._bytes)
        return _covered(data, spans, _MASK_BYTES) if spans else data

    def value(self, value: Any) -> Any:
        """The same for JSON: in its texts and names, and for a number that spells a value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return self._object(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return value if self.text(json.dumps(value)) == json.dumps(value) else MASK
        return value

    def until(self, data: bytes) -> int:
        """How many bytes of a text that goes on may be taken away from its beginning, so that no
        value is cut in two."""
        end = len(data) - self.longest + 1
        for start, stop in _spans(data, self._bytes) if end > 0 else ():
            if start < end < stop:
                # One that begins the text and reaches over itself is cut all the same.
                return start or stop
        return max(end, 0)

    def after(self, data: bytes) -> bytes:
        """The end of a text whose beginning is lost, without what may be left of a value there."""
        start = min(self.longest - 1, len(data))
        spans = _spans(data, self._bytes)
        start = next((first for first, stop in spans if first < start < stop), start)
        kept = [(first - start, stop - start) for first, stop in spans if first >= start]
        return _covered(data[start:], kept, _MASK_BYTES)

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        done: dict[str, Any] = {}
        for key, item in value.items():
            name = shown = self.text(key)
            number = 1
            while name in done:
                number += 1
                name = f"{shown} {number}"
            done[name] = self.value(item)
        return done


def redact(text: str, values: Iterable[str]) -> str:
    """`text` with every secret value masked; values under four characters are left."""
    return Mask(values).text(text)


def _spans(text: AnyStr, forms: Iterable[AnyStr]) -> list[Span]:
    """Where the forms stand; what overlaps is one."""
    found: list[Span] = []
    for form in forms:
        at = text.find(form)
        while at >= 0:
            found.append((at, at + len(form)))
            at = text.find(form, at + 1)
    return list(_merged(found)) if found else found


def _merged(spans: list[Span]) -> Iterator[Span]:
    spans.sort()
    start, end = spans[0]
    for first, last in spans[1:]:
        if first < end:
            end = max(end, last)
        else:
            yield start, end
            start, end = first, last
    yield start, end


def _covered(text: AnyStr, spans: list[Span], mask: AnyStr) -> AnyStr:
    parts: list[AnyStr] = []
    at = 0
    for start, end in spans:
        parts += [text[at:start], mask]
        at = end
    parts.append(text[at:])
    return text[:0].join(parts)


def spellings(value: str, *, by_line: bool = True) -> set[str]:
    """Every way in which the value is found; `by_line`: also each line of it alone."""
    lines = [line.strip() for line in value.splitlines()] if by_line else []
    parts = {line for line in lines if len(line) >= SHORTEST_PART} if len(lines) > 1 else set()
    found = {form for part in {value, value.strip(), *parts} for form in _escaped(part)}
    raw = value.encode("utf-8", "replace")
    found |= {form for form in _base64(raw) if len(form) >= SHORTEST_PART}
    return {form for form in found if len(form) >= SHORTEST}


def _escaped(value: str) -> set[str]:
    """As it stands within JSON, a Python literal or a URL."""
    addresses = {quote(value), quote(value, safe=""), quote_plus(value)}
    return {
        value,
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        repr(value)[1:-1],
        repr(value.encode("utf-8", "replace"))[2:-1],
        *addresses,
        *(_UPPER.sub(lambda match: match[0].lower(), address) for address in addresses),
    }


def _base64(raw: bytes) -> Iterator[str]:
    """Whole, in lines, and what its bytes alone decide of it where others stand around them, as in
    the header of Basic authentication."""
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        whole = encode(raw).decode()
        yield whole
        for length in BASE64_LINES:
            if len(whole) > length:
                yield from (whole[at : at + length] for at in range(0, len(whole), length))
        for shift in range(3):
            text = encode(bytes(shift) + raw).decode()
            yield text[-(-8 * shift // 6) : 8 * (shift + len(raw)) // 6]
