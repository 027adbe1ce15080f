"""Templates of a definition: texts with `${…}` references, and the conditions of `when`.

Pure. The formats call `references` and `template_texts` when a definition is posted; whoever drives
a step calls `render` and `evaluate` with a Scope. A value is rendered once: what a parameter or a
result holds is data, and never read as a template again.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from engines.dag.expressions import compile_expression, evaluate
from engines.dag.references import (
    ABSENT,
    Reference,
    Scope,
    TemplateError,
    as_text,
    lookup,
    pieces,
    whole_reference,
)

__all__ = [
    "ABSENT",
    "Reference",
    "Scope",
    "TemplateError",
    "as_text",
    "compile_expression",
    "evaluate",
    "lookup",
    "references",
    "render",
    "template_texts",
    "whole_reference",
]

MAX_TEXT = 10_000_000


def references(value: Any) -> set[Reference]:
    """Every reference in a text or in the texts of a container. Raises TemplateError."""
    return {
        piece
        for _, text in template_texts(value)
        for piece in pieces(text)
        if isinstance(piece, Reference)
    }


def template_texts(
    value: Any, path: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """(path, text) of every text in a value that may hold a reference; names of objects can't."""
    if isinstance(value, str):
        if "${" in value:
            yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from template_texts(item, (*path, key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from template_texts(item, (*path, index))


def render(value: Any, scope: Scope) -> Any:
    """A value with every reference replaced.

    A text that is exactly one reference becomes what it refers to, with its type; in a longer text
    a reference is written out, everything but a text as JSON. Raises TemplateError.
    """
    if isinstance(value, str):
        return _render_text(value, scope) if "${" in value else value
    if isinstance(value, Mapping):
        return {key: render(item, scope) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [render(item, scope) for item in value]
    return value


def _render_text(text: str, scope: Scope) -> Any:
    found = pieces(text)
    if len(found) == 1 and isinstance(found[0], Reference):
        return lookup(found[0], scope)
    parts: list[str] = []
    length = 0
    for piece in found:
        part = as_text(lookup(piece, scope)) if isinstance(piece, Reference) else piece
        length += len(part)
        if length > MAX_TEXT:
            raise TemplateError(f"The text becomes longer than {MAX_TEXT:,} characters.")
        parts.append(part)
    return "".join(parts)
