"""How attempts ended and how long they took: over a span, of one workflow or engine where asked."""

from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from engines.models import Engine
from runs.insights import SPANS, Ended, read
from runs.models import HourlyRollup
from runs.web.access import seen

USUAL = "7d"


@require_GET
def insights(request: HttpRequest) -> HttpResponse:
    span = request.GET.get("span", USUAL)
    span = span if span in SPANS else USUAL
    workflow = request.GET.get("workflow", "").replace("\x00", "")[:200]
    engine = request.GET.get("engine", "").replace("\x00", "")[:63]
    names = list(
        seen(request, Engine.objects.all()).order_by("name").values_list("name", flat=True)
    )
    engine = engine if engine in names else ""
    found = read(
        seen(request, HourlyRollup.objects.all()),
        engines=names,
        span=span,
        workflow=workflow,
        engine=engine,
    )
    chosen = {"workflow": workflow, "engine": engine}
    kept = {name: text for name, text in chosen.items() if text}
    return render(
        request,
        "web/insights.html",
        {
            "found": found,
            "chart": [(_said(bar, found.step), _counts(bar)) for bar in found.bars],
            "chart_label": f"{found.total.number} attempts that ended, by {found.step}; "
            "the same as a table below.",
            "most": max(bar.number for bar in found.bars),
            "spans": [
                (name, words, urlencode({"span": name, **kept}))
                for name, (words, _) in SPANS.items()
            ],
            "span": span,
            "words": SPANS[span][0],
            "workflow": workflow,
            "engine": engine,
            "engines": names,
            "any": bool(kept) or found.total.number > 0,
        },
    )


def _counts(bar: Ended) -> tuple[int, int, int]:
    return bar.completed, bar.failed, bar.canceled


def _said(bar: Ended, step: str) -> str:
    when = timezone.localtime(bar.at).strftime("%H:%M" if step == "hour" else "%a %d %b")
    return f"{when}: {bar.completed} completed, {bar.failed} failed, {bar.canceled} canceled"
