"""Saying by hand how a run or a task ended."""

from django.db import transaction

from engines.clock import database_now
from runs import audit, moves
from runs.actions.races import patient, write
from runs.actions.runs import by, check_version
from runs.errors import Invalid
from runs.models import RunAttempt, TaskRun, WorkflowRun
from runs.policy import Action, Actor, require
from runs.states import FINAL_RUN_STATES, FINAL_TASK_STATES, Cause, Reason, RunState, TaskState


@patient
def mark_run(
    actor: Actor,
    run: WorkflowRun,
    state: RunState,
    *,
    note: str,
    expected_version: int | None = None,
    action: Action = Action.MARK_RUN,
) -> WorkflowRun:
    """A person says how the run ended. It is audited and ends our watch of this attempt; the engine
    isn't told: cancel the run first where it must stop. A retry that waited for this end begins,
    unless the run is said to have completed."""
    require(actor, action, run)
    check_version(run, expected_version)
    if state not in FINAL_RUN_STATES:
        raise Invalid({"state": f"Mark as one of {', '.join(sorted(FINAL_RUN_STATES))}."})
    if not note.strip():
        raise Invalid({"note": "Say why: the note is kept in the run's history."})
    if run.state == state and run.marked:
        return run
    now = database_now()
    with transaction.atomic():
        change = moves.RunChange(run)
        if run.state == state:
            change.note(Cause.MARK, by(actor), note)
        change.move(
            state, Cause.MARK, by(actor), now=now, detail=note, reason=Reason.MARKED, forced=True
        )
        queued = RunAttempt.objects.filter(run=run, number=run.attempt + 1)
        if state == RunState.COMPLETED:
            queued.delete()
        change.set(marked=True, next_check_at=now if queued.exists() else None, flags={})
        if state == RunState.FAILED and not run.error:
            change.set(error=note.strip())  # lists of failures show it
        if not run.final:
            moves.close_tasks(change, run.task_runs.all(), state, by(actor), now=now)
        write(change)
        audit.record(actor, "mark", run, state=state, note=note)
    return run


@patient
def mark_task(actor: Actor, task: TaskRun, state: TaskState, *, note: str) -> TaskRun:
    """A person says how a task ended; reports of the engine about this attempt of it are ignored.
    The run's own state is left to the engine, or to `mark_run`."""
    run = WorkflowRun.objects.get(pk=task.run_id)
    require(actor, Action.MARK_RUN, run)
    if state not in FINAL_TASK_STATES:
        raise Invalid({"state": f"Mark as one of {', '.join(sorted(FINAL_TASK_STATES))}."})
    if not note.strip():
        raise Invalid({"note": "Say why: the note is kept in the run's history."})
    with transaction.atomic():
        change = moves.RunChange(run)
        change.move_task(
            task,
            state,
            Cause.MARK,
            by(actor),
            detail=note,
            marked=True,
            reason=Reason.MARKED,
            ended_at=task.ended_at or database_now(),
        )
        write(change)
        audit.record(actor, "mark_task", run, task=str(task), state=state, note=note)
    task.refresh_from_db()
    return task
