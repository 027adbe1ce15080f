"""Keyset pages: opaque cursors in both directions, so that rows which come and go between two pages
are neither shown twice nor missed."""

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlencode

from django.db.models import Model, QuerySet
from rest_framework.request import Request
from rest_framework.response import Response

from runs import keyset
from runs.api.query import bad_query, flag, whole

M = TypeVar("M", bound=Model)
DEFAULT_LIMIT = 50
MAX_LIMIT = 500
MAX_COUNT = 1001  # "more than 1,000": counting all of a million takes longer than reading the page
PAGING = ("cursor", "limit", "count")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A unique column that a list is ordered by; `whole`: it holds integers, else texts."""

    field: str = "id"
    descending: bool = True
    whole: bool = True


NEWEST = Order()


def page(
    request: Request,
    queryset: QuerySet[M],
    show: Callable[[Sequence[M]], list[Any]],
    order: Order = NEWEST,
) -> Response:
    """`{results, next, previous, count?}` with Link headers. `count` only on `?count=true`, and no
    higher than MAX_COUNT."""
    limit = whole(request, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT)
    backwards, value = _cursor(request, order)
    total = None
    if flag(request, "count"):
        total = keyset.capped_count(queryset, MAX_COUNT)
    part = _by_key if order.field == "id" else _by_column
    rows, ahead, behind = part(queryset, order, backwards, value, limit)
    after = None if ahead is None else _link(request, False, ahead)
    before = None if behind is None else _link(request, True, behind)
    body: dict[str, Any] = {"results": show(rows), "next": after, "previous": before}
    if total is not None:
        body["count"] = total
    links = [f'<{url}>; rel="{rel}"' for rel, url in (("next", after), ("prev", before)) if url]
    return Response(body, headers={"Link": ", ".join(links)} if links else None)


def _by_key(
    queryset: QuerySet[M], order: Order, backwards: bool, value: Any, limit: int
) -> tuple[list[M], Any, Any]:
    """The rows of a page, and the values of its two cursors."""
    start = {"before" if backwards else "after": value}
    part = keyset.part(queryset, limit, descending=order.descending, **start)
    return part.rows, part.after, part.before


def _by_column(
    queryset: QuerySet[M], order: Order, backwards: bool, value: Any, limit: int
) -> tuple[list[M], Any, Any]:
    down = order.descending != backwards
    if value is not None:
        queryset = queryset.filter(**{f"{order.field}__{'lt' if down else 'gt'}": value})
    rows = list(queryset.order_by(f"{'-' if down else ''}{order.field}")[: limit + 1])
    more = len(rows) > limit
    rows = rows[:limit]
    if not rows:
        return [], None, None
    ahead = getattr(rows[-1], order.field) if more else None
    # Where a page was come to from the other side, that side has more.
    behind = None if value is None else getattr(rows[0], order.field)
    return (rows[::-1], behind, ahead) if backwards else (rows, ahead, behind)


def _cursor(request: Request, order: Order) -> tuple[bool, Any]:
    given = request.query_params.get("cursor")
    if given is None:
        return False, None
    try:
        backwards, value = json.loads(base64.urlsafe_b64decode(given.encode()))
        fits = (
            type(value) is int and abs(value) < 2**63
            if order.whole
            else isinstance(value, str) and "\x00" not in value
        )
        if type(backwards) is not bool or not fits:
            raise ValueError(given)
    except (binascii.Error, ValueError, TypeError, RecursionError):
        raise bad_query("cursor", "is not one of ours: take next or previous as it is.") from None
    return backwards, value


def _link(request: Request, backwards: bool, value: Any) -> str:
    token = base64.urlsafe_b64encode(json.dumps([backwards, value]).encode()).decode()
    names = [(name, item) for name, items in request.query_params.lists() for item in items]
    query = urlencode(
        [*((n, v) for n, v in names if n not in {"cursor", "count"}), ("cursor", token)]
    )
    return request.build_absolute_uri(f"{request.path}?{query}")
