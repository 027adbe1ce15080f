"""Keyset pages of a list, newest first: `?after=<id>` goes on, `?before=<id>` goes back. Rows that
are inserted meanwhile move nothing."""

from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest

from runs import keyset

SIZE = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One page. `older` and `newer`: the value of `after` or `before` that leads on, or None. `reach`: how
    many rows were looked through, where the way back was not gone to its end; else 0."""

    rows: list[Any]
    older: int | None
    newer: int | None
    reach: int = 0

    @property
    def first(self) -> bool:
        return self.newer is None


def cut(request: HttpRequest, queryset: QuerySet[Any], *, size: int = SIZE) -> Slice:
    """The page that the URL asks for, the newest first; its queries: see runs.keyset."""
    after, before = (_key(request.GET.get(name, "")) for name in ("after", "before"))
    part = keyset.part(queryset, size, after=after if before is None else None, before=before)
    return Slice(
        rows=part.rows,
        older=part.after,
        newer=part.before,
        reach=keyset.REACH if part.stopped and before is None else 0,
    )


def after_key(request: HttpRequest) -> int | None:
    """The row behind which the URL asks to go on."""
    return _key(request.GET.get("after", ""))


def _key(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 18 else None
