"""Attempts that may have been sent in a time that a restore undid (RunAttempt.ask_first): the engines
that may have taken one are asked, one after the other, before it is sent anywhere."""

from datetime import datetime

from engines.models import Engine
from runs import moves
from runs.reconciler.facts import Case
from runs.restored import ROUTE_ANEW
from runs.states import Cause, Reason, Wanted


def ask_next(change: moves.RunChange, case: Case, now: datetime) -> moves.RunChange:
    """The engine at hand doesn't have the run: the next one is asked; after the last, the run is as if
    it had never been sent."""
    run, asked = case.run, case.attempt.ask_first
    known = Engine.objects.in_bulk([key for key in asked[1:] if key != ROUTE_ANEW])
    left = [key for key in asked[1:] if key == ROUTE_ANEW or key in known]
    if left and left[0] != ROUTE_ANEW:
        change.attempt["ask_first"] = left
        change.fields |= {"engine": known[left[0]], "next_check_at": now}
        return change
    change.attempt |= {"ask_first": [], "sent_at": None}
    if len(asked) > 1:
        # The engine that it was to go to is gone, or there never was one.
        change.fields["engine"] = None
    held = run.wanted == Wanted.HOLD
    change.set(reason=Reason.HELD if held else "")
    change.fields["next_check_at"] = None if held else now
    change.note(Cause.RESTORE, moves.RECONCILER, "No engine has it.")
    return change
