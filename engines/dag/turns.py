"""A worker's turn: what its steps have come to is recorded, and the next ones are taken."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from django.db import transaction

from engines.dag import lookups
from engines.dag.advance import complete, finish, proceed
from engines.dag.definitions import Plan
from engines.dag.held import Held, Taker, announce, hold
from engines.dag.leases import Try, free
from engines.dag.outcome import Outcome, Taken
from engines.dag.runlog import write_notes
from engines.faults import crash_point


class Late(Exception):
    """A try was taken away from its worker: what it reports is void."""


class Turn(NamedTuple):
    """What `turn` did: the outcomes that came too late, the steps that were taken, and whether steps
    were made ready for others."""

    late: list[Outcome]
    taken: list[Taken]
    others: bool


def turn(
    taker: Taker,
    outcomes: Sequence[Outcome] = (),
    plan: Plan | None = None,
    *,
    unbegun: Sequence[Try] = (),
    stay: bool = True,
    want: int = 1,
) -> Turn:
    """Records outcomes of one execution and takes its next steps, in one transaction.

    `plan`: the outcomes', if it is at hand. `unbegun`: what was taken with them and is given back, before
    anything follows from the outcomes. `stay`: rather steps of the same execution than the one that
    waits longest. `want`: how many steps at most, all of one execution.
    """
    late: list[Outcome] = []
    taken: list[Taken] = []
    others = False
    if outcomes:
        held, late, taken = _record(outcomes, plan, taker, unbegun, want if stay else 0)
        if held is not None:
            write_notes(held)
            others = held.left_ready
    if not taken and want:
        taken, left = claim(taker, want)
        others = others or left
    return Turn(late, taken, others)


def _record(
    outcomes: Sequence[Outcome],
    plan: Plan | None,
    taker: Taker,
    unbegun: Sequence[Try],
    want: int,
) -> tuple[Held | None, list[Outcome], list[Taken]]:
    """(the execution, the outcomes that came too late, what was taken)."""
    takes = taker if want else None
    if plan is not None and not unbegun and all(_is_plain(each, plan) for each in outcomes):
        with suppress(Late), transaction.atomic():
            done = complete(outcomes, plan, takes, want)
            if done is None:
                raise Late
            held, taken = done
            announce(held)
            crash_point("turn.writing")
        if done is not None:
            crash_point("turn.written")
            return held, [], taken
    with transaction.atomic():
        found = hold(outcomes[0].execution_id)
        late, taken = list(outcomes), []
        if found is not None:
            free(found, taker.id, unbegun)
            late = [outcome for outcome in outcomes if not finish(found, outcome)]
            if len(late) < len(outcomes):
                taken = proceed(found, takes, want)
            announce(found)
        crash_point("turn.writing")
    crash_point("turn.written")
    return found, late, taken


def _is_plain(outcome: Outcome, plan: Plan) -> bool:
    return outcome.plain and not plan.definition.steps[outcome.name].outputs


def claim(taker: Taker, want: int = 1) -> tuple[list[Taken], bool]:
    """Up to so many steps of the execution whose step has been ready longest, and whether more of
    its steps are left."""
    wait = False
    while lookups.anything_ready():
        with transaction.atomic():
            found = lookups.find_work(wait=wait)
            held = hold(found) if found is not None else None
            taken = proceed(held, taker, want) if held is not None else []
            if held is not None:
                announce(held)
            crash_point("claim.writing")
        crash_point("claim.written")
        if held is not None:
            write_notes(held)
            if taken:
                return taken, held.left_ready
        # Others are busy with every execution that has something ready: queue up behind them.
        wait = True
    return [], False
