"""Takes the steps of runs that are due at one engine.

A call is made in three parts: the intent is committed (`in_hand`, and for a submit `sent_at`), the
engine is called, the outcome is committed. Runs share the first and the last part in small groups, so
that a hundred submits don't cost two hundred commits; a run that a crash left in hand goes alone,
because it may be the one that kills. One run's trouble never stops the others. A tick calls for a few
seconds only: what is left stays due, so that runs are looked at however slow their engine answers.
"""

import logging
import time
from collections.abc import Sequence
from datetime import datetime

from django.db import DatabaseError, InterfaceError

from engines.base import (
    EngineRejected,
    EngineUnavailable,
    RunNotFound,
    RunSnapshot,
    Submission,
)
from engines.clock import database_now
from engines.faults import crash_point
from engines.models import Engine
from runs import leases, moves
from runs.labels import labels_by_run
from runs.models import Workflow, WorkflowRun
from runs.named import NONE, values_of
from runs.reconciler import outcomes, plan
from runs.reconciler.calls import Calls
from runs.reconciler.deadlines import overdue
from runs.reconciler.facts import Case, read_cases
from runs.reconciler.intents import Errand, commit_intents
from runs.reconciler.outcomes import Outcome
from runs.reconciler.seen import engine_seen, limits, seen_of
from runs.reconciler.settle import settle_case
from runs.reconciler.specs import Told, retry_spec, run_spec, unsaid
from runs.reconciler.survivors import in_hand, survived
from runs.reconciler.turns import Turns
from runs.reconciler.writing import write, write_outcomes
from runs.routing import takers
from runs.states import Flag, Wanted

logger = logging.getLogger("workflowhub.sync")

GROUP = 25
GROUP_SECONDS = 0.25  # a slow engine's outcomes are written as they come
BATCH = 500
SECONDS = 1.5  # of a tick, after which no other call is begun
KILLS = 2  # so many processes died while they had the run in hand


