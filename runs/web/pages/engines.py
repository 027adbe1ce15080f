"""The registered engines: how they are, what they can, and their settings."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from engines.base import CAPABILITIES, EngineAdapter
from engines.models import Engine, EngineJob
from engines.registry import UnknownKind, adapter_class, adapters
from runs import actions
from runs.errors import Conflict, Invalid
from runs.policy import Action, require
from runs.web.access import actor, do, find, row_version, seen, why_not
from runs.web.forms import config_fields, read_config
from runs.web.live import show, token_of, unchanged
from runs.web.load import engines_with_load

JOBS = 10
OPEN_JOBS = {EngineJob.State.WAITING, EngineJob.State.RUNNING}


@require_GET
def engines(request: HttpRequest) -> HttpResponse:
    """The list with health, and the capability matrix."""
    found = engines_with_load(request)
    token = token_of([(e.pk, e.version, e.health, e.checked_at, e.active) for e in found])
    if same := unchanged(request, token):
        return same
    return show(
        request,
        "web/engines.html",
        {
            "engines": found,
            "token": token,
            "matrix": [
                (label, [(engine, engine.can(flag)) for engine in found])
                for flag, label in CAPABILITIES.items()
            ],
            "manage_reason": why_not(request, Action.MANAGE_ENGINES),
        },
    )


@require_GET
def engine(request: HttpRequest, pk: int) -> HttpResponse:
    """One engine: health, capabilities, its last jobs."""
    found = find(request, Engine.objects.all(), pk=pk)
    jobs = list(
        EngineJob.objects.filter(engine=found).select_related("requested_by").order_by("-pk")[:JOBS]
    )
    token = token_of(
        found.version, found.health, found.checked_at, [(job.pk, job.state) for job in jobs]
    )
    if same := unchanged(request, token):
        return same
    adapter = adapter_class(found.kind)
    return show(
        request,
        "web/engine.html",
        {
            "engine": found,
            "adapter": _about(adapter),
            "token": token,
            "jobs": jobs,
            "active": seen(request, found.runs.active()).count(),
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
            "kept_secrets": [field.label for field in adapter.fields if field.name in _kept(found)],
            "ask_reason": why_not(request, Action.ASK_ENGINE, found)
            or ("" if found.enabled else "It is disabled: nothing is asked of it."),
            "manage_reason": why_not(request, Action.MANAGE_ENGINES, found),
        },
    )


@require_POST
def ask_engine(request: HttpRequest, pk: int) -> HttpResponse:
    """Test connection, sync now, import: done by the reconciler, shown on the engine's page."""
    found = find(request, Engine.objects.all(), pk=pk)
    wanted = request.POST.get("action", "")
    if wanted not in EngineJob.Action.values:
        raise Http404("No engine can be asked this.")
    action = EngineJob.Action(wanted)
    return do(
        request,
        lambda: actions.request_engine_job(actor(request), found, action),
        then=reverse("engine", args=[pk]),
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
        then=reverse("engine", args=[pk]),
        done=f"{found} is changed.",
    )


@require_http_methods(["GET", "POST"])
def new_engine(request: HttpRequest) -> HttpResponse:
    """First the kind (`?kind=`), then its settings."""
    kind = request.GET.get("kind", "")
    kinds = [(name, adapter.label, adapter.description) for name, adapter in adapters().items()]
    if not kind:
        reason = why_not(request, Action.MANAGE_ENGINES)
        return render(request, "web/new_engine.html", {"kinds": kinds, "reason": reason})
    try:
        adapter_class(kind)
    except UnknownKind as error:
        raise Http404(str(error)) from None
    return _form(request, Engine(kind=kind, name=""), new=True)


@require_http_methods(["GET", "POST"])
def edit_engine(request: HttpRequest, pk: int) -> HttpResponse:
    """The settings of an engine. Secrets are write-only."""
    return _form(request, find(request, Engine.objects.all(), pk=pk), new=False)


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
    job = find(request, EngineJob.objects.all(), pk=pk)
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


def _form(request: HttpRequest, found: Engine, *, new: bool) -> HttpResponse:
    adapter = adapter_class(found.kind)
    posted: dict[str, Any] = {
        name: getattr(found, name)
        for name in ("name", "selector", "priority", "enabled", "accepts_runs")
    }
    config: dict[str, Any] = dict(found.config)
    errors: dict[str, str] = {}
    job = None
    if request.method == "POST":
        posted, config, errors = _posted(request, adapter.fields)
        try:
            if errors:
                require(actor(request), Action.MANAGE_ENGINES)
            elif request.POST.get("do") == "test":
                job = actions.request_engine_test(
                    actor(request), kind=found.kind, config=_probe(found, config)
                )
            else:
                return _save(request, found, posted, config, new=new)
        except Invalid as error:
            errors = dict(error.errors)
        except Conflict as error:
            errors = {"": str(error)}
    declared = {name.partition(".")[2]: t for name, t in errors.items() if "config." in name}
    return render(
        request,
        "web/engine_form.html",
        {
            "engine": found,
            "new": new,
            "adapter": _about(adapter),
            "posted": posted,
            "fields": config_fields(adapter.fields, config, declared, kept=_kept(found)),
            "errors": errors,
            "job": job,
            "open": job is not None,
            "token": token_of(job.state) if job else "",
            "reason": why_not(request, Action.MANAGE_ENGINES),
            "back": reverse("engines") if new else reverse("engine", args=[found.pk]),
        },
        status=400 if errors else 200,
    )


def _posted(
    request: HttpRequest, declared: Any
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    posted = {
        "name": request.POST.get("name", "").strip(),
        "selector": request.POST.get("selector", "").strip(),
        "priority": request.POST.get("priority", "").strip(),
        "enabled": "enabled" in request.POST,
        "accepts_runs": "accepts_runs" in request.POST,
    }
    errors: dict[str, str] = {}
    try:
        int(str(posted["priority"])[:9])
    except ValueError:
        errors["priority"] = "A whole number."
    return posted, read_config(declared, request.POST), errors


def _save(
    request: HttpRequest,
    found: Engine,
    posted: dict[str, Any],
    config: dict[str, Any],
    *,
    new: bool,
) -> HttpResponse:
    fields = {
        "selector": posted["selector"],
        "priority": int(posted["priority"][:9]),
        "enabled": posted["enabled"],
        "accepts_runs": posted["accepts_runs"],
    }
    if new:
        found = actions.create_engine(
            actor(request), name=posted["name"], kind=found.kind, config=config, **fields
        )
    else:
        found = actions.edit_engine(
            actor(request), found, config=config, expected_version=row_version(request), **fields
        )
    messages.success(request, f"{found} is saved. Its connection is being tested.")
    return redirect("engine", found.pk)


def _about(adapter: type[EngineAdapter]) -> dict[str, Any]:
    """What templates say of a kind: they would call the class itself."""
    return {
        "label": adapter.label,
        "description": adapter.description,
        "formats": adapter.formats,
    }


def _kept(found: Engine) -> frozenset[str]:
    """Names of the secrets that an engine has; their values stay where they are."""
    return frozenset(found.kept_secrets)


def _probe(found: Engine, config: dict[str, Any]) -> dict[str, Any]:
    """The settings to test: a secret left empty is the one that is kept."""
    kept = found.kept_secrets
    return {
        name: kept[name] if value == "" and name in kept else value
        for name, value in config.items()
        if value is not None
    }
