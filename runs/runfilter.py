"""The filter of the list of runs, as its URL says it: `?state=FAILED&workflow=…&engine=…&labels=…&since=24h
&q=…`, or in the language of the query box (runs.runquery) as `?query=…`. What makes no sense is told in
`errors` and left out; who changes runs by a filter refuses one that has any."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet, Value
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from engines.models import Engine
from engines.selectors import SelectorError, parse_selector
from runs.models import RunLabel, Workflow
from runs.querysets import RunQuerySet, known_labels
from runs.runquery import PARAMETERS, Pair, read, requirements, spell
from runs.states import ACTIVE_RUN_STATES, RunState, Trigger

# What no index leads to is looked for row by row, so it never goes further back than this unasked.
TEXT_REACH = timedelta(days=30)
EARLIEST = "1"  # of a date: years before 1000 leave no room for the while before them
UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
LONGEST = {"labels": 1000, "task": 250, "engine": 63, "fingerprint": 64}  # characters
LONG = 200
MOST_IDS = 100
NAMES = (*PARAMETERS, "q")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFilter:
    """What to show. `errors`: name of a control, or what was written -> what is wrong with it."""

    states: tuple[str, ...] = ()
    workflow: str = ""
    engine: str = ""
    labels: str = ""
    since: str = ""
    until: str = ""
    words: str = ""
    fingerprint: str = ""
    error: str = ""
    task: str = ""
    by: str = ""
    triggers: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    errors: Mapping[str, str] = field(default_factory=dict)

    @property
    def any(self) -> bool:
        """Whether anything is left out of the list."""
        return bool(pairs_of(self))

    @property
    def bounded(self) -> bool:
        """Whether it goes back no further than TEXT_REACH, because it reads row by row."""
        by_row = self.words or self.error or self.task or self.triggers
        return bool(by_row and not self.ids and moment(self.since) is None)


def read_filter(asked: Any) -> RunFilter:
    """The filter of a query string (a QueryDict): of its parameters, and of the text in `query`."""
    reading = read(asked.get("query", ""))
    errors = dict(reading.errors)
    given: dict[str, list[str]] = {name: list(asked.getlist(name)) for name in NAMES}
    for name, value in reading.pairs:
        given[name].append(value)

    def one(name: str) -> str:
        found = list(dict.fromkeys(filter(None, map(_clean, given[name]))))
        most = LONGEST.get(name, LONG)
        word = PARAMETERS.get(name, "words")
        if len(found) > 1:
            errors[name] = f"{word} is given {len(found)} times: only “{found[0][:60]}” counts."
        if found and len(found[0]) > most:
            errors[name] = f"{word}: only the first {most} characters count."
        return found[0][:most].strip() if found else ""

    def several(name: str, known: Callable[[str], Sequence[str]]) -> list[str]:
        found: list[str] = []
        for word in ",".join(given[name]).split(","):
            if word := _clean(word):
                try:
                    found += known(word)
                except ValueError as error:
                    errors[name] = str(error)
        return list(dict.fromkeys(found))

    ids = [int(key) for key in several("id", _number)]
    if len(ids) > MOST_IDS:
        errors["id"] = f"Only the first {MOST_IDS} numbers count."
    found = RunFilter(
        states=tuple(several("state", _states)),
        workflow=one("workflow"),
        engine=one("engine"),
        labels=_labels(given["labels"], errors),
        since=one("since"),
        until=one("until"),
        words=one("q"),
        fingerprint=one("fingerprint"),
        error=one("error"),
        task=one("task"),
        by=one("by"),
        triggers=tuple(several("trigger", _triggers)),
        ids=tuple(dict.fromkeys(ids))[:MOST_IDS],
    )
    for name, text in (("since", found.since), ("until", found.until)):
        if text and moment(text) is None:
            errors[name] = f"{text[:30]!r} is no time: write 30m, 24h, 7d or 2026-01-31T12:00."
    return replace(found, errors=errors)


def pairs_of(chosen: RunFilter) -> list[Pair]:
    """The filter as URL parameters, always in the same order."""
    found = {
        "state": ",".join(chosen.states),
        "workflow": chosen.workflow,
        "engine": chosen.engine,
        "labels": chosen.labels,
        "error": chosen.error,
        "task": chosen.task,
        "by": chosen.by,
        "trigger": ",".join(chosen.triggers),
        "id": ",".join(map(str, chosen.ids)),
        "since": chosen.since,
        "until": chosen.until,
        "fingerprint": chosen.fingerprint,
        "q": chosen.words,
    }
    return [(name, value) for name, value in found.items() if value]


def query_of(chosen: RunFilter) -> str:
    """The filter as the query string of the list's URL, without `?`."""
    return urlencode(pairs_of(chosen), safe=",:!")


def text_of(chosen: RunFilter) -> str:
    """The filter in the language of the query box."""
    return spell(pairs_of(chosen))


def dated(chosen: RunFilter) -> RunFilter:
    """The filter with its dates in full, for those who read it in another time zone; a length of time,
    such as 24h, stays what it is."""

    def full(text: str) -> str:
        when = None if _span(text) else moment(text)
        return when.isoformat() if when else text

    return replace(chosen, since=full(chosen.since), until=full(chosen.until))


