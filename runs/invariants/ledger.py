"""I5, I9 and A1: leases, heartbeats and waits end, stored answers are whole, and the audit log is as it
was written."""

from collections.abc import Iterator
from datetime import timedelta

from django.conf import settings
from django.db.models import F, Q, QuerySet
from django.utils import timezone

from engines.clock import database_now
from engines.dag import leases
from engines.dag.models import Worker
from runs import chain
from runs.invariants.check import Check
from runs.models import IdempotencyKey, Lease, Workflow, WorkflowRun


def _immortal() -> QuerySet[Lease]:
    longest = timedelta(seconds=2 * settings.WORKFLOWHUB_LEASE)
    return Lease.objects.filter(expires_at__gt=database_now() + longest)


def _end_leases() -> int:
    return _immortal().update(expires_at=None, token=F("token") + 1)


def _of_later() -> QuerySet[Worker]:
    """Workers whose last heartbeat is still to come. One that lives puts it right with the next."""
    longest = timedelta(seconds=settings.WORKFLOWHUB_WORKER_LOST_AFTER)
    return Worker.objects.filter(ended_at=None, heartbeat_at__gt=database_now() + longest)


def _listen() -> int:
    before = _of_later().count()
    leases.recover_patiently()
    return before - _of_later().count()


def _misdated() -> Iterator[str]:
    now = database_now()
    for pk in WorkflowRun.objects.misdated(now).values_list("pk", flat=True).iterator():
        yield f"run {pk}"
    for pk in Workflow.objects.misdated(now).values_list("pk", flat=True).iterator():
        yield f"workflow {pk}"


def _make_due() -> int:
    now = database_now()
    waiting = (WorkflowRun.objects.misdated(now), Workflow.objects.misdated(now))
    return sum(rows.update(next_check_at=now) for rows in waiting)


def _halves() -> QuerySet[IdempotencyKey]:
    """Stored answers without one: a key and its answer are written together."""
    return IdempotencyKey.objects.filter(Q(status=None) | Q(status__gte=400))


def _half_names() -> Iterator[str]:
    for user, key, status in _halves().values_list("user_id", "key", "status").iterator():
        yield f"key {key[:40]} of user {user} has {status or 'no answer'}"


def _drop_halves() -> int:
    return _halves().delete()[0]


def _chain() -> Iterator[str]:
    for entry in chain.broken():
        yield f"audit entry {entry.pk} of {timezone.localtime(entry.at):%Y-%m-%d %H:%M}"


CHECKS = (
    Check(
        code="I5",
        holds="No lease lasts for more than twice its length.",
        remedy="The database's clock jumped. Run fsck --fix: it ends them.",
        find=lambda: (f"lease {lease.name}" for lease in _immortal()),
        mend=_end_leases,
    ),
    Check(
        code="I5b",
        holds="No worker's heartbeat is of a time to come.",
        remedy="The database's clock jumped. Run fsck --fix: it listens, and who is silent is lost.",
        find=lambda: (f"worker {worker}" for worker in _of_later()),
        mend=_listen,
    ),
    Check(
        code="I5c",
        holds="Nothing waits to be looked at for longer than it is ever told to.",
        remedy="The database's clock jumped. A sync process or fsck --fix makes it due.",
        find=_misdated,
        mend=_make_due,
    ),
    Check(
        code="I9",
        holds="Every idempotency key has the answer of one successful call.",
        remedy="Run fsck --fix: it drops the keys, so that their calls may be made again.",
        find=_half_names,
        mend=_drop_halves,
    ),
    Check(
        code="A1",
        holds="The audit log is as it was written.",
        remedy="An entry was changed or taken out: compare with a backup.",
        find=_chain,
    ),
)
