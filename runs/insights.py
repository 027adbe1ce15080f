"""How attempts ended over time and how long they took, from the hourly figures alone: the page and the
resource of the API call `read`. It costs the same however many runs there were.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Case, F, FloatField, QuerySet, Sum, Value, When
from django.db.models.functions import Cast, TruncDay
from django.utils import timezone

from runs.figures import percentile
from runs.models import HourlyRollup

# Name -> (words, hours or days).
SPANS = {
    "24h": ("24 hours", 24),
    "7d": ("7 days", 7),
    "30d": ("30 days", 30),
    "90d": ("90 days", 90),
}
MOST = 10  # workflows of a table
MOST_ENGINES = 50
COUNTS = ("completed", "failed", "canceled")
OTHER_ENGINES = "other engines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Attempts that ended. `name`: of a workflow or engine; `at`: when the hour or day began. `p50` and
    `p95` in seconds, None where none completed or nobody asked."""

    name: str = ""
    at: datetime | None = None
    completed: int = 0
    failed: int = 0
    canceled: int = 0
    p50: float | None = None
    p95: float | None = None

    @property
    def number(self) -> int:
        return self.completed + self.failed + self.canceled

    @property
    def failure_rate(self) -> float | None:
        """Of those that completed or failed; None where none did."""
        ended = self.completed + self.failed
        return self.failed / ended if ended else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Insights:
    """`step`: hour or day; `bars`: one for each, the oldest first, empty ones too."""

    since: datetime
    step: str
    total: Ended
    bars: list[Ended]
    failing: list[Ended]
    slowest: list[Ended]
    engines: list[Ended]


def read(
    rollups: QuerySet[HourlyRollup],
    *,
    engines: Iterable[str],
    span: str,
    workflow: str = "",
    engine: str = "",
) -> Insights:
    """Of these rollups (those that somebody may see), over one of SPANS up to now, of one workflow or
    engine where they are named. `engines`: those that may be named; others are told together. Six
    queries at most."""
    step = "hour" if span == "24h" else "day"
    starts = _starts(step, SPANS[span][1])
    rows = rollups.filter(hour__gte=starts[0]).order_by()
    if workflow:
        rows = rows.filter(workflow=workflow)
    if engine:
        rows = rows.filter(engine=engine)
    bars = _bars(rows, step, starts)
    known = {*engines, ""}
    total = Ended(**{name: sum(getattr(bar, name) for bar in bars) for name in COUNTS})
    if not total.number:
        return Insights(
            since=starts[0], step=step, total=total, bars=bars, failing=[], slowest=[], engines=[]
        )
    per_workflow = _summed(rows, "workflow")
    failing = list(per_workflow.filter(failed__gt=0).order_by("-failed", "workflow")[:MOST])
    slowest = list(per_workflow.filter(mean__gt=0).order_by("-mean", "workflow")[:MOST])
    titles = {row["workflow"] for row in (*failing, *slowest)}
    by_title = _spread(rows.filter(workflow__in=titles), "workflow") if titles else {}
    by_engine: dict[str, dict[int, float]] = defaultdict(dict)
    for name, buckets in _spread(rows, "engine").items():
        _add(by_engine[name if name in known else OTHER_ENGINES], buckets)
    everything: dict[int, float] = {}
    for buckets in by_engine.values():
        _add(everything, buckets)
    return Insights(
        since=starts[0],
        step=step,
        total=_ended({name: getattr(total, name) for name in COUNTS}, everything),
        bars=bars,
        failing=[_ended(row, by_title.get(row["workflow"]), row["workflow"]) for row in failing],
        slowest=[_ended(row, by_title.get(row["workflow"]), row["workflow"]) for row in slowest],
        engines=_engines(rows, known, by_engine),
    )


