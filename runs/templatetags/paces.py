"""How long a run took against what its workflow takes."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from runs.templatetags.hub import duration

register = template.Library()
SLOW = 1.5  # times the median, from which on it is said


@register.simple_tag
def pace(run: Any, paces: Mapping[str, tuple[float, float]] | str) -> SafeString:
    """`×3.2`: so many times the median; a warning beyond what 95 of 100 take. Empty where it took no
    longer than usual, or nobody knows what is usual. `paces`: of runs.figures."""
    median, most = paces.get(run.workflow.title, (0, 0)) if isinstance(paces, Mapping) else (0, 0)
    if not median or run.started_at is None or (run.final and run.ended_at is None):
        return SafeString("")
    seconds = ((run.ended_at or timezone.now()) - run.started_at).total_seconds()
    times = seconds / median
    if times < SLOW:
        return SafeString("")
    half, nearly_all = (duration(timedelta(seconds=length)) for length in (median, most))
    return format_html(
        '<span class="pace {}" title="Half of its workflow’s runs take {} at most, 95 of 100 {}">×{}</span>',
        "t-warn" if seconds > most else "faint",
        half,
        nearly_all,
        f"{times:.1f}" if times < 10 else f"{times:,.0f}",
    )
