"""A function's answer from a forked process."""

import os

import pytest
from django.db import connections

from runs.management.fork import ForkFailed, answer_of, how_it_ended


@pytest.fixture(autouse=True)
def no_open_connection() -> None:
    connections.close_all()


def test_the_answer_comes_back() -> None:
    assert answer_of(lambda: {"pid": os.getpid()})["pid"] != os.getpid()


def test_an_error_there_is_an_error_here(capfd: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError("no such luck")

    with pytest.raises(ForkFailed, match="ended with code 1"):
        answer_of(fail)
    assert "no such luck" in capfd.readouterr().err


def test_an_end_is_told_in_words() -> None:
    assert how_it_ended(9) == "was killed by SIGKILL"
    assert how_it_ended(3 << 8) == "ended with code 3"
