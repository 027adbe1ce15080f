"""What the built-in engine still has of a failed attempt, so that what failed in it can be run again."""

from collections import defaultdict

from engines.dag.definitions import keep_document
from engines.dag.models import Document, Execution, Step
from runs.management.demo.past import PastRun, Stage
from runs.models import TaskRun
from runs.states import TaskState

WORST = (TaskState.FAILED, TaskState.UPSTREAM_FAILED, TaskState.CANCELED, TaskState.COMPLETED)


def document_of(stage: Stage) -> Document:
    return keep_document(stage.workflow.definition, stage.workflow.format)


def execution_of(past: PastRun, document: Document) -> Execution:
    """Of the run's present attempt. Its run must have its key."""
    run = past.run
    return Execution(
        engine=past.stage.engine,
        document=document,
        external_id=run.external_id,
        run_uuid=str(run.uuid),
        run_id=run.pk,
        attempt=run.attempt,
        title=past.stage.story.title,
        parameters=run.parameters,
        max_parallel=16,
        state=run.state,
        error=run.error,
        created_at=run.scheduled_at or run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
    )


def steps_of(past: PastRun, execution: Execution) -> list[Step]:
    """A row of each step, and of each item of a mapped one."""
    rows: dict[str, list[TaskRun]] = defaultdict(list)
    for row in past.told.tasks:
        rows[row.name].append(row)
    found: list[Step] = []
    for position, step in enumerate(past.stage.story.steps):
        items = rows[step.name]
        if step.instances and any(row.started_at for row in items):
            worst = min(items, key=lambda row: WORST.index(TaskState(row.state)))
            found.append(_step(execution, position, worst, map_index=-1, of=len(items)))
            found += [_step(execution, position, row, map_index=row.map_index) for row in items]
        else:
            found.append(_step(execution, position, items[0], map_index=-1))
    return found


def _step(
    execution: Execution, position: int, row: TaskRun, *, map_index: int, of: int | None = None
) -> Step:
    return Step(
        execution=execution,
        name=row.name,
        map_index=map_index,
        position=position,
        mapped=of is not None,
        items=of,
        item=map_index if map_index >= 0 else None,
        state=row.state,
        attempt=row.attempt,
        worker_name=row.worker,
        error=row.error,
        result=row.result,
        started_at=row.started_at,
        ended_at=row.ended_at,
    )
