"""How far the hub is behind its engines: what each has to do, and since when nobody has looked at that.

Pages and the API ask; runs.reconciler notes when it has looked at all runs of an engine.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings

from engines.models import Engine
from runs.querysets import RunQuerySet

POLLS = 3  # of which none has succeeded
LEAST = timedelta(seconds=15)  # a look is noted every few seconds only


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Of an engine: its active runs, how many of them don't run yet (`waiting`), and since when nobody
    has looked at those that it has: None where it has none."""

    active: int = 0
    waiting: int = 0
    unseen_since: datetime | None = None

    def lag(self, now: datetime) -> timedelta | None:
        return None if self.unseen_since is None else max(now - self.unseen_since, timedelta())

    def lags(self, now: datetime) -> bool:
        """Whether it is longer than a working hub lets it become."""
        lag = self.lag(now)
        return lag is not None and lag > longest_lag()


def longest_lag() -> timedelta:
    return max(timedelta(seconds=POLLS * settings.WORKFLOWHUB_POLL), LEAST)


def load_of(engine: Engine, runs: RunQuerySet) -> Load:
    """Of one engine, by those of its runs that somebody may see."""
    return loads([engine], runs.filter(engine=engine))[engine.pk]


def loads(engines: list[Engine], runs: RunQuerySet) -> dict[int, Load]:
    """Engine's key -> its load; one query, whatever the number of engines and of ended runs."""
    counted = runs.active_by_engine()
    found = {}
    for engine in engines:
        active, waiting, since = counted.get(engine.pk, (0, 0, None))
        if since is not None and engine.observed_at is not None:
            # It may have had nothing to be looked at for days before.
            since = max(since, engine.observed_at)
        found[engine.pk] = Load(active=active, waiting=waiting, unseen_since=since)
    return found
