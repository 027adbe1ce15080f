"""I4 of hooks: they may go on when their run has ended, but only as long as somebody knows of them."""

from collections.abc import Iterator
from datetime import timedelta

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Subquery

from engines.clock import database_now
from engines.dag.models import Execution, Step
from runs import moves
from runs.invariants.check import FINAL, JUST_NOW, MENDED_AT_ONCE, Check
from runs.models import RunAttempt, TaskRun, WorkflowRun
from runs.states import Cause, Reason, TaskState

LONG = timedelta(days=1)


def _stranded() -> QuerySet[TaskRun]:
    """Open hooks of attempts that are over, of which the engine has nothing: nobody will ever report
    their end. Where it still has them, the reconciler waits for that."""
    over = Q(run__state__in=FINAL) | Q(attempt__lt=F("run__attempt"))
    rows = TaskRun.objects.open_hooks().filter(over, updated_at__lt=database_now() - JUST_NOW)
    attempt = RunAttempt.objects.filter(run=OuterRef("run"), number=OuterRef("attempt"))
    named = rows.annotate(of=Subquery(attempt.values("external_id")[:1]))
    kept = Step.objects.filter(
        execution__external_id=OuterRef("of"), name=OuterRef("name"), kind=TaskRun.Kind.HOOK
    )
    # An engine that isn't in our own tables isn't asked here: it has a day to tell of its hooks.
    ours = Q(run__engine__in=Execution.objects.order_by().values("engine").distinct())
    return named.filter(ours | Q(updated_at__lt=database_now() - LONG), ~Exists(kept))


def _names() -> Iterator[str]:
    for hook in _stranded().order_by("pk").iterator():
        yield f"hook {hook.name} of run {hook.run_id} is {hook.state}, and its execution is gone"


def _close() -> int:
    closed = 0
    for hook in _stranded().select_related("run").iterator(chunk_size=MENDED_AT_ONCE):
        run = WorkflowRun.objects.get(pk=hook.run_id)
        change = moves.RunChange(run).move_task(
            hook,
            TaskState.FAILED,
            Cause.LOST,
            moves.RECONCILER,
            ended_at=database_now(),
            reason=Reason.LOST,
            error="The engine no longer knows this hook.",
        )
        closed += moves.apply_one(change)
    return closed


CHECKS = (
    Check(
        code="I4d",
        holds="A hook that goes on is one that its engine has.",
        remedy="Run fsck --fix: it closes them as lost.",
        find=_names,
        mend=_close,
    ),
)
