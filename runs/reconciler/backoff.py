"""How long to wait: pure, seconds in and out."""

import random

FIRST = 0.5
MOST = 300.0
QUARANTINE_AFTER = 20  # errors in a row


def full_jitter(failures: int, *, first: float = FIRST, most: float = MOST) -> float:
    """Seconds until the next try after so many failures in a row (1 or more): anything from a
    tenth of the ceiling up to it, and the ceiling doubles with every failure. Spread out so that
    a thousand runs which failed together don't come back together."""
    ceiling = min(most, first * 2.0 ** min(max(failures, 1), 30))
    return random.uniform(ceiling / 10, ceiling)  # noqa: S311 - spreads load, keeps no secret


def resend_after(elapsed: float, *, first: float = 5.0, most: float = 60.0) -> float:
    """Seconds until a cancel is sent again, `elapsed` seconds after it was first asked for: the
    gaps double without anything being counted."""
    return min(most, max(first, elapsed))
