"""The list of runs."""

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from engines.models import Engine
from runs.models import Workflow, WorkflowRun
from runs.policy import Action
from runs.runfilter import SPANS, narrow, read_filter
from runs.states import RunState
from runs.web.access import seen, why_not
from runs.web.live import is_poll, show, token_of, unchanged
from runs.web.offers import run_offers
from runs.web.paging import cut

CHOICES = 200  # titles in the workflow box; beyond that it is typed


@require_GET
def runs(request: HttpRequest) -> HttpResponse:
    """Runs by filter, newest first, in keyset pages."""
    chosen = read_filter(request.GET)
    everything = seen(request, WorkflowRun.objects.all())
    page = cut(request, narrow(everything, chosen).for_list())
    token = token_of([(run.pk, run.version) for run in page.rows])
    if same := unchanged(request, token):
        return same
    context = {
        "page": page,
        "token": token,
        "chosen": chosen,
        "active": any(not run.final for run in page.rows),
        "rows": [(run, run_offers(request, run)) for run in page.rows],
    }
    if not is_poll(request):
        context |= {
            "states": RunState.choices,
            "spans": SPANS,
            "titles": list(
                seen(request, Workflow.objects.filter(latest=True))
                .order_by("title")
                .values_list("title", flat=True)[:CHOICES]
            ),
            "engines": list(seen(request, Engine.objects.all()).values_list("name", flat=True)),
            "empty": not page.rows and not chosen.any and page.first,
            "start_reason": why_not(request, Action.START_RUN),
        }
    return show(request, "web/runs.html", context)
