"""Lengths of time as people write and read them. Pure."""

import re
from typing import Any

LONGEST = 10 * 366 * 86400.0
UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_WRITTEN = re.compile(
    r"(?:(\d{1,9})d)?(?:(\d{1,9})h)?(?:(\d{1,9})m)?(?:(\d{1,9}(?:\.\d{1,6})?)s?)?"
)
_SAID = {"d": "d", "h": "h", "m": "min", "s": "s"}


def read_seconds(value: Any) -> float | None:
    """Seconds as a number, or of a text like 90s, 5m, 1h30m or 2d; None for anything else."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str) and value and (match := _WRITTEN.fullmatch(value)):
        units = zip(match.groups(), UNITS.values(), strict=True)
        return sum(float(number) * unit for number, unit in units if number)
    return None


def spelled(seconds: float) -> str:
    """`1h30m`, which `read_seconds` reads."""
    return "".join(f"{number}{unit}" for number, unit in _parts(seconds))


def said(seconds: float) -> str:
    """`1 h 30 min`, for a sentence."""
    return " ".join(f"{number} {_SAID[unit]}" for number, unit in _parts(seconds))


def _parts(seconds: float) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    left = round(seconds, 6)
    for unit, size in UNITS.items():
        if unit == "s":
            if left or not found:
                found.append((f"{left:.6f}".rstrip("0").rstrip("."), unit))
        elif number := int(left // size):
            found.append((str(number), unit))
            left = round(left - number * size, 6)
    return found
