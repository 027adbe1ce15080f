"""The filter of the list of runs, as its URL says it: `?state=FAILED&workflow=…&engine=…&labels=…
&since=24h&q=…`. A part that makes no sense is told beside its control and left out."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from engines.models import Engine
from engines.selectors import SelectorError, parse_selector
from runs.models import Workflow
from runs.querysets import RunQuerySet
from runs.states import ACTIVE_RUN_STATES, RunState

# A search for words reads row by row, so it never goes further back than this unasked.
TEXT_REACH = timedelta(days=30)
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
SPANS = [("1h", "1 h"), ("24h", "24 h"), ("7d", "7 d"), ("30d", "30 d")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """What to show. `errors`: name of a control -> what is wrong with it."""

    states: tuple[str, ...] = ()
    workflow: str = ""
    engine: str = ""
    labels: str = ""
    since: str = ""
    until: str = ""
    words: str = ""
    fingerprint: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Whether anything is left out of the list."""
        return bool(
            self.states
            or self.workflow
            or self.engine
            or self.labels
            or self.since
            or self.until
            or self.words
            or self.fingerprint
        )


def read_filter(asked: Any) -> RunFilter:
    """The filter of a query string (a QueryDict)."""
    errors: dict[str, str] = {}
    states: list[str] = []
    for word in asked.getlist("state"):
        for name in str(word).upper().split(","):
            if name == "ACTIVE":
                states += sorted(ACTIVE_RUN_STATES)
            elif name in RunState.values:
                states.append(name)
            elif name:
                errors["state"] = f"{name[:30]} is no state of a run."
    labels = asked.get("labels", "").strip()[:1000]
    try:
        parse_selector(labels)
    except SelectorError as error:
        errors["labels"] = str(error)
    for name in ("since", "until"):
        text = asked.get(name, "").strip()
        if text and _moment(text) is None:
            errors[name] = f"{text[:30]!r} is no time: write 30m, 24h, 7d or 2026-01-31T12:00."
    return RunFilter(
        states=tuple(dict.fromkeys(states)),
        workflow=_clean(asked.get("workflow", "")),
        engine=_clean(asked.get("engine", "")),
        labels=labels,
        since=asked.get("since", "").strip()[:40],
        until=asked.get("until", "").strip()[:40],
        words=_clean(asked.get("q", "")),
        fingerprint=_clean(asked.get("fingerprint", ""))[:64],
        errors=errors,
    )


def narrow(runs: RunQuerySet, chosen: RunFilter) -> RunQuerySet:
    """The runs that fit."""
    if chosen.states:
        runs = runs.filter(state__in=chosen.states)
    if chosen.workflow:
        # Keys instead of names: the indexes (workflow, -id) and (engine, -id) then lead the way.
        titled = Workflow.objects.filter(title=chosen.workflow)
        runs = runs.filter(workflow__in=list(titled.values_list("pk", flat=True)))
    if chosen.engine:
        named = Engine.objects.filter(name=chosen.engine)
        runs = runs.filter(engine__in=list(named.values_list("pk", flat=True)))
    if chosen.fingerprint:
        runs = runs.filter(fingerprint=chosen.fingerprint)
    if chosen.labels and "labels" not in chosen.errors:
        runs = runs.for_selector(chosen.labels)
    since, until = _moment(chosen.since), _moment(chosen.until)
    if chosen.words and since is None:
        since = timezone.now() - TEXT_REACH
    runs = runs.created(since, until)
    if chosen.words:
        number = chosen.words.lstrip("#")
        if number.isdecimal() and len(number) < 15:
            return runs.filter(pk=int(number)) | runs.containing(chosen.words)
        runs = runs.containing(chosen.words)
    return runs


def _moment(text: str) -> datetime | None:
    span = re.fullmatch(r"(\d{1,4})([mhdw])", text)
    if span:
        return timezone.now() - timedelta(**{UNITS[span[2]]: int(span[1])})
    try:
        when = parse_datetime(text)
    except ValueError:
        return None
    if when is None:
        return None
    return timezone.make_aware(when) if timezone.is_naive(when) else when


def _clean(text: str) -> str:
    return text.replace("\x00", "").strip()[:200]
