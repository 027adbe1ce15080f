"""Kubernetes label selectors: `a=b,c!=d,e in (x,y),f notin (z),g,!h`. Commas mean and."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_KEY = rf"(?:{_NAME}/)?{_NAME}"
_VALUE = r"[^\s,()=!]*"
_FORMS = [
    (re.compile(rf"({_KEY})\s+(in|notin)\s*\(([^()]*)\)"), "set"),
    (re.compile(rf"({_KEY})\s*(==|=|!=)\s*({_VALUE})"), "equality"),
    (re.compile(rf"!\s*({_KEY})"), "not exists"),
    (re.compile(rf"({_KEY})"), "exists"),
]
MAX_REQUIREMENTS = 20
LABEL_KEY = re.compile(rf"{_KEY}\Z")


class SelectorError(ValueError):
    """The text is not a label selector; says where it stops making sense."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """`operator`: in, notin, exists or not exists; `=` is in with one value."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def fits(self, labels: Mapping[str, str]) -> bool:
        if self.operator == "in":
            return labels.get(self.key) in self.values
        if self.operator == "notin":
            return labels.get(self.key) not in self.values
        return (self.key in labels) == (self.operator == "exists")


@lru_cache(maxsize=1000)
def parse_selector(text: str) -> tuple[Requirement, ...]:
    """The requirements of a selector, none for an empty one. Raises SelectorError."""
    if "\x00" in text:
        raise SelectorError("A selector holds no NUL character.")
    requirements: list[Requirement] = []
    rest = text.strip()
    while rest:
        requirement, length = _requirement(rest, text)
        requirements.append(requirement)
        if len(requirements) > MAX_REQUIREMENTS:
            raise SelectorError(f"A selector has at most {MAX_REQUIREMENTS} requirements.")
        rest = rest[length:].lstrip()
        if rest and not rest.startswith(","):
            raise SelectorError(f"Expected a comma before {rest!r} in {text!r}.")
        if rest == ",":
            raise SelectorError(f"Nothing follows the last comma of {text!r}.")
        rest = rest[1:].lstrip()
    return tuple(requirements)


def fits(selector: str, labels: Mapping[str, str]) -> bool:
    return all(requirement.fits(labels) for requirement in parse_selector(selector))


def _requirement(rest: str, whole: str) -> tuple[Requirement, int]:
    for pattern, form in _FORMS:
        match = pattern.match(rest)
        if not match:
            continue
        if form == "set":
            values = tuple(value.strip() for value in match[3].split(","))
            return Requirement(match[1], match[2], values), match.end()
        if form == "equality":
            operator = "notin" if match[2] == "!=" else "in"
            return Requirement(match[1], operator, (match[3],)), match.end()
        return Requirement(match[1], form), match.end()
    raise SelectorError(
        f"{rest!r} in {whole!r} is not a label requirement. "
        "Write key=value, key!=value, key in (a,b), key notin (a,b), key or !key."
    )
