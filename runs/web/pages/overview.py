"""What needs somebody, what runs now, and how the engines are."""

from datetime import datetime
from urllib.parse import urlencode

from django.db.models import Count, Max, Sum
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from engines.models import Engine
from engines.states import HealthState
from runs.models import Acknowledgement, RunEvent, Workflow, WorkflowRun
from runs.policy import Action
from runs.querysets import RunQuerySet
from runs.standstill import without_a_turn
from runs.triage import KIND, Kind, by_hour, kinds, late
from runs.web.access import actor, seen, why_not
from runs.web.live import show, token_of, unchanged
from runs.web.load import engines_with_load
from runs.web.pages.triage import MOST_NAMED

GROUPS = 30
ROWS = 20
FIRST = 3
LATE_EVERY = 30  # seconds
SICK = {HealthState.UNHEALTHY, HealthState.REJECTED}


@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    """The landing page: open failures grouped by their fingerprint come first."""
    runs = seen(request, WorkflowRun.objects.all())
    active = runs.active().aggregate(n=Count("pk"), v=Sum("version"))
    newest = RunEvent.objects.aggregate(newest=Max("pk"))
    engines = Engine.objects.aggregate(n=Count("pk"), v=Sum("version"), c=Max("checked_at"))
    known = seen(request, Acknowledgement.objects.all())
    noted = known.aggregate(n=Count("pk"), c=Max("at"))
    now = timezone.now()
    # Where something is under way it may become late, and no row changes by that.
    grows = now.timestamp() // LATE_EVERY if active["n"] else 0
    token = token_of(active, newest, engines, noted, grows)
    if same := unchanged(request, token):
        return same
    failed = runs.open_failures()
    groups, acknowledged = kinds(failed, known if noted["n"] else known.none())
    _show(runs, failed, [*groups[:GROUPS], *acknowledged[:GROUPS]], now)
    still = without_a_turn()
    troubled = runs.troubled().exclude(pk__in=still) if still else runs.troubled()
    trouble = [
        run
        for rows in (troubled, runs.filter(pk__in=still))
        for run in rows.select_related("workflow", "engine").order_by("-pk")[: ROWS + 1]
    ]
    stuck = {run.pk for run in trouble}
    slow = late(runs, ROWS + len(stuck), now) if active["n"] else []
    lates = [one for one in slow if one.run.pk not in stuck][:ROWS]
    shown = stuck | {one.run.pk for one in lates}
    others = runs.active().exclude(pk__in=shown).order_by("-pk")
    keys = list(others.values_list("pk", flat=True)[: ROWS + 1])
    running = list(runs.filter(pk__in=keys[:ROWS]).for_list().with_progress().order_by("-pk"))
    shown_engines = engines_with_load(request)
    sick = [engine for engine in shown_engines if engine.enabled and engine.health in SICK]
    return show(
        request,
        "web/overview.html",
        {
            "token": token,
            "groups": [group for group in groups if group.get("run")],
            "failures": sum(group["number"] for group in groups),
            "acknowledged": [group for group in acknowledged if group.get("run")],
            "trouble": trouble[:ROWS],
            "late": lates,
            "no_turn": still,
            "running": running,
            "more_running": len(keys) > ROWS,
            "active": max(active["n"] - len(shown), 0),
            "engines": shown_engines,
            "sick": sick,
            "stuck_count": len(sick) + len(trouble[:ROWS]) + len(lates),
            "any_workflow": bool(running or groups or acknowledged)
            or seen(request, Workflow.objects.current()).exists(),
            "most_named": MOST_NAMED,
            "retry_reason": why_not(request, Action.RETRY_RUN),
            "edit_reason": why_not(request, Action.EDIT_RUN),
            "no_role": actor(request).role is None,
            "first": _first(request) if not groups and not running and not shown else [],
        },
    )


def _show(runs: RunQuerySet, failed: RunQuerySet, groups: list[Kind], now: datetime) -> None:
    """Adds to each group its newest run and its failures by hour; two queries."""
    if not groups:
        return
    rows = runs.filter(pk__in=[group["newest"] for group in groups])
    newest = rows.select_related("workflow", "engine").defer("workflow__definition").in_bulk()
    hours = by_hour(failed, groups, now)
    for group in groups:
        group["run"] = newest.get(group["newest"])
        group["hours"] = hours.get(tuple(group[name] for name in KIND))


def _first(request: HttpRequest) -> list[Workflow]:
    """Where nothing ever ran: workflows to begin with, the oldest, which are the examples."""
    if seen(request, WorkflowRun.objects.all()).exists():
        return []
    workflows = seen(request, Workflow.objects.current())
    return list(workflows.defer("definition").order_by("pk")[:FIRST])


@require_GET
def jump(request: HttpRequest) -> HttpResponse:
    """The search box of every page: a run's number leads to the run, a workflow's title to it, and
    anything else to the list of runs that contain it."""
    words = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    number = words.lstrip("#")
    runs = seen(request, WorkflowRun.objects.all())
    if number.isdecimal() and len(number) < 15 and runs.filter(pk=int(number)).exists():
        return redirect("run", int(number))
    title = seen(request, Workflow.objects.filter(latest=True)).filter(title__iexact=words)
    if found := title.first():
        return redirect("workflow", found.title)
    return redirect(f"{reverse('runs')}?{urlencode({'q': words})}")
