"""How workflows' attempts end and how long they take: kept as they end, so that no page counts runs.

runs.moves calls `record` in the transaction of the ends. Rows are written in the order of their keys,
so that two who write at once wait for each other and never in a circle.

Durations are those that pages show: from when an attempt was seen to run until it was seen to have
ended. They are counted in buckets, four to each doubling: bucket 0 holds what took 10 ms or less, the
last one what took 30 days or more, so a percentile is at most 9 % off. Stored are [bucket, weight]
pairs of those that hold something. An end that somebody marked says nothing about durations.
"""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connection, models

from engines.models import Engine
from runs.bulk import update_rows
from runs.changes import RunChange
from runs.models import HourlyRollup, WorkflowPace, WorkflowRun
from runs.states import FINAL_RUN_STATES, RunState

SHORTEST = 0.01  # seconds
PER_DOUBLING = 4
LAST = math.ceil(math.log2(timedelta(days=30).total_seconds() / SHORTEST) * PER_DOUBLING)
# Of a workflow's pace, from which on all that it knows is halved: the newest hundred count most.
WEIGHT = 200
FORGOTTEN = 0.05  # weighs what is left out
AT_ONCE = 500  # rows a statement
KEEP = timedelta(days=400)

Buckets = Sequence[Sequence[float]]
"""[bucket, weight] pairs."""


@dataclass(slots=True)
class Ends:
    """The attempts of one hour, workflow and engine. `state`: how many ended so."""

    state: Counter[str] = field(default_factory=Counter)
    buckets: Counter[int] = field(default_factory=Counter)
    seconds: float = 0


def bucket_of(seconds: float) -> int:
    if seconds <= SHORTEST:
        return 0
    return min(math.ceil(math.log2(seconds / SHORTEST) * PER_DOUBLING), LAST)


def percentile(buckets: Buckets, share: float) -> float:
    """Seconds in which that share of them was done; 0 where there are none."""
    rest = sum(weight for _, weight in buckets) * share
    for bucket, weight in sorted((int(at), weight) for at, weight in buckets):
        rest -= weight
        if rest <= 0 < weight:
            middle = bucket - 0.5 if bucket else 0
            return float(SHORTEST * 2 ** (middle / PER_DOUBLING))
    return 0.0


def paces(titles: Collection[str]) -> dict[str, tuple[float, float]]:
    """Title -> (p50, p95) in seconds, of those workflows that have completed before; one query."""
    rows = WorkflowPace.objects.filter(workflow__in=set(titles), p95__gt=0).order_by()
    return {title: (p50, p95) for title, p50, p95 in rows.values_list("workflow", "p50", "p95")}


def record(changes: Iterable[RunChange], now: datetime) -> None:
    """Counts the attempts that these changes end; must run inside their transaction. Where somebody
    says that one ended otherwise than was counted, that is taken back."""
    ended = [change for change in changes if change.fields.get("state") in FINAL_RUN_STATES]
    if not ended:
        return
    engines = _engine_names(change.run for change in ended)
    for change in ended:
        if _counted_before(change):
            _take_back(change.run, engines.get(change.run.engine_id, ""))
    rollups: dict[tuple[datetime, str, str], Ends] = defaultdict(Ends)
    fresh: dict[str, Counter[int]] = defaultdict(Counter)
    for change in ended:
        run, title = change.run, change.run.workflow.title
        ended_at = change.fields.get("ended_at") or now
        ends = rollups[_hour(ended_at), title, engines.get(run.engine_id, "")]
        ends.state[change.fields["state"]] += 1
        seconds = _seconds(change, ended_at)
        if seconds is not None:
            ends.seconds += seconds
            ends.buckets[bucket_of(seconds)] += 1
            fresh[title][bucket_of(seconds)] += 1
    keys, titles = sorted(rollups), sorted(fresh)
    for at in range(0, len(keys), AT_ONCE):
        _raise_rollups([(key, rollups[key]) for key in keys[at : at + AT_ONCE]])
    for at in range(0, len(titles), AT_ONCE):
        _renew_paces({title: fresh[title] for title in titles[at : at + AT_ONCE]}, now)


def paced(old: Buckets, fresh: Mapping[int, float]) -> list[list[float]]:
    """What a workflow's pace is with those `fresh` ones: halved until it weighs no more than WEIGHT."""
    weights = _added(old, fresh)
    while sum(weight for _, weight in weights) > WEIGHT:
        halves = ([bucket, round(weight / 2, 2)] for bucket, weight in weights)
        weights = [pair for pair in halves if pair[1] >= FORGOTTEN]
    return weights


