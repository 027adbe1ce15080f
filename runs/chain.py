"""The audit log's chain of hashes: each entry's digest covers its content and the digest before it, so
that an entry changed or taken out later shows. Written in batches by cleanup, checked by fsck."""

import hashlib
import json
from collections.abc import Iterator

from django.db import transaction

from runs.models import AuditEntry, Lease

BATCH = 500
LOCK = "audit-chain"


def extend() -> int:
    """Gives every entry that has none its digest; how many. Two at once take turns."""
    done = 0
    while number := _extend_some():
        done += number
    return done


def broken() -> Iterator[AuditEntry]:
    """Entries whose digest doesn't follow from the one before."""
    before = ""
    for entry in AuditEntry.objects.exclude(digest="").order_by("pk").iterator(chunk_size=BATCH):
        if entry.digest != digest_of(entry, before):
            yield entry
        before = entry.digest


def digest_of(entry: AuditEntry, before: str) -> str:
    """SHA-256 over the entry and the digest of the one before it."""
    content = [
        before,
        entry.pk,
        entry.at.timestamp(),
        entry.actor_name,
        entry.face,
        entry.action,
        entry.object_kind,
        entry.object_id,
        entry.object_name,
        entry.detail,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _extend_some() -> int:
    with transaction.atomic():
        Lease.objects.get_or_create(name=LOCK)
        Lease.objects.select_for_update().get(name=LOCK)
        last = AuditEntry.objects.exclude(digest="").order_by("-pk").first()
        before = last.digest if last else ""
        rows = AuditEntry.objects.filter(digest="")
        if last:
            # An entry whose transaction ended late may lie before the chain's end: it stays out.
            rows = rows.filter(pk__gt=last.pk)
        entries = list(rows.order_by("pk")[:BATCH])
        for entry in entries:
            entry.digest = before = digest_of(entry, before)
        AuditEntry.objects.bulk_update(entries, ["digest"])
    return len(entries)
