"""Why a run failed, as far as the hub knows: the task that failed first, what changed since the last
success, and whether others fail of the same. Called by pages and the API; `runs` is what the reader may
see."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils import timezone

from runs.comparison import Changes, changes
from runs.models import TaskRun, WorkflowRun
from runs.querysets import RunQuerySet
from runs.recent import Similar, last_success, similar
from runs.states import TaskState

MOST_FAILED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Background:
    """`before`: the last success of the same workflow, if there is one near enough; `changes`: from
    that to the run."""

    before: WorkflowRun | None
    changes: Changes | None
    similar: Similar


def background(run: WorkflowRun, runs: RunQuerySet) -> Background:
    """Four queries at most where the run's labels are at hand."""
    before = last_success(runs, run)
    return Background(
        before=before,
        changes=changes(before, run) if before else None,
        similar=similar(runs, run),
    )


def root_task(run: WorkflowRun) -> TaskRun | None:
    """The task that failed first; one query."""
    return root_of(run, failed_tasks(run))


def failed_tasks(run: WorkflowRun) -> list[TaskRun]:
    """Those that failed, the first of them first."""
    failed = TaskRun.objects.filter(run=run, state=TaskState.FAILED).select_related("task")
    return list(failed.defer("result", "inputs").order_by("ended_at", "pk")[:MOST_FAILED])


def root_of(run: WorkflowRun, tasks: Sequence[TaskRun]) -> TaskRun | None:
    """Of a run's tasks the one that failed first, not one of those that failed because of it."""
    failed = [task for task in tasks if task.state == TaskState.FAILED and not task.is_hook]
    named = [task for task in failed if str(task) == run.error_task]
    named = named or [task for task in failed if task.name == run.error_task]
    later = timezone.now()
    return min(named or failed, key=lambda task: task.ended_at or later, default=None)
