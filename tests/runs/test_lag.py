"""How far the hub is behind its engines."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from engines.models import Engine
from runs.lag import Load, load_of, longest_lag
from runs.models import WorkflowRun
from tests.factories import make_engine, make_run

pytestmark = pytest.mark.django_db


def load(engine: Engine) -> Load:
    return load_of(engine, WorkflowRun.objects.all())


def test_it_counts_from_the_last_look() -> None:
    now = timezone.now()
    engine = make_engine(observed_at=now - timedelta(seconds=40))
    make_run(engine=engine, state="RUNNING", scheduled_at=now - timedelta(hours=1))
    found = load(engine)
    assert found.lag(now) == timedelta(seconds=40)
    assert found.lags(now)
    assert (found.active, found.waiting) == (1, 0)


def test_after_idle_days_it_counts_from_when_the_engine_got_a_run() -> None:
    now = timezone.now()
    engine = make_engine(observed_at=now - timedelta(days=3))
    make_run(engine=engine, state="SCHEDULED", scheduled_at=now - timedelta(seconds=2))
    assert load(engine).lag(now) == timedelta(seconds=2)
    assert not load(engine).lags(now)


def test_an_engine_that_was_never_looked_at_counts_from_its_oldest_run() -> None:
    now = timezone.now()
    engine = make_engine()
    for minutes in (1, 9, 4):
        make_run(engine=engine, state="RUNNING", scheduled_at=now - timedelta(minutes=minutes))
    assert load(engine).lag(now) == timedelta(minutes=9)


@pytest.mark.parametrize("state", [None, "PENDING", "COMPLETED"])
def test_where_the_engine_has_no_run_there_is_no_lag(state: str | None) -> None:
    engine = make_engine(observed_at=timezone.now() - timedelta(days=1))
    if state:
        make_run(engine=engine, state=state)
    found = load(engine)
    assert found.lag(timezone.now()) is None
    assert not found.lags(timezone.now())
    assert (found.active, found.waiting) == ((1, 1) if state == "PENDING" else (0, 0))


def test_a_clock_that_was_put_back_makes_no_negative_lag() -> None:
    now: datetime = timezone.now()
    assert Load(unseen_since=now + timedelta(hours=1)).lag(now) == timedelta()


@pytest.mark.parametrize(("poll", "longest"), [(1, 15), (10, 30), (60, 180)])
def test_how_long_it_may_be_goes_by_how_often_engines_are_asked(
    settings: Any, poll: float, longest: float
) -> None:
    settings.WORKFLOWHUB_POLL = poll
    assert longest_lag() == timedelta(seconds=longest)
    now = timezone.now()
    assert not Load(unseen_since=now - timedelta(seconds=longest)).lags(now)
    assert Load(unseen_since=now - timedelta(seconds=longest + 0.1)).lags(now)
