"""Merges what an engine reports of a run into a RunChange (docs/decisions/0003).

The attempt must match, a final state stays, the rank of a state only rises. Our own times come from
the database's clock; the engine's are kept beside them. Rows in, a change out: nothing is written.
"""

from dataclasses import dataclass
from datetime import datetime

from engines.base import RunSnapshot
from runs import moves
from runs.models import RunEvent, TaskRun
from runs.reconciler.deadlines import begin_to_count, end_of_canceled, timed_out
from runs.reconciler.facts import Case
from runs.reconciler.failure import EndedTask, fingerprint, root_of, sentence
from runs.reconciler.task_reports import close_tries, merge_tasks
from runs.states import (
    FINAL_RUN_STATES,
    Cause,
    Flag,
    Reason,
    RunState,
    Wanted,
    may_move,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A snapshot with when its call began, by the database's clock. `told`: our own submit, retry or
    look-up of this attempt gave it, so it is about this attempt for certain."""

    snapshot: RunSnapshot
    began_at: datetime
    told: bool = False


def merge(
    case: Case, report: Report, *, now: datetime, in_place: bool = False
) -> tuple[moves.RunChange, bool]:
    """The change that the report makes of the run, perhaps none; True where the same report must be
    merged once more after it is written (a new task under a new parent)."""
    run, snapshot = case.run, report.snapshot
    change = moves.RunChange(run)
    if run.final or run.marked or not is_of_this_attempt(case, report, in_place=in_place):
        return change, False
    by = moves.By(kind=RunEvent.ActorKind.ENGINE, name=run.engine.name if run.engine else "")
    _accept(change, case, report, now)
    # In the order in which it happened: a run begins before its tasks and ends after them.
    ends = snapshot.state in FINAL_RUN_STATES
    if not ends:
        _merge_run(change, case, report, by, now)
    again = merge_tasks(change, case, snapshot.tasks, by, now=now)
    if ends:
        _merge_run(change, case, report, by, now)
    if run.missing_count:
        change.set(missing_count=0, missing_since=None)
    if change:
        change.set(observed_at=now)
    return change, again


def end_run(
    change: moves.RunChange,
    case: Case,
    state: RunState,
    cause: Cause,
    by: moves.By,
    *,
    now: datetime,
    reason: str = "",
    error: str = "",
    engine_time: datetime | None = None,
) -> None:
    """The run's end with all that follows from it. `case` must be whole. A queued attempt is due."""
    run = case.run
    change.move(
        state, cause, by, now=now, reason=reason, detail=error[:500], engine_time=engine_time
    )
    tasks = [*case.tasks.values(), *change.new_tasks]
    told = cause == Cause.OBSERVE  # by its engine, which tells of its hooks later
    moves.close_tasks(change, tasks, state, by, now=now, hooks=not told)
    close_tries(change, case, now)
    if state == RunState.FAILED:
        root = root_of(_as_written(change, [task for task in tasks if not task.is_hook]))
        text = error or sentence(root)
        change.set(
            error=text,
            error_task=root.label if root else "",
            fingerprint=fingerprint(run.workflow.title, root.name if root else "", text),
        )
        change.attempt["error"] = text
    if case.queued is not None:
        change.fields["next_check_at"] = now


def is_of_this_attempt(case: Case, report: Report, *, in_place: bool) -> bool:
    """Whether the report says anything about the run's present attempt."""
    attempt, snapshot = case.attempt, report.snapshot
    if snapshot.attempt is not None and snapshot.attempt < case.run.attempt:
        return False
    if report.told:
        return True
    if attempt.accepted_at is None:
        # Every attempt has an id of its own, so whoever reports it has it.
        return not in_place and attempt.sent_at is not None
    return not in_place or report.began_at >= attempt.accepted_at


def _accept(change: moves.RunChange, case: Case, report: Report, now: datetime) -> None:
    if case.attempt.accepted_at is None:
        change.attempt["accepted_at"] = now
        flags = {name: at for name, at in case.run.flags.items() if name != Flag.SUBMIT_UNKNOWN}
        change.set(flags=flags, next_check_at=None)
        if case.attempt.ask_first:
            change.attempt["ask_first"] = []
        if case.run.wanted == Wanted.HOLD:
            change.set(wanted=Wanted.RUN)  # it was started in a time that a restore undid
        elif case.run.wanted != Wanted.RUN:
            change.fields["next_check_at"] = now
    if report.told and report.snapshot.external_id != case.run.external_id:
        change.set(external_id=report.snapshot.external_id)
        change.attempt["external_id"] = report.snapshot.external_id


def _merge_run(
    change: moves.RunChange, case: Case, report: Report, by: moves.By, now: datetime
) -> None:
    run, snapshot = case.run, report.snapshot
    state = snapshot.state
    if snapshot.raw_state:
        change.set(raw_state=snapshot.raw_state)
    newly = case.attempt.accepted_at is None
    if state in {None, RunState.PENDING} and newly:
        state = RunState.SCHEDULED  # whatever the word is: the engine has it
    if state is None or state == RunState.PENDING:
        return
    if state != run.state and not may_move(run.state, state):
        change.fields.pop("raw_state", None)  # a late report
        return
    if snapshot.started_at:
        change.set(engine_started_at=snapshot.started_at)
    if snapshot.ended_at and state in FINAL_RUN_STATES:
        change.set(engine_ended_at=max(snapshot.ended_at, snapshot.started_at or snapshot.ended_at))
    if snapshot.result is not None:
        change.set(result=snapshot.result)
    reason, error = snapshot.reason, snapshot.error
    if timed_out(run):
        reason = Reason.TIMEOUT  # until its end, whatever the engine says meanwhile
        if state == RunState.CANCELED:
            state, reason, error = end_of_canceled(run)
        elif state in FINAL_RUN_STATES:
            reason = snapshot.reason
    if state in FINAL_RUN_STATES:
        end_run(
            change,
            case,
            state,
            Cause.OBSERVE,
            by,
            now=now,
            reason=reason,
            error=error,
            engine_time=snapshot.ended_at,
        )
        return
    cause = Cause.OBSERVE
    if newly:
        cause = Cause.SUBMIT if report.told else Cause.ADOPT
    if state != run.state:
        change.move(
            state,
            cause,
            by,
            now=now,
            reason=reason,
            engine_time=snapshot.started_at,
        )
        if state == RunState.RUNNING:
            begin_to_count(change, now)
    else:
        change.set(reason=reason)


def _as_written(change: moves.RunChange, tasks: list[TaskRun]) -> list[EndedTask]:
    return [
        EndedTask(
            name=task.name,
            label=str(task),
            state=change.tasks.get(task.pk, {}).get("state", task.state),
            error=change.tasks.get(task.pk, {}).get("error", task.error),
            ended_at=change.tasks.get(task.pk, {}).get("ended_at", task.ended_at),
        )
        for task in tasks
    ]
