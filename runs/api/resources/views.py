"""/saved-views: filters of the list of runs under a name; and /me: what one chose for oneself."""

from collections.abc import Sequence
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runs import actions
from runs.api.concurrency import etag, expected_version
from runs.api.errors import CURRENT
from runs.api.fields import Flag, Id, Strict, Text, read_input
from runs.api.filters import ViewFilter, filtered, names
from runs.api.openapi import HUB, doc, listing, path_id
from runs.api.pagination import PAGING, page
from runs.api.views import HubView
from runs.models import Preference, SavedView
from runs.models.access import Role
from runs.policy import Action

QUERY = (
    "As in the URL of the page of runs, such as state=FAILED&labels=team%3Dlab; or query= and a text "
    "in the language of its box. It is kept in one canonical spelling."
)


class SavedViewShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    query = serializers.CharField(help_text="The query string of the page of runs, without ?.")
    shared = serializers.BooleanField(help_text="Everybody who may see runs can use it.")
    owner = serializers.CharField(source="user.username")
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    version = serializers.IntegerField(help_text="The ETag: what If-Match compares.")


class SavedViewChange(Strict):
    name = Text(required=False, max_length=60)
    query = Text(required=False, allow_blank=True, max_length=2000, help_text=QUERY)
    shared = Flag(required=False)


class NewSavedView(SavedViewChange):
    name = Text(max_length=60)
    query = Text(allow_blank=True, max_length=2000, help_text=QUERY)


class MeShape(serializers.Serializer[Any]):
    username = serializers.CharField()
    role = serializers.ChoiceField(
        choices=Role.choices, help_text="With a token, at most what that allows."
    )
    time_zone = serializers.CharField(help_text="An IANA name; empty: the hub's own.")
    default_view = serializers.IntegerField(
        allow_null=True, help_text="The saved view that the page of runs opens with."
    )


class MeChange(Strict):
    time_zone = Text(required=False, allow_blank=True, max_length=60)
    default_view = Id(required=False, allow_null=True)


class SavedViews(HubView):
    """One's own and the shared ones."""

    needs = {"GET": Action.VIEW, "POST": Action.VIEW}
    query = (*names(ViewFilter), *PAGING)

    @doc("list_saved_views", HUB, "List saved views: your own and the shared ones",
         many=SavedViewShape, query=listing(ViewFilter))  # fmt: skip
    def get(self, request: Request) -> Response:
        return page(request, filtered(request, ViewFilter, actions.views_of(self.actor)), _show)

    @doc("save_view", HUB, "Save a view", takes=NewSavedView, answer=SavedViewShape, status=201)
    def post(self, request: Request) -> Response:
        view = actions.save_view(self.actor, **read_input(NewSavedView, request.data))
        answer = _shown(view)
        answer.status_code = 201
        answer["Location"] = f"{request.path}/{view.pk}"
        return answer


class OneSavedView(HubView):
    """Its owner and administrators change it."""

    needs = {"GET": Action.VIEW, "PATCH": Action.VIEW, "DELETE": Action.VIEW}

    @doc("read_saved_view", HUB, "Read a saved view", answer=SavedViewShape, query=[path_id()])
    def get(self, request: Request, id: int) -> Response:
        return _shown(self.one(actions.views_of(self.actor), pk=id))

    @doc("change_saved_view", HUB, "Change a saved view", takes=SavedViewChange,
         answer=SavedViewShape, query=[path_id()])  # fmt: skip
    def patch(self, request: Request, id: int) -> Response:
        view = self.one(actions.views_of(self.actor), pk=id)
        given = read_input(SavedViewChange, request.data)
        expected = expected_version(request, view.version)
        return _shown(actions.change_view(self.actor, view, expected_version=expected, **given))

    @doc("delete_saved_view", HUB, "Delete a saved view", status=204, writes=True,
         query=[path_id()])  # fmt: skip
    def delete(self, request: Request, id: int) -> Response:
        view = self.one(actions.views_of(self.actor), pk=id)
        expected = expected_version(request, view.version)
        actions.delete_view(self.actor, view, expected_version=expected)
        return Response(status=204)


class Me(HubView):
    """Who asks, and what they chose in the settings."""

    needs = {"GET": Action.VIEW, "PATCH": Action.VIEW}

    @doc("read_me", HUB, "Read who you are, and your settings", answer=MeShape)
    def get(self, request: Request) -> Response:
        return Response(self._me(Preference.objects.filter(user__username=self.actor.name).first()))

    @doc("change_me", HUB, "Change your settings", takes=MeChange, answer=MeShape)
    def patch(self, request: Request) -> Response:
        given = read_input(MeChange, request.data)
        if "default_view" in given:
            given["default_view"] = given["default_view"] or 0
        return Response(self._me(actions.set_preferences(self.actor, **given)))

    def _me(self, preference: Preference | None) -> dict[str, Any]:
        return {
            "username": self.actor.name,
            "role": self.actor.role,
            "time_zone": preference.time_zone if preference else "",
            "default_view": preference.default_view_id if preference else None,
        }


def _shown(view: SavedView) -> Response:
    return Response(_show([view])[0], headers={"ETag": etag(view.version)})


def _show(rows: Sequence[SavedView]) -> list[Any]:
    return list(SavedViewShape(rows, many=True).data)


CURRENT[SavedView] = lambda view, reader: _show([view])[0]
