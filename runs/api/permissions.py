"""Whether a caller's role may use a view at all. The actions ask again, about the object."""

from typing import Any

from rest_framework.exceptions import NotAuthenticated
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from runs.errors import Denied
from runs.models import ApiToken, AuditEntry
from runs.models.access import Role
from runs.policy import Action, Actor, require


def actor_of(request: Request) -> Actor:
    """Who acts, with the role of the token as the cap. Kept with the request: the actor looks its
    role up once."""
    known = getattr(request, "hub_actor", None)
    if isinstance(known, Actor):
        return known
    token = request.auth
    cap = Role(token.role) if isinstance(token, ApiToken) else None
    actor = Actor(user=request.user, face=AuditEntry.Face.API, cap=cap)
    request.hub_actor = actor  # type: ignore[attr-defined]
    return actor


class RolePermission(BasePermission):
    """A view declares `needs`: method -> runs.policy.Action. What declares nothing is closed."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if not request.user or not request.user.is_authenticated:
            raise NotAuthenticated("Log in, or send Authorization: Bearer <token>.")
        needs = getattr(view, "needs", None)
        if needs is None:
            raise Denied("This view is closed: it does not say which right it needs.")
        # A method that the view doesn't have is answered 405, HEAD and OPTIONS are reading.
        method = request.method or ""
        require(actor_of(request), needs.get(method) or Action.VIEW)
        return True
