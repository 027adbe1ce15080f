"""What engines can do, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

from engines.base import CAPABILITIES
from engines.models import Engine

Cells = list[tuple[Engine, bool | str]]
"""Of each engine True, or why not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Label -> cells: of the capabilities that tell the engines apart, and of those in which all are
    the same. Of a single engine all are shown."""

    apart: list[tuple[str, Cells]]
    same: list[tuple[str, Cells]]


def matrix(engines: Sequence[Engine]) -> Matrix:
    rows: list[tuple[str, Cells]] = [
        (label, [(engine, engine.can(flag)) for engine in engines])
        for flag, label in CAPABILITIES.items()
    ]
    if len(engines) < 2:
        return Matrix(apart=rows, same=[])
    same = [row for row in rows if len({answer is True for _, answer in row[1]}) == 1]
    return Matrix(apart=[row for row in rows if row not in same], same=same)
