"""Totals never fall, are never lost or doubled, and fold together."""

import json
import threading

import pytest
from django.db import connection, transaction

from runs import counters
from runs.counters import BUCKETS, Count, raise_counters
from runs.models import Counter

pytestmark = pytest.mark.django_db


def add(*counts):
    with transaction.atomic():
        raise_counters(counts)


def total(name):
    return sum(row.value for row in Counter.objects.filter(name=name))


def test_counts_add_up_by_labels():
    add(Count(name="a", labels=[("x", "1")]), Count(name="a", labels=[("x", "1")]))
    add(Count(name="a", labels=[("x", "1")], amount=3), Count(name="a", labels=[("x", "2")]))
    rows = {row.labels: row.value for row in Counter.objects.all()}
    assert rows == {'[["x", "1"]]': 5, '[["x", "2"]]': 1}


def test_the_order_of_labels_does_not_matter():
    add(
        Count(name="a", labels=[("x", "1"), ("y", "2")]),
        Count(name="a", labels=[("y", "2"), ("x", "1")]),
    )
    assert Counter.objects.get().value == 2


def test_a_histogram_counts_each_bound_at_or_above():
    add(Count(name="h", seconds=0.05), Count(name="h", seconds=10))
    add(Count(name="h", seconds=10**6), Count(name="h", seconds=-5))
    row = Counter.objects.get()
    assert row.count == 4 and row.value == pytest.approx(0.05 + 10 + 10**6)
    counted = dict(zip(BUCKETS, row.buckets, strict=True))
    assert (counted[0.1], counted[15], counted[86400]) == (2, 3, 3)


def test_a_roll_back_takes_its_counts_along():
    with pytest.raises(KeyError), transaction.atomic():
        raise_counters([Count(name="a")])
        raise KeyError
    assert total("a") == 0


def test_folding_keeps_the_totals_and_leaves_one_row():
    for process in ("p1", "p2"):
        Counter.objects.create(
            name="h", process=process, value=2, count=2, buckets=[1] * len(BUCKETS)
        )
    Counter.objects.create(name="a", labels=json.dumps([["x", "1"]]), process="p1", value=7)
    assert counters.fold() == 3
    row = Counter.objects.get(name="h")
    assert (row.process, row.value, row.count, row.buckets[0]) == ("", 4, 4, 2)
    assert total("a") == 7
    assert counters.fold() == 0


@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_while_many_count_and_one_folds():
    def work():
        try:
            for _ in range(20):
                add(Count(name="a"), Count(name="h", seconds=1))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        counters.fold()
    for thread in threads:
        thread.join()
    counters.fold()
    assert total("a") == 80
    row = Counter.objects.get(name="h")
    assert (row.count, row.buckets[2]) == (80, 80)
