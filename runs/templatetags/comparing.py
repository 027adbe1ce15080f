"""What the pages that compare runs say in one word. Everything is escaped by the templates."""

import json
import re
from datetime import timedelta
from typing import Any

from django import template

from runs.states import RunState, Trigger
from runs.templatetags.hub import duration, reason_text

register = template.Library()

LONGEST = 300
FACTS = {
    "created_by": "Started by",
    "error_task": "Failed first",
    "trigger": "Started",
    "duration": "Took",
}
# What could make a text look like another one: control characters, and those that turn its direction.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]"
)
_SIGNS = {"added": "+", "removed": "−", "changed": "≠"}


@register.filter
def visible(text: object) -> str:
    """The text with what can't be seen spelled out, but for tabs and ends of lines."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", str(text))


@register.filter
def value(given: Any) -> str:
    """A JSON value on one line, cut."""
    text = json.dumps(given, ensure_ascii=False, default=str)
    return visible(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


@register.filter
def sign(kind: str) -> str:
    """Of an added, removed or changed value."""
    return _SIGNS.get(kind, kind)


@register.filter
def seconds(length: float | None) -> str:
    return duration(timedelta(seconds=length)) if length is not None else "–"


@register.filter
def fact_name(name: str) -> str:
    return FACTS.get(name, name.replace("_", " ").capitalize())


@register.filter
def fact(given: Any, name: str) -> str:
    """One of the two values of a fact, in words."""
    if given is None or given == "":
        return "–"
    if name == "duration":
        return seconds(given)
    if name == "version":
        return f"v{given}"
    if name == "state":
        return str(RunState(given).label)
    if name == "trigger":
        return str(Trigger(given).label)
    if name == "reason":
        return reason_text(given)
    text = str(given)
    return visible(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")
