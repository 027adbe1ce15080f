"""Back-off, breaker, failures and times: no database."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.reconciler.backoff import MOST, full_jitter, resend_after
from runs.reconciler.breaker import Breaker
from runs.reconciler.failure import EndedTask, fingerprint, first_line, root_of, sentence
from runs.reconciler.task_reports import own_times

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(seconds):
    return NOW + timedelta(seconds=seconds)


def task(name, state, ended=None, error=""):
    return EndedTask(name=name, label=name, state=state, error=error, ended_at=ended)


@given(st.integers(1, 10**6))
def test_a_back_off_is_positive_spread_and_bounded(failures):
    assert 0 < full_jitter(failures) <= MOST


def test_a_back_off_grows():
    assert max(full_jitter(1) for _ in range(50)) < min(full_jitter(12) for _ in range(50))


def test_the_gaps_between_cancels_double():
    times, now = [], 0.0
    for _ in range(6):
        now += resend_after(now)
        times.append(now)
    assert times == [5, 10, 20, 40, 80, 140]


def test_a_breaker_opens_closes_and_waits_longer_each_time():
    breaker = Breaker(limit=3, pause=10)
    for _ in range(2):
        breaker.failed(NOW)
    assert not breaker.is_open(NOW)
    breaker.succeeded()
    assert breaker.failures == 0
    for _ in range(3):
        breaker.failed(NOW)
    assert breaker.is_open(at(8)) and breaker.is_half_open(at(12))
    breaker.succeeded()
    assert breaker.is_half_open(at(12)), "only a probe closes it"
    breaker.failed(at(12))
    assert breaker.is_open(at(29))
    breaker.close()
    assert not breaker.is_open(at(13)) and not breaker.is_half_open(at(99))


def test_a_breaker_obeys_the_time_that_an_engine_names_within_reason():
    breaker = Breaker(limit=5, pause=10)
    breaker.failed(NOW, retry_after=40)
    assert breaker.is_open(at(39)) and not breaker.is_open(at(41))
    breaker.failed(NOW, retry_after=10**9)
    assert not breaker.is_open(at(3601))


def test_the_root_is_the_task_that_failed_first_by_itself():
    tasks = [
        task("c", "UPSTREAM_FAILED", at(1)),
        task("b", "FAILED", at(3)),
        task("a", "FAILED", at(2)),
        task("d", "COMPLETED", at(0)),
    ]
    assert root_of(tasks).name == "a"
    assert root_of(tasks[:1]) is None


def test_where_nothing_failed_by_itself_the_canceled_task_is_the_cause():
    tasks = [task("late", "CANCELED", at(5)), task("talk", "CANCELED", at(2)), task("z", "SKIPPED")]
    assert sentence(root_of(tasks)) == "talk was canceled."
    assert sentence(root_of([task("a", "FAILED", at(9), "boom"), *tasks])) == "boom"
    assert sentence(None) == ""


@pytest.mark.parametrize(
    ("error", "line"),
    [
        ("", ""),
        ("Exit code 3\nmore", "Exit code 3"),
        ("Traceback (most recent call last):\n  File x\nValueError: no\n", "ValueError: no"),
    ],
)
def test_the_line_that_counts(error, line):
    assert first_line(error) == line


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("No file /data/run-17.csv", "No file /data/run-18.csv"),
        ("Key 'abc' is missing", "Key 'xyz' is missing"),
        (
            "Job 3f2504e0-4f89-11d3-9a0c-0305e82c3301 died",
            "Job 8f2504e0-4f89-11d3-9a0c-0305e82c3302 died",
        ),
        ("at 0x7f1c", "at 0x8a2b"),
        ("commit 9f86d081 is bad", "commit 1a2b3c4d is bad"),
    ],
)
def test_errors_that_differ_only_in_numbers_and_names_are_the_same(one, two):
    assert fingerprint("flow", "a", one) == fingerprint("flow", "a", two)


def test_another_task_another_workflow_or_another_error_is_another_failure():
    prints = {
        fingerprint("flow", "a", "boom"),
        fingerprint("flow", "b", "boom"),
        fingerprint("other", "a", "boom"),
        fingerprint("flow", "a", "bang"),
    }
    assert len(prints) == 4
    assert fingerprint("flow", "", "") == ""


seconds = st.floats(-10_000, 10_000)


@given(seconds, seconds, st.floats(0, 5000))
def test_times_lie_within_the_attempt_and_no_duration_is_negative(started, ended, age):
    earliest = NOW - timedelta(seconds=age)
    begin, end = own_times(at(started), at(ended), earliest=earliest, now=NOW)
    assert earliest <= begin <= end <= NOW


@given(st.floats(-7200, 7200), st.floats(0, 50))
def test_a_wrong_clock_keeps_the_duration(offset, length):
    earliest = NOW - timedelta(seconds=100)
    began = NOW - timedelta(seconds=60) + timedelta(seconds=offset)
    begin, end = own_times(began, began + timedelta(seconds=length), earliest=earliest, now=NOW)
    assert abs((end - begin).total_seconds() - length) < 0.001


def test_times_that_are_right_stay_as_they_are():
    assert own_times(at(-5), at(-2), earliest=at(-9), now=NOW) == (at(-5), at(-2))
    assert own_times(at(-5), None, earliest=at(-9), now=NOW) == (at(-5), None)
    assert own_times(None, None, earliest=at(-9), now=NOW) == (None, None)
