"""Starts the runs that steps ask for.

The row of a request and its run are made in one transaction under the request's key, so that however
often it is reported, by whomever, there is one run. Called by runs.reconciler.children.
"""

import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from uuid import UUID, uuid5

from django.db import InterfaceError, OperationalError, transaction

from engines.base import RunRequest, RunSnapshot, TaskKey
from engines.faults import crash_point
from engines.models import Engine
from runs import actions, leases, moves
from runs.errors import ActionError, Conflict, Denied, Taken
from runs.models import ChildRun, RunEvent, TaskRun, Workflow, WorkflowRun
from runs.policy import Actor, visible
from runs.reconciler.hold import Hold
from runs.states import Cause, TaskState, Trigger, Wanted, task_order

logger = logging.getLogger("workflowhub.sync")

REQUESTED_RUNS = UUID("7f0d7a0e-4f0b-4f5e-9a55-0c2f6b1c8a4d")  # the namespace of their uuids
MOST_DEPTH = 10
BATCH = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request with the execution and the try that it is of."""

    external_id: str
    request: RunRequest
    try_number: int


def requests_in(snapshot: RunSnapshot) -> dict[str, Asked]:
    """Key -> what a snapshot asks for."""
    if not snapshot.requests:
        return {}
    tries = {(task.task, task.map_index): task.try_number for task in snapshot.tasks}
    found: dict[str, Asked] = {}
    for request in snapshot.requests:
        if request.task in tries:
            found[request.key] = Asked(
                external_id=snapshot.external_id,
                request=request,
                try_number=tries[request.task],
            )
        else:
            logger.error("%s asks for a run without its task", request.key)
    return found


def start_all(engine: Engine, hold: Hold, reported: dict[str, Asked], until: float) -> int:
    """Starts what was asked for and isn't started yet; how many. What there is no time for stays in
    `reported`; what can't be started yet is taken out, and will be reported again. `until`:
    monotonic."""
    asked = _unknown(reported)
    reported.clear()
    if not asked:
        return 0
    parents = {
        run.external_id: run
        for run in WorkflowRun.objects.filter(
            engine=engine, external_id__in={one.external_id for one in asked}
        ).select_related("created_by")
    }
    depths = dict(
        ChildRun.objects.filter(child__in=parents.values()).values_list("child_id", "depth")
    )
    tasks = _tasks(parents.values(), asked)
    started = 0
    for one in asked:
        parent = parents.get(one.external_id)
        task = tasks.get((parent.pk, *one.request.task)) if parent else None
        if parent is None or task is None or not _stands(one, parent, task):
            continue
        if hold.ending or (started and time.monotonic() >= until):
            reported[one.request.key] = one
            continue
        hold.check()
        started += _start(one, parent, task, depths.get(parent.pk, 0) + 1, hold.fence)
    return started


def _unknown(asked: dict[str, Asked]) -> list[Asked]:
    """Those that have no row yet."""
    keys = list(asked)
    known: set[str] = set()
    for at in range(0, len(keys), BATCH):
        found = ChildRun.objects.filter(key__in=keys[at : at + BATCH])
        known |= set(found.values_list("key", flat=True))
    return [one for key, one in asked.items() if key not in known]


def _tasks(
    parents: Iterable[WorkflowRun], asked: Sequence[Asked]
) -> dict[tuple[int, str, int], TaskRun]:
    """(run, name, map index) -> the task run."""
    keys: set[TaskKey] = {one.request.task for one in asked}
    found = TaskRun.objects.filter(
        run__in=list(parents),
        name__in={name for name, _ in keys},
        map_index__in={index for _, index in keys},
    ).defer("inputs", "result")
    return {(task.run_id, task.name, task.map_index): task for task in found}


def _stands(one: Asked, parent: WorkflowRun, task: TaskRun) -> bool:
    """Whether the try that asked goes on, as far as we know."""
    return (
        not parent.final
        and parent.wanted == Wanted.RUN
        and not task.marked
        and task_order(task.attempt, task.try_number, task.state)
        <= task_order(parent.attempt, one.try_number, TaskState.RUNNING)
    )


def _start(one: Asked, parent: WorkflowRun, task: TaskRun, depth: int, fence: leases.Fence) -> bool:
    """Makes the request's row and its run, or the row with the reason why there is none. False where
    another process was faster."""
    try:
        made = _start_once(one, parent, task, depth, fence)
    except (leases.LeaseLost, OperationalError, InterfaceError):
        raise
    except Exception as error:  # noqa: BLE001 - one request's trouble never stops the others
        logger.exception("The run that %s asks for can't be started", one.request.key)
        text = f"It could not be started: {type(error).__name__}."
        made = _start_once(one, parent, task, depth, fence, refusal=text)
    crash_point("child.written")
    return made


def _start_once(
    one: Asked,
    parent: WorkflowRun,
    task: TaskRun,
    depth: int,
    fence: leases.Fence,
    *,
    refusal: str = "",
) -> bool:
    with transaction.atomic():
        leases.check(fence)
        row, made = ChildRun.objects.get_or_create(
            key=one.request.key,
            defaults={
                "parent": parent,
                "external_id": one.external_id,
                "task": task.name,
                "map_index": task.map_index,
                "attempt": parent.attempt,
                "try_number": one.try_number,
                "waits": one.request.wait,
                "depth": depth,
                "error": refusal,
            },
        )
        if not made or refusal:
            return made
        crash_point("child.starting")
        try:
            row.child = _start_run(one.request, parent, task, depth)
        except ActionError as error:
            row.error = str(error).replace("\x00", "\ufffd")
        row.save(update_fields=["child", "error"])
        if row.child is not None:
            change = moves.RunChange(parent)
            text = f"Run {row.child.pk} of {row.child.workflow}"
            change.note(Cause.START, moves.RECONCILER, text, task=task)
            moves.apply_one(change)  # if somebody was faster, the history lacks this line
        crash_point("child.writing")
    return True


def _start_run(request: RunRequest, parent: WorkflowRun, task: TaskRun, depth: int) -> WorkflowRun:
    """The requested run, with the rights of whoever started its parent. Raises ActionError."""
    if depth > MOST_DEPTH:
        raise Conflict(
            f"Runs can be nested {MOST_DEPTH} deep, and run {parent.pk} is the {MOST_DEPTH}th below "
            "the first. Does a workflow start itself without end?"
        )
    actor = _actor(parent)
    start = partial(
        actions.start_run,
        actor,
        _workflow(actor, request),
        parameters=request.parameters,
        labels=request.labels,
        trigger=Trigger.DEPENDENCY,
        parent_task_run=task,
    )
    try:
        # The same request is for the same run, also after a restore that forgot it.
        return start(uuid=uuid5(REQUESTED_RUNS, request.key))
    except Taken as error:
        # Whoever knows the key can have started a run with that uuid: it is not this step's. The row
        # that is written with the run says which one is.
        logger.warning("%s asks for a run, which gets another uuid: %s", request.key, error)
        return start()


def _actor(parent: WorkflowRun) -> Actor:
    """Whoever started the parent. The hub itself has no account; a person without one has gone."""
    if parent.created_by is not None:
        return Actor(user=parent.created_by)
    names = RunEvent.objects.filter(run=parent, seq=1).values_list("actor", flat=True)
    name, hub = names.first() or "nobody", Actor()
    if name != hub.name:
        raise Denied(
            f"{name}, who started run {parent.pk}, has no account any more: no run can be started "
            "in that name. Start it anew as somebody else."
        )
    return hub


def _workflow(actor: Actor, request: RunRequest) -> Workflow:
    """The version asked for, or the newest that isn't archived. Raises Conflict."""
    found = visible(actor, Workflow.objects.select_related("engine")).filter(title=request.workflow)
    if request.version is not None:
        found = found.filter(version=request.version)
    newest_first = found.order_by("-version")
    workflow = newest_first.filter(archived_at=None).first() or newest_first.first()
    if workflow is None:
        which = f"'{request.workflow}'"
        which += f" v{request.version}" if request.version is not None else ""
        raise Conflict(f"There is no workflow {which}, or {actor.name} may not see it.")
    return workflow
