"""API tokens, of which only the beginning is ever shown, and answers kept for repeated requests."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from runs import actions
from runs.admin.adding import AddingAdmin
from runs.admin.base import ReadOnlyAdmin, actor_of, number, text
from runs.admin.deeds import Deed
from runs.admin.forms import TokenForm
from runs.errors import Invalid
from runs.models import ApiToken, IdempotencyKey
from runs.models.access import Role
from runs.policy import Action, Actor, allow


def revoke(actor: Actor, token: ApiToken, data: Mapping[str, Any]) -> None:
    actions.revoke_token(actor, token)


class _ForTokenManagers:
    """Seen by those who manage other users' tokens."""

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return allow(actor_of(request), Action.MANAGE_TOKENS, obj)


@admin.register(ApiToken)
class ApiTokenAdmin(_ForTokenManagers, AddingAdmin):
    list_display = ("prefix", "user", "role", "name", "created_at", "expires_at", "revoked_at")
    list_filter = ("role",)
    list_select_related = ("user",)
    hidden = ("digest",)
    finds = (("pk", number), ("user__username", text))
    search_help_text = "A user's name, or an id."
    add_form = TokenForm
    add_action = Action.MANAGE_TOKENS
    add_label = "Issue a token"
    deeds = (
        Deed(
            name="revoke",
            label="Revoke",
            asks="They end for good: whoever uses one is refused from now on.",
            action=Action.MANAGE_TOKENS,
            do=revoke,
            danger=True,
        ),
    )

    def add(self, request: HttpRequest, data: dict[str, Any]) -> HttpResponse:
        users: QuerySet[Any] = get_user_model()._default_manager.all()
        user = users.filter(username=data["user"]).first()
        if user is None:
            raise Invalid({"user": f"There is no user {data['user']}."})
        token, plain = actions.issue_token(
            actor_of(request),
            user=user,
            role=Role(data["role"]) if data["role"] else None,
            name=data["name"],
            expires_at=data["expires_at"],
        )
        context = {
            **self.admin_site.each_context(request),
            "title": "Token issued",
            "opts": self.opts,
            "token": token,
            "plain": plain,
        }
        # A page of its own, since a message would be kept in a cookie or the session.
        return TemplateResponse(request, "admin/hub/token.html", context)


@admin.register(IdempotencyKey)
class IdempotencyKeyAdmin(_ForTokenManagers, ReadOnlyAdmin):
    # A kept answer may hold what was shown only once, such as a token.
    hidden = ("body", "headers", "request_digest")
    list_display = ("user", "key", "status", "created_at")
    list_select_related = ("user",)
    finds = (("pk", number), ("user__username", text))
    search_help_text = "A user's name, or an id."
