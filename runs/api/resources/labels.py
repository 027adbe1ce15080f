"""/labels: the keys in use, and the values of one key."""

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import OpenApiParameter
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from engines.selectors import LABEL_KEY
from runs.api.openapi import HUB, doc, listing
from runs.api.pagination import PAGING, Order, page
from runs.api.query import bad_query, text
from runs.api.views import HubView
from runs.models import Label, Workflow, WorkflowRun
from runs.policy import Action, visible


class KeyShape(serializers.Serializer[Any]):
    key = serializers.CharField()


class ValueShape(serializers.Serializer[Any]):
    value = serializers.CharField()


PREFIX = OpenApiParameter("prefix", {"type": "string", "maxLength": 200})


class Keys(HubView):
    needs = {"GET": Action.VIEW}
    query = ("prefix", *PAGING)

    @doc("list_label_keys", HUB, "The keys of labels in use", many=KeyShape,
         query=[PREFIX, *listing()])  # fmt: skip
    def get(self, request: Request) -> Response:
        keys = _seen(self).filter(key__istartswith=text(request, "prefix", 200))
        keys = keys.values_list("key", named=True).distinct()
        return page(request, keys, _keys, Order(field="key", descending=False, whole=False))


class Values(HubView):
    needs = {"GET": Action.VIEW}
    query = ("prefix", *PAGING)

    @doc("list_label_values", HUB, "The values of a key", many=ValueShape, query=[
         OpenApiParameter("key", {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._/-]*$",
         "maxLength": 200}, OpenApiParameter.PATH), PREFIX, *listing()])  # fmt: skip
    def get(self, request: Request, key: str) -> Response:
        if not LABEL_KEY.match(key):
            raise bad_query("key", "is no label key: letters, digits, inner . _ - and one /.")
        rows = _seen(self).filter(key=key, value__istartswith=text(request, "prefix", 200))
        return page(request, rows, _values, Order(field="value", descending=False, whole=False))


def _seen(view: HubView) -> Any:
    """Labels on something that the caller may see."""
    return Label.objects.on_any_of(
        visible(view.actor, Workflow.objects.all()), visible(view.actor, WorkflowRun.objects.all())
    )


def _keys(rows: Sequence[Label]) -> list[Any]:
    return [{"key": row.key} for row in rows]


def _values(rows: Sequence[Label]) -> list[Any]:
    return [{"value": row.value} for row in rows]
