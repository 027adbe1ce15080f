"""What every page asks first: who acts, what they may see, and what to say when they may not.

Pages never check roles themselves: runs.actions refuses, and this module translates the refusal.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    HttpResponseRedirect,
)

from runs.errors import ActionError, Denied, Invalid, Stale
from runs.models import AuditEntry, WorkflowRun
from runs.policy import Action, Actor, allow, visible

M = TypeVar("M", bound=Model)
View = Callable[..., HttpResponseBase]
Q = TypeVar("Q", bound="QuerySet[Any]")


def page(view: View) -> View:
    """A view whose refusals (runs.errors.Denied) are the page 403 with the reason; every page is
    wrapped in it where it gets its address."""

    @wraps(view)
    def wrapped(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, *args, **kwargs)
        except Denied as error:
            raise PermissionDenied(str(error)) from None

    return wrapped


def actor(request: HttpRequest) -> Actor:
    """Who acts; one object a request, so that the role is read once."""
    known: Actor | None = getattr(request, "hub_actor", None)
    if known is None:
        known = Actor(user=request.user, face=AuditEntry.Face.WEB)
        request.hub_actor = known  # type: ignore[attr-defined]
    return known


def seen(request: HttpRequest, queryset: Q) -> Q:
    """The part of a list that the visitor may see."""
    return cast(Q, visible(actor(request), queryset))


def find(request: HttpRequest, queryset: QuerySet[M], **by: object) -> M:
    """The one object, or Http404: what may not be seen doesn't exist."""
    found = seen(request, queryset).filter(**by).first()
    if found is None:
        raise Http404(f"There is no such {queryset.model._meta.verbose_name}.")
    return found


def why_not(request: HttpRequest, action: Action, obj: Model | None = None) -> str:
    """The sentence that stands beside a disabled button; empty where the visitor may."""
    if allow(actor(request), action, obj):
        return ""
    role = actor(request).role
    return f"{f'The role {role.label.lower()}' if role else 'No role:'} may not {action.label}."


def do(
    request: HttpRequest, deed: Callable[[], object], *, then: str, done: str = ""
) -> HttpResponse:
    """Does what was asked and goes on to the URL `then` with a
    message: `done`, or why it was refused."""
    try:
        deed()
    except Denied:
        raise  # `page` says it
    except Invalid as error:
        messages.error(request, " ".join(error.errors.values()) or str(error))
    except ActionError as error:
        messages.warning(request, str(error))
    else:
        if done:
            messages.success(request, done)
    return HttpResponseRedirect(then)


def expected_version(request: HttpRequest, run: WorkflowRun) -> int | None:
    """The version that the form was made from. A form of an active run carries the attempt instead,
    since its version rises with every report: raises Stale if another attempt has begun."""
    version = request.POST.get("version", "")
    attempt = request.POST.get("attempt", "")
    if attempt.isdecimal() and int(attempt[:9]) != run.attempt:
        raise Stale("Another attempt has begun meanwhile. Look again, then decide.", run)
    return int(version[:9]) if version.isdecimal() else None


def row_version(request: HttpRequest) -> int | None:
    """The version of what isn't a run that the form was made from."""
    version = request.POST.get("version", "")
    return int(version[:9]) if version.isdecimal() else None


def safe_next(request: HttpRequest, default: str) -> str:
    """Where the form asks to go on to, if it is a path of this hub."""
    wanted = request.POST.get("next", "")
    plain = wanted.startswith("/") and not wanted.startswith("//")
    return wanted if plain and "\\" not in wanted and wanted.isprintable() else default
