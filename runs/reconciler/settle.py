"""The steps that need no engine: waiting, routing, ending what nobody has, beginning an attempt."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from engines.models import Engine
from runs import moves
from runs.models import RunEvent
from runs.reconciler import plan
from runs.reconciler.asking import ask_next
from runs.reconciler.facts import Case
from runs.reconciler.merge import end_run
from runs.routing import route
from runs.states import Cause, Reason, RetryMode


def settle_case(
    case: Case,
    steps: Iterable[plan.Step],
    now: datetime,
    *,
    in_place: bool = False,
    labels: Mapping[str, str] | None = None,
    takers: Sequence[Engine] | None = None,
) -> moves.RunChange:
    """The change that these steps make of the run. `labels` and `takers` are needed to route."""
    change = moves.RunChange(case.run)
    change.set(next_check_at=None)
    for step in steps:
        if isinstance(step, plan.Wait):
            change.set(next_check_at=step.until)
            if step.reason:
                change.set(reason=step.reason)
        elif isinstance(step, plan.Finish):
            end_run(change, case, step.state, Cause.CANCEL, moves.RECONCILER, now=now)
        elif isinstance(step, plan.Begin):
            begin(change, case, now, in_place=in_place)
        elif isinstance(step, plan.AskNext):
            ask_next(change, case, now)
        elif isinstance(step, plan.Route):
            _route(change, case, now, labels or {}, takers)
    return change


def begin(change: moves.RunChange, case: Case, now: datetime, *, in_place: bool) -> None:
    """The queued attempt begins. In place only where the engine has an attempt to go on from."""
    queued = case.queued
    if queued is None:
        return
    keeps = queued.mode in {RetryMode.FAILED, RetryMode.TASK}
    moves.begin_attempt(
        change,
        queued,
        case.tasks.values(),
        moves.By(kind=RunEvent.ActorKind.USER, name=queued.actor),
        cause=Cause.RESTART if queued.mode == RetryMode.RESTART else Cause.RETRY,
        now=now,
        in_place=in_place and keeps and case.attempt.accepted_at is not None,
    )
    change.attempt |= {
        "begun_at": queued.begun_at,
        "state": queued.state,
        "external_id": queued.external_id,
    }


def _route(
    change: moves.RunChange,
    case: Case,
    now: datetime,
    labels: Mapping[str, str],
    takers: Sequence[Engine] | None,
) -> None:
    run = case.run
    engine = route(run.workflow.format, labels, takers)
    if engine is None:
        change.set(reason=Reason.ENGINE_OFF if run.engine_id else Reason.NO_ENGINE)
        change.fields["next_check_at"] = now + timedelta(seconds=plan.WAIT_FOR_OTHERS)
        return
    change.fields |= {"engine": engine, "next_check_at": now}
    change.set(reason="")
    change.note(Cause.ROUTE, moves.RECONCILER, engine.name)
