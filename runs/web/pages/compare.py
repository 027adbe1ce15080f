"""Two runs side by side, of the same workflow or of two: only what is different."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from runs.comparison import compare as compared
from runs.models import WorkflowRun
from runs.web.access import seen

MOST_DIGITS = 17


@require_GET
def compare(request: HttpRequest) -> HttpResponse:
    """`?a=<run>&b=<run>`; with less than two the form that asks for them."""
    given = {name: request.GET.get(name, "").strip().lstrip("#")[:30] for name in ("a", "b")}
    errors: dict[str, str] = {}
    keys: dict[str, int] = {}
    for name, text in given.items():
        if text.isascii() and text.isdecimal() and len(text) <= MOST_DIGITS:
            keys[name] = int(text)
        elif text:
            errors[name] = "A run's number is a whole one."
    runs = seen(request, WorkflowRun.objects.all()).for_list()
    found = {run.pk: run for run in runs.filter(pk__in=keys.values())} if keys else {}
    for name, key in keys.items():
        if key not in found:
            errors[name] = f"There is no run {key}, or you may not see it."
    context: dict[str, object] = {"given": given, "errors": errors}
    if len(keys) == 2 and not errors:
        a, b = found[keys["a"]], found[keys["b"]]
        context |= {"a": a, "b": b, "found": compared(a, b)}
    return render(request, "web/compare.html", context, status=404 if errors else 200)