def _hour(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _engine_names(runs: Iterable[WorkflowRun]) -> dict[int | None, str]:
    column = WorkflowRun._meta.get_field("engine")
    names: dict[int | None, str] = {}
    unread: set[int] = set()
    for run in runs:
        if run.engine_id is None:
            continue
        if column.is_cached(run) and run.engine:
            names[run.engine_id] = run.engine.name
        else:
            unread.add(run.engine_id)
    if unread - set(names):
        names |= dict(Engine.objects.filter(pk__in=unread).values_list("pk", "name"))
    return names


def _counted_before(change: RunChange) -> bool:
    """Whether the attempt had ended already."""
    run = change.run
    return run.final and change.fields.get("attempt", run.attempt) == run.attempt


def _seconds(change: RunChange, at: datetime) -> float | None:
    """How long the attempt took; None where that says nothing."""
    began = change.fields.get("started_at") or change.run.started_at
    marked = change.fields.get("marked", change.run.marked)
    if change.fields["state"] != RunState.COMPLETED or marked or began is None:
        return None
    return max((at - began).total_seconds(), 0.0)


def _take_back(run: WorkflowRun, engine: str) -> None:
    rows = HourlyRollup.objects.select_for_update().filter(
        hour=_hour(run.ended_at or run.updated_at), workflow=run.workflow.title, engine=engine
    )
    row = rows.first()
    column = run.state.lower()
    if row is None or not getattr(row, column):
        return
    setattr(row, column, getattr(row, column) - 1)
    if run.state == RunState.COMPLETED and not run.marked and run.started_at and run.ended_at:
        seconds = max((run.ended_at - run.started_at).total_seconds(), 0.0)
        row.durations = _added(row.durations, {bucket_of(seconds): -1})
        row.seconds = max(row.seconds - seconds, 0.0)
    row.save(update_fields=[column, "seconds", "durations"])


def _raise_rollups(rows: Sequence[tuple[tuple[datetime, str, str], Ends]]) -> None:
    columns = ["completed", "failed", "canceled", "seconds"]
    kept = _upserted(
        HourlyRollup,
        ("hour", "workflow", "engine"),
        columns,
        [
            (*key, *(ends.state[column.upper()] for column in columns[:3]), ends.seconds)
            for key, ends in rows
        ],
        added=True,
    )
    # The statement above has locked these rows until the commit.
    update_rows(
        HourlyRollup,
        [
            (pk, None, {"durations": _added(old, ends.buckets)})
            for (pk, old), (_, ends) in zip(kept, rows, strict=True)
            if ends.buckets
        ],
    )


def _renew_paces(fresh: Mapping[str, Mapping[int, float]], now: datetime) -> None:
    kept = _upserted(
        WorkflowPace,
        ("workflow",),
        ["p50", "p95", "updated_at"],
        [(title, 0, 0, now) for title in fresh],
        added=False,
    )
    rows: list[tuple[int, None, dict[str, Any]]] = []
    for (pk, old), buckets in zip(kept, fresh.values(), strict=True):
        weights = paced(old, buckets)
        p50, p95 = percentile(weights, 0.5), percentile(weights, 0.95)
        rows.append((pk, None, {"durations": weights, "p50": p50, "p95": p95}))
    update_rows(WorkflowPace, rows)


def _upserted(
    model: type[models.Model],
    key: Sequence[str],
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    *,
    added: bool,
) -> list[tuple[int, Buckets]]:
    """Makes the rows, or adds the columns to those that are there (else sets them), and locks them one
    after the other. Returns (primary key, durations) of each, in their order, as bulk_create does."""
    table = connection.ops.quote_name(model._meta.db_table)
    names = [*key, *columns, "durations"]
    sets = ", ".join(
        f"{name} = {table}.{name} + EXCLUDED.{name}" if added else f"{name} = EXCLUDED.{name}"
        for name in columns
    )
    marks = f"({', '.join(['%s'] * len(names))})"
    fields = [model._meta.get_field(name) for name in [*key, *columns]]
    sql = (
        f"INSERT INTO {table} ({', '.join(names)}) "  # noqa: S608 - names from the model only
        f"VALUES {', '.join([marks] * len(rows))} "
        f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sets} "
        f"RETURNING id, durations"
    )
    values: list[Any] = []
    for row in rows:
        given = zip(fields, row, strict=True)
        values += [field.get_db_prep_save(value, connection) for field, value in given]  # type: ignore[union-attr]
        values.append("[]")
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [(pk, json.loads(durations)) for pk, durations in cursor.fetchall()]


def _added(old: Buckets, more: Mapping[int, float]) -> list[list[float]]:
    weights: dict[int, float] = {int(bucket): weight for bucket, weight in old}
    for bucket, weight in more.items():
        weights[bucket] = weights.get(bucket, 0) + weight
    return [[bucket, weight] for bucket, weight in sorted(weights.items()) if weight > 0]
