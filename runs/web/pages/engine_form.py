"""The form that registers an engine, or changes its settings."""

from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from engines.models import Engine
from engines.registry import UnknownKind, adapter_class, adapters
from runs import actions
from runs.errors import Conflict, Invalid
from runs.policy import Action, require
from runs.web.access import actor, find, row_version, why_not
from runs.web.forms import config_fields, read_config
from runs.web.live import token_of


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
            "adapter": {"label": adapter.label, "description": adapter.description},
            "posted": posted,
            "fields": config_fields(
                adapter.fields, config, declared, kept=frozenset(found.kept_secrets)
            ),
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


def _probe(found: Engine, config: dict[str, Any]) -> dict[str, Any]:
    """The settings to test: a secret left empty is the one that is kept."""
    kept = found.kept_secrets
    return {
        name: kept[name] if value == "" and name in kept else value
        for name, value in config.items()
        if value is not None
    }
