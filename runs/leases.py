"""Leases on the database's clock with a fencing token (docs/decisions/0002).

A holder that was paused past its lease finds, in the same transaction as its write, that its token is
no longer the newest, and writes nothing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import connection

from engines.clock import database_now
from runs.models import Lease


class LeaseLost(Exception):
    """Somebody else holds the lease now, or it ran out: what was about to be written is void."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fence:
    """Proof of a lease, to be checked in every transaction that writes under it."""

    name: str
    owner: UUID
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Somebody holds a lease, as it is now: until when, and for how many seconds more."""

    until: datetime
    left: float


def held(name: str) -> Held | None:
    """How long somebody still holds the lease; None where `acquire` is worth a write."""
    now = database_now()
    rows = Lease.objects.filter(name=name, expires_at__gte=now)
    until = rows.values_list("expires_at", flat=True).first()
    return Held(until=until, left=(until - now).total_seconds()) if until else None


def acquire(
    name: str, owner: UUID, seconds: float, *, until: datetime | None = None
) -> Fence | None:
    """Takes a free or expired lease; None while somebody else (or we ourselves) holds it. `until`:
    takes it also if it is held until then: the database's clock was put back, and nobody renews it."""
    now = database_now()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO runs_lease (name, owner, token, expires_at) VALUES (%s, %s, 1, %s) "
            "ON CONFLICT (name) DO UPDATE SET owner = EXCLUDED.owner, "
            "token = runs_lease.token + 1, expires_at = EXCLUDED.expires_at "
            "WHERE runs_lease.expires_at IS NULL OR runs_lease.expires_at < %s "
            "OR runs_lease.expires_at = %s RETURNING token",
            [
                name,
                _uuid(owner),
                _time(now + timedelta(seconds=seconds)),
                _time(now),
                _time(until) if until else None,
            ],
        )
        row = cursor.fetchone()
    return Fence(name=name, owner=owner, token=row[0]) if row else None


def renew(fence: Fence, seconds: float) -> bool:
    """Lengthens the lease from now on; False when it is no longer ours."""
    now = database_now()
    return bool(
        Lease.objects.filter(
            name=fence.name, owner=fence.owner, token=fence.token, expires_at__gt=now
        ).update(expires_at=now + timedelta(seconds=seconds))
    )


def release(fence: Fence) -> None:
    """Gives the lease up at once, so that a take-over needn't wait for its end."""
    Lease.objects.filter(name=fence.name, owner=fence.owner, token=fence.token).update(
        expires_at=None
    )


def check(fence: Fence) -> None:
    """Inside a transaction: raises LeaseLost unless the lease is ours until the commit."""
    held = Lease.objects.filter(
        name=fence.name, owner=fence.owner, token=fence.token, expires_at__gt=database_now()
    )
    if connection.vendor == "postgresql":
        # A take-over must wait until this transaction ends.
        held = held.select_for_update(no_key=True)
    if not held.values_list("token", flat=True):
        raise LeaseLost(f"The lease {fence.name} was taken over.")


def _uuid(value: UUID) -> Any:
    return value if connection.features.has_native_uuid_field else value.hex


def _time(value: datetime) -> Any:
    return connection.ops.adapt_datetimefield_value(value)
