"""What a group of open failures on the overview offers: acknowledge it, withdraw that, retry all of it. A
group is named by one of its runs."""

from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from runs import actions
from runs.actions.acknowledgements import LONGEST_NOTE
from runs.models import Acknowledgement, WorkflowRun
from runs.policy import Action
from runs.querysets import RunQuerySet
from runs.web.access import actor, do, find, safe_next, seen, why_not

MOST_NAMED = 300  # runs that fit in an address by their numbers


@require_http_methods(["GET", "POST"])
def acknowledge(request: HttpRequest, pk: int) -> HttpResponse:
    """`pk`: the newest run that the visitor saw in the group."""
    run = _run(request, pk)
    if request.method == "POST":
        return do(
            request,
            lambda: actions.acknowledge(
                actor(request),
                fingerprint=run.fingerprint,
                workflow=run.workflow.title,
                note=request.POST.get("note", ""),
                newest=run.pk,
            ),
            then=reverse("overview"),
            done="Acknowledged. It comes back when a newer run fails of it.",
        )
    return render(
        request,
        "web/acknowledge.html",
        {
            "run": run,
            "number": _alike(request, run).count(),
            "back": reverse("overview"),
            "longest": LONGEST_NOTE,
            "reason": why_not(request, Action.EDIT_RUN, run),
        },
    )


@require_POST
def withdraw(request: HttpRequest, pk: int) -> HttpResponse:
    row = find(request, Acknowledgement.objects.all(), pk=pk)
    return do(
        request,
        lambda: actions.withdraw_acknowledgement(actor(request), row),
        then=safe_next(request, reverse("overview")),
        done="It is among the open failures again.",
    )


@require_GET
def retry_alike(request: HttpRequest, pk: int) -> HttpResponse:
    """On to the confirmation for the open failures of one kind, the newest MOST_NAMED: what they have in
    common would also fit those that are settled."""
    run = _run(request, pk)
    alike = _alike(request, run).filter(error_task=run.error_task, reason=run.reason)
    keys = list(alike.order_by("-pk").values_list("pk", flat=True)[:MOST_NAMED])
    if not keys:
        raise Http404("No failure of this kind is open any more.")
    asked = {"action": "retry", "keys": ",".join(map(str, keys))}
    return redirect(f"{reverse('bulk_confirm')}?{urlencode(asked, safe=',')}")


def _run(request: HttpRequest, pk: int) -> WorkflowRun:
    return find(request, WorkflowRun.objects.select_related("workflow", "engine"), pk=pk)


def _alike(request: HttpRequest, run: WorkflowRun) -> RunQuerySet:
    failed = seen(request, WorkflowRun.objects.all()).open_failures()
    return failed.filter(fingerprint=run.fingerprint, workflow__title=run.workflow.title)
