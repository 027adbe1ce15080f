"""Writes many changes under a lease, and what to do when they can't be written together."""

import logging
from collections.abc import Iterable, Sequence

from django.db import DatabaseError, InterfaceError, OperationalError

from engines.clock import database_now
from engines.faults import crash_point
from runs import leases, moves
from runs.reconciler.facts import Case, read_cases
from runs.reconciler.outcomes import Failed, Outcome

logger = logging.getLogger("workflowhub.sync")

TRIES = 3


def write(changes: Iterable[moves.RunChange], fence: leases.Fence) -> set[int]:
    """Writes what it can in one transaction; returns the keys of the runs written. Where the
    database refuses the batch, each change goes alone, and one that is refused again counts as an
    error of its run. Raises LeaseLost."""
    todo = [change for change in changes if change]
    if not todo:
        return set()
    try:
        return moves.apply(todo, fence=fence)
    except (OperationalError, InterfaceError):
        raise  # the database is away, or busy: that says nothing about any row
    except (DatabaseError, ValueError, TypeError, moves.IllegalMove):
        logger.exception("A batch of %s changes can't be written together", len(todo))
    written: set[int] = set()
    for change in todo:
        written |= _write_alone(change, fence)
    return written


def _write_alone(change: moves.RunChange, fence: leases.Fence) -> set[int]:
    try:
        return moves.apply([change], fence=fence)
    except (OperationalError, InterfaceError):
        raise
    except (DatabaseError, ValueError, TypeError, moves.IllegalMove) as error:
        logger.exception("Run %s can't be written", change.run.pk)
        for case in read_cases([change.run.pk]).values():
            moves.apply([Failed(error=error)(case, database_now())], fence=fence)
        return set()


def write_outcomes(done: Sequence[tuple[Case, Outcome]], fence: leases.Fence) -> None:
    """Writes the outcome of each call. A run that somebody changed meanwhile is read again and its
    outcome worked out anew: what an engine answered is never dropped."""
    if not done:
        return
    left = list(done)
    for _ in range(TRIES):
        now = database_now()
        changes = {case.run.pk: outcome(case, now) for case, outcome in left}
        crash_point("outcome.writing")
        written = write(changes.values(), fence)
        crash_point("outcome.written")
        left = [
            (case, outcome)
            for case, outcome in left
            if changes[case.run.pk] and case.run.pk not in written
        ]
        if not left:
            return
        fresh = read_cases([case.run.pk for case, _ in left])
        left = [(fresh[case.run.pk], outcome) for case, outcome in left if case.run.pk in fresh]
    # Still in hand: the next tick looks each of them up.
    logger.warning("Outcomes of %s runs could not be written", len(left))
