"""What is asked of an execution from outside: start it, start it again keeping what is done, stop it
or one of its steps, forget it."""

from collections.abc import Iterable, Sequence

from django.conf import settings
from django.db import IntegrityError, transaction

from engines.base import EngineRejected, RetrySpec, RunNotFound, RunSpec
from engines.clock import database_now
from engines.dag import answers, hooks, lookups, sql, statements
from engines.dag.advance import follow, proceed, settle_open
from engines.dag.again import copy_steps, new_steps
from engines.dag.children import is_held
from engines.dag.confidential import seal
from engines.dag.definitions import BadDefinition, keep_document, read_graph
from engines.dag.graph import Graph
from engines.dag.held import STEPS_CHANNEL, Held, locked
from engines.dag.lifetime import too_long
from engines.dag.models import Execution, Step
from engines.dag.outcome import Stop
from engines.dag.runlog import write_notes
from engines.faults import crash_point
from engines.states import RunState, TaskState

BATCH = 500


def start(engine_id: int, run: RunSpec, retry: RetrySpec | None = None) -> None:
    """Makes the execution `run.external_id`, unless it is there. Raises EngineRejected for a
    definition that can't be run, RunNotFound if the attempt to be retried is gone."""
    if Execution.objects.filter(external_id=run.external_id).exists():
        return
    try:
        graph = read_graph(run.workflow.definition, run.workflow.format)
    except BadDefinition as error:
        raise EngineRejected(f"The definition can't be run: {error}") from None
    try:
        with transaction.atomic():
            sql.begin_changes()
            execution = _new_execution(engine_id, run, graph)
            if retry is None:
                new_steps(execution, graph)
            else:
                copy_steps(execution, graph, retry)
            with locked(execution.pk) as held:
                if held is not None:
                    proceed(held, None)
            crash_point("start.writing")
        crash_point("start.written")
    except IntegrityError:
        if not Execution.objects.filter(external_id=run.external_id).exists():
            raise
        return
    if held is not None:
        write_notes(held)


def cancel(external_id: str, overdue: str = "") -> None:
    """Stops an execution: what nobody runs ends at once, the rest when its worker has stopped it.
    With `overdue`, which says that it took too long, it has failed with this error. A second time
    changes nothing. Raises RunNotFound."""
    with locked(_id_of(external_id)) as held:
        if held is not None and not held.final:
            stop_all(held, Stop.TIMEOUT if overdue else Stop.CANCELED, overdue)
    if held is not None:
        write_notes(held)


def cancel_step(external_id: str, name: str, map_index: int) -> None:
    """Stops one step, or with map_index -1 of a mapped step all its items or passes. What needs it can't
    start; the other branches go on. A hook can be stopped after its run has ended. Raises
    RunNotFound, also for a step that isn't there."""
    with locked(_id_of(external_id)) as held:
        if held is not None and hooks.is_hook(held, name):
            _check_step(held.plan.id, name, map_index)
            hooks.cancel(held, name)
        elif held is not None and not held.final:
            _cancel_rows(held, name, map_index)
    if held is not None:
        write_notes(held)


def stop_all(held: Held, why: Stop, error: str = "") -> None:
    """Ends what nobody runs and asks for the end of what somebody does. `error`: what the execution
    fails of, where it ran out of time."""
    if held.cancel_requested or held.reason == Stop.TIMEOUT:
        return
    held.cancel_requested = why == Stop.CANCELED
    held.reason = why.value
    held.note("Workflow execution is being stopped | reason=" + why.value, "WARNING")
    statements.stop_execution(held.plan.id, held.cancel_requested, held.reason, error)
    rows = [
        row
        for row in lookups.open_steps(held.plan.id)
        if not (row[4] and row[3] == TaskState.RUNNING)
    ]
    _stop_rows(held, rows, why)
    proceed(held, None)


def stop_overdue() -> bool:
    """Stops the executions that have run longer than their limit, and the steps that no worker has
    and could stop; True where that made steps ready for workers."""
    for execution_id in lookups.overdue_executions():
        with locked(execution_id) as held:
            if held is not None and not held.final:
                stop_all(held, Stop.TIMEOUT, too_long(held))
        if held is not None:
            write_notes(held)
    return answers.stop_overdue()


def forget(external_ids: Sequence[str]) -> int:
    """Deletes ended executions and all that belongs to them, but for those with a hook that goes
    on; how many."""
    ended = Execution.objects.filter(external_id__in=external_ids, ended_at__isnull=False)
    ended = ended.exclude(external_id__in=hooks.busy(external_ids))
    count = ended.count()
    ended.delete()
    return count


def _cancel_rows(held: Held, name: str, map_index: int) -> None:
    rows = [row for row in lookups.open_steps(held.plan.id) if row[1] == name]
    group = any(row[2] == -1 and row[4] and row[3] == TaskState.RUNNING for row in rows)
    if group and map_index == -1:
        # Where the step repeats, a pass that is faster than this is its last.
        statements.ask_to_stop([row[0] for row in rows if row[2] == -1], Stop.CANCELED)
        rows = [row for row in rows if row[2] >= 0]
    else:
        rows = [row for row in rows if row[2] == map_index]
    if not rows:
        _check_step(held.plan.id, name, map_index)
        return
    _stop_rows(held, rows, Stop.CANCELED)
    for row in rows:
        if not is_held(held, row) and row[2] == -1:
            follow(held, name, -1, TaskState.CANCELED, stopped_by_hand=True)
    held.note(f"Step '{name}' cancelled")
    proceed(held, None)


def _stop_rows(held: Held, rows: Iterable[sql.Row], why: Stop) -> None:
    chosen = list(rows)
    running = [row[0] for row in chosen if is_held(held, row)]
    if running:
        statements.ask_to_stop(running, why)
        statements.notify(STEPS_CHANNEL)
    idle = [row for row in chosen if not is_held(held, row)]
    settle_open(held, idle, TaskState.CANCELED, why)


def _new_execution(engine_id: int, run: RunSpec, graph: Graph) -> Execution:
    now = database_now()
    return Execution.objects.create(
        engine_id=engine_id,
        document=keep_document(run.workflow.definition, run.workflow.format),
        external_id=run.external_id,
        run_uuid=run.uuid,
        run_id=run.run_id,
        attempt=run.attempt,
        title=run.workflow.title[:250],
        parameters=dict(run.parameters),
        labels=dict(run.labels),
        variables=dict(run.variables),
        secrets=seal(run.secrets),
        created_by=run.created_by,
        max_parallel=graph.max_parallel or settings.WORKFLOWHUB_MAX_PARALLEL,
        created_at=now,
        changed=sql.stamp_now(),
    )


def _id_of(external_id: str) -> int:
    found = Execution.objects.filter(external_id=external_id).values_list("pk", flat=True).first()
    if found is None:
        raise RunNotFound(f"The local engine has no run {external_id}.")
    return found


def _check_step(execution_id: int, name: str, map_index: int) -> None:
    if not Step.objects.filter(execution_id=execution_id, name=name, map_index=map_index).exists():
        raise RunNotFound(f"The run has no step {name} ({map_index}).")


__all__ = ["RunState", "cancel", "cancel_step", "forget", "start", "stop_all", "stop_overdue"]
