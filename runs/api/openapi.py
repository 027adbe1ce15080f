"""What drf-spectacular can't find out by itself: how callers log in, what every answer may be, the
parameters of lists. Each view's methods say the rest with `doc`."""

from collections.abc import Callable, Sequence
from typing import Any

import django_filters
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, inline_serializer
from rest_framework import serializers

from runs.api import filters
from runs.api.fields import Anything, Strict
from runs.api.pagination import DEFAULT_LIMIT, MAX_COUNT, MAX_LIMIT
from runs.api.parsers import MAX_INTEGER

CORE, ADMIN, HUB = "core", "admin", "hub"
PROBLEM = "application/problem+json"
READING = (400, 401, 403, 404, 406, 429, 503)
WRITING = (*READING, 409, 412, 413, 415, 422)
Output = type[serializers.BaseSerializer[Any]]


class HubSchema(AutoSchema):
    """Names a component by its noun: RunShape is Run. Describes an operation by its own view only."""

    def get_description(self, path: str = "", method: str = "") -> str:
        return str(vars(type(self.view)).get("__doc__") or "")

    def get_serializer_name(self, serializer: Any, direction: Any) -> str:
        name: str = super().get_serializer_name(serializer, direction)
        return name.removesuffix("Shape")


class TokenScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "runs.api.authentication.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "An API token."}


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "runs.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}


class FieldProblem(serializers.Serializer[Any]):
    field = serializers.CharField()
    detail = serializers.CharField()
    line = serializers.IntegerField(required=False)
    path = serializers.CharField(required=False)


class ProblemShape(serializers.Serializer[Any]):
    """RFC 9457 problem details."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField()
    instance = serializers.CharField()
    errors = FieldProblem(many=True)  # type: ignore[assignment]
    current = Anything(required=False, help_text="After a conflict: the object as it is now.")


def doc(
    name: str,
    tag: str,
    summary: str,
    *,
    answer: Any = None,
    status: int = 200,
    media: str = "",
    takes: type[Strict] | None = None,
    writes: bool = False,
    if_match: bool | None = None,
    query: Sequence[OpenApiParameter] = (),
    also: dict[Any, Any] | None = None,
    many: Output | None = None,
    examples: Sequence[Any] = (),
) -> Callable[[Any], Any]:
    """Describes one method. `answer`: the shape of its success; `many`: that of a row of its pages;
    `also`: further answers. `if_match`: whether it obeys that header; a write to one object does,
    unless this says otherwise."""
    if many is not None:
        answer = page_of(many)
    key = (status, media) if media else status
    responses: dict[Any, Any] = {key: answer, **(also or {})}
    writes = writes or takes is not None
    for code in WRITING if writes else READING:
        responses[code, PROBLEM] = ProblemShape
    parameters = list(query)
    if if_match is None:
        if_match = writes and any(one.location == OpenApiParameter.PATH for one in query)
    if if_match:
        parameters.append(IF_MATCH)
    if writes:
        parameters.append(IDEMPOTENCY_KEY)
    return extend_schema(
        operation_id=name,
        tags=[tag],
        summary=summary,
        request=takes,
        responses=responses,
        parameters=parameters,
        examples=list(examples) or None,
    )


_pages: dict[str, Any] = {}


def page_of(shape: Output) -> Any:
    """The envelope of a list; the same one for the same shape."""
    name = f"{shape.__name__.removesuffix('Shape')}Page"
    if name not in _pages:
        _pages[name] = _page(name, shape)
    return _pages[name]


def _page(name: str, shape: Output) -> Any:
    return inline_serializer(
        name,
        {
            "results": shape(many=True),
            "next": serializers.URLField(allow_null=True),
            "previous": serializers.URLField(allow_null=True),
            "count": serializers.IntegerField(required=False, max_value=MAX_COUNT),
        },
    )


def path_id(name: str = "id") -> OpenApiParameter:
    return OpenApiParameter(
        name, {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}, OpenApiParameter.PATH
    )


def listing(filterset: type[filters.HubFilter] | None = None) -> list[OpenApiParameter]:
    """The parameters of a list: its filters, then those of paging."""
    if filterset is None:
        return PAGING_PARAMETERS
    found = [
        _filter_parameter(name, item, filterset.helps.get(name, ""))
        for name, item in filterset.base_filters.items()
    ]
    return [*found, *PAGING_PARAMETERS]


def _filter_parameter(name: str, item: Any, text: str) -> OpenApiParameter:
    if isinstance(item, filters.Several):
        words = [value for value, _ in item.extra["choices"]]
        return OpenApiParameter(
            name, str, enum=words, many=True, description=text or "Repeat it for several."
        )
    kind: Any = {"type": "string", "maxLength": item.extra.get("max_length", 250)}
    if isinstance(item, filters.Id):
        kind = {"type": "integer", "minimum": 1, "maximum": MAX_INTEGER}
    elif isinstance(item, filters.Flag):
        kind = bool
    elif isinstance(item, filters.Moment):
        kind = OpenApiTypes.DATETIME
    elif isinstance(item, django_filters.UUIDFilter):
        kind = OpenApiTypes.UUID
    return OpenApiParameter(name, kind, description=text)


IF_MATCH = OpenApiParameter(
    "If-Match",
    str,
    OpenApiParameter.HEADER,
    description="The ETag of what you saw: 412 if it changed since.",
)
IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255},
    OpenApiParameter.HEADER,
    description="For a POST: the same key and body again get the first answer, for 24 hours.",
)
PAGING_PARAMETERS = [
    OpenApiParameter("cursor", str, description="From next or previous, as it came."),
    OpenApiParameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    ),
    OpenApiParameter("count", bool, description=f"Count the whole list, up to {MAX_COUNT}."),
]
