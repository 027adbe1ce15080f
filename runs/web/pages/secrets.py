"""Secrets and variables: what definitions refer to by name. The value of a secret is typed in and never
shown again."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from runs import actions
from runs.errors import Conflict, Invalid
from runs.models import Secret, Variable, Workflow
from runs.named import typed, users_of
from runs.policy import Action, allow
from runs.web.access import actor, do, find, row_version, seen, why_not

ROWS = 500
TITLES = 500

Stored = Secret | Variable


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A secret or a variable in the list. `users`: titles of workflows that it counts for."""

    stored: Stored
    users: list[str]
    reason: str


@require_GET
def secrets(request: HttpRequest) -> HttpResponse:
    """Both lists, and the names that nothing stands for; `?workflow=` leaves what counts for one."""
    title = request.GET.get("workflow", "")
    users = users_of(seen(request, Workflow.objects.all()))
    stored = {
        "secret": _stored(request, Secret, title),
        "variable": _stored(request, Variable, title),
    }
    own = {
        (kind, row.name, row.workflow)
        for kind, rows in stored.items()
        for row in rows
        if row.workflow
    }
    lists = {
        kind: [_row(request, kind, row, users, own) for row in rows]
        for kind, rows in stored.items()
    }
    everywhere = {
        (kind, row.name) for kind, rows in stored.items() for row in rows if not row.workflow
    }
    missing = [
        {"kind": kind, "name": name, "workflow": one, "new": f"new_{kind}"}
        for (kind, name), titles in sorted(users.items())
        for one in titles
        if (kind, name) not in everywhere and (kind, name, one) not in own and title in {"", one}
    ]
    return render(
        request,
        "web/secrets.html",
        {
            "secrets": lists["secret"],
            "variables": lists["variable"],
            "missing": missing[:ROWS],
            "workflow": title,
            "full": any(len(rows) == ROWS for rows in stored.values()),
            "new_reason": why_not(request, Action.MANAGE_SECRETS),
        },
    )


@sensitive_post_parameters("value")
@require_http_methods(["GET", "POST"])
def new_secret(request: HttpRequest) -> HttpResponse:
    return _new(request, Secret)


@require_http_methods(["GET", "POST"])
def new_variable(request: HttpRequest) -> HttpResponse:
    return _new(request, Variable)


@sensitive_post_parameters("value")
@require_http_methods(["GET", "POST"])
def edit_secret(request: HttpRequest, pk: int) -> HttpResponse:
    return _edit(request, find(request, Secret.objects.all(), pk=pk))


@require_http_methods(["GET", "POST"])
def edit_variable(request: HttpRequest, pk: int) -> HttpResponse:
    return _edit(request, find(request, Variable.objects.all(), pk=pk))


@require_http_methods(["GET", "POST"])
def delete_secret(request: HttpRequest, pk: int) -> HttpResponse:
    return _delete(request, find(request, Secret.objects.all(), pk=pk))


@require_http_methods(["GET", "POST"])
def delete_variable(request: HttpRequest, pk: int) -> HttpResponse:
    return _delete(request, find(request, Variable.objects.all(), pk=pk))


def _new(request: HttpRequest, model: type[Secret] | type[Variable]) -> HttpResponse:
    """The form of a new one; `?name=` and `?workflow=` fill it in."""
    posted = {key: request.GET.get(key, "") for key in ("name", "workflow")}
    posted |= {"value": "", "description": ""}
    errors: dict[str, str] = {}
    if request.method == "POST":
        posted = {key: request.POST.get(key, "") for key in posted}
        try:
            given: dict[str, Any] = {
                "name": posted["name"].strip(),
                "workflow": posted["workflow"].strip(),
                "value": typed(posted["value"]),
                "description": posted["description"].strip(),
            }
            make = actions.set_secret if model is Secret else actions.set_variable
            stored, new = make(actor(request), **given)
        except Invalid as error:
            errors = error.errors
        else:
            messages.success(request, f"The {_what(stored)} is {'stored' if new else 'replaced'}.")
            return redirect("secrets")
    return _form(request, model, posted, errors)


