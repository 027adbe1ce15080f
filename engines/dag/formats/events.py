"""What a YAML or JSON text is read as: a stream of events, each with its line."""

import math
from dataclasses import dataclass
from typing import Any

from engines.parameters import MAX_INTEGER


class DocumentError(ValueError):
    """The text is no document that we take. `line` counts from 1."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


@dataclass(slots=True)
class Event:
    """One step through a document. `kind`: value, list, object, end or alias."""

    kind: str
    line: int
    value: Any = None
    anchor: str | None = None


def check_number(value: int | float, line: int) -> int | float:
    """The number, if it can be kept. Raises DocumentError."""
    if isinstance(value, float) and not math.isfinite(value):
        raise DocumentError("A number is too large.", line)
    if isinstance(value, int) and abs(value) > MAX_INTEGER:
        raise DocumentError("A whole number is beyond 64 bits: write it in quotes.", line)
    return value
