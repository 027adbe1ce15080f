"""The registered engines: how they are, what they can, and what is asked of them."""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from engines.base import CAPABILITIES
from engines.clock import database_now
from engines.models import Engine, EngineJob
from engines.registry import adapter_class
from runs import actions
from runs.drift import REACH, drifting, explain
from runs.errors import Conflict
from runs.lag import Load, load_of, longest_lag
from runs.models import WorkflowRun
from runs.policy import Action, require
from runs.web.access import actor, do, find, row_version, safe_next, seen, why_not
from runs.web.live import show, token_of, unchanged
from runs.web.load import engines_with_load
from runs.web.matrix import matrix
from runs.web.takes import takes
from runs.web.workers import workers_of

JOBS = 10
DRIFT = 50
OPEN_JOBS = {EngineJob.State.WAITING, EngineJob.State.RUNNING}


@require_GET
def engines(request: HttpRequest) -> HttpResponse:
    """The list with health, lag and backlog, and the capability matrix."""
    found = engines_with_load(request)
    now = database_now()
    for engine in found:
        engine.lags = engine.load.lags(now)
    token = token_of([(*_shown(e, e.load, now), e.version, e.failures) for e in found])
    if same := unchanged(request, token):
        return same
    for engine in found:
        engine.ask_reason = _ask_reason(request, engine)
        engine.manage_reason = why_not(request, Action.MANAGE_ENGINES, engine)
        engine.takes = takes(engine)
    return show(
        request,
        "web/engines.html",
        {
            "engines": found,
            "token": token,
            "active": any(engine.load.active for engine in found),
            "matrix": matrix(found),
            "whole": "same" in request.GET,
            "longest_lag": longest_lag(),
            "manage_reason": why_not(request, Action.MANAGE_ENGINES),
        },
    )


@require_GET
def engine(request: HttpRequest, pk: int) -> HttpResponse:
    """One engine: health, lag, capabilities, runs that drift, its workers, its last jobs."""
    found = find(request, Engine.objects.all(), pk=pk)
    now = database_now()
    jobs = list(
        EngineJob.objects.filter(engine=found).select_related("requested_by").order_by("-pk")[:JOBS]
    )
    runs = seen(request, WorkflowRun.objects.all())
    load = load_of(found, runs)
    rows = drifting(runs, found, now).select_related("workflow").defer("workflow__definition")
    drift = [explain(run, found, now) for run in rows[: DRIFT + 1]] if load.active else []
    workers = workers_of(request, found, now)
    token = token_of(
        _shown(found, load, now),
        found.version,
        found.failures,
        [(job.pk, job.state) for job in jobs],
        [(one.run.pk, one.run.version, one.why, one.next_step, one.next_at) for one in drift],
        [(one.pk, one.heartbeat_at, one.silent, one.busy_with) for one in workers or ()],
    )
    if same := unchanged(request, token):
        return same
    adapter = adapter_class(found.kind)
    kept = frozenset(found.kept_secrets)  # their values stay where they are
    return show(
        request,
        "web/engine.html",
        {
            "engine": found,
            # A template would call the class itself.
            "adapter": {"label": adapter.label, "formats": adapter.formats},
            "token": token,
            "jobs": jobs,
            "asked": any(job.state in OPEN_JOBS for job in jobs),
            "load": load,
            "lags": load.lags(now),
            "longest_lag": longest_lag(),
            "takes": takes(found),
            "breaker_open": found.breaker_until is not None and found.breaker_until > now,
            "drift": drift[:DRIFT],
            "more_drift": len(drift) > DRIFT,
            "drift_reach": REACH if load.active > REACH else 0,
            "workers": workers,
            "capabilities": [(label, found.can(flag)) for flag, label in CAPABILITIES.items()],
            "can_import": [
                (action, EngineJob.Action(action).label, found.can(action))
                for action in ("import_definitions", "import_runs")
            ],
            "settings": [
                (field, found.config.get(field.name))
                for field in adapter.fields
                if not field.secret
            ],
            "kept_secrets": [field.label for field in adapter.fields if field.name in kept],
            "ask_reason": _ask_reason(request, found),
            "manage_reason": why_not(request, Action.MANAGE_ENGINES, found),
        },
    )


