"""Links of a row of runs to the list of those that share something with it."""

import re
from typing import Any

from django import template

from runs.runfilter import RunFilter
from runs.web.chips import added, address

register = template.Library()


@register.simple_tag(takes_context=True)
def narrowed(context: Any, name: str, value: str) -> str:
    """The list's URL with this parameter; on the list itself added to what is chosen there."""
    chosen = context.get("chosen")
    here = isinstance(chosen, RunFilter)
    return address(
        added(chosen if here else RunFilter(), name, value), context.get("view", "") if here else ""
    )


@register.filter
def requirement(label: Any) -> str:
    """What finds a label, in the grammar of selectors; empty where that can't spell its value."""
    if re.fullmatch(r"[^\s,()=!]*", label.value):
        return f"{label.key}={label.value}"
    fits = not re.search(r"[(),]", label.value) and label.value == label.value.strip()
    return f"{label.key} in ({label.value})" if fits else ""
