"""What a restored hub must not believe any more. The rows are of the time of the backup; since then the
engines have gone on, and the hub may have done things that it knows nothing of (docs/decisions/0010).

Everything here is in the transaction of the restore.
"""

import string
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from django.db.models import F, QuerySet

from engines.base import external_id
from engines.clock import database_now
from engines.dag.models import Worker
from engines.models import Engine, EngineJob
from runs import audit, moves
from runs.actions.bulk import OPEN as OPEN_JOBS
from runs.models import (
    ApiToken,
    BulkJob,
    IdempotencyKey,
    Restore,
    RunAttempt,
    Workflow,
    WorkflowRun,
)
from runs.policy import Actor
from runs.restored import engines_to_ask, remote_engines
from runs.states import ACTIVE_RUN_STATES, Cause, Flag, Reason, RetryMode, RunState

BATCH = 500
DIGITS = string.digits + string.ascii_lowercase
UNCLEAR = {Flag.SUBMIT_UNKNOWN.value, Flag.QUARANTINED.value}
ASK_AGAIN = "The hub was restored from a backup: ask again."


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the rows."""

    runs: int
    active: int
    to_look_up: int
    tokens: int
    workers: int


def forget_the_present(backup_at: datetime) -> Counts:
    """Makes the rows of `backup_at` those of a hub that knows how old its knowledge is."""
    now = database_now()
    Restore.objects.create(at=now, backup_at=backup_at, life=life_at(time.time()))
    tokens = ApiToken.objects.filter(revoked_at=None).update(revoked_at=now)
    # Whoever waits for the answer to a call is gone, and so is the call.
    IdempotencyKey.objects.filter(status=None).delete()
    EngineJob.objects.filter(state__in=[EngineJob.State.WAITING, EngineJob.State.RUNNING]).update(
        state=EngineJob.State.FAILED, message=ASK_AGAIN, ended_at=now
    )
    # How far it got since nobody knows: what it did would be done twice.
    BulkJob.objects.filter(state__in=OPEN_JOBS).update(
        state=BulkJob.State.CANCELED, message=ASK_AGAIN, ended_at=now, version=F("version") + 1
    )
    Engine.objects.update(cursor="", failures=0, breaker_until=None, observed_at=None)
    # Their steps are taken back by whoever looks first.
    workers = Worker.objects.filter(ended_at=None).update(ended_at=now)
    Workflow.objects.exclude(next_check_at=None).update(next_check_at=now, check_failures=0)
    active = WorkflowRun.objects.filter(state__in=sorted(ACTIVE_RUN_STATES))
    active.update(
        in_hand=False,
        kills=0,
        failures=0,
        missing_since=None,
        missing_count=0,
        last_error="",
        observed_at=None,
    )
    to_look_up = sum(_look_up(attempts, now) for attempts in _unsettled())
    told = sum(_tell(runs, backup_at) for runs in _batches(active))
    audit.record(Actor(), "restore", "hub", backup_at=backup_at.isoformat())
    return Counts(
        runs=WorkflowRun.objects.count(),
        active=told,
        to_look_up=to_look_up,
        tokens=tokens,
        workers=workers,
    )


def life_at(seconds: float) -> str:
    """A word of small letters and digits that no other second has."""
    number, found = int(seconds), ""
    while number:
        number, digit = divmod(number, len(DIGITS))
        found = DIGITS[digit] + found
    return found or "0"


def _unsettled() -> Iterator[list[RunAttempt]]:
    """Attempts that no engine is known to have taken, and that may have been sent since: the present
    ones of runs that aren't final, and those that waited for their end. What a person has to decide
    isn't among them: nothing of it is sent by itself."""
    rows = (
        RunAttempt.objects.filter(
            accepted_at=None, run__state__in=sorted(ACTIVE_RUN_STATES), ended_at=None
        )
        .select_related("run__engine", "run__workflow")
        .defer("run__workflow__definition", "run__result")
        .order_by("pk")
    )
    last = 0
    while some := list(rows.filter(pk__gt=last)[:BATCH]):
        last = some[-1].pk
        yield [
            row
            for row in some
            if row.number >= row.run.attempt and not (UNCLEAR & set(row.run.flags))
        ]


def _look_up(attempts: list[RunAttempt], now: datetime) -> int:
    """Marks them, where an engine may have taken them; how many."""
    remote = remote_engines()
    marked = 0
    for attempt in attempts:
        run = attempt.run
        present = attempt.number == run.attempt
        keeps = attempt.mode in {RetryMode.FAILED, RetryMode.TASK}
        sent = attempt.sent_at is not None
        ask_first = engines_to_ask(
            run.engine, run.workflow.format, fixed=run.pinned or keeps or sent, remote=remote
        )
        if not ask_first:
            continue
        marked += 1
        attempt.ask_first, attempt.sent_at = ask_first, now
        attempt.external_id = attempt.external_id or external_id(run.uuid, attempt.number)
        attempt.save(update_fields=["ask_first", "sent_at", "external_id"])
        if present:
            WorkflowRun.objects.filter(pk=run.pk).update(
                engine=ask_first[0], reason=Reason.RESTORED, next_check_at=now
            )
    return marked


def _batches(runs: QuerySet[WorkflowRun]) -> Iterator[list[WorkflowRun]]:
    last = 0
    while some := list(runs.filter(pk__gt=last).order_by("pk").defer("result")[:BATCH]):
        last = some[-1].pk
        yield some


def _tell(runs: list[WorkflowRun], backup_at: datetime) -> int:
    """A line in the history of each; those at an engine are due to be looked at."""
    changes = []
    now = database_now()
    for run in runs:
        change = moves.RunChange(run)
        change.note(
            Cause.RESTORE, moves.RECONCILER, f"As it was at {backup_at:%Y-%m-%d %H:%M:%S} UTC."
        )
        if run.state != RunState.PENDING or run.next_check_at is not None:
            change.fields["next_check_at"] = now
        changes.append(change)
    return len(moves.apply(changes))
