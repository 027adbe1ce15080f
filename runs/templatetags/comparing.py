"""What the pages that compare runs say in one word. Everything is escaped by the templates."""

import json
from datetime import timedelta
from typing import Any

from django import template

from runs.states import RunState, Trigger
from runs.templatetags.hub import duration, reason_text
from runs.visible import visible

register = template.Library()

LONGEST = 300
FACTS = {
    "created_by": "Started by",
    "error_task": "Failed first",
    "trigger": "Started",
    "duration": "Took",
}
_SIGNS = {"added": "+", "removed": "−", "changed": "≠"}


@register.filter(name="visible")
def seen(text: object) -> str:
    """The text with what can't be seen in it spelled out."""
    return visible(str(text))


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
