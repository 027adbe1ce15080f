"""Reads YAML or JSON text into plain values, with the line of every key. Called by the formats.

Safe on any input: no tags but the plain ones, no document larger, deeper or with more parts than the
limits, no duplicate keys, nothing that JSON or a database can't hold. YAML words are those of
YAML 1.2's core schema: `no` and `on` are texts, and so are dates.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from engines.dag.formats.events import DocumentError, Event, check_number
from engines.dag.formats.jsontext import JsonSyntaxError, json_events

MAX_BYTES = 1_000_000
MAX_DEPTH = 50
MAX_PARTS = 200_000
MAX_REPEATED = 1000

Path = tuple[str | int, ...]

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {"": None, "~": None}
_WORDS |= dict.fromkeys(("null", "Null", "NULL"))
_WORDS |= dict.fromkeys(("true", "True", "TRUE"), True)
_WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)
_TAG = "tag:yaml.org,2002:"
_PLAIN_TAGS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "null": (type(None),),
}


@dataclass(frozen=True, slots=True)
class Document:
    """`value`: the plain value. `lines`: path -> line, counted from 1, of every key and item."""

    value: Any
    lines: Mapping[Path, int] = field(default_factory=dict)

    def line(self, path: Path) -> int:
        """The line of a path, or of the nearest thing around it."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)


def load(text: str) -> Document:
    """The document in a text. Raises DocumentError."""
    _check_text(text)
    start = text.lstrip()[:2]
    if not start:
        raise DocumentError("The definition is empty.", 1)
    if start[0] in "{[":
        builder = _Builder()
        try:
            return builder.build(json_events(text))
        except JsonSyntaxError as error:
            if re.match(r'\s*[{\[]\s*("|\}|$)', text):
                raise DocumentError(f"This is not JSON: {error}", error.line) from None
            # `{a: 1}` is YAML that looks like JSON.
    return _Builder().build(_yaml_events(text))


def _check_text(text: str) -> None:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise DocumentError("Half a surrogate pair is not a character.", line) from None
    if size > MAX_BYTES:
        raise DocumentError(f"The definition has {size:,} bytes; the most is {MAX_BYTES:,}.", 1)
    if "\x00" in text:
        line = text.count("\n", 0, text.index("\x00")) + 1
        raise DocumentError("A NUL character can't be part of a definition.", line)


@dataclass(slots=True)
class _Open:
    """A list or object that isn't finished. `key` is the one whose value comes next."""

    items: Any
    anchor: str | None
    parts: int = 1
    key: Any = None
    has_key: bool = False


class _Builder:
    """Puts a document together from events, without recursion."""

    def __init__(self) -> None:
        self.lines: dict[Path, int] = {}
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.open: list[_Open] = []
        self.path: list[str | int] = []
        self.parts = 0
        self.repeated = 0

    def build(self, events: Iterator[Event]) -> Document:
        found: list[Any] = []
        for event in events:
            self.parts += 1
            if self.parts > MAX_PARTS:
                raise DocumentError(
                    f"The definition has more than {MAX_PARTS:,} parts.", event.line
                )
            if event.kind == "end":
                done = self.open.pop()
                self._keep(done.anchor, done.items, done.parts)
                if self.open:
                    self.open[-1].parts += done.parts
                self._leave(found, done.items)
                continue
            if isinstance(event.value, str):
                _check_letters(event.value, event.line)
            if self._takes_key(event):
                continue
            self._enter(event)
            if event.kind in {"list", "object"}:
                if len(self.open) >= MAX_DEPTH:
                    raise DocumentError(f"Nested deeper than {MAX_DEPTH} levels.", event.line)
                self.open.append(_Open([] if event.kind == "list" else {}, event.anchor))
                continue
            value = event.value
            if event.kind == "alias":
                value = self._repeat(event)
            else:
                self._keep(event.anchor, value, 1)
                if self.open:
                    self.open[-1].parts += 1
            self._leave(found, value)
        if not found:
            raise DocumentError("The definition is empty.", 1)
        if self.repeated and _depth(found[0]) > MAX_DEPTH:
            raise DocumentError(f"The aliases nest deeper than {MAX_DEPTH} levels.", 1)
        return Document(found[0], self.lines)

    def _takes_key(self, event: Event) -> bool:
        """Whether the event is a key of the object that is open."""
        if not self.open or not isinstance(self.open[-1].items, dict) or self.open[-1].has_key:
            return False
        inside = self.open[-1]
        if event.kind != "value" or isinstance(event.value, (float, type(None))):
            raise DocumentError("A key must be a text.", event.line)
        key = event.value
        if not isinstance(key, str):
            key = str(key).lower()
        if key in inside.items:
            raise DocumentError(f'The key "{key[:100]}" stands here twice.', event.line)
        inside.key, inside.has_key = key, True
        self._keep(event.anchor, key, 1)
        self.path.append(key)
        self.lines[tuple(self.path)] = event.line
        return True

    def _enter(self, event: Event) -> None:
        if not self.open:
            self.lines[()] = event.line
        elif isinstance(self.open[-1].items, list):
            self.path.append(len(self.open[-1].items))
            self.lines[tuple(self.path)] = event.line

    def _leave(self, found: list[Any], value: Any) -> None:
        if not self.open:
            found.append(value)
            return
        inside = self.open[-1]
        if isinstance(inside.items, list):
            inside.items.append(value)
        else:
            inside.items[inside.key] = value
            inside.has_key = False
        self.path.pop()

    def _keep(self, anchor: str | None, value: Any, parts: int) -> None:
        if anchor is not None:
            self.anchors[anchor] = (value, parts)

    def _repeat(self, event: Event) -> Any:
        if event.anchor not in self.anchors:
            raise DocumentError(
                f"*{event.anchor} refers to an anchor that isn't there, or to what it is part of.",
                event.line,
            )
        value, parts = self.anchors[event.anchor]
        self.repeated += parts
        if self.repeated > MAX_REPEATED:
            raise DocumentError(
                f"The aliases repeat more than {MAX_REPEATED:,} parts: write them out.", event.line
            )
        self.open[-1].parts += parts
        return value


