"""Everything that the hub keeps encrypted under WORKFLOWHUB_SECRET_KEYS: found, checked, and put under
the first key."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.db.models import Model, QuerySet

from engines.dag.models import Execution
from engines.models import Engine, EngineJob
from engines.secrets import UnreadableSecret, decrypt, rotate
from runs.models import IdempotencyKey, Secret

BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A column with something encrypted in it. `wrap` and `take`: where the column holds more."""

    column: str
    rows: Callable[[], QuerySet[Any]]
    name: Callable[[Any], str]
    take: Callable[[Any], str] = str
    wrap: Callable[[str], Any] = str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """What came of it: how many are under the first key now, and what none of the keys reads."""

    turned: int
    unreadable: tuple[str, ...]


PLACES = (
    Place(
        column="encrypted_secrets",
        rows=lambda: Engine.objects.exclude(encrypted_secrets=""),
        name=lambda engine: f"the secrets of the engine {engine.name}",
    ),
    Place(
        column="encrypted_secrets",
        rows=lambda: EngineJob.objects.exclude(encrypted_secrets=""),
        name=lambda job: f"the secrets that the engine job {job.pk} tests",
    ),
    Place(
        column="encrypted",
        rows=lambda: Secret.objects.all(),
        name=lambda secret: f"the secret {secret}",
    ),
    Place(
        column="secrets",
        rows=lambda: Execution.objects.exclude(secrets=""),
        name=lambda execution: f"the secrets of the execution {execution.external_id}",
    ),
    Place(
        column="body",
        rows=lambda: IdempotencyKey.objects.filter(body__encrypted__isnull=False),
        name=lambda key: f"the answer kept for the Idempotency-Key {key.pk}",
        take=lambda body: str(body["encrypted"]),
        wrap=lambda token: {"encrypted": token},
    ),
)


def unreadable() -> Iterator[str]:
    """What none of the keys decrypts, by name."""
    for place in PLACES:
        for row in _all(place):
            try:
                decrypt(place.take(getattr(row, place.column)))
            except UnreadableSecret:
                yield place.name(row)


def rotate_all() -> Rotation:
    """Encrypts everything anew under the first key. What is changed meanwhile is left: it was
    written by a process that has the new key already. Twice is fine."""
    turned = 0
    lost: list[str] = []
    for place in PLACES:
        for row in _all(place):
            old = getattr(row, place.column)
            try:
                new = rotate(place.take(old))
            except UnreadableSecret:
                lost.append(place.name(row))
                continue
            same: QuerySet[Any] = type(row)._default_manager.filter(
                pk=row.pk, **{place.column: old}
            )
            turned += same.update(**{place.column: place.wrap(new)})
    return Rotation(turned=turned, unreadable=tuple(lost))


def _all(place: Place) -> Iterator[Model]:
    """In pages by key, so that nothing is held open while rows are written."""
    last = None
    while True:
        page = place.rows().order_by("pk")
        if last is not None:
            page = page.filter(pk__gt=last)
        rows = list(page[:BATCH])
        yield from rows
        if len(rows) < BATCH:
            return
        last = rows[-1].pk
