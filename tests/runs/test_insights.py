"""What the hourly figures say together."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from runs import insights
from runs.figures import bucket_of
from runs.models import HourlyRollup

pytestmark = pytest.mark.django_db


def hour(hours_ago: float = 0) -> datetime:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    return now - timedelta(hours=hours_ago)


def ended(
    workflow: str = "w", engine: str = "e", *, seconds: float = 10, ago: float = 0, **counts: int
) -> None:
    completed = counts.get("completed", 0)
    HourlyRollup.objects.create(
        hour=hour(ago),
        workflow=workflow,
        engine=engine,
        seconds=seconds * completed,
        durations=[[bucket_of(seconds), completed]] if completed else [],
        **counts,
    )


def read(span: str = "24h", engines: tuple[str, ...] = ("e", "f"), **kw: Any) -> insights.Insights:
    return insights.read(HourlyRollup.objects.all(), engines=engines, span=span, **kw)


@pytest.mark.parametrize(("span", "bars"), [("24h", 24), ("7d", 7), ("30d", 30), ("90d", 90)])
def test_there_is_a_bar_for_each_hour_or_day_also_for_empty_ones(span: str, bars: int) -> None:
    found = read(span)
    assert len(found.bars) == bars
    assert found.bars[0].at == found.since
    ended(completed=2, failed=1)
    ended(canceled=4, ago=24 * 100)
    found = read(span)
    assert (found.bars[-1].completed, found.bars[-1].failed, found.bars[-1].canceled) == (2, 1, 0)
    assert sum(bar.number for bar in found.bars) == found.total.number == 3


def test_what_came_before_the_span_is_left_out() -> None:
    ended(completed=1, ago=23)
    ended(completed=5, ago=24)
    assert read().total.completed == 1
    assert read().bars[0].completed == 1


def test_days_are_those_of_the_readers_time_zone() -> None:
    with timezone.override("Pacific/Auckland"):
        found = read("7d")
        assert all(timezone.localtime(bar.at).hour == 0 for bar in found.bars)
        local = timezone.localtime(hour())
        ended(completed=1, ago=local.hour)  # in its first hour
        ended(completed=2, ago=local.hour + 1)
        bars = read("7d").bars
    assert [bar.completed for bar in bars[-2:]] == [2, 1]


def test_the_failure_rate_leaves_out_what_was_canceled() -> None:
    ended(completed=6, failed=2, canceled=92)
    assert read().total.failure_rate == 0.25
    assert insights.Ended(canceled=3).failure_rate is None


def test_percentiles_are_of_the_time_shown_and_of_all_engines() -> None:
    ended(completed=60, seconds=1)
    ended(completed=40, seconds=100, engine="f", ago=1)
    found = read()
    assert found.total.p50 == pytest.approx(1, rel=0.1)
    assert found.total.p95 == pytest.approx(100, rel=0.1)
    (slowest,) = found.slowest
    assert (slowest.p50, slowest.p95) == (found.total.p50, found.total.p95)
    by_engine = {one.name: one.p50 for one in found.engines}
    assert by_engine["f"] == found.total.p95


def test_the_most_failing_and_the_slowest_come_first_and_are_few(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(insights, "MOST", 2)
    for number in range(4):
        ended(f"w{number}", completed=1, failed=number, seconds=100 - number)
    found = read()
    assert [row.name for row in found.failing] == ["w3", "w2"]
    assert [row.name for row in found.slowest] == ["w0", "w1"]


def test_one_workflow_or_engine_can_be_looked_at() -> None:
    ended("a", completed=1)
    ended("b", completed=2)
    ended("b", "f", completed=4)
    assert read(workflow="b").total.completed == 6
    assert read(engine="e").total.completed == 3
    assert read(engine="f", workflow="a").total.number == 0


def test_engines_that_may_not_be_named_are_told_together() -> None:
    for engine in ("e", "hidden one", "hidden two", ""):
        ended(engine=engine, completed=1, failed=1)
    found = {one.name: one for one in read().engines}
    assert set(found) == {"e", "", insights.OTHER_ENGINES}
    assert found[insights.OTHER_ENGINES].completed == 2
    assert found[insights.OTHER_ENGINES].p50 == pytest.approx(10, rel=0.1)


def test_it_costs_the_same_for_more(django_assert_max_num_queries: Callable[..., Any]) -> None:
    for number in range(30):
        ended(f"w{number}", f"e{number}", completed=1, failed=1, ago=number)
    with django_assert_max_num_queries(6):
        read("7d")