def _check_letters(text: str, line: int) -> None:
    """Escapes can spell what the text itself may not hold."""
    if "\x00" in text:
        raise DocumentError("A NUL character can't be part of a definition.", line)
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise DocumentError("Half a surrogate pair is not a character.", line)


def _depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(_depth, value.values()), default=0)
    return 1 + max(map(_depth, value), default=0) if isinstance(value, list) else 0


def _yaml_events(text: str) -> Iterator[Event]:
    documents = 0
    try:
        for event in yaml.parse(text, Loader=_LOADER):
            line = event.start_mark.line + 1 if event.start_mark else 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise DocumentError("A definition is one document: remove the second.", line)
            elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
                kind = "list" if isinstance(event, yaml.SequenceStartEvent) else "object"
                tag = _TAG + ("seq" if kind == "list" else "map")
                if event.tag not in {None, "!", tag}:
                    raise DocumentError(f"The tag {event.tag[:100]} is not taken.", line)
                yield Event(kind, line, anchor=event.anchor)
            elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
                yield Event("end", line)
            elif isinstance(event, yaml.AliasEvent):
                yield Event("alias", line, anchor=event.anchor)
            elif isinstance(event, yaml.ScalarEvent):
                yield Event("value", line, _scalar(event, line), event.anchor)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        problem = " ".join(part for part in (error.problem, error.context) if part)
        raise DocumentError(f"This is not YAML: {problem}.", mark.line + 1 if mark else 1) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise DocumentError("This is not YAML: a control character is not allowed.", line) from None


def _scalar(event: yaml.ScalarEvent, line: int) -> Any:
    text: str = event.value
    if event.tag in {None, "!"}:
        # `implicit` says whether the text stands there without quotes.
        return _plain(text, line) if event.implicit[0] and event.tag is None else text
    kind = event.tag.removeprefix(_TAG)
    if event.tag == kind or kind not in _PLAIN_TAGS:
        raise DocumentError(f"The tag {event.tag[:100]} is not taken.", line)
    if kind == "str":
        return text
    value = _plain(text, line)
    if not isinstance(value, _PLAIN_TAGS[kind]):
        raise DocumentError(f'"{text[:50]}" does not fit its tag !!{kind}.', line)
    return value


def _plain(text: str, line: int) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if len(text) <= 400:
        if _INTEGER.fullmatch(text):
            base = {"0o": 8, "0x": 16}.get(text[:2], 10)
            return check_number(int(text, base), line)
        if _FLOAT.fullmatch(text):
            return check_number(float(text), line)
        if _NOT_FINITE.fullmatch(text):
            raise DocumentError(f"{text} is not a number that JSON can hold.", line)
    return text
