"""Stopping runs and tasks, and running them again."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from engines.clock import database_now
from engines.config import ConfigError
from engines.connect import connect
from engines.secrets import UnreadableSecret
from runs import audit, moves
from runs.actions.asked import EVERYTHING, accepted, asked_already
from runs.actions.races import patient, write
from runs.actions.runs import by, check_version, clean_run_parameters, merged
from runs.errors import Conflict, Invalid
from runs.models import DownstreamTask, RunAttempt, Task, TaskRun, WorkflowRun
from runs.named import check_values
from runs.policy import Action, Actor, require
from runs.restored import life_of
from runs.states import (
    FINAL_TASK_STATES,
    Cause,
    Flag,
    RetryMode,
    RunState,
    TaskState,
    Wanted,
)

# Why nobody can retry a hook.
NOT_BY_ITSELF = "it begins anew when what it follows ends again, in the run's next attempt."
# What "retry what failed" runs again.
UNSUCCESSFUL = {TaskState.FAILED, TaskState.UPSTREAM_FAILED, TaskState.CANCELED}


@patient
def cancel_run(
    actor: Actor, run: WorkflowRun, *, expected_version: int | None = None
) -> WorkflowRun:
    """Asks for the run's end. A run that no engine was asked to take ends at once; any other is
    "canceling" until the engine says that it has stopped. Twice is once."""
    require(actor, Action.CANCEL_RUN, run)
    check_version(run, expected_version)
    if run.final:
        raise Conflict(f"It has ended already ({run.get_state_display().lower()}).", run)
    with transaction.atomic():
        if stop_run(run, by(actor)):
            audit.record(actor, "cancel", run)
    return run


def stop_run(run: WorkflowRun, who: moves.By, why: str = "") -> bool:
    """Asks for the end of an active run, whoever wants it; False where that is asked already. Asks
    nobody's rights. Raises Raced."""
    queued = RunAttempt.objects.filter(run=run, number=run.attempt + 1)
    asked = run.wanted == Wanted.CANCEL and not queued.exists()
    if asked and Flag.QUARANTINED not in run.flags:  # one that was set aside is taken up again
        return False
    now = database_now()
    with transaction.atomic():
        change = moves.RunChange(run)
        _want_its_end(change, now)
        change.note(Cause.CANCEL, who, why)
        queued.delete()  # a retry that waited for this attempt's end is called off
        if _sent(run):
            change.fields["next_check_at"] = now
            write(change)
        else:
            _end_here(run, who, change, now)
    return True


@patient
def cancel_task(actor: Actor, task: TaskRun) -> TaskRun:
    """Asks the engine to stop one task; what depends on it follows the engine's rules. A hook can be
    stopped after its run has ended."""
    run = WorkflowRun.objects.select_related("engine").get(pk=task.run_id)
    require(actor, Action.CANCEL_RUN, run)
    if task.state in FINAL_TASK_STATES or (run.final and not task.is_hook):
        raise Conflict(f"The {task.get_kind_display().lower()} has ended already.", task)
    _require_capability(run, "cancel_task")
    if task.wanted == Wanted.CANCEL:
        return task
    with transaction.atomic():
        change = moves.RunChange(run)
        change.tasks[task.pk] = {"wanted": Wanted.CANCEL}
        change.note(Cause.CANCEL, by(actor), task=task)
        change.fields["next_check_at"] = database_now()
        write(change)
        audit.record(actor, "cancel_task", run, task=str(task))
    task.wanted = Wanted.CANCEL
    return task