def _starts(step: str, number: int) -> list[datetime]:
    """When each hour or day began, the oldest first; days are those of the reader's time zone."""
    if step == "hour":
        # As the rollups have them: full hours of UTC, which in some zones begin at half past.
        present = timezone.now().replace(minute=0, second=0, microsecond=0)
        return [present - timedelta(hours=back) for back in reversed(range(number))]
    today = timezone.localdate()
    days = [today - timedelta(days=back) for back in reversed(range(number))]
    midnight = datetime.min.time()
    return [timezone.make_aware(datetime.combine(day, midnight)) for day in days]


def _bars(rows: QuerySet[HourlyRollup], step: str, starts: list[datetime]) -> list[Ended]:
    at = F("hour") if step == "hour" else TruncDay("hour")
    found: dict[datetime, Any] = {
        row["at"]: row
        for row in rows.annotate(at=at).values("at").annotate(**{f"n_{c}": Sum(c) for c in COUNTS})
    }
    empty = dict.fromkeys((f"n_{name}" for name in COUNTS), 0)
    return [
        Ended(at=start, **{name: found.get(start, empty)[f"n_{name}"] for name in COUNTS})
        for start in starts
    ]


def _summed(rows: QuerySet[HourlyRollup], column: str) -> Any:
    """A row for each workflow or engine: its counts, and `mean` seconds."""
    sums = rows.values(column).annotate(
        **{f"n_{name}": Sum(name) for name in COUNTS}, together=Sum("seconds")
    )
    renamed = {name: F(f"n_{name}") for name in COUNTS}
    mean = F("together") / Cast("n_completed", FloatField())
    return sums.values(column, **renamed).annotate(
        mean=Case(When(n_completed__gt=0, then=mean), default=Value(0.0))
    )


def _engines(
    rows: QuerySet[HourlyRollup], known: set[str], spread: Mapping[str, Mapping[int, float]]
) -> list[Ended]:
    found: dict[str, dict[str, int]] = {}
    for row in _summed(rows, "engine").order_by("engine"):
        name = row["engine"] if row["engine"] in known else OTHER_ENGINES
        counts = found.setdefault(name, dict.fromkeys(COUNTS, 0))
        for column in COUNTS:
            counts[column] += row[column]
    ended = [_ended(counts, spread.get(name), name) for name, counts in found.items()]
    return sorted(ended, key=lambda one: -one.number)[:MOST_ENGINES]


def _ended(row: Mapping[str, Any], buckets: Mapping[int, float] | None, name: str = "") -> Ended:
    pairs = list((buckets or {}).items())
    return Ended(
        name=name,
        p50=percentile(pairs, 0.5) if pairs else None,
        p95=percentile(pairs, 0.95) if pairs else None,
        **{column: row[column] for column in COUNTS},
    )


def _spread(rows: QuerySet[HourlyRollup], column: str) -> dict[str, dict[int, float]]:
    """Workflow or engine -> bucket of runs.figures -> how many took so long; added up by the database."""
    inner, params = rows.values(column, "durations").query.sql_with_params()
    if connection.vendor == "postgresql":
        bucket, number = "(pair.value->>0)::int", "(pair.value->>1)::float8"
        pairs = "jsonb_array_elements(kept.durations)"
    else:
        bucket, number = "json_extract(pair.value, '$[0]')", "json_extract(pair.value, '$[1]')"
        pairs = "json_each(kept.durations)"
    sql = (
        f"SELECT kept.{column}, {bucket}, SUM({number}) "  # noqa: S608 - names and the ORM's own SQL
        f"FROM ({inner}) AS kept, {pairs} AS pair GROUP BY 1, 2"
    )
    found: dict[str, dict[int, float]] = defaultdict(dict)
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        for name, at, weight in cursor.fetchall():
            found[name][at] = weight
    return found


def _add(buckets: dict[int, float], more: Mapping[int, float]) -> None:
    for bucket, weight in more.items():
        buckets[bucket] = buckets.get(bucket, 0) + weight
