"""The hub's invariants, checked against the database by `manage.py fsck`.

Each check has a code that stays, says what is wrong, what to do, and mends it where that is safe. None
of them asks an engine; runs.invariants.asking does, where an operator wants it. The numbers are those
of docs/reliability.md, which says what none of them checks. bench/history.py measures what they cost.
"""

from runs.invariants import (
    children,
    history,
    hooks,
    ledger,
    leftovers,
    local_engine,
    runs,
    sealed,
    secrets,
)
from runs.invariants.check import Check

__all__ = ["CHECKS", "Check"]

CHECKS: tuple[Check, ...] = (
    *local_engine.CHECKS,
    *leftovers.CHECKS,
    *runs.CHECKS,
    *hooks.CHECKS,
    *children.CHECKS,
    *history.CHECKS,
    *ledger.CHECKS,
    *secrets.CHECKS,
    *sealed.CHECKS,
)