def _shown(engine: Engine, load: Load, now: datetime) -> tuple[object, ...]:
    """What of an engine's state a page shows, for its token."""
    return (engine.pk, engine.health, engine.checked_at, engine.observed_at, load, load.lags(now))


def _ask_reason(request: HttpRequest, engine: Engine) -> str:
    return why_not(request, Action.ASK_ENGINE, engine) or (
        "" if engine.enabled else "It is disabled: nothing is asked of it."
    )


@require_POST
def ask_engine(request: HttpRequest, pk: int) -> HttpResponse:
    """Test connection, sync now, import: done by the reconciler, shown on the engine's page."""
    found = find(request, Engine.objects.all(), pk=pk)
    wanted = request.POST.get("action", "")
    if wanted not in EngineJob.Action.values:
        raise Http404("No engine can be asked this.")
    action = EngineJob.Action(wanted)
    own = reverse("engine", args=[pk])
    then = safe_next(request, own)
    return do(
        request,
        lambda: actions.request_engine_job(actor(request), found, action),
        then=then,
        # Its own page shows what becomes of it.
        done="" if then == own else f"{action.label}: asked of {found}. Its page says how it ends.",
    )


@require_POST
def switch_engine(request: HttpRequest, pk: int) -> HttpResponse:
    """Turns an engine, or its intake of new runs, on or off."""
    found = find(request, Engine.objects.all(), pk=pk)
    name = request.POST.get("what", "")
    if name not in {"enabled", "accepts_runs"}:
        raise Http404("This can't be switched.")
    change: dict[str, Any] = {name: request.POST.get("to") == "1"}
    return do(
        request,
        lambda: actions.edit_engine(
            actor(request),
            found,
            expected_version=row_version(request),
            **change,
        ),
        then=safe_next(request, reverse("engine", args=[pk])),
        done=f"{found} is changed.",
    )


@require_http_methods(["GET", "POST"])
def delete_engine(request: HttpRequest, pk: int) -> HttpResponse:
    """Removes an engine that nothing refers to."""
    found = find(request, Engine.objects.all(), pk=pk)
    if request.method == "POST":
        try:
            actions.delete_engine(actor(request), found)
        except Conflict as error:
            messages.warning(request, str(error))
            return redirect("engine", pk)
        messages.success(request, f"The engine {found.name} is deleted.")
        return redirect("engines")
    runs, workflows = found.runs.count(), found.workflows.count()
    blocked = (
        f"{runs} run(s) and {workflows} workflow(s) refer to it, which need it for their history. "
        "Disable it instead."
        if runs or workflows
        else ""
    )
    return render(
        request,
        "web/confirm.html",
        {
            "title": f"Delete the engine {found.name}?",
            "lines": ["Its settings and secrets are removed from the hub for good."],
            "button": "Delete the engine",
            "danger": True,
            "back": reverse("engine", args=[pk]),
            "reason": why_not(request, Action.MANAGE_ENGINES, found) or blocked,
        },
    )


@require_GET
def engine_job(request: HttpRequest, pk: int) -> HttpResponse:
    """How a test of settings that aren't saved yet came out: polled by the form."""
    require(actor(request), Action.ASK_ENGINE)
    job = find(request, EngineJob.objects.select_related("engine"), pk=pk)
    if job.engine_id is None and job.requested_by_id != request.user.pk:
        raise Http404("This is somebody else's test.")
    token = token_of(job.state)
    if same := unchanged(request, token):
        return same
    return show(
        request,
        "web/engine_job.html",
        {"job": job, "token": token, "open": job.state in OPEN_JOBS},
    )