def plan_retry(
    run: WorkflowRun,
    *,
    mode: RetryMode,
    tasks: Collection[tuple[str, int | None]] = (),
    downstream: bool = False,
) -> list[TaskRun]:
    """The task runs that a retry would run again: computed from our graph, no engine is asked.

    `tasks`: (name, map index) pairs; the index None means every mapped instance. A task that repeats
    begins its passes anew, so none of them runs again alone. Where what failed runs again, so do the
    tasks that a failure didn't keep from starting, with what is behind them: they are decided anew.
    """
    known = list(run.task_runs.filter(kind=TaskRun.Kind.TASK).order_by("id"))
    if mode in {RetryMode.ALL, RetryMode.RESTART}:
        return known
    if mode == RetryMode.FAILED:
        # While the run is active, what hasn't ended yet is going to be canceled: it runs again too.
        again = UNSUCCESSFUL if run.final else UNSUCCESSFUL | (set(TaskState) - FINAL_TASK_STATES)
        names = {task.name for task in known if task.state in again}
        anew = _with_passes(run, names) | _behind_failures(run, names)
        return [task for task in known if task.state in again or task.name in anew]
    chosen = _chosen(run, known, tasks, downstream)
    anew = _with_passes(run, {task.name for task in chosen})
    if anew:
        keys = {task.pk for task in chosen}
        return [task for task in known if task.pk in keys or task.name in anew]
    return chosen


@patient
def retry_run(
    actor: Actor,
    run: WorkflowRun,
    *,
    mode: RetryMode = RetryMode.FAILED,
    tasks: Collection[tuple[str, int | None]] = (),
    downstream: bool = False,
    parameters: Mapping[str, Any] | None = None,
    expected_version: int | None = None,
) -> WorkflowRun:
    """A further attempt of the same run. An active run is stopped first and seen ended; one that no
    engine was asked to take, or of which nobody can tell, ends here. What is asked for already is
    not asked for twice; while another retry waits or is on its way, this one is a Conflict."""
    require(actor, Action.RETRY_RUN, run)
    check_version(run, expected_version)
    if mode in {RetryMode.FAILED, RetryMode.TASK}:
        _require_capability(run, "retry_failed" if mode == RetryMode.FAILED else "retry_task")
        if parameters and run.engine and not _merges_parameters(run):
            raise Invalid(
                {"parameters": "A retry that keeps results can't change parameters here."}
            )
    if run.wanted == Wanted.HOLD:
        raise Conflict("The run is held: start it instead.", run)
    values = run.parameters
    if parameters:
        values = clean_run_parameters(
            run.workflow, merged(run.workflow, run.parameters, parameters)
        )
    again = plan_retry(run, mode=mode, tasks=tasks, downstream=downstream)
    if asked_already(run, mode, again, values):
        return run
    check_values(run.workflow)
    if not again and mode not in EVERYTHING:
        raise Conflict("Nothing in this run failed or was canceled: retry everything instead.", run)
    attempt = moves.queue_attempt(
        run,
        mode=mode,
        tasks=[] if mode in EVERYTHING else [(task.name, task.map_index) for task in again],
        by=by(actor),
        parameters=values,
        life=life_of(run),
    )
    cause = Cause.RESTART if mode == RetryMode.RESTART else Cause.RETRY
    with transaction.atomic():
        if not run.final and (not _sent(run) or Flag.SUBMIT_UNKNOWN in run.flags):
            _end_here(run, by(actor), moves.RunChange(run), database_now())
        if run.final:
            _begin(run, attempt, actor, cause)
        else:
            _stop_first(run, attempt, actor, cause)
        audit.record(actor, cause.value, run, mode=mode, tasks=attempt.tasks[:100])
    return run


def restart_run(
    actor: Actor,
    run: WorkflowRun,
    *,
    parameters: Mapping[str, Any] | None = None,
    expected_version: int | None = None,
) -> WorkflowRun:
    """The whole run anew under the same id, parameters merged over the old ones."""
    return retry_run(
        actor,
        run,
        mode=RetryMode.RESTART,
        parameters=parameters,
        expected_version=expected_version,
    )


def _begin(run: WorkflowRun, attempt: RunAttempt, actor: Actor, cause: Cause) -> None:
    change = moves.begin_attempt(
        moves.RunChange(run),
        attempt,
        run.task_runs.all(),
        by(actor),
        cause=cause,
        now=database_now(),
        in_place=mode_keeps(attempt) and accepted(run) and _in_place(run),
    )
    write(change)
    attempt.save()


def _end_here(run: WorkflowRun, who: moves.By, change: moves.RunChange, now: datetime) -> None:
    """Ends an attempt that no engine is known to have."""
    change.move(RunState.CANCELED, Cause.CANCEL, who, now=now)
    moves.close_tasks(change, run.task_runs.all(), RunState.CANCELED, who, now=now)
    write(change)


