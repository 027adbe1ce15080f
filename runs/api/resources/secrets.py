"""/secrets and /variables: what definitions refer to by name. The value of a secret is written and
never read."""

from collections.abc import Sequence
from typing import Any

from django.db.models import QuerySet
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from runs import actions
from runs.api.concurrency import etag, expected_version
from runs.api.errors import CURRENT
from runs.api.fields import Strict, Text, read_input
from runs.api.filters import StoredFilter, filtered, names
from runs.api.openapi import HUB, doc, listing, path_id
from runs.api.pagination import PAGING, page
from runs.api.views import HubView
from runs.models import Secret, Variable
from runs.policy import Action, visible


class StoredShape(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    workflow = serializers.CharField(
        help_text="The title of the workflow that alone sees it; empty: all do."
    )
    description = serializers.CharField()
    created_at = serializers.DateTimeField()
    updated_at = serializers.DateTimeField()
    updated_by = serializers.CharField(allow_null=True, source="updated_by.username", default=None)
    version = serializers.IntegerField(help_text="The ETag: what If-Match compares.")


class SecretShape(StoredShape):
    """Never with its value."""


class VariableShape(StoredShape):
    value = serializers.CharField()


class SecretChange(Strict):
    value = Text(
        required=False,
        max_length=16_384,
        help_text="At least 6 characters. Left out: it stays as it is.",
    )
    description = Text(required=False, allow_blank=True, max_length=1000)


class NewSecret(SecretChange):
    name = Text(max_length=100, help_text="Letters, digits, _ and -.")
    workflow = Text(
        required=False,
        allow_blank=True,
        max_length=200,
        help_text="The title of the workflow that alone sees it, in all its versions; left out: all.",
    )
    value = Text(max_length=16_384, help_text="At least 6 characters.")


class VariableChange(SecretChange):
    value = Text(required=False, allow_blank=True, max_length=65_536)


class NewVariable(NewSecret):
    value = Text(allow_blank=True, max_length=65_536)


class Secrets(HubView):
    """A secret that is there already is replaced."""

    needs = {"GET": Action.VIEW, "POST": Action.MANAGE_SECRETS}
    query = (*names(StoredFilter), *PAGING)

    @doc("list_secrets", HUB, "List secrets, without their values", many=SecretShape,
         query=listing(StoredFilter))  # fmt: skip
    def get(self, request: Request) -> Response:
        return page(request, filtered(request, StoredFilter, _seen(self, Secret)), _secrets)

    @doc("set_secret", HUB, "Set a secret: a new one, or another value", takes=NewSecret,
         answer=SecretShape, status=201, also={200: SecretShape})  # fmt: skip
    def post(self, request: Request) -> Response:
        secret, new = actions.set_secret(self.actor, **read_input(NewSecret, request.data))
        return _answer(request, secret, new)


class OneSecret(HubView):
    needs = {
        "GET": Action.VIEW,
        "PATCH": Action.MANAGE_SECRETS,
        "DELETE": Action.MANAGE_SECRETS,
    }

    @doc("read_secret", HUB, "Read what is known of a secret", answer=SecretShape,
         query=[path_id()])  # fmt: skip
    def get(self, request: Request, id: int) -> Response:
        return _shown(self.one(_all(Secret), pk=id))

    @doc("edit_secret", HUB, "Give a secret another value or description", takes=SecretChange,
         answer=SecretShape, query=[path_id()])  # fmt: skip
    def patch(self, request: Request, id: int) -> Response:
        return _edit(self, self.one(_all(Secret), pk=id), read_input(SecretChange, request.data))

    @doc("delete_secret", HUB, "Delete a secret", status=204, writes=True, query=[path_id()])
    def delete(self, request: Request, id: int) -> Response:
        return _delete(self, self.one(_all(Secret), pk=id))


class Variables(HubView):
    """A variable that is there already is replaced."""

    needs = {"GET": Action.VIEW, "POST": Action.MANAGE_SECRETS}
    query = (*names(StoredFilter), *PAGING)

    @doc("list_variables", HUB, "List variables", many=VariableShape,
         query=listing(StoredFilter))  # fmt: skip
    def get(self, request: Request) -> Response:
        return page(request, filtered(request, StoredFilter, _seen(self, Variable)), _variables)

    @doc("set_variable", HUB, "Set a variable: a new one, or another value", takes=NewVariable,
         answer=VariableShape, status=201, also={200: VariableShape})  # fmt: skip
    def post(self, request: Request) -> Response:
        variable, new = actions.set_variable(self.actor, **read_input(NewVariable, request.data))
        return _answer(request, variable, new)


class OneVariable(HubView):
    needs = {
        "GET": Action.VIEW,
        "PATCH": Action.MANAGE_SECRETS,
        "DELETE": Action.MANAGE_SECRETS,
    }

    @doc("read_variable", HUB, "Read a variable", answer=VariableShape, query=[path_id()])
    def get(self, request: Request, id: int) -> Response:
        return _shown(self.one(_all(Variable), pk=id))

    @doc("edit_variable", HUB, "Give a variable another value or description",
         takes=VariableChange, answer=VariableShape, query=[path_id()])  # fmt: skip
    def patch(self, request: Request, id: int) -> Response:
        given = read_input(VariableChange, request.data)
        return _edit(self, self.one(_all(Variable), pk=id), given)

    @doc("delete_variable", HUB, "Delete a variable", status=204, writes=True, query=[path_id()])
    def delete(self, request: Request, id: int) -> Response:
        return _delete(self, self.one(_all(Variable), pk=id))


def _all(model: Any) -> QuerySet[Any]:
    rows: QuerySet[Any] = model._default_manager.select_related("updated_by")
    return rows


def _seen(view: HubView, model: Any) -> QuerySet[Any]:
    return visible(view.actor, _all(model))


def _edit(view: HubView, stored: Secret | Variable, given: dict[str, Any]) -> Response:
    expected = expected_version(view.request, stored.version)
    return _shown(actions.edit_stored(view.actor, stored, expected_version=expected, **given))


def _delete(view: HubView, stored: Secret | Variable) -> Response:
    expected = expected_version(view.request, stored.version)
    actions.delete_stored(view.actor, stored, expected_version=expected)
    return Response(status=204)


def _show(stored: Secret | Variable) -> dict[str, Any]:
    shape = SecretShape if isinstance(stored, Secret) else VariableShape
    return dict(shape(stored).data)


def _shown(stored: Secret | Variable) -> Response:
    return Response(_show(stored), headers={"ETag": etag(stored.version)})


def _answer(request: Request, stored: Secret | Variable, new: bool) -> Response:
    answer = _shown(stored)
    answer.status_code = 201 if new else 200
    answer["Location"] = f"{request.path}/{stored.pk}"
    return answer


def _secrets(rows: Sequence[Secret]) -> list[Any]:
    return list(SecretShape(rows, many=True).data)


def _variables(rows: Sequence[Variable]) -> list[Any]:
    return list(VariableShape(rows, many=True).data)


for _model in (Secret, Variable):
    CURRENT[_model] = lambda stored, reader: _show(stored)
