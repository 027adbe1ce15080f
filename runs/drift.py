"""Where what is wanted of an engine's active runs and what was seen of them differ, and what the hub does
about each next. Pages and the API ask; nobody writes anything about it.

Only the oldest REACH active runs of an engine are looked through, so that it costs the same however many
there are.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import OuterRef, Q, Subquery, TextChoices, Value
from django.db.models.functions import Coalesce

from engines.models import Engine
from runs.models import RunAttempt, WorkflowRun
from runs.querysets import RunQuerySet
from runs.states import Flag, Reason, RunState, Wanted

AFTER = timedelta(seconds=60)  # what takes less is the usual way of things
REACH = 2000
UNDECIDED = {Flag.SUBMIT_UNKNOWN, Flag.QUARANTINED}  # nothing is sent before somebody decides


class Why(TextChoices):
    """How a run differs from what is wanted of it."""

    CANCEL = "cancel", "Asked to stop and still going on"
    NO_ANSWER = "no_answer", "Sent to the engine without an answer"
    MISSING = "missing", "The engine doesn't know it"
    ERRORS = "errors", "Errors in a row while handling it"
    OVERDUE = "overdue", "The hub should have got to it by now"
    ENGINE_OFF = Reason.ENGINE_OFF.value, Reason.ENGINE_OFF.label
    SUBMIT_UNKNOWN = Flag.SUBMIT_UNKNOWN.value, Flag.SUBMIT_UNKNOWN.label
    QUARANTINED = Flag.QUARANTINED.value, Flag.QUARANTINED.label
    STUCK = Flag.STUCK.value, Flag.STUCK.label


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A run with all that is wrong with it. `since`: the earliest time that is known of that.
    `next_step`: what the hub does about it, at `next_at`; None where that waits for somebody or
    something else."""

    run: WorkflowRun
    why: tuple[Why, ...]
    since: datetime | None
    next_step: str
    next_at: datetime | None


def drifting(runs: RunQuerySet, engine: Engine, now: datetime) -> RunQuerySet:
    """Those of these runs that differ, by their key; each with `unanswered_since`."""
    active = WorkflowRun.objects.filter(engine=engine).active().order_by("pk")
    # Where it has as many. By a bound, since PostgreSQL would go through all runs for a list of keys.
    last = active.values("pk")[REACH - 1 : REACH]
    unanswered = RunAttempt.objects.filter(
        run=OuterRef("pk"),
        number=OuterRef("attempt"),
        sent_at__lt=now - AFTER,
        accepted_at=None,
    )
    return (
        runs.filter(engine=engine, pk__lte=Coalesce(Subquery(last), Value(2**63 - 1)))
        .active()
        .annotate(unanswered_since=Subquery(unanswered.values("sent_at")[:1]))
        .filter(
            Q(wanted=Wanted.CANCEL, cancel_requested_at__lt=now - AFTER)
            | Q(unanswered_since__isnull=False)
            | Q(missing_since__isnull=False)
            | Q(failures__gt=0)
            | Q(next_check_at__lt=now - AFTER)
            | Q(reason=Reason.ENGINE_OFF)
            | ~Q(flags={})
        )
        .order_by("pk")
    )


def explain(run: Any, engine: Engine, now: datetime) -> Drift:
    """What is wrong with a run of `drifting`, without asking anybody."""
    step, at = _next(run, engine, now)
    found: list[tuple[Why, datetime | None]] = []
    if run.wanted == Wanted.CANCEL and _before(run.cancel_requested_at, now):
        stuck = Flag.STUCK in run.flags  # it says the same, and more
        found.append((Why.STUCK if stuck else Why.CANCEL, run.cancel_requested_at))
    if run.unanswered_since:
        found.append((Why.NO_ANSWER, run.unanswered_since))
    if run.missing_since:
        found.append((Why.MISSING, run.missing_since))
    if run.failures:
        found.append((Why.ERRORS, None))
    if _before(run.next_check_at, now):
        found.append((Why.OVERDUE, run.next_check_at))
    if run.reason == Reason.ENGINE_OFF:
        found.append((Why.ENGINE_OFF, None))
    told = {why for why, _ in found}
    found += [(Why(flag), None) for flag in Flag if flag in run.flags and Why(flag) not in told]
    return Drift(
        run=run,
        why=tuple(why for why, _ in found),
        since=min((since for _, since in found if since), default=None),
        next_step=step,
        next_at=at,
    )


def _before(when: datetime | None, now: datetime) -> bool:
    return when is not None and when < now - AFTER


def _next(run: Any, engine: Engine, now: datetime) -> tuple[str, datetime | None]:
    """As runs.reconciler.plan goes on with such a run."""
    if not engine.enabled:
        return "Nothing, until its engine is enabled.", None
    unsent = run.state == RunState.PENDING
    if unsent and run.wanted == Wanted.RUN and not UNDECIDED.isdisjoint(run.flags):
        return "Nothing by itself: somebody has to decide, on its page.", None
    if engine.breaker_until is not None and engine.breaker_until > now:
        return "Asks its engine again, which is left alone after errors.", engine.breaker_until
    if run.unanswered_since:
        return "Looks at the engine for a run with its id.", run.next_check_at
    if run.reason == Reason.ENGINE_OFF and unsent:
        return "Waits until its engine takes runs again.", run.next_check_at
    if run.missing_since:
        lost = run.missing_since + timedelta(seconds=settings.WORKFLOWHUB_LOST_AFTER)
        return "Gives it up as lost, unless the engine knows it by then.", lost
    if run.wanted == Wanted.CANCEL:
        if engine.can("cancel_run") is not True:
            return "Watches it to its end: its engine can't stop a run.", None
        return "Asks the engine again to stop it.", run.next_check_at
    if unsent:
        return "Tries again.", run.next_check_at
    return "Looks at it with the others.", run.next_check_at
