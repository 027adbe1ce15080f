"""`{{ node.key }}` of the format orchestrator: how it is written, and how a text of it is spelled with
the references `${…}` that steps are rendered with. Pure.

`{{ "…" }}` is the text between the quotes, for a text that holds `{{`. Everything else between the
braces is an error: no filters, no calls.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

from engines.dag.formats.document import Path
from engines.dag.references import MAX_REFERENCE, TemplateError

_NAME = re.compile(r"[A-Za-z0-9_-]+")
_PART = re.compile(
    r'\.([A-Za-z0-9_-]+)|\[(\d{1,6})\]|\["([^"\\]{1,200})"\]|\[\'([^\'"\\]{1,200})\'\]'
)
_QUOTED = re.compile(r'"([^"]*)"|\'([^\']*)\'')


@dataclass(frozen=True, slots=True)
class Place:
    """What a template names: `parts` from the first name on, of which the first `names` are written
    as plain names. `text` is the template as written."""

    parts: tuple[str | int, ...]
    names: int
    text: str


Piece = str | Place
MAX_TEMPLATE = MAX_REFERENCE - 40  # spelled as a reference it is a little longer


def pieces(text: str) -> list[Piece]:
    """A text cut into plain texts and places; two texts never stand side by side. Raises
    TemplateError."""
    found: list[Piece] = []
    plain: list[str] = []
    at = 0
    while (start := text.find("{{", at)) >= 0:
        end = _closing(text, start + 2)
        plain.append(text[at:start])
        piece = _read(text[start + 2 : end])
        if isinstance(piece, Place):
            found += [joined] if (joined := "".join(plain)) else []
            found.append(piece)
            plain = []
        else:
            plain.append(piece)
        at = end + 2
    plain.append(text[at:])
    return [*found, joined] if (joined := "".join(plain)) else found


def spelled(text: str, reference: Callable[[Place], str]) -> str:
    """The text with each place as the reference that `reference` gives for it; what looks like one
    in the plain texts stays a text. Raises TemplateError."""
    found = pieces(text)
    for before, after in pairwise(found):
        if isinstance(after, Place) and isinstance(before, str) and before.endswith("$"):
            raise TemplateError(
                f"A $ right before {after.text} can't be written out: put a space between them, "
                "or give it with the value."
            )
    references = {piece: reference(piece) for piece in set(found) if isinstance(piece, Place)}
    return "".join(
        references[piece] if isinstance(piece, Place) else piece.replace("${", "$${")
        for piece in found
    )


def reference_to(root: str, path: tuple[str | int, ...]) -> str:
    """`${root.path}`, with names that have other characters in brackets."""
    parts = "".join(
        f"[{part}]"
        if isinstance(part, int)
        else f".{part}"
        if _NAME.fullmatch(part)
        else f'["{part}"]'
        for part in path
    )
    return f"${{{root}{parts}}}"


def texts_of(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    """(path, text) of every text in a value."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from texts_of(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from texts_of(item, (*path, index))


def _closing(text: str, start: int) -> int:
    """Where the braces close: at the first `}}` that isn't in quotes."""
    quote = ""
    for at in range(start, min(len(text), start + MAX_TEMPLATE)):
        letter = text[at]
        if quote:
            quote = "" if letter == quote else quote
        elif letter in {'"', "'"}:
            quote = letter
        elif letter == "}" and text[at + 1 : at + 2] == "}":
            return at
    raise TemplateError(
        f'"{text[start - 2 : start + 40]}" opens a template and never closes it: end it with '
        '}}, or write {{ "{{" }} for plain braces.'
    )


@lru_cache(maxsize=5_000)
def _read(inner: str) -> Piece:
    """The text or the place between the braces."""
    shown = f"{{{{{inner}}}}}"
    inner = inner.strip()
    if quoted := _QUOTED.fullmatch(inner):
        return quoted[1] if quoted[1] is not None else quoted[2]
    first = _NAME.match(inner)
    parts: list[str | int] = []
    names = at = 0
    if first:
        parts.append(first[0])
        names, at = 1, first.end()
    while first and at < len(inner):
        part = _PART.match(inner, at)
        if not part:
            break
        if part[2]:
            parts.append(int(part[2]))
        else:
            names += part[1] is not None and names == len(parts)
            parts.append(part[1] or part[3] or part[4])
        at = part.end()
    if not parts or at < len(inner):
        raise TemplateError(
            f"{shown} is not a template: write {{{{ node.key }}}}, with .key, [0] or "
            '["key"] after a name, or {{ "text" }} for a plain text. Filters and calls are not '
            "taken."
        )
    return Place(tuple(parts), names, shown)
