"""What only administrators do to rows: correct listed fields, force a state. All of it is audited."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.db import models, transaction
from django.db.models import Model

from engines.clock import database_now
from engines.models import Engine
from runs import audit, moves
from runs.actions.limits import DEFAULTS, clean_limits, lock_titles, share_limits
from runs.actions.marks import mark_run, mark_task
from runs.actions.races import write
from runs.actions.runs import by, check_version
from runs.errors import Conflict, Invalid, Stale
from runs.models import TaskRun, Workflow, WorkflowRun
from runs.policy import Action, Actor, require
from runs.retention import Limits, clean_up, delete_run_rows, ended_runs
from runs.states import Cause, RunState, TaskState

# Kind of object -> the columns that may be corrected by hand: never a state, which has force_state.
CORRECTABLE: dict[type, tuple[str, ...]] = {
    Workflow: ("state_message", "paused", "max_active_runs"),
    WorkflowRun: ("external_id", "note", "reason", "error", "error_task", "flags"),
    TaskRun: ("external_id", "reason", "error", "message", "worker", "result"),
    Engine: ("cursor", "failures", "priority"),
}


TYPES: dict[type, tuple[type, ...]] = {
    models.CharField: (str,),
    models.TextField: (str,),
    models.BooleanField: (bool,),
    models.IntegerField: (int,),
}


NAMES = {str: "a text", bool: "true or false", int: "a whole number", dict: "an object"}


def correct(
    actor: Actor,
    obj: Workflow | WorkflowRun | TaskRun | Engine,
    values: Mapping[str, Any],
    *,
    dry_run: bool = False,
    expected_version: int | None = None,
) -> dict[str, tuple[Any, Any]]:
    """Sets listed columns; returns column -> (old, new) of those that change.

    A run whose flags are changed is handled anew. Raises Invalid for a column that isn't listed.
    """
    require(actor, Action.HOUSEKEEPING, obj)
    allowed = CORRECTABLE[type(obj)]
    unknown = sorted(set(values) - set(allowed))
    if unknown:
        text = f"can't be corrected. What can: {', '.join(allowed)}."
        raise Invalid({f"set.{name}": text for name in unknown})
    _check_types(obj, values)
    changed = {
        name: (getattr(obj, name), value)
        for name, value in values.items()
        if getattr(obj, name) != value
    }
    if dry_run or not changed:
        return changed
    news = {name: new for name, (_, new) in changed.items()}
    with transaction.atomic():
        if isinstance(obj, WorkflowRun):
            _correct_run(actor, obj, news, expected_version)
        elif isinstance(obj, TaskRun):
            _correct_task(actor, obj, news, expected_version)
        else:
            _correct_row(actor, obj, news, expected_version)
        audit.record(actor, "correct", obj, changed=sorted(news))
    return changed


def purge(
    actor: Actor,
    *,
    archived: timedelta | None = None,
    finished: timedelta | None = None,
    dry_run: bool = False,
) -> dict[str, int]:
    """Deletes workflows archived, and runs finished, longer ago than given; None: none of those.
    Returns what -> how many, with `dry_run` how many it would be."""
    require(actor, Action.HOUSEKEEPING)
    if archived is None and finished is None:
        raise Invalid({"what": "Say what to delete: archived workflows or finished runs."})
    report = clean_up(Limits(archived=archived, finished=finished), dry_run=dry_run)
    if not dry_run:
        audit.record(actor, "purge", "hub", **report.counts)
    return dict(report.counts)


def delete_run(actor: Actor, run: WorkflowRun) -> None:
    """Deletes a run that has ended, with all that hangs on it; its files go once that is committed."""
    require(actor, Action.HOUSEKEEPING, run)
    if not run.final:
        raise Conflict("It is active: cancel it, and delete it when it has ended.", run)
    with transaction.atomic():
        rest = delete_run_rows(ended_runs(), [run.pk])
        if not rest.keys:
            raise Conflict("Something of it is used still, or it runs again: try later.", run)
        audit.record(actor, "delete", run)
        transaction.on_commit(rest.delete_files)


def force_state(
    actor: Actor,
    obj: WorkflowRun | TaskRun,
    state: str,
    *,
    note: str,
    dry_run: bool = False,
    expected_version: int | None = None,
) -> tuple[str, str]:
    """(old state, new state). Whatever the object's state was, it is final now, and its engine isn't
    listened to any more for this attempt. Raises Invalid for a state that isn't final."""
    require(actor, Action.HOUSEKEEPING, obj)
    old = obj.state
    words = RunState if isinstance(obj, WorkflowRun) else TaskState
    if state not in words.values:
        raise Invalid({"state": f"Choose from {', '.join(words.values)}."})
    if dry_run:
        return old, state
    if isinstance(obj, WorkflowRun):
        mark_run(
            actor,
            obj,
            RunState(state),
            note=note,
            expected_version=expected_version,
            action=Action.HOUSEKEEPING,
        )
    else:
        mark_task(actor, obj, TaskState(state), note=note)
    return old, state


def _check_types(obj: Model, values: Mapping[str, Any]) -> None:
    """Raises Invalid for a value that isn't of its column's type or doesn't fit there."""
    errors = {}
    for name, value in values.items():
        column: Any = obj._meta.get_field(name)
        kinds = next((k for base, k in TYPES.items() if isinstance(column, base)), (object,))
        if name == "flags":
            kinds = (dict,)
        if value is None and column.null:
            continue
        if not isinstance(value, kinds) or (isinstance(value, bool) and kinds == (int,)):
            errors[f"set.{name}"] = f"must be {NAMES.get(kinds[0], 'something')}."
            continue
        try:
            if value not in ("", {}):
                column.clean(value, obj)
        except ValidationError as error:
            errors[f"set.{name}"] = " ".join(error.messages)
    if "max_active_runs" in values and "set.max_active_runs" not in errors:
        try:
            clean_limits(max_active_runs=values["max_active_runs"])
        except Invalid as error:
            errors |= {f"set.{name}": text for name, text in error.errors.items()}
    if errors:
        raise Invalid(errors)


def _correct_run(
    actor: Actor, run: WorkflowRun, news: dict[str, Any], expected: int | None
) -> None:
    check_version(run, expected)
    change = moves.RunChange(run).set(**news)
    change.note(Cause.FORCE, by(actor), ", ".join(sorted(news)))
    if "flags" in news and not run.final:
        change.set(failures=0, kills=0, next_check_at=database_now())
    write(change)


def _correct_task(actor: Actor, task: TaskRun, news: dict[str, Any], expected: int | None) -> None:
    run = WorkflowRun.objects.get(pk=task.run_id)
    check_version(run, expected)
    change = moves.RunChange(run)
    change.tasks[task.pk] = dict(news)
    change.note(Cause.FORCE, by(actor), ", ".join(sorted(news)), task=task)
    write(change)


def _correct_row(
    actor: Actor, obj: Workflow | Engine, news: dict[str, Any], expected: int | None
) -> None:
    column = "row_version" if isinstance(obj, Workflow) else "version"
    seen = getattr(obj, column)
    if expected is not None and expected != seen:
        raise Stale("Somebody changed it meanwhile. Look again.", obj)
    if isinstance(obj, Workflow):
        lock_titles([obj.title])
        limits = {name: value for name, value in news.items() if name in DEFAULTS}
        share_limits(actor, obj.title, limits, besides=obj, action=Action.HOUSEKEEPING)
    rows = type(obj)._default_manager.filter(pk=obj.pk, **{column: seen})
    if not rows.update(**news, **{column: seen + 1}):
        raise Stale("Somebody changed it at the same moment. Look again.", obj)
