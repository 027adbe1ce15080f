"""What is different between two JSON values or two texts, as far as people read it. Pure, and bounded:
neither a huge value nor a hostile text makes it slow or long."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import islice
from typing import Any

MOST = 200  # differences that are listed
DEPTH = 60  # beneath which values are compared as a whole
CONTEXT = 3  # lines that stay the same around those that don't
MATCHED = 1000  # lines of either text that are matched one by one
MOST_LINES = 2000
LONGEST_LINE = 500  # characters

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
_PLAIN_KEY = re.compile(r"[A-Za-z_][\w-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """`path` is like `samples[0].name`, empty for the value as a whole; `kind`: added, removed or
    changed."""

    path: str
    kind: str
    old: Any = None
    new: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """`more`: there are others than these."""

    rows: tuple[Difference, ...] = ()
    more: bool = False

    def __bool__(self) -> bool:
        return bool(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """`sign`: `+`, `-`, a space for one that is in both, or `…` for those that were left out."""

    sign: str
    old: int | None = None
    new: int | None = None
    text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDiff:
    """`more`: there are others than these lines."""

    lines: tuple[Line, ...] = ()
    more: bool = False

    def __bool__(self) -> bool:
        return bool(self.lines)

    @property
    def added(self) -> int:
        return sum(line.sign == "+" for line in self.lines)

    @property
    def removed(self) -> int:
        return sum(line.sign == "-" for line in self.lines)


def differences(old: Any, new: Any, *, most: int = MOST) -> Differences:
    """Where two JSON values differ, leaf by leaf, in the order of the old one."""
    found = list(islice(_walk("", old, new, 0), most + 1))
    return Differences(rows=tuple(found[:most]), more=len(found) > most)


def line_diff(old: str, new: str) -> TextDiff:
    """The lines that differ, with a few around them. Where too many do, all of the old ones and then
    all of the new."""
    before, after = old.splitlines(), new.splitlines()
    if before == after:
        return TextDiff()
    found = list(islice(_lines(before, after), MOST_LINES + 1))
    return TextDiff(lines=tuple(found[:MOST_LINES]), more=len(found) > MOST_LINES)


def definition_diff(old: str, new: str) -> TextDiff:
    """The same of two definitions: a JSON document on one line is compared line by line too."""
    return line_diff(_spread(old), _spread(new))


def _spread(text: str) -> str:
    if "\n" in text.strip() or not text.lstrip().startswith("{"):
        return text
    try:
        return json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def _walk(path: str, old: Any, new: Any, depth: int) -> Iterator[Difference]:
    if isinstance(old, Mapping) and isinstance(new, Mapping) and depth < DEPTH:
        for key in [*old, *(key for key in new if key not in old)]:
            at = path + _step(str(key), first=not path)
            if key not in new:
                yield Difference(path=at, kind=REMOVED, old=old[key])
            elif key not in old:
                yield Difference(path=at, kind=ADDED, new=new[key])
            else:
                yield from _walk(at, old[key], new[key], depth + 1)
    elif isinstance(old, list) and isinstance(new, list) and depth < DEPTH:
        for number in range(max(len(old), len(new))):
            at = f"{path}[{number}]"
            if number >= len(new):
                yield Difference(path=at, kind=REMOVED, old=old[number])
            elif number >= len(old):
                yield Difference(path=at, kind=ADDED, new=new[number])
            else:
                yield from _walk(at, old[number], new[number], depth + 1)
    elif isinstance(old, bool) is not isinstance(new, bool) or old != new:  # True == 1 here
        yield Difference(path=path, kind=CHANGED, old=old, new=new)


def _step(key: str, *, first: bool) -> str:
    if _PLAIN_KEY.fullmatch(key):
        return key if first else f".{key}"
    return f"[{json.dumps(key if len(key) <= 100 else f'{key[:99]}…')}]"


def _lines(before: Sequence[str], after: Sequence[str]) -> Iterator[Line]:
    shorter = min(len(before), len(after))
    head = next((at for at in range(shorter) if before[at] != after[at]), shorter)
    left = shorter - head
    tail = next((at for at in range(left) if before[-1 - at] != after[-1 - at]), left)
    begin = max(head - CONTEXT, 0)
    some = before[begin : len(before) - max(tail - CONTEXT, 0)]
    others = after[begin : len(after) - max(tail - CONTEXT, 0)]
    for number, group in enumerate(_groups(some, others, head - begin, min(tail, CONTEXT))):
        if number or begin + group[0][1]:
            yield Line(sign="…")
        for tag, first, last, start, end in group:
            if tag == "equal":
                for at in range(last - first):
                    old, new = begin + first + at + 1, begin + start + at + 1
                    yield Line(sign=" ", old=old, new=new, text=_cut(some[first + at]))
                continue
            for at in range(first, last):
                yield Line(sign="-", old=begin + at + 1, text=_cut(some[at]))
            for at in range(start, end):
                yield Line(sign="+", new=begin + at + 1, text=_cut(others[at]))


def _groups(
    some: Sequence[str], others: Sequence[str], head: int, tail: int
) -> Iterator[list[tuple[str, int, int, int, int]]]:
    """Opcodes as difflib's get_grouped_opcodes has them."""
    if max(len(some), len(others)) <= MATCHED:
        yield from SequenceMatcher(None, some, others).get_grouped_opcodes(CONTEXT)
        return
    ends, others_end = len(some) - tail, len(others) - tail
    yield [
        ("equal", 0, head, 0, head),
        ("replace", head, ends, head, others_end),
        ("equal", ends, len(some), others_end, len(others)),
    ]


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST_LINE else f"{text[: LONGEST_LINE - 1]}…"
