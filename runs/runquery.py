"""The language of the query box over the list of runs: `state:failed label:team=physics error:"a b" words`.

It is another spelling of that page's URL parameters: `read` makes them of a text, `spell` a text of them.
Parts are joined by "and". What makes no sense is explained and left out of the answer; no text raises.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

MOST_TEXT = 2000  # characters
MOST_MISTAKES = 10
# Word of the language -> URL parameter.
FIELDS = {
    "state": "state",
    "workflow": "workflow",
    "engine": "engine",
    "label": "labels",
    "error": "error",
    "task": "task",
    "by": "by",
    "trigger": "trigger",
    "since": "since",
    "until": "until",
    "id": "id",
    "fingerprint": "fingerprint",
}
PARAMETERS = {parameter: word for word, parameter in FIELDS.items()}
EXAMPLES = {
    "state": "state:failed,canceled",
    "workflow": 'workflow:"Nightly import"',
    "engine": "engine:local",
    "label": "label:team=physics",
    "error": 'error:"KeyError"',
    "task": "task:load",
    "by": "by:ada",
    "trigger": "trigger:schedule",
    "since": "since:24h",
    "until": "until:2026-01-31",
    "id": "id:123",
    "fingerprint": "fingerprint:0a1b2c",
}
MEANINGS = {
    "state": "one of these states",
    "workflow": "the title of the workflow",
    "engine": "the engine that has it",
    "label": "or label:team, label:!draft",
    "error": "words of its error",
    "task": "the task that it failed of",
    "by": "who started it",
    "trigger": "what started it",
    "since": "made then or later: 30m, 7d, a date",
    "until": "made before",
    "id": "its number",
    "fingerprint": "failed in the same way",
}
HELP = [
    *((EXAMPLES[field], meaning) for field, meaning in MEANINGS.items()),
    ("some words", "in title, error, task, note or id"),
]
_FIELD = re.compile(r"([-!]?)([A-Za-z_]+):")
_QUOTED = re.compile(r'"((?:\\.|[^"\\])*)"', re.DOTALL)
_BARE = re.compile(r'[^\s"]+')
_CONNECTIVES = {"AND", "OR", "NOT"}

Pair = tuple[str, str]
"""(URL parameter, value)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """`errors`: what is wrong -> the sentence that explains it."""

    pairs: tuple[Pair, ...]
    errors: dict[str, str]


def read(text: str) -> Reading:
    """What a text says, as URL parameters in its order; its free words come last."""
    if len(text) > MOST_TEXT:
        problem = f"The filter is longer than {MOST_TEXT:,} characters, so none of it was read."
        return Reading(pairs=(), errors={"query": problem})
    pairs: list[Pair] = []
    words: list[str] = []
    errors: dict[str, str] = {}
    for field, value, raw in _terms(text, errors):
        if field:
            pairs += _pair(field, value, errors)
        elif raw in _CONNECTIVES:
            errors[raw] = (
                f"{raw} is not understood: all parts have to fit. Several states are written "
                f'state:failed,canceled; to look for the word, write "{raw}".'
            )
        else:
            words.append(value)
    if words:
        pairs.append(("q", " ".join(words)))
    return Reading(pairs=tuple(pairs), errors=dict(list(errors.items())[:MOST_MISTAKES]))


def spell(pairs: Iterable[Pair]) -> str:
    """The text that reads as these parameters; of one that the language doesn't know it holds nothing."""
    terms: list[str] = []
    for name, value in pairs:
        if name == "q":
            terms.append(_words(value))
        elif name == "labels":
            terms += [f"label:{quoted(one)}" for one in requirements(value)]
        elif name in PARAMETERS:
            shown = value.lower() if name == "state" else value
            terms.append(f"{PARAMETERS[name]}:{quoted(shown)}")
    return " ".join(terms)


def quoted(value: str) -> str:
    """A value as the language writes it: in quotation marks where it has to be."""
    if value and not re.search(r'[\s"]', value):
        return value
    return _in_marks(value)


def requirements(selector: str) -> list[str]:
    """The parts of a label selector, as they are written; the whole where it has empty ones."""
    parts = re.split(r",(?![^()]*\))", selector)
    return parts if all(part.strip() for part in parts) else [selector]


def _terms(text: str, errors: dict[str, str]) -> Iterable[tuple[str, str, str]]:
    """(field or "", value, the value as it is written) of each term."""
    at = 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        field = ""
        named = _FIELD.match(text, at)
        if named:
            field, at = named[0], named.end()
        start, pieces = at, []
        while at < len(text) and not text[at].isspace():
            whole = _QUOTED.match(text, at)
            bare = _BARE.match(text, at)
            if whole:
                pieces.append(re.sub(r"\\(.)", r"\1", whole[1], flags=re.DOTALL))
            elif bare:
                pieces.append(bare[0])
            else:
                errors['"'] = 'A quotation mark " is not closed.'
                pieces.append(text[at + 1 :])
            at = whole.end() if whole else bare.end() if bare else len(text)
        yield field, "".join(pieces), text[start:at]


def _pair(field: str, value: str, errors: dict[str, str]) -> list[Pair]:
    """The parameter of a term with a field; none, and an error, where there is no such field."""
    sign, word = field[:-1][:1], field[:-1].lstrip("-!").lower()
    if sign in {"-", "!"}:
        errors[field] = (
            f"“{field}” can't be left out with {sign}: only labels can, as label:!draft or label:tier!=gold."
        )
        return []
    word = "label" if word == "labels" else word
    if word not in FIELDS:
        near = get_close_matches(word, FIELDS, 1, 0.5)
        known = f"did you mean {near[0]}:?" if near else f"there are {', '.join(FIELDS)}."
        errors[field] = (
            f"“{field[:30]}” is no field: {known} Words with a colon stand in quotation marks."
        )
        return []
    if not value.strip():
        errors[field] = f"{word}: needs a value right behind the colon, such as {EXAMPLES[word]}."
        return []
    return [(FIELDS[word], value)]


def _words(value: str) -> str:
    """Free words; in quotation marks where they would be read otherwise."""
    plain = value == " ".join(value.split()) and '"' not in value
    terms = value.split()
    if plain and not any(_FIELD.match(term) or term in _CONNECTIVES for term in terms):
        return value
    return _in_marks(value)


def _in_marks(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
