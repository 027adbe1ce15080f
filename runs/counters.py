"""Metric totals, raised in the transaction of the change that they count, so that none is lost or
counted twice. They never fall: cleanup folds the rows of processes together."""

import json
import os
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db import connection, transaction

from runs.models import Counter

BUCKETS = (0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 14400, 86400)
_BOOT = uuid.uuid4().hex[:24]


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """One raise. `seconds` makes it an observation of a histogram instead of a plain count."""

    name: str
    labels: Sequence[tuple[str, str]] = ()
    amount: float = 1
    seconds: float | None = None


def raise_counters(counts: Iterable[Count]) -> None:
    """Adds to the totals; must run inside the transaction of what is counted."""
    totals: dict[tuple[str, str], tuple[float, int, list[int]]] = {}
    for count in counts:
        key = (count.name, json.dumps(sorted(count.labels)))
        value, number, buckets = totals.get(key, (0.0, 0, [0] * len(BUCKETS)))
        if count.seconds is None:
            totals[key] = (value + count.amount, number + 1, buckets)
        else:
            seconds = max(count.seconds, 0.0)
            totals[key] = (
                value + seconds,
                number + 1,
                [old + (seconds <= bound) for old, bound in zip(buckets, BUCKETS, strict=True)],
            )
    for (name, labels), (value, number, buckets) in sorted(totals.items()):
        _add(name, labels, value, number, buckets if any(buckets) else [])


def _add(name: str, labels: str, value: float, number: int, buckets: list[int]) -> None:
    # One row a process: two processes never wait for each other's counter.
    process = f"{_BOOT}-{os.getpid()}"
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO runs_counter (name, labels, process, value, count, buckets) "
            "VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (name, labels, process) DO UPDATE SET "
            "value = runs_counter.value + EXCLUDED.value, count = runs_counter.count + EXCLUDED.count "
            "RETURNING id, count",
            [name, labels, process, value, number, json.dumps(buckets)],
        )
        pk, count = cursor.fetchone()
    if buckets and count != number:
        # The statement above has locked the row until our commit, so reading and writing it is safe.
        row = Counter.objects.get(pk=pk)
        old = row.buckets or [0] * len(BUCKETS)
        row.buckets = [a + b for a, b in zip(old, buckets, strict=True)]
        row.save(update_fields=["buckets"])


def fold() -> int:
    """Adds the rows of processes to the one without, and deletes them; how many. A process that is
    still alive begins a new row."""
    folded = 0
    keys = Counter.objects.exclude(process="").values_list("name", "labels").distinct()
    for name, labels in list(keys):
        with transaction.atomic():
            # The sum's row is the lock: two who fold at once take turns.
            Counter.objects.get_or_create(name=name, labels=labels, process="")
            total = Counter.objects.select_for_update().get(name=name, labels=labels, process="")
            rows = list(
                Counter.objects.select_for_update()
                .filter(name=name, labels=labels)
                .exclude(process="")
            )
            for row in rows:
                total.value += row.value
                total.count += row.count
                if row.buckets:
                    old = total.buckets or [0] * len(BUCKETS)
                    total.buckets = [a + b for a, b in zip(old, row.buckets, strict=True)]
            total.save(update_fields=["value", "count", "buckets"])
            Counter.objects.filter(pk__in=[row.pk for row in rows]).delete()
        folded += len(rows)
    return folded
