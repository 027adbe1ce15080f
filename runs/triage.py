"""What needs a person now, for the landing page and the API: open failures by their kind, those that
somebody knows of apart, and runs that take too long.

Nothing here costs more for more runs: failures are looked for among the newest FAILURE_REACH, late runs
among the oldest REACH of a state.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.db.models.functions import TruncHour

from runs.figures import paces
from runs.models import Acknowledgement, WorkflowRun
from runs.querysets import RunQuerySet
from runs.states import RunState

KIND = ("fingerprint", "workflow__title", "error_task", "reason")
MOST_KINDS = 200
HOURS = 24
REACH = 1000
TIMES_P95 = 2
LEAST_OVER = timedelta(seconds=30)
LONGEST_QUEUE = timedelta(minutes=10)

Kind = dict[str, Any]
"""A row of by_fingerprint with `acknowledgement`: one, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """A run that runs longer than usual, or has been scheduled for too long; `usual`: the p95 of its
    workflow in seconds, None where it hasn't begun."""

    run: WorkflowRun
    since: datetime
    usual: float | None


def kinds(
    failed: RunQuerySet, acknowledgements: QuerySet[Acknowledgement]
) -> tuple[list[Kind], list[Kind]]:
    """The kinds of these open failures, newest first: those to see to, and those that are
    acknowledged; two queries. One comes back when a newer run than was known fails of it."""
    found: list[Kind] = list(failed.by_fingerprint()[:MOST_KINDS])
    rows = acknowledgements.filter(fingerprint__in={kind["fingerprint"] for kind in found})
    known = {(row.fingerprint, row.workflow): row for row in rows}
    for kind in found:
        row = known.get((kind["fingerprint"], kind["workflow__title"]))
        kind["acknowledgement"] = row if row and kind["newest"] <= row.newest else None
    fresh = [kind for kind in found if not kind["acknowledgement"]]
    return fresh, [kind for kind in found if kind["acknowledgement"]]


def by_hour(
    failed: RunQuerySet, some: Sequence[Kind], now: datetime
) -> dict[tuple[str, ...], list[int]]:
    """Kind -> how many of these open failures ended in each of the last HOURS hours, the oldest first;
    one query."""
    present = now.replace(minute=0, second=0, microsecond=0)
    first = present - timedelta(hours=HOURS - 1)
    counted = (
        failed.filter(ended_at__gte=first, fingerprint__in={kind["fingerprint"] for kind in some})
        .order_by()
        .annotate(hour=TruncHour("ended_at", tzinfo=now.tzinfo))
        .values_list(*KIND, "hour")
        .annotate(number=Count("pk"))
    )
    found: dict[tuple[str, ...], list[int]] = {}
    for *kind, hour, number in counted:
        at = min(int((hour - first).total_seconds() // 3600), HOURS - 1)
        found.setdefault(tuple(kind), [0] * HOURS)[at] += number
    return found


def late(runs: RunQuerySet, most: int, now: datetime) -> list[Late]:
    """Those of these runs that are late, the oldest first: scheduled for more than LONGEST_QUEUE, or
    running for more than TIMES_P95 times the p95 of their workflow and LEAST_OVER longer than it.
    Six queries at most."""
    found: list[tuple[int, datetime, float | None]] = [
        (pk, since, None)
        for pk, since, _ in _oldest(runs, RunState.SCHEDULED, "scheduled_at")
        if since and now - since > LONGEST_QUEUE
    ]
    running = [
        row
        for row in _oldest(runs, RunState.RUNNING, "started_at")
        if row[1] and now - row[1] > LEAST_OVER
    ]
    usual = paces({title for _, _, title in running}) if running else {}
    for pk, since, title in running:
        p95 = usual[title][1] if title in usual else None
        if p95 is not None and now - since > bound(p95):
            found.append((pk, since, p95))
    found = sorted(found)[:most]
    if not found:
        return []
    by_key = runs.filter(pk__in=[pk for pk, _, _ in found]).for_list().in_bulk()
    return [
        Late(run=by_key[pk], since=since, usual=p95) for pk, since, p95 in found if pk in by_key
    ]


def bound(p95: float) -> timedelta:
    """For how long a run may run before it is late."""
    length = timedelta(seconds=p95)
    return max(length * TIMES_P95, length + LEAST_OVER)


def _oldest(runs: RunQuerySet, state: RunState, since: str) -> list[tuple[int, Any, str]]:
    # In the order of the index (state, -id), read backwards.
    rows = runs.filter(state=state).order_by("pk")
    return list(rows.values_list("pk", since, "workflow__title")[:REACH])
