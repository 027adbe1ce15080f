"""/tokens: one's own API tokens; administrators see and revoke everybody's."""

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runs import actions
from runs.api.errors import Missing
from runs.api.fields import Choice, Moment, Strict, Text, read_input
from runs.api.filters import TokenFilter, filtered, names
from runs.api.openapi import ADMIN, doc, listing, path_id
from runs.api.pagination import PAGING, page
from runs.api.views import HubView
from runs.errors import Invalid
from runs.models import ApiToken
from runs.models.access import Role
from runs.policy import Action, allow


class TokenShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    user = serializers.CharField(source="user.username")
    name = serializers.CharField()
    role = serializers.ChoiceField(choices=Role.choices)
    prefix = serializers.CharField(help_text="How its text begins.")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class IssuedTokenShape(TokenShape):
    token = serializers.CharField(help_text="Its text, shown this once.")


class NewToken(Strict):
    name = Text(required=False, allow_blank=True, max_length=100)
    role = Choice(choices=Role.choices, required=False, help_text="Your own where left out.")
    user = Text(required=False, max_length=150, help_text="Somebody else, for administrators.")
    expires_at = Moment(required=False, allow_null=True)


class Tokens(HubView):
    needs = {"GET": Action.VIEW, "POST": Action.VIEW}
    query = (*names(TokenFilter), *PAGING)
    secret_answer = True

    @doc("list_tokens", ADMIN, "List your tokens, or as an administrator everybody's",
         many=TokenShape, query=listing(TokenFilter))  # fmt: skip
    def get(self, request: Request) -> Response:
        return page(request, filtered(request, TokenFilter, _known(self)), _show)

    @doc("issue_token", ADMIN, "Issue a token; needs a session", takes=NewToken,
         answer=IssuedTokenShape, status=201)  # fmt: skip
    def post(self, request: Request) -> Response:
        given = read_input(NewToken, request.data)
        role = Role(given["role"]) if "role" in given else None
        token, plain = actions.issue_token(
            self.actor,
            user=self._user(given.get("user")),
            role=role,
            name=given.get("name", ""),
            expires_at=given.get("expires_at"),
        )
        return Response({**TokenShape(token).data, "token": plain}, status=201)

    def _user(self, name: str | None) -> Any:
        if name is None or name == self.actor.name:
            return None
        # Who may not issue it learns nothing about who is there.
        found = get_user_model().objects.filter(username=name).first()
        if found is None or not allow(self.actor, Action.MANAGE_TOKENS):
            raise Invalid({"user": "There is no such user, or you may not issue for them."})
        return found


class OneToken(HubView):
    needs = {"DELETE": Action.VIEW}

    @doc("revoke_token", ADMIN, "Revoke a token for good", status=204, writes=True,
         if_match=False, query=[path_id()])  # fmt: skip
    def delete(self, request: Request, id: int) -> Response:
        token = _known(self).filter(pk=id).first()
        if token is None:
            raise Missing("token")
        actions.revoke_token(self.actor, token)
        return Response(status=204)


def _known(view: HubView) -> QuerySet[ApiToken]:
    rows = ApiToken.objects.select_related("user")
    if allow(view.actor, Action.MANAGE_TOKENS):
        return rows
    return rows.filter(user__username=view.actor.name)


def _show(rows: Sequence[ApiToken]) -> list[Any]:
    return list(TokenShape(rows, many=True).data)
