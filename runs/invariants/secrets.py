"""I10: no text holds a secret, in none of the spellings that engines.masking knows.

Each table is read once, however many secrets there are: PostgreSQL looks for a piece out of the midst
of every spelling with one expression, SQLite hands the texts over; what this leaves is searched for
the whole spellings.
"""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from django.apps import apps
from django.db import connection
from django.db.models import AutoField, CharField, JSONField, Model, QuerySet, TextField
from django.db.models.functions import Cast

from engines.masking import spellings
from engines.models import Engine
from engines.secrets import UnreadableSecret, decrypt
from runs.invariants.check import Check
from runs.models import Secret

SHORTEST = 6
# A shorter line of a secret, or one with blanks, isn't looked for alone: such as `kind: Config` or the
# first line of a key stand in many texts that are no secret.
SHORTEST_LINE = 20
PIECE = 16  # characters of a spelling that the database looks for
PIECES = 500  # in one expression
RANGE = 10_000  # keys whose rows PostgreSQL searches at once
LONG = 5_000  # bytes of a row that is searched alone
BATCH = 200  # rows whose texts are held at once
OURS = ("engines", "dag", "runs")
ENCRYPTED = {"encrypted", "encrypted_secrets", "secrets"}
FIXED = 32  # no secret fits into a shorter column, or one of chosen words

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sought:
    """A secret: what it is, and how it may be spelled in a text and in the text of a JSON column."""

    what: str
    in_text: frozenset[str]
    in_json: frozenset[str]


def _sought(what: str, value: str) -> Sought:
    lines = [line.strip() for line in value.splitlines()]
    alone = [line for line in lines if len(line) >= SHORTEST_LINE and not re.search(r"\s", line)]
    forms = {
        form
        for part in (value, *alone)
        for form in spellings(part, by_line=False)
        if len(form) >= SHORTEST and "\0" not in form
    }
    quoted = {json.dumps(form, ensure_ascii=only)[1:-1] for form in forms for only in (True, False)}
    return Sought(what=what, in_text=frozenset(forms), in_json=frozenset(forms | quoted))


def _known() -> Iterator[tuple[str, str]]:
    """(what it is, its value) of every secret that the keys decrypt."""
    for engine in Engine.objects.exclude(encrypted_secrets=""):
        try:
            for name, value in engine.secrets.items():
                yield f"{name} of {engine.name}", value
        except UnreadableSecret:
            continue
    for secret in Secret.objects.all():
        try:
            yield f"the secret {secret}", decrypt(secret.encrypted)
        except UnreadableSecret:
            continue


def _texts(model: type[Model]) -> dict[str, bool]:
    """The columns in which somebody's text could stand -> whether it is JSON."""
    return {
        field.attname: isinstance(field, JSONField)
        for field in model._meta.concrete_fields
        if isinstance(field, (CharField, TextField, JSONField))
        and field.name not in ENCRYPTED
        and not field.choices
        and (getattr(field, "max_length", None) or FIXED) >= FIXED
    }


def _secrets() -> Iterator[str]:
    known = [_sought(what, value) for what, value in _known() if len(value) >= SHORTEST]
    if not known:
        return
    pieces = _pieces(form for secret in known for form in secret.in_json)
    for label in OURS:
        for model in apps.get_app_config(label).get_models():
            if columns := _texts(model):
                yield from _found(model, columns, known, pieces)


def _pieces(forms: Iterable[str]) -> list[str]:
    """The middle of each form, which differs most; none that has another one in it."""
    middles = {form[max(len(form) - PIECE, 0) // 2 :][:PIECE] for form in forms}
    kept: list[str] = []
    for piece in sorted(middles, key=lambda piece: (len(piece), piece)):
        if not any(other in piece for other in kept):
            kept.append(piece)
    return kept


def _found(
    model: type[Model], columns: dict[str, bool], known: Sequence[Sought], pieces: Sequence[str]
) -> Iterator[str]:
    as_text = {f"{name}_text": Cast(name, TextField()) for name in columns}
    rows = model._default_manager.annotate(**as_text).order_by()
    for part in _suspects(model, rows, pieces):
        read = part.values_list("pk", *as_text).iterator(chunk_size=BATCH)
        for page in _parts(read, BATCH):
            # The texts of many rows are searched at once: nearly always there is nothing in them.
            everything = "\n".join(text for _, *texts in page for text in texts if text)
            if any(piece in everything for piece in pieces):
                for pk, *texts in page:
                    for what, where in _held(columns, texts, known):
                        yield f"{model._meta.verbose_name} {pk} holds {what} in {where}"


def _held(
    columns: dict[str, bool], texts: Sequence[str | None], known: Sequence[Sought]
) -> Iterator[tuple[str, str]]:
    """(which secret, in which columns)."""
    for secret in known:
        held = [
            name
            for (name, is_json), text in zip(columns.items(), texts, strict=True)
            if text and any(f in text for f in (secret.in_json if is_json else secret.in_text))
        ]
        if held:
            yield secret.what, ", ".join(held)


def _suspects(
    model: type[Model], rows: QuerySet[Any], pieces: Sequence[str]
) -> Iterator[QuerySet[Any]]:
    """The rows that may have one of the pieces in a text. On PostgreSQL those of a range of keys in
    which there is one; else all."""
    if connection.vendor != "postgresql" or not isinstance(model._meta.pk, AutoField):
        yield rows
        return
    patterns = ["|".join(map(re.escape, part)) for part in _parts(pieces, PIECES)]
    with connection.cursor() as cursor:
        cursor.execute(_search(model, len(patterns)), [*patterns, *patterns])
        ranges = [first for (first,) in cursor.fetchall()]
    for first in ranges:
        yield rows.filter(pk__gte=first, pk__lt=first + RANGE)


def _search(model: type[Model], patterns: int) -> str:
    """A statement that gives the first key of each range of keys with a match.

    An expression of many words is dear to begin with (PostgreSQL forgets after each text what it has
    worked out of it), then as fast as one of few: so it is given the texts of a whole range as one.
    """
    quote = connection.ops.quote_name
    columns = [f"{quote(name)}::text" for name in _texts(model)]
    table, key = quote(model._meta.db_table), quote(str(model._meta.pk and model._meta.pk.column))
    short, long = (
        " OR ".join([f"{text} ~ %s"] * patterns) for text in ("of_range.short", "of_row.texts")
    )
    return f"""
        SELECT range.first
        FROM (SELECT min({key}) AS low, max({key}) AS high FROM {table}) AS ends,
        LATERAL generate_series(ends.low, ends.high, {RANGE}) AS range (first),
        LATERAL (
            SELECT
                string_agg(texts, E'\\n') FILTER (WHERE octet_length(texts) <= {LONG}) AS short,
                bool_or(CASE WHEN octet_length(texts) > {LONG} THEN {long} END) AS long
            FROM (
                SELECT concat_ws(E'\\n', {", ".join(columns)}) AS texts
                FROM {table}
                WHERE {key} >= range.first AND {key} < range.first + {RANGE}
                OFFSET 0
            ) AS of_row
            OFFSET 0
        ) AS of_range
        WHERE of_range.long OR {short}
        """  # noqa: S608 - the names are those of our models


def _parts(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    left = iter(items)
    while part := list(islice(left, size)):
        yield part


CHECKS = (
    Check(
        code="I10",
        holds="No text of the database holds a secret.",
        remedy="Change the secret at the engine and here, then clear the text.",
        find=_secrets,
    ),
)
