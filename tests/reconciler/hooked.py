"""A hub with the built-in engine, for the tests of hooks that go on when their run has ended."""

from typing import Any

from django.db.models import QuerySet

from engines.dag.models import Execution
from engines.dag.outcome import Taken
from engines.states import TaskState
from runs import actions
from runs.models import Counter, RunAttempt, TaskRun, WorkflowRun
from runs.policy import Actor
from runs.reconciler.once import once
from tests.e2e.processes import eventually
from tests.engines.dag.driving import Hand, step, workflow
from tests.factories import make_engine

LONG_AGO = "2020-01-01T00:00Z"
HOOK = {"handler": "input", "with": {"of": "${ended.name}"}}


class HookedHub:
    """The built-in engine, a hand for a worker, and rounds of the reconciler."""

    def __init__(self) -> None:
        self.engine = make_engine()
        self.hand = Hand()

    def start(self, *steps: dict[str, Any], **more: Any) -> WorkflowRun:
        flow, _ = actions.post_workflow(
            Actor(), definition=workflow(*steps, **more), engine=self.engine
        )
        run = actions.start_run(Actor(), flow)
        eventually(lambda: once() and execution_of(run).exists(), what="the engine has the run")
        return run

    def ended_with_hook(
        self, end: TaskState = TaskState.COMPLETED, **hook: Any
    ) -> tuple[WorkflowRun, Taken]:
        """A run that has ended, and the hook of its end that the hand has."""
        run = self.start(step("a"), on_success=HOOK | hook, on_failure=HOOK | hook)
        first = self.hand.take()
        assert first is not None
        taken = self.hand.end(first, end)
        assert taken is not None
        once()
        return run, taken


def execution_of(run: WorkflowRun) -> QuerySet[Execution]:
    return Execution.objects.filter(run_uuid=run.uuid)


def seen(run: WorkflowRun) -> WorkflowRun:
    return WorkflowRun.objects.get(pk=run.pk)


def row(run: WorkflowRun, name: str = "on_success") -> TaskRun:
    return TaskRun.objects.get(run=run, name=name)


def as_it_ended(run: WorkflowRun) -> Any:
    """What a hook must not change."""
    names = ("state", "reason", "error", "error_task", "fingerprint", "result", "ended_at", "flags")
    values = WorkflowRun.objects.values(*names, "engine_ended_at", "attempt").get(pk=run.pk)
    attempt = RunAttempt.objects.values("state", "ended_at", "error").get(run=run, number=1)
    counters = list(Counter.objects.order_by("name", "labels").values_list("name", "value"))
    return values, attempt, [one for one in counters if "workflow" in one[0] or "step" in one[0]]
