"""Writes the audit log: who did what to which object, in the transaction of the deed."""

from typing import Any

from django.db.models import Model

from runs.bulk import without_nul
from runs.models import AuditEntry
from runs.policy import Actor


def record(actor: Actor, action: str, obj: Model | str, **detail: Any) -> None:
    """`detail` must hold no secret values: callers name what changed, not what it became."""
    kind, key, name = (
        (obj._meta.model_name or "", str(obj.pk), str(obj))
        if isinstance(obj, Model)
        else (obj, "", obj)
    )
    AuditEntry.objects.create(
        actor=actor.user if actor.user and actor.user.pk else None,  # type: ignore[misc]
        actor_name=actor.name,
        face=actor.face,
        action=action,
        object_kind=kind,
        object_id=key,
        object_name=name[:300],
        detail=without_nul(detail),
    )
