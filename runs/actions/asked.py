"""What is asked of a run already, and whether another retry asks for the same.

The same twice is once. Anything else isn't swallowed: whoever asks is told what is on its way.
"""

from collections.abc import Collection, Mapping
from typing import Any

from runs.errors import Conflict
from runs.models import RunAttempt, TaskRun, WorkflowRun
from runs.states import RetryMode, Wanted

EVERYTHING = {RetryMode.START, RetryMode.ALL, RetryMode.RESTART}
NAMED = 5  # so many tasks are named, the others counted


def asked_already(
    run: WorkflowRun, mode: RetryMode, again: Collection[TaskRun], values: Mapping[str, Any]
) -> bool:
    """Whether the same is asked for already: it waits for the present attempt's end, or the present
    attempt is that and on its way to an engine. Raises Conflict where something else waits, or is on
    its way and would not do what is asked for here. `again`: what it would run again."""
    ahead = _ahead(run)
    if ahead is None:
        return False
    same = _is_same(ahead, mode, again)
    waits = ahead.number > run.attempt
    other = values != (ahead.parameters if waits else run.parameters)
    if same and not other:
        return True
    if other and not waits and (same or mode in EVERYTHING):
        return False  # it begins in its place, and all that was to run again does
    raise Conflict(_told(run, ahead, other=other), run)


def in_the_way(run: WorkflowRun, mode: RetryMode, again: Collection[TaskRun]) -> str:
    """Why this can't be asked for now, with the parameters as they are; empty where it can."""
    try:
        asked_already(run, mode, again, run.parameters)
    except Conflict as error:
        return str(error)
    return ""


def accepted(run: WorkflowRun) -> bool:
    """Whether an engine is known to have taken the present attempt."""
    taken = RunAttempt.objects.filter(run=run, number=run.attempt, accepted_at__isnull=False)
    return taken.exists()


def _ahead(run: WorkflowRun) -> RunAttempt | None:
    """The attempt that waits for the present one's end, else the present one while it is on its way
    to an engine and nothing is wrong with that."""
    numbers = {run.attempt, run.attempt + 1}
    rows = {row.number: row for row in RunAttempt.objects.filter(run=run, number__in=numbers)}
    if waiting := rows.get(run.attempt + 1):
        return waiting
    present = rows.get(run.attempt)
    on_its_way = run.wanted == Wanted.RUN and not run.final and not run.flags
    return present if present and on_its_way and present.accepted_at is None else None


def _is_same(ahead: RunAttempt, mode: RetryMode, again: Collection[TaskRun]) -> bool:
    """Whether the attempt does what is asked for, parameters apart."""
    if ahead.mode in EVERYTHING or mode in EVERYTHING:
        return ahead.mode in EVERYTHING and mode in EVERYTHING
    if ahead.mode != mode:
        return False
    asked = {(task.name, task.map_index) for task in again}
    has = {(name, index) for name, index in ahead.tasks}
    if mode == RetryMode.TASK:
        return asked == has
    # What failed gets less while the run is being stopped, and mapped instances may be found.
    if ahead.begun_at is None:
        return {name for name, _ in asked} <= {name for name, _ in has}
    return asked <= has


def _told(run: WorkflowRun, ahead: RunAttempt, *, other: bool) -> str:
    """`other`: its parameters aren't those that are asked for here."""
    what = RetryMode(ahead.mode).label.lower()
    if ahead.mode == RetryMode.TASK:
        names = [name if index < 0 else f"{name}[{index}]" for name, index in ahead.tasks]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        what += f": {', '.join(names[:NAMED])}{more}"
    if other:
        what += ", with other parameters"
    by = f", asked for by {ahead.actor}," if ahead.actor else ""
    said = f"Attempt {ahead.number} of run {run.pk} ({what}){by}"
    if ahead.number > run.attempt:
        return (
            f"{said} waits already until attempt {run.attempt} has stopped, so another retry isn't "
            "taken. To have this one instead, cancel the run, which calls that one off, then ask "
            "again."
        )
    return (
        f"{said} is on its way to an engine, so another retry isn't taken. Let that attempt end first, "
        "or cancel the run, then retry all that shall run again."
    )
