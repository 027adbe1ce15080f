"""Starting runs and editing what people wrote about them."""

import uuid as uuids
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from engines.base import external_id
from engines.clock import database_now
from engines.dag.formats import orchestrator
from engines.dag.formats.nodenames import OVERRIDES
from engines.models import Engine
from engines.parameters import ParameterErrors, clean_parameters
from engines.registry import formats
from runs import audit, moves
from runs.actions.limits import UNSET
from runs.actions.races import patient, write
from runs.counters import Count, raise_counters
from runs.errors import Conflict, Invalid, Stale, Taken
from runs.labels import add_labels, clean_labels, labels_of, set_labels
from runs.models import RunAttempt, RunEvent, TaskRun, Workflow, WorkflowRun
from runs.named import check_values
from runs.policy import Action, Actor, require, visible
from runs.restored import engines_to_ask, wary_since
from runs.routing import route
from runs.states import Cause, Reason, RunState, Trigger, Wanted, WorkflowState
from runs.wakeups import wake_reconciler


def by(actor: Actor) -> moves.By:
    return moves.By(kind=RunEvent.ActorKind.USER, name=actor.name)


def start_run(
    actor: Actor,
    workflow: Workflow,
    *,
    parameters: Mapping[str, Any] | None = None,
    labels: Any = None,
    engine: Engine | None = None,
    hold: bool = False,
    uuid: uuids.UUID | None = None,
    note: str = "",
    trigger: Trigger = Trigger.MANUAL,
    previous: WorkflowRun | None = None,
    parent_task_run: TaskRun | None = None,
    source: Mapping[str, Any] | None = None,
) -> WorkflowRun:
    """A new run; with `hold` it waits for `start_held_run`. Its labels are the workflow's and those
    given, which win. The same client-chosen uuid twice gives the run that has it already, if it is of
    the same workflow; where a step asks, only if it is that step's. Raises Taken where it isn't."""
    require(actor, Action.START_RUN, workflow)
    _check_startable(workflow, engine)
    values = clean_run_parameters(workflow, parameters or {}, required=not hold)
    run_labels = {**labels_of(workflow), **clean_labels(labels)}
    engine = engine or workflow.engine
    if uuid and (found := _with_uuid(actor, uuid, workflow, parent_task_run)):
        return found
    if not hold:
        check_values(workflow)
    try:
        with transaction.atomic():
            return _insert(
                actor,
                WorkflowRun(
                    uuid=uuid or uuids.uuid4(),
                    workflow=workflow,
                    engine=engine or route(workflow.format, run_labels),
                    pinned=engine is not None,
                    parameters=values,
                    note=note,
                    wanted=Wanted.HOLD if hold else Wanted.RUN,
                    reason=Reason.HELD if hold else "",
                    trigger=trigger,
                    previous=previous,
                    parent_task_run=parent_task_run,
                    source=dict(source or {}),
                    created_by=actor.user if actor.user and actor.user.pk else None,  # type: ignore[misc]
                ),
                run_labels,
                known=uuid is not None,
            )
    except IntegrityError:
        if uuid and (found := _with_uuid(actor, uuid, workflow, parent_task_run)):
            return found
        raise


@patient
def start_held_run(
    actor: Actor,
    run: WorkflowRun,
    *,
    parameters: Mapping[str, Any] | None = None,
    expected_version: int | None = None,
) -> WorkflowRun:
    """Starts a held run, its parameters merged over those it has. A run that is started already is
    left as it is, unless parameters came along: those would be too late."""
    require(actor, Action.START_RUN, run)
    check_version(run, expected_version)
    if run.final:
        raise Conflict("It has ended already: restart it, or rerun it as a new run.", run)
    if run.wanted != Wanted.HOLD:
        if parameters:
            raise Conflict("It is started already: its parameters can't be changed now.", run)
        return run
    now = database_now()
    values = clean_run_parameters(run.workflow, merged(run.workflow, run.parameters, parameters))
    check_values(run.workflow)
    change = moves.RunChange(run).set(
        wanted=Wanted.RUN, parameters=values, reason="", next_check_at=now
    )
    change.attempt |= {"parameters": values, "begun_at": now}
    change.note(Cause.START, by(actor))
    write(change)
    return run


def rerun(
    actor: Actor,
    run: WorkflowRun,
    *,
    parameters: Mapping[str, Any] | None = None,
    labels: Any = None,
    workflow: Workflow | None = None,
    hold: bool = False,
    note: str = "",
) -> WorkflowRun:
    """A new run like this one, with `previous` set; what is given replaces what that one had, its
    parameters one by one."""
    workflow = workflow or run.workflow
    return start_run(
        actor,
        workflow,
        parameters=merged(workflow, run.parameters, parameters),
        labels=clean_labels(labels) if labels is not None else labels_of(run),
        engine=run.engine if run.pinned else None,
        hold=hold,
        note=note,
        trigger=Trigger.RERUN,
        previous=run,
        source=run.source,
    )


