"""What is about to be asked of an engine, committed before it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from engines.faults import crash_point
from engines.models import Engine
from runs import leases, moves
from runs.reconciler import plan, turns
from runs.reconciler.facts import Case
from runs.reconciler.writing import write


@dataclass(slots=True, kw_only=True)
class Errand:
    """A run and the call to be made for it."""

    case: Case
    step: plan.Step
    kills: int = 0

    @property
    def sends(self) -> bool:
        return isinstance(self.step, plan.Submit | plan.Retry)


def commit_intents(
    engine: Engine, errands: Sequence[Errand], now: datetime, fence: leases.Fence
) -> set[int]:
    """Commits that these calls are about to be made; the runs for which they may be. Runs whose turn
    it isn't are told to wait instead. Raises LeaseLost."""
    begin = [errand.case for errand in errands if errand.sends and turns.wants_one(errand.case)]
    crash_point("intent.writing")
    if begin:
        with transaction.atomic():
            leases.check(fence)
            written = _commit(errands, turns.turned_away(engine, begin), now, fence)
    else:
        written = _commit(errands, {}, now, fence)
    crash_point("intent.written")
    return written


def _commit(
    errands: Sequence[Errand], away: Mapping[int, str], now: datetime, fence: leases.Fence
) -> set[int]:
    later = now + timedelta(seconds=plan.WAIT_FOR_TURN)
    write(
        [
            moves.RunChange(errand.case.run).set(
                next_check_at=later, reason=away[errand.case.run.pk]
            )
            for errand in errands
            if errand.case.run.pk in away
        ],
        fence,
    )
    intents = [_intent(errand, now) for errand in errands if errand.case.run.pk not in away]
    # This process may have committed one before, and never heard of it.
    unchanged = {intent.run.pk for intent in intents if not intent}
    return write(intents, fence) | unchanged


def _intent(errand: Errand, now: datetime) -> moves.RunChange:
    change = moves.RunChange(errand.case.run).set(in_hand=True, kills=errand.kills)
    if errand.sends:
        change.attempt["sent_at"] = now
    return change