def handle_due(engine: Engine, calls: Calls, run_ids: Sequence[int]) -> list[WorkflowRun]:
    """Takes every step of these runs; returns those that must be looked at with this tick."""
    cases = read_cases(run_ids)
    now = database_now()
    seen_engine = engine_seen(engine, calls)
    turns = Turns(cases.values())
    errands: list[Errand] = []
    changes: list[moves.RunChange] = []
    looks: list[WorkflowRun] = []
    for case in cases.values():
        try:
            change, errand, look = _sort(case, seen_engine, now, turns)
        except (leases.LeaseLost, DatabaseError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - one run's trouble never stops the others
            logger.exception("Run %s can't be planned", case.run.pk)
            change, errand, look = outcomes.Failed(error=error)(case, now), None, False
        if errand and errand.sends:
            turns.take(case)
        changes += [change] if change else []
        errands += [errand] if errand else []
        looks += [case.run] if look else []
    crash_point("settle.writing")
    write(changes, calls.hold.fence)
    crash_point("settle.written")
    errands.sort(key=lambda errand: errand.kills)
    _run_errands(engine, calls, errands)
    return looks


def _sort(
    case: Case, engine: plan.EngineSeen, now: datetime, turns: Turns
) -> tuple[moves.RunChange | None, Errand | None, bool]:
    run = case.run
    kills = run.kills
    if run.in_hand and not survived(run.pk):
        kills += 1
        if kills >= KILLS and run.final:  # a hook was to be stopped
            return outcomes.out_of_hand(case).set(kills=0, next_check_at=None), None, False
        if kills >= KILLS:
            change = outcomes.out_of_hand(case).set(kills=kills)
            outcomes.quarantine(change, f"{kills} processes ended while they handled it.")
            return change, None, False
    seen = seen_of(case, engine, turns.why_not(case))
    steps = plan.plan(Wanted(run.wanted), seen, now, limits())
    look = any(isinstance(step, plan.Look) for step in steps)
    for step in steps:
        if isinstance(
            step, plan.Submit | plan.Retry | plan.Recover | plan.Cancel | plan.CancelTasks
        ):
            return None, Errand(case=case, step=step, kills=kills), look
    if steps == (plan.Look(),):
        # The look itself, once it is done, is what ends the run's being due.
        return outcomes.out_of_hand(case), None, True
    labels = engines = None
    if plan.Route() in steps:
        labels, engines = labels_by_run([run.pk]).get(run.pk, {}), takers()
    change = settle_case(case, steps, now, in_place=engine.in_place, labels=labels, takers=engines)
    return change.set(in_hand=False), None, look


def _run_errands(engine: Engine, calls: Calls, errands: list[Errand]) -> None:
    if not errands:
        return
    workflows = Workflow.objects.in_bulk(
        {errand.case.run.workflow_id for errand in errands if _may_send(errand.step)}
    )
    labels = labels_by_run([errand.case.run.pk for errand in errands if _may_send(errand.step)])
    until = time.monotonic() + SECONDS
    at = 0
    while at < len(errands) and not calls.blocked and (at == 0 or time.monotonic() < until):
        size = 1 if errands[at].kills else GROUP
        group = [errand for errand in errands[at : at + size] if not errand.kills or size == 1]
        at += len(group)
        for errand in group:
            errand.case.run.workflow = workflows.get(
                errand.case.run.workflow_id, errand.case.run.workflow
            )
        with in_hand([errand.case.run.pk for errand in group]):
            _run_group(engine, calls, group, labels, until)


def _may_send(step: plan.Step) -> bool:
    return isinstance(step, plan.Submit | plan.Retry | plan.Recover)


def _run_group(
    engine: Engine,
    calls: Calls,
    group: list[Errand],
    labels: dict[int, dict[str, str]],
    until: float,
) -> None:
    now, committed = database_now(), time.monotonic()
    written = commit_intents(engine, group, now, calls.hold.fence)
    values = values_of(errand.case.run.workflow for errand in group if _may_send(errand.step))
    done: list[tuple[Case, Outcome]] = []
    began = time.monotonic()
    called = False  # one at least, or a tick with too little time would get nowhere
    for errand in group:
        if errand.case.run.pk not in written:
            continue  # somebody changed it: its next tick is due at once; or it has to wait
        late = errand.sends and is_late(committed)
        if late or calls.blocked or (called and time.monotonic() >= until):
            # Not called, so there is nothing to look up: the intent is taken back.
            done.append((errand.case, outcomes.Untouched(sent_at=errand.case.attempt.sent_at)))
            continue
        called = True
        if errand.sends:
            errand.case.attempt.sent_at = now
        run = errand.case.run
        told = Told(labels=labels.get(run.pk, {}), values=values.get(run.workflow_id, NONE))
        done.append((errand.case, _outcome(engine, calls, errand, told)))
        if time.monotonic() - began >= GROUP_SECONDS:
            write_outcomes(done, calls.hold.fence)
            done, began = [], time.monotonic()
    write_outcomes(done, calls.hold.fence)


def is_late(committed: float) -> bool:
    """Whether an intent, committed after this moment (monotonic), is too old for its call: this process
    was held up, and a call that now went astray might be taken for lost too soon."""
    return time.monotonic() - committed > plan.CALL_WITHIN


def _outcome(engine: Engine, calls: Calls, errand: Errand, told: Told) -> Outcome:
    try:
        return _call(engine, calls, errand.case, errand.step, told)
    except (leases.LeaseLost, DatabaseError, InterfaceError):
        raise
    except EngineUnavailable as error:
        return outcomes.Failed(error=error)
    except Exception as error:  # noqa: BLE001 - one run's trouble never stops the others
        logger.exception("Run %s can't be handled", errand.case.run.pk)
        return outcomes.Failed(error=error)


def _call(engine: Engine, calls: Calls, case: Case, step: plan.Step, told: Told) -> Outcome:
    if isinstance(step, plan.Submit | plan.Retry):
        return _send(calls, case, step, told)
    if isinstance(step, plan.Recover):
        return _recover(engine, calls, case, step, told)
    if isinstance(step, plan.Cancel):
        return _cancel(calls, case, step)
    return _cancel_tasks(calls, case)


def _send(calls: Calls, case: Case, step: plan.Submit | plan.Retry, told: Told) -> Outcome:
    if told.problems:
        return outcomes.Refused(attempt=case.run.attempt, error=told.problems, by=moves.RECONCILER)
    spec = run_spec(case, told)
    adapter = calls.adapter
    began_at = database_now()
    try:
        with unsaid(spec):
            if isinstance(step, plan.Submit):
                snapshot = calls.ask("submit", lambda: adapter.submit(spec))
            else:
                snapshot = calls.ask("submit", lambda: adapter.retry(spec, retry_spec(case)))
    except RunNotFound as error:
        if isinstance(step, plan.Submit):
            # It says that it has a run of this id and doesn't show it yet: we look again.
            return outcomes.Failed(error=EngineUnavailable(str(error)))
        return outcomes.Refused(
            attempt=case.run.attempt,
            error=f"The engine no longer has the attempt whose results were to be kept: {error}",
        )
    except EngineRejected as error:
        if calls.refuses_us():
            return outcomes.Failed(error=EngineUnavailable(str(error)))
        return outcomes.Refused(attempt=case.run.attempt, error=str(error))
    return _accepted(calls, case, snapshot, began_at)


def _recover(engine: Engine, calls: Calls, case: Case, step: plan.Recover, told: Told) -> Outcome:
    began_at = database_now()
    try:
        snapshot = calls.ask("find", lambda: calls.adapter.find(case.run.external_id))
        return _accepted(calls, case, snapshot, began_at)
    except RunNotFound:
        pass
    except EngineRejected as error:
        if calls.refuses_us():
            return outcomes.Failed(error=EngineUnavailable(str(error)))
        harmless = {Submission.DEDUPLICATES, Submission.OURS} if not case.attempt.ask_first else ()
        if calls.adapter.submission not in harmless:
            return outcomes.Flagged(
                flag=Flag.SUBMIT_UNKNOWN, text=f"It can't be looked up: {error}"
            )
    if isinstance(step.otherwise, plan.Wait):
        return outcomes.Later(until=step.otherwise.until)
    if isinstance(step.otherwise, plan.Finish):
        return outcomes.NobodyHasIt(attempt=case.run.attempt)
    if isinstance(step.otherwise, plan.AskNext):
        return outcomes.NotHere(attempt=case.run.attempt, engine_id=engine.pk)
    # The look-up came between: a second call needs an intent of its own.
    before, now, committed = case.attempt.sent_at, database_now(), time.monotonic()
    intent = moves.RunChange(case.run)
    intent.attempt["sent_at"] = now
    crash_point("resend.writing")
    if case.run.pk not in write([intent], calls.hold.fence):
        return outcomes.Later(until=now)
    crash_point("resend.written")
    if is_late(committed):
        return outcomes.Untouched(sent_at=before)
    case.attempt.sent_at = now
    return _send(calls, case, step.otherwise, told)


def _accepted(calls: Calls, case: Case, snapshot: RunSnapshot, began_at: datetime) -> Outcome:
    return outcomes.Accepted(
        attempt=case.run.attempt,
        snapshot=snapshot,
        began_at=began_at,
        submission=calls.adapter.submission,
        in_place=calls.adapter.retries_in_place,
    )


def _cancel(calls: Calls, case: Case, step: plan.Cancel) -> Outcome:
    stuck = "It was asked to stop and still runs." if step.stuck else ""
    try:
        why = overdue(case.run)
        calls.ask("cancel", lambda: calls.adapter.cancel(case.run.external_id, overdue=why))
    except RunNotFound:
        pass  # the look at it counts the sighting
    except EngineRejected as error:
        stuck = f"The engine refuses to stop it: {error}"
    return outcomes.CancelSent(again=step.again, stuck=stuck)


def _cancel_tasks(calls: Calls, case: Case) -> Outcome:
    refused: dict[int, str] = {}
    asked = []
    for task in case.open_tasks():
        if task.wanted != Wanted.CANCEL:
            continue
        name, index = task.name, task.map_index
        try:
            # A hook may be of an attempt before the present one.
            attempt = case.attempts.get(task.attempt) if task.is_hook else None
            external_id = attempt.external_id if attempt else case.run.external_id
            calls.ask(
                "cancel_task",
                lambda of=external_id, name=name, index=index: (  # type: ignore[misc]
                    calls.adapter.cancel_task(of, name, index)
                ),
            )
            asked.append(task.pk)
        except (EngineRejected, RunNotFound) as error:
            refused[task.pk] = str(error)
    return outcomes.TasksCanceled(asked=frozenset(asked), refused=refused)
