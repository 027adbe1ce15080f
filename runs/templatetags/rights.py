"""What the frame of every page asks about the visitor's rights."""

from typing import Any

from django import template

from runs.policy import Action
from runs.web.access import why_not

register = template.Library()


@register.simple_tag(takes_context=True)
def may(context: Any, action: str) -> bool:
    """Whether the visitor may do this at all; the page that it leads to asks again."""
    return not why_not(context["request"], Action(action))
