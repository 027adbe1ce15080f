"""The list of runs."""

from django.db.models import prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET

from runs.figures import paces
from runs.models import WorkflowRun
from runs.policy import Action
from runs.querysets import RunQuerySet
from runs.runfilter import narrow, query_of, read_filter, text_of
from runs.runquery import HELP
from runs.web.access import seen, why_not
from runs.web.arrivals import Arrivals, arrivals, in_order, named, shown_keys
from runs.web.bulkbar import bulk_bar
from runs.web.chips import address, chips_of, quick_chips
from runs.web.live import is_poll, show, token_of, unchanged
from runs.web.offers import run_offers
from runs.web.paging import cut
from runs.web.tabs import default_view, opening, tabs_of

# What no row shows.
UNSHOWN = ("parameters", "result", "source", "last_error")


@require_GET
def runs(request: HttpRequest) -> HttpResponse:
    """Runs by filter, newest first, in keyset pages."""
    if elsewhere := opening(request):
        return redirect(elsewhere)
    chosen = read_filter(request.GET)
    view = request.GET.get("view", "")[:20]
    if "query" in request.GET and not chosen.errors and not is_poll(request):
        return redirect(address(chosen, view))
    everything = seen(request, WorkflowRun.objects.all())
    matching = narrow(everything, chosen)
    keys, news, page = shown_keys(request), Arrivals(), None
    if keys:
        found, news = in_order(_rows(everything), keys), arrivals(matching, keys)
    else:
        page = cut(request, _rows(matching))
        found = page.rows
    token = token_of([(run.pk, run.version) for run in found], news)
    if same := unchanged(request, token):
        return same
    prefetch_related_objects(found, "labels")
    context = {
        "token": token,
        "chosen": chosen,
        "view": view,
        "query": query_of(chosen),
        "news": news,
        "page": page,
        "here": address(chosen, view),
        # Further back, nothing comes and goes: only the first page asks again.
        "live": page is None or page.first,
        "shown": named(found, whole=page.older is None if page else 0 in keys),
        "active": any(not run.final for run in found),
        "paces": paces([run.workflow.title for run in found]) if found else {},
        "rows": [(run, run_offers(request, run)) for run in found],
    }
    if page is not None and not is_poll(request):
        username = request.user.get_username()
        tabs = tabs_of(request, chosen, view)
        context |= {
            "tabs": tabs,
            "tab": next((tab for tab in tabs if tab.on), None),
            "default": default_view(request),
            "text": request.GET.get("query") or text_of(chosen),
            "chips": chips_of(chosen, view),
            "quick": quick_chips(chosen, view, username),
            "help": HELP,
            "bulk": bulk_bar(request, matching, chosen),
            "start_reason": why_not(request, Action.START_RUN),
        }
    return show(request, "web/runs.html", context)


def _rows(runs: RunQuerySet) -> RunQuerySet:
    """As rows of the table, but for their labels: they are read when it is known that they are shown."""
    return runs.for_list().prefetch_related(None).defer(*UNSHOWN)
