"""Lengths of time as people write and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.durations import LONGEST, read_seconds, said, spelled


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(90, 90.0), (0.5, 0.5), ("90", 90.0), ("90s", 90.0), ("5m", 300.0), ("1h30m", 5400.0),
     ("2d", 172_800.0), ("1d1h1m1.5s", 90_061.5), ("0", 0.0)],
)  # fmt: skip
def test_seconds_are_read(value, seconds):
    assert read_seconds(value) == seconds


@pytest.mark.parametrize("value", ["", "soon", "5 m", "-1", "1h 30m", "m", "1m1h", True, None, []])
def test_anything_else_is_no_length(value):
    assert read_seconds(value) is None


@pytest.mark.parametrize(
    ("seconds", "short", "sentence"),
    [(7200, "2h", "2 h"), (5400, "1h30m", "1 h 30 min"), (90, "1m30s", "1 min 30 s"),
     (0.25, "0.25s", "0.25 s"), (86_400, "1d", "1 d"), (0, "0s", "0 s"), (59.9999999, "1m", "1 min")],
)  # fmt: skip
def test_they_are_spelled_short_and_said_in_full(seconds, short, sentence):
    assert (spelled(seconds), said(seconds)) == (short, sentence)


@given(st.floats(min_value=0.000001, max_value=LONGEST))
def test_what_is_spelled_is_read_back(seconds):
    assert read_seconds(spelled(seconds)) == pytest.approx(seconds, abs=2e-6, rel=1e-12)
