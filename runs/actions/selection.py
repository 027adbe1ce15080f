"""Which runs a bulk job is for: those that fit a filter, or those that were ticked.

A filter that makes no sense, or has a part that no list knows, is refused: left out, it would widen
the job to runs that nobody meant.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, cast

from django.http import QueryDict
from django.utils.dateparse import parse_datetime

from engines.clock import database_now
from runs.errors import Invalid
from runs.models import WorkflowRun
from runs.policy import Actor, visible
from runs.querysets import RunQuerySet
from runs.runfilter import (
    TEXT_REACH,
    UNITS,
    RunFilter,
    dated,
    narrow,
    query_of,
    read_filter,
    text_of,
)

LONGEST_QUERY = 2000
MOST_KEYS = 1000
PLACES = {"after", "before", "shown", "v", "view"}  # where somebody is in a list, not what it shows
SPAN = re.compile(r"(\d{1,4})([mhdw])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """`query`: the filter, canonical and with its times fixed; empty for every run. `keys`: the runs
    that were ticked instead."""

    query: str = ""
    keys: tuple[int, ...] | None = None

    @property
    def words(self) -> str:
        """The filter as people write it."""
        return text_of(read_filter(QueryDict(self.query)))

    def runs(self, actor: Actor) -> RunQuerySet:
        """Those of them that the actor may see. Raises Invalid for a filter that isn't understood
        any more."""
        everything = cast(RunQuerySet, visible(actor, WorkflowRun.objects.all()))
        if self.keys is not None:
            return everything.filter(pk__in=self.keys)
        chosen = read_filter(QueryDict(self.query))
        if chosen.errors:
            raise Invalid({"query": " ".join(chosen.errors.values())})
        return narrow(everything, chosen)


class _Asked(QueryDict):
    """Notes which names somebody looked for."""

    def __init__(self, query: str) -> None:
        super().__init__(query)
        self.noted: set[str] = set()

    def get(self, key: Any, default: Any = None) -> Any:
        self.noted.add(key)
        return super().get(key, default)

    def getlist(self, key: Any, default: Any = None) -> Any:
        self.noted.add(key)
        return super().getlist(key, default)


def read_selection(
    *, query: str = "", keys: Sequence[int] | None = None, everything: bool = False
) -> Selection:
    """Checked and canonical. `everything`: every run is meant, and no filter is given. Raises
    Invalid."""
    if keys is not None:
        if query or everything:
            raise Invalid({"runs": "Name runs or give a filter, not both."})
        return Selection(keys=_clean_keys(keys))
    query = _canonical(query)
    if everything and query:
        raise Invalid({"everything": "Every run, or those that fit a filter: not both."})
    if not everything and not query:
        raise Invalid(
            {"query": "No filter is given. Give one, name runs, or say that every run is meant."}
        )
    return Selection(query=query)


def _clean_keys(keys: Sequence[int]) -> tuple[int, ...]:
    if not keys:
        raise Invalid({"runs": "No run is named: tick some first."})
    if len(keys) > MOST_KEYS:
        raise Invalid({"runs": f"Name at most {MOST_KEYS} runs; more of them by a filter."})
    return tuple(sorted(set(keys), reverse=True))


def _canonical(query: str) -> str:
    """The filter in the words and the order of `query_of`, with times that no clock moves. Raises
    Invalid."""
    asked = _Asked(query.removeprefix("?"))
    chosen = read_filter(asked)
    if chosen.errors:
        raise Invalid({"query": " ".join(chosen.errors.values())})
    given = {name for name, values in asked.lists() if "".join(values).strip()} - PLACES
    if unknown := sorted(given - asked.noted):
        raise Invalid({"query": f"{unknown[0][:50]} is no part of a filter."})
    if given and not chosen.any:
        raise Invalid({"query": "The filter leaves no run out: say that every run is meant."})
    text = query_of(_fixed(chosen))
    if len(text) > LONGEST_QUERY:
        raise Invalid({"query": f"A filter has at most {LONGEST_QUERY} characters."})
    return text


def _fixed(chosen: RunFilter) -> RunFilter:
    """With the moments that a while before now means now; so is the one before which words aren't
    looked for."""
    chosen = dated(chosen)
    spans = SPAN.fullmatch(chosen.since), SPAN.fullmatch(chosen.until)
    if not any(spans) and not chosen.bounded:
        return chosen
    now = database_now()
    since, until = (
        (now - timedelta(**{UNITS[span[2]]: int(span[1])})).isoformat(timespec="seconds")
        if span
        else text
        for span, text in zip(spans, (chosen.since, chosen.until), strict=True)
    )
    if chosen.bounded:
        since = ((parse_datetime(until) or now) - TEXT_REACH).isoformat(timespec="seconds")
    return replace(chosen, since=since, until=until)
