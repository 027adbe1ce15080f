"""Chance that can be repeated: every random choice of a fault comes from one seed, which the end of
`make test-faults` names.

WORKFLOWHUB_FAULTS_SEED repeats a run of the tests; WORKFLOWHUB_FAULTS_SCALE makes it so many times
longer (10: all is tried ten times as often) or shorter, but nothing is done less than fifty times for
that.
"""

import os
import random

SEED, SCALE = "WORKFLOWHUB_FAULTS_SEED", "WORKFLOWHUB_FAULTS_SCALE"


def draw() -> None:
    """Draws a seed for this process and those that it starts, unless one was given."""
    os.environ.setdefault(SEED, str(random.SystemRandom().randrange(10**6)))
    os.environ.setdefault(SCALE, "1")


def seed() -> int:
    return int(os.environ[SEED])


def chance(name: str) -> random.Random:
    """The same choices for the same seed and name, whichever other tests are run."""
    return random.Random(f"{seed()}:{name}")


def scaled(number: int, *, least: int = 50) -> int:
    """So many times the scale; no scale makes it fewer than `least`, if it was not."""
    return max(min(number, least), round(number * float(os.environ[SCALE])))
