"""Charts as SVG: sizes are attributes, colours are classes, and what they show is said in words too."""

from collections.abc import Sequence
from urllib.parse import urlencode

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from runs.insights import Ended

register = template.Library()

HEIGHT = 16
STEP = 4
PLOT = 120
TONES = ("good", "bad", "muted")


@register.simple_tag
def query(**parts: str) -> str:
    """A query string of those that aren't empty."""
    return f"?{urlencode({name: text for name, text in parts.items() if text})}"


@register.simple_tag
def rate(ended: Ended) -> str:
    """How many of 100 failed: `0.4 %`."""
    share = ended.failure_rate
    return "–" if share is None else f"{share * 100:.{0 if share in (0, 1) else 1}f} %"


@register.simple_tag
def spark(counts: Sequence[int], what: str = "failures") -> SafeString:
    """One small bar for each hour, the newest last."""
    if not counts:
        return SafeString("")
    most, total = max(counts), sum(counts)
    bars = [
        (at * STEP, HEIGHT - height, height)
        for at, number in enumerate(counts)
        if (height := max(round(number / most * HEIGHT), 2) if number else 0)
    ]
    return format_html(
        '<svg class="spark t-bad" role="img" width="{}" height="{}" aria-label="{}">'
        '<line x1="0" x2="{}" y1="{}" y2="{}"/>{}</svg>',
        len(counts) * STEP,
        HEIGHT,
        f"Last {len(counts)} hours: {total} {what}, at most {most} in an hour",
        len(counts) * STEP,
        HEIGHT - 0.5,
        HEIGHT - 0.5,
        format_html_join("", '<rect x="{}" y="{}" width="3" height="{}"/>', bars),
    )


@register.simple_tag
def stacked(bars: Sequence[tuple[str, Sequence[int]]], label: str) -> SafeString:
    """A bar for each (title, numbers from the bottom up, in the order of TONES); the chart is as wide as
    its place. What it shows stands in a table beside it."""
    most = max((sum(numbers) for _, numbers in bars), default=0)
    if not most:
        return SafeString("")
    parts = []
    for at, (title, numbers) in enumerate(bars):
        bottom = float(PLOT)
        rects = []
        for tone, number in zip(TONES, numbers, strict=True):
            height = round(number / most * PLOT, 2)
            bottom = round(bottom - height, 2)
            if number:
                rects.append((tone, at * 10 + 1, bottom, max(height, 1)))
        inner = format_html_join(
            "", '<rect class="t-{}" x="{}" y="{}" width="8" height="{}"/>', rects
        )
        parts.append((title, at * 10, inner))
    return format_html(
        '<svg class="plot" role="img" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-label="{}">'
        "{}</svg>",
        len(bars) * 10,
        PLOT,
        label,
        format_html_join(
            "",
            '<g><title>{}</title><rect class="back" x="{}" y="0" width="10" height="120"/>{}</g>',
            parts,
        ),
    )
