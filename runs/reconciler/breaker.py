"""A circuit breaker per engine: after several failures in a row the engine is left alone for a
while, then asked once. Pure; the sweep keeps its two values in the engine's row."""

import random
from dataclasses import dataclass
from datetime import datetime, timedelta

MOST_PAUSES = 8  # the pause grows up to so many times its length
MOST_TOLD = 3600.0  # seconds of a Retry-After that are obeyed


@dataclass(slots=True, kw_only=True)
class Breaker:
    """`failures` in a row; open until `until`, then half open: one probe decides.

    `limit` failures open it for `pause` seconds, each further failed probe for longer."""

    limit: int
    pause: float
    failures: int = 0
    until: datetime | None = None

    def is_open(self, now: datetime) -> bool:
        """No longer than it may be: what is further ahead is of a clock that was put back since."""
        longest = timedelta(seconds=max(MOST_TOLD, 2 * MOST_PAUSES * self.pause))
        return self.until is not None and now < self.until <= now + longest

    def is_half_open(self, now: datetime) -> bool:
        return self.until is not None and not self.is_open(now)

    def failed(self, now: datetime, *, retry_after: float | None = None) -> None:
        """One more failure. `retry_after`: seconds that the engine asked for, which are obeyed
        (an hour at most)."""
        self.failures += 1
        over = self.failures - self.limit
        if over >= 0:
            times = min(2.0**over, MOST_PAUSES) * random.uniform(0.9, 1.1)  # noqa: S311
            self.until = now + timedelta(seconds=self.pause * times)
        if retry_after:
            told = now + timedelta(seconds=min(retry_after, MOST_TOLD))
            self.until = max(self.until or told, told)

    def trip(self, now: datetime) -> None:
        """Opens at once, whatever was counted."""
        self.failures = max(self.failures, self.limit - 1)
        self.failed(now)

    def succeeded(self) -> None:
        """The engine answered. Only a probe closes a breaker that is open."""
        if self.until is None:
            self.failures = 0

    def close(self) -> None:
        self.failures, self.until = 0, None
