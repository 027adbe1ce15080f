"""Pages of a list, newest first: by its primary key, or where a while was asked for, by the time whose
index leads to the rows that fit. Where no index does, a page reads only so many rows, and says where it
stopped.

A list says so itself, by an annotation; whoever pages through it names the last row that was shown.
"""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import F, Model, Q, QuerySet, Value

M = TypeVar("M", bound=Model)
Rows = TypeVar("Rows", bound=QuerySet[Any])
TIME, IN_STEPS = "listed_at", "in_steps"
REACH = 50_000  # rows that a page reads where no index leads (docs/performance.md has the time)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part(Generic[M]):
    """Some rows of a list, in its order. `after` and `before`: the keys behind and in front of which it
    goes on, or None. `stopped`: it was not read to its end, so that what goes on may fit or not."""

    rows: list[M]
    after: int | None
    before: int | None
    stopped: bool


def by_time(rows: Rows, column: str) -> Rows:
    """By a time, and then the primary key."""
    return rows if TIME in rows.query.annotations else rows.annotate(**{TIME: F(column)})


def in_steps(rows: Rows) -> Rows:
    """No index leads to those that fit: a page ends after REACH rows, whether any was found or not."""
    return rows.annotate(**{IN_STEPS: Value(True)})


def part(
    rows: QuerySet[M],
    size: int,
    *,
    after: int | None = None,
    before: int | None = None,
    descending: bool = True,
) -> Part[M]:
    """The first rows, or those behind the one with the key `after`, or in front of `before`. One query;
    two where they go by time, three in steps."""
    back = before is not None
    key = before if back else after
    down = descending != back
    if key is not None:
        rows = _beyond(rows, key, down=down)
    rows, edge = _within_reach(rows, key, down=down)
    found = list(_ordered(rows, down=down)[: size + 1])
    more = len(found) > size
    found = found[:size]
    ahead = found[-1].pk if more else edge
    # Where a page was come to from the other side, that side has more.
    behind = None
    if key is not None and (found or edge is not None):
        # Back from a page without rows, the one with the key itself comes first.
        behind = found[0].pk if found else key - 1 if down else key + 1
    return Part(
        rows=found[::-1] if back else found,
        after=behind if back else ahead,
        before=ahead if back else behind,
        stopped=not more and edge is not None,
    )


def capped_count(rows: QuerySet[Any], most: int) -> int:
    """How many rows the list has, no more than `most`; in steps only among the first REACH."""
    rows, _ = _within_reach(rows, None, down=True)
    return rows.order_by()[:most].count()


def _ordered(rows: Rows, *, down: bool) -> Rows:
    """`down`: the newest first."""
    sign = "-" if down else ""
    columns = [TIME, "pk"] if TIME in rows.query.annotations else ["pk"]
    return rows.order_by(*(f"{sign}{column}" for column in columns))


def _beyond(rows: Rows, key: int, *, down: bool) -> Rows:
    """Those that come behind the row with this key in that order. Where it is gone, its key alone says
    where it was."""
    than = "lt" if down else "gt"
    at = None
    if TIME in rows.query.annotations:
        column: Any = rows.query.annotations[TIME]
        times = rows.model._default_manager.filter(pk=key)
        at = times.values_list(column.target.attname, flat=True).first()
    if at is None:
        return rows.filter(**{f"pk__{than}": key})
    # The first condition says nothing new, but is one that an index can follow.
    return rows.filter(**{f"{TIME}__{than}e": at}).filter(
        Q(**{f"{TIME}__{than}": at}) | Q(**{f"pk__{than}": key})
    )


def _within_reach(rows: Rows, key: int | None, *, down: bool) -> tuple[Rows, int | None]:
    """Those that a page may read, and the key behind which the next one goes on: None at the end. A
    while that was asked for is a bound of its own."""
    if IN_STEPS not in rows.query.annotations or TIME in rows.query.annotations:
        return rows, None
    everything = rows.model._default_manager.order_by("-pk" if down else "pk")
    start = everything.values_list("pk", flat=True).first() if key is None else key
    if start is None:
        return rows, None
    edge = start - REACH if down else start + REACH
    if not everything.filter(**{f"pk__{'lt' if down else 'gt'}": edge}).exists():
        return rows, None
    return rows.filter(**{f"pk__{'gte' if down else 'lte'}": edge}), edge