@patient
def edit_run(
    actor: Actor,
    run: WorkflowRun,
    *,
    labels: Any = UNSET,
    note: str | None = None,
    expected_version: int | None = None,
) -> WorkflowRun:
    """Changes labels or note. New labels route a run anew only while no engine has it."""
    require(actor, Action.EDIT_RUN, run)
    check_version(run, expected_version)
    with transaction.atomic():
        change = moves.RunChange(run)
        if note is not None:
            change.set(note=note)
        if labels is not UNSET:
            wanted = clean_labels(labels)
            if wanted != labels_of(run):
                set_labels(run, wanted)
                change.note(Cause.EDIT, by(actor), "labels")
                if run.reason == Reason.NO_ENGINE:
                    change.fields["next_check_at"] = database_now()
        if change:
            write(change)
            audit.record(actor, "edit", run, changed=sorted(change.fields) or ["labels"])
    return run


def merged(
    workflow: Workflow, old: Mapping[str, Any], new: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The parameters that a run has with those given now, which win one by one; where `overrides` are
    config of nodes, key by key of each node. What is no object is left for the check that follows."""
    new = new or {}
    both = {**old, **new}
    if workflow.format == orchestrator.NAME and OVERRIDES in old and OVERRIDES in new:
        both[OVERRIDES] = _merged(old[OVERRIDES], new[OVERRIDES], 2)
    return both


def clean_run_parameters(
    workflow: Workflow, values: Mapping[str, Any], *, required: bool = True
) -> dict[str, Any]:
    """The values with defaults, checked field by field. `required=False` lets required ones be
    missing still, for a held run. Raises Invalid."""
    schema = workflow.parameters_schema
    if not isinstance(values, Mapping):
        raise Invalid({"parameters": "Give an object."})
    try:
        if not required:
            schema = {key: value for key, value in schema.items() if key != "required"}
        return clean_parameters(schema, values)
    except ParameterErrors as error:
        raise Invalid({f"parameters.{name}": text for name, text in error.errors.items()}) from None


def check_version(run: WorkflowRun, expected: int | None) -> None:
    """Raises Stale when the caller saw an older version of the run."""
    if expected is not None and expected != run.version:
        raise Stale("The run changed meanwhile. Look again, then decide.", run)


def _check_startable(workflow: Workflow, engine: Engine | None) -> None:
    if workflow.archived:
        raise Conflict(f"{workflow} is archived. Start a newer version, or take it back first.")
    if workflow.state == WorkflowState.FAILED:
        raise Conflict(f"{workflow} could not be deployed: {workflow.state_message}")
    if engine and engine.kind not in formats().get(workflow.format, []):
        raise Invalid(
            {"engine": f"{engine.name} ({engine.kind}) doesn't take the format {workflow.format}."}
        )


def _merged(old: Any, new: Any, levels: int) -> Any:
    if not levels or not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return new
    return {**old, **{name: _merged(old.get(name), new[name], levels - 1) for name in new}}


def _with_uuid(
    actor: Actor, uuid: uuids.UUID, workflow: Workflow, asker: TaskRun | None
) -> WorkflowRun | None:
    found = WorkflowRun.objects.filter(uuid=uuid).first()
    if found is None:
        return None
    if asker is not None:
        if (found.parent_task_run_id, found.trigger) == (asker.pk, Trigger.DEPENDENCY):
            return found
        raise Taken(f"The uuid {uuid} belongs to a run that {asker} didn't ask for.")
    if not visible(actor, WorkflowRun.objects.filter(pk=found.pk)).exists():
        raise Conflict(f"The uuid {uuid} is taken: choose another.")
    if found.workflow_id != workflow.pk:
        raise Conflict(f"The uuid {uuid} belongs to a run of another workflow.", found)
    return found


def _insert(
    actor: Actor, run: WorkflowRun, labels: Mapping[str, str], *, known: bool
) -> WorkflowRun:
    """`known`: whoever asks chose the uuid, and may have asked before a restore undid it."""
    now: datetime = database_now()
    held = run.wanted == Wanted.HOLD
    restored_at = wary_since(now) if known else None
    ask_first: list[int] = []
    if restored_at is not None:
        ask_first = engines_to_ask(run.engine, run.workflow.format, fixed=run.pinned)
    if ask_first:
        run.engine_id = ask_first[0]
        run.reason = Reason.RESTORED
    run.external_id = external_id(run.uuid, 1)
    run.next_check_at = None if held and not ask_first else now
    if not held and run.engine_id is None:
        run.reason = Reason.NO_ENGINE
    run.last_seq = 1
    run.save(force_insert=True)
    RunAttempt.objects.create(
        run=run,
        number=1,
        parameters=run.parameters,
        external_id=run.external_id,
        state=RunState.PENDING,
        actor=actor.name,
        begun_at=None if held else now,
        sent_at=restored_at if ask_first else None,
        ask_first=ask_first,
    )
    TaskRun.objects.bulk_create(
        TaskRun(run=run, task=task, name=task.name) for task in run.workflow.tasks.all()
    )
    RunEvent.objects.create(
        run=run,
        seq=1,
        new=RunState.PENDING,
        cause=Cause.CREATE,
        actor_kind=RunEvent.ActorKind.USER,
        actor=actor.name,
        detail=run.reason,
        seen_at=now,
    )
    add_labels(run, labels)
    raise_counters([Count(name="workflows_submitted_total")])
    if not held:
        wake_reconciler()
    return run
