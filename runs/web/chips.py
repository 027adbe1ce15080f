"""The parts of a filter of runs as links: one takes a part away, another adds one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from django.urls import reverse
from django.utils.http import urlencode

from runs.runfilter import RunFilter, pairs_of, query_of
from runs.runquery import PARAMETERS, requirements
from runs.states import RunState, Trigger

ALL = "all"  # `view=all`: what the bare address shows who opens it without a default view
FIELDS = {
    "state": "states",
    "labels": "labels",
    "trigger": "triggers",
    "id": "ids",
    "q": "words",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """`word` and `text`: what it says. `url`: the list without it or, where it isn't `on`, with it."""

    word: str
    text: str
    url: str
    on: bool = True


def address(chosen: RunFilter, view: str = "") -> str:
    """The list's URL with this filter. `view`: the tab that stays chosen."""
    query = query_of(chosen)
    view = view if view != ALL else ""
    tab = urlencode({"view": view or ALL}) if view or not query else ""
    return f"{reverse('runs')}?{'&'.join(filter(None, (query, tab)))}"


def chips_of(chosen: RunFilter, view: str = "") -> list[Chip]:
    """A chip for each part of the filter, for each requirement of its labels."""
    found: list[Chip] = []
    for name, value in pairs_of(chosen):
        word = PARAMETERS.get(name, "words")
        if name == "labels":
            each = requirements(value)
            for one in each:
                rest = ",".join(other for other in each if other != one)
                found.append(_chip(word, one, replace(chosen, labels=rest), view))
        else:
            found.append(_chip(word, said(name, value), without(chosen, name), view))
    return found


def quick_chips(chosen: RunFilter, view: str, username: str) -> list[Chip]:
    """What is asked for most: each a switch."""
    failed, running = RunState.FAILED, RunState.RUNNING
    wanted: Sequence[tuple[str, str, str]] = (
        (failed.label, "state", failed.value),
        (running.label, "state", running.value),
        ("Mine", "by", username),
        ("Last 24 h", "since", "24h"),
    )
    now = dict(pairs_of(chosen))
    return [
        Chip(
            word=name,
            text=text,
            url=address(
                without(chosen, name) if now.get(name) == value else added(chosen, name, value),
                view,
            ),
            on=now.get(name) == value,
        )
        for text, name, value in wanted
    ]


def added(chosen: RunFilter, name: str, value: str) -> RunFilter:
    """The filter with this parameter instead of what it was; a label stands beside the others."""
    if name == "labels" and chosen.labels and "labels" not in chosen.errors:
        each = dict.fromkeys([*requirements(chosen.labels), value])
        return replace(chosen, labels=",".join(each))
    values = (value,) if name in {"state", "trigger"} else value
    return replace(chosen, **{FIELDS.get(name, name): values})  # type: ignore[arg-type]


def without(chosen: RunFilter, name: str) -> RunFilter:
    field = FIELDS.get(name, name)
    return replace(chosen, **{field: type(getattr(chosen, field))()})


def said(name: str, value: str) -> str:
    """A part's value as people read it."""
    labels = {**dict(RunState.choices), **dict(Trigger.choices)}
    if name in {"state", "trigger"}:
        return " or ".join(str(labels[one]).lower() for one in value.split(","))
    return f"{value[:12]}…" if name == "fingerprint" and len(value) > 12 else value


def _chip(word: str, text: str, rest: RunFilter, view: str) -> Chip:
    return Chip(word=word, text=text, url=address(rest, view))