def mode_keeps(attempt: RunAttempt) -> bool:
    """Whether the attempt keeps what is done, so that the engine must be asked to retry."""
    return attempt.mode in {RetryMode.FAILED, RetryMode.TASK}


def _stop_first(run: WorkflowRun, attempt: RunAttempt, actor: Actor, cause: Cause) -> None:
    now = database_now()
    change = moves.RunChange(run)
    _want_its_end(change, now)
    change.note(cause, by(actor), "The attempt before it is stopped first.")
    change.fields["next_check_at"] = now
    write(change)
    attempt.save()


def _want_its_end(change: moves.RunChange, now: datetime) -> None:
    run = change.run
    if run.wanted != Wanted.CANCEL:
        change.set(deadline_at=None)  # its time doesn't matter any more
    change.set(wanted=Wanted.CANCEL, cancel_requested_at=run.cancel_requested_at or now)


def _sent(run: WorkflowRun) -> bool:
    """Whether an engine was asked to take the present attempt."""
    return not RunAttempt.objects.filter(run=run, number=run.attempt, sent_at=None).exists()


def _in_place(run: WorkflowRun) -> bool:
    if run.engine is None:
        return False
    try:
        return connect(run.engine).retries_in_place
    except (ConfigError, UnreadableSecret) as error:
        raise Conflict(f"The engine {run.engine.name} can't be opened: {error}", run) from None


def _merges_parameters(run: WorkflowRun) -> bool:
    """A new attempt with an id of its own can carry new parameters; one in place can't."""
    return not _in_place(run)


def _require_capability(run: WorkflowRun, flag: str) -> None:
    if run.engine is None:
        return
    answer = run.engine.can(flag)
    if answer is not True:
        raise Conflict(f"The engine {run.engine.name} can't do this: {answer}", run)


def _chosen(
    run: WorkflowRun,
    known: list[TaskRun],
    tasks: Collection[tuple[str, int | None]],
    downstream: bool,
) -> list[TaskRun]:
    names = {task.name for task in known}
    unknown = sorted({name for name, _ in tasks} - names)
    hooks = run.task_runs.filter(kind=TaskRun.Kind.HOOK, name__in=unknown)
    if hook := hooks.order_by("name").first():
        raise Invalid({"tasks": f"{hook} is a hook: {NOT_BY_ITSELF}"})
    if unknown or not tasks:
        what = f"Unknown: {', '.join(unknown)}." if unknown else "Name at least one task."
        raise Invalid({"tasks": f"{what} This run has {', '.join(sorted(names)[:20])}."})
    wanted = set(tasks)
    below = _below(run, {name for name, _ in tasks}) if downstream else set()
    return [
        task
        for task in known
        if (task.name, task.map_index) in wanted
        or (task.name, None) in wanted
        or task.name in below
    ]


def _with_passes(run: WorkflowRun, names: set[str]) -> set[str]:
    """Those of the named tasks that repeat."""
    repeating = Task.objects.filter(workflow=run.workflow_id, repeats=True)
    return names & set(repeating.values_list("name", flat=True))


def _behind_failures(run: WorkflowRun, names: set[str]) -> set[str]:
    """What runs in spite of a failure of the named tasks, and all that is behind that."""
    tolerant = Task.objects.filter(workflow=run.workflow_id).exclude(trigger_rule="")
    known = set(tolerant.values_list("name", flat=True))
    found = known & _below(run, names) if known else set()
    return found | _below(run, found) if found else found


def _below(run: WorkflowRun, names: set[str]) -> set[str]:
    edges = DownstreamTask.objects.filter(task__workflow=run.workflow_id).values_list(
        "task__name", "downstream__name"
    )
    after: dict[str, list[str]] = {}
    for name, follower in edges:
        after.setdefault(name, []).append(follower)
    found: set[str] = set()
    todo = list(names)
    while todo:
        for follower in after.get(todo.pop(), []):
            if follower not in found:
                found.add(follower)
                todo.append(follower)
    return found