def narrow(runs: RunQuerySet, chosen: RunFilter) -> RunQuerySet:
    """The runs that fit. One statement before it is read, where names have to be looked up."""
    named = _named(chosen)
    if chosen.states:
        runs = runs.filter(state__in=chosen.states)
    for column in ("workflow", "engine", "created_by"):
        if column in named:
            runs = runs.filter(**{f"{column}__in": [key for key, _ in named[column]]})
    if chosen.fingerprint:
        runs = runs.filter(fingerprint=chosen.fingerprint)
    if chosen.ids:
        runs = runs.filter(pk__in=chosen.ids)
    if chosen.triggers:
        runs = runs.filter(trigger__in=chosen.triggers)
    if chosen.task:
        of_one = Q(error_task=chosen.task) | Q(error_task__startswith=f"{chosen.task}[")
        runs = runs.filter(of_one)
    if chosen.error:
        runs = runs.filter(error__icontains=chosen.error)
    if chosen.labels and "labels" not in chosen.errors:
        wanted = parse_selector(chosen.labels)
        known = [named[f"label {at}"] for at in range(len(wanted))]
        runs = runs.for_selector(chosen.labels, known)
    since, until = moment(chosen.since), moment(chosen.until)
    if chosen.bounded:
        since = (until or timezone.now()) - TEXT_REACH
    runs = runs.created(since, until)
    if chosen.words:
        number = chosen.words.lstrip("#")
        if number.isdecimal() and len(number) < 15:
            return runs.filter(pk=int(number)) | runs.containing(chosen.words)
        runs = runs.containing(chosen.words)
    return runs


def _named(chosen: RunFilter) -> dict[str, list[tuple[int, int | None]]]:
    """Column, or `label <n>` -> the keys of what is named, and of labels the newest run that has each; in
    one statement. With keys instead of names, the indexes (workflow, -id), (engine, -id) … lead the way."""
    users: Any = get_user_model()._default_manager
    wanted: dict[str, QuerySet[Any]] = {}
    if chosen.workflow:
        wanted["workflow"] = Workflow.objects.filter(title=chosen.workflow)
    if chosen.engine:
        wanted["engine"] = Engine.objects.filter(name=chosen.engine)
    if chosen.by:
        wanted["created_by"] = users.filter(username=chosen.by)
    wanted = {name: rows.annotate(newest=Value(0)) for name, rows in wanted.items()}
    if chosen.labels and "labels" not in chosen.errors:
        for at, requirement in enumerate(parse_selector(chosen.labels)):
            wanted[f"label {at}"] = known_labels(requirement, RunLabel, "run")
    parts = [
        rows.order_by().annotate(part=Value(at)).values_list("part", "pk", "newest")
        for at, rows in enumerate(wanted.values())
    ]
    found: dict[str, list[tuple[int, int | None]]] = {name: [] for name in wanted}
    if parts:
        names = list(wanted)
        for at, key, newest in parts[0].union(*parts[1:], all=True) if parts[1:] else parts[0]:
            found[names[at]].append((key, newest))
    return found


def _labels(given: list[str], errors: dict[str, str]) -> str:
    """The selector: each requirement once, without blanks around it."""
    written = ",".join(text for text in given if text.strip()).strip()
    if len(written) > LONGEST["labels"]:
        errors["labels"] = f"Labels of more than {LONGEST['labels']:,} characters were left out."
        return ""
    try:
        parse_selector(written)
    except SelectorError as error:
        errors["labels"] = str(error)
        return written.replace("\x00", "")
    each = (one.strip() for one in requirements(written))
    return ",".join(dict.fromkeys(filter(None, each)))


def _states(word: str) -> list[str]:
    name = word.upper()
    if name == "ACTIVE":
        return sorted(ACTIVE_RUN_STATES)
    if name in RunState.values:
        return [name]
    known = [*(state.lower() for state in RunState.values), "active"]
    raise ValueError(f"{name[:30]} is no state of a run. {_guess(word, known)}")


def _triggers(word: str) -> list[str]:
    if word.lower() in Trigger.values:
        return [word.lower()]
    raise ValueError(f"“{word[:30]}” starts no run. {_guess(word, Trigger.values)}")


def _number(word: str) -> list[str]:
    number = word.removeprefix("#")
    if number.isascii() and number.isdecimal() and len(number) < 19:
        return [str(int(number))]
    raise ValueError(f"“{word[:30]}” is no number of a run.")


def _guess(word: str, known: Sequence[str]) -> str:
    near = get_close_matches(word.lower(), known, 1, 0.5)
    return f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}."


def _span(text: str) -> timedelta | None:
    span = re.fullmatch(r"([0-9]{1,4})([mhdw])", text)
    return timedelta(**{UNITS[span[2]]: int(span[1])}) if span else None


def moment(text: str) -> datetime | None:
    """The time that somebody wrote, in their time zone or as the while until now; None: it is none."""
    span = _span(text)
    if span is not None:
        return timezone.now() - span
    if text < EARLIEST:
        return None
    try:
        when = parse_datetime(text)
        if when is not None and timezone.is_naive(when):
            when = timezone.make_aware(when)
        if when is not None:
            when.astimezone(UTC)
    except (ValueError, OverflowError):  # no such day, or one before the first year in UTC
        return None
    return when


def _clean(text: str) -> str:
    return text.replace("\x00", "").strip()