def _edit(request: HttpRequest, stored: Stored) -> HttpResponse:
    """Another value or description. A secret's value that is left empty is kept."""
    secret = isinstance(stored, Secret)
    posted = {
        "value": "" if isinstance(stored, Secret) else stored.value,
        "description": stored.description,
    }
    errors: dict[str, str] = {}
    if request.method == "POST":
        posted = {key: request.POST.get(key, "") for key in posted}
        value = typed(posted["value"])
        try:
            actions.edit_stored(
                actor(request),
                stored,
                value=None if secret and not value else value,
                description=posted["description"].strip(),
                expected_version=row_version(request),
            )
        except Invalid as error:
            errors = error.errors
        except Conflict as error:
            errors = {"": str(error)}
        else:
            messages.success(request, f"The {_what(stored)} is changed.")
            return redirect("secrets")
    return _form(request, type(stored), posted, errors, stored)


def _form(
    request: HttpRequest,
    model: type[Stored],
    posted: dict[str, str],
    errors: dict[str, str],
    stored: Stored | None = None,
) -> HttpResponse:
    secret = model is Secret
    titles = seen(request, Workflow.objects.filter(latest=True, archived_at=None))
    return render(
        request,
        "web/secret_form.html",
        {
            "kind": "secret" if secret else "variable",
            "secret": secret,
            "stored": stored,
            # What was typed as a secret isn't sent back.
            "posted": {**posted, "value": ""} if secret else posted,
            "errors": errors,
            "titles": []
            if stored
            else titles.order_by("title").values_list("title", flat=True)[:TITLES],
            "for_all": allow(actor(request), Action.MANAGE_SECRETS, model()),
            "reason": why_not(request, Action.MANAGE_SECRETS, stored),
        },
        status=400 if errors else 200,
    )


def _delete(request: HttpRequest, stored: Stored) -> HttpResponse:
    if request.method == "POST":
        return do(
            request,
            lambda: actions.delete_stored(
                actor(request), stored, expected_version=row_version(request)
            ),
            then=reverse("secrets"),
            done=f"The {_what(stored)} is deleted.",
        )
    kind = str(stored._meta.verbose_name)
    users = users_of(seen(request, Workflow.objects.all())).get((kind, stored.name), [])
    if stored.workflow:
        users = [title for title in users if title == stored.workflow]
    lines = ["It can't be taken back." if kind == "secret" else "Its value is gone then."]
    if users:
        named = ", ".join(users[:10]) + (" and others" if len(users) > 10 else "")
        lines.append(f"Workflows that refer to it can't be started without it: {named}.")
    return render(
        request,
        "web/confirm.html",
        {
            "title": f"Delete the {_what(stored)}?",
            "lines": lines,
            "button": f"Delete the {kind}",
            "danger": True,
            "back": reverse("secrets"),
            "hidden": [("version", stored.version)],
            "reason": why_not(request, Action.MANAGE_SECRETS, stored),
        },
    )


def _stored(request: HttpRequest, model: type[Stored], title: str) -> list[Any]:
    rows: QuerySet[Any] = model._default_manager.select_related("updated_by")
    if model is Secret:
        rows = rows.defer("encrypted")
    if title:
        rows = rows.filter(workflow__in=["", title])
    return list(seen(request, rows).order_by("name", "workflow")[:ROWS])


def _row(
    request: HttpRequest,
    kind: str,
    stored: Stored,
    users: dict[tuple[str, str], list[str]],
    own: set[tuple[str, str, str]],
) -> Row:
    titles = users.get((kind, stored.name), [])
    if stored.workflow:
        titles = [title for title in titles if title == stored.workflow]
    else:
        titles = [title for title in titles if (kind, stored.name, title) not in own]
    return Row(stored=stored, users=titles, reason=why_not(request, Action.MANAGE_SECRETS, stored))


def _what(stored: Stored) -> str:
    where = f" of {stored.workflow}" if stored.workflow else ""
    return f"{stored._meta.verbose_name} {stored.name}{where}"
