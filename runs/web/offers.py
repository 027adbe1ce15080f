"""The actions that a page offers for a run or a task: each with the reason why it can't be done now,
which is shown beside the disabled button. Asks the role, the state and the engine's capabilities,
never the engine's kind."""

from dataclasses import dataclass

from django.http import HttpRequest

from runs.actions.attempts import NOT_BY_ITSELF
from runs.models import TaskRun, WorkflowRun
from runs.policy import Action
from runs.states import FINAL_TASK_STATES, RunState, Wanted
from runs.web.access import why_not


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """`reason`: why not; empty where it can be done."""

    reason: str = ""

    @property
    def open(self) -> bool:
        return not self.reason


def run_offers(request: HttpRequest, run: WorkflowRun) -> dict[str, Offer]:
    """By name: cancel, retry, retry_failed, retry_task, restart, rerun, start, mark, edit."""
    held = run.wanted == Wanted.HOLD
    ended = "" if not run.final else "The run has ended."
    stopping = "It is being canceled already." if run.wanted == Wanted.CANCEL else ""
    waits = "It is held: start it instead." if held else ""
    retry = why_not(request, Action.RETRY_RUN, run) or waits
    started = "" if held else "It is started already."
    failed = "" if run.state != RunState.COMPLETED else "Nothing in it failed."
    return {
        "cancel": Offer(reason=why_not(request, Action.CANCEL_RUN, run) or ended or stopping),
        "retry": Offer(reason=retry),
        "retry_failed": Offer(reason=retry or failed or can(run, "retry_failed")),
        "retry_task": Offer(reason=retry or can(run, "retry_task")),
        "restart": Offer(reason=retry),
        "rerun": Offer(reason=why_not(request, Action.START_RUN, run.workflow) or _gone(run)),
        "start": Offer(reason=why_not(request, Action.START_RUN, run) or started),
        "mark": Offer(reason=why_not(request, Action.MARK_RUN, run)),
        "edit": Offer(reason=why_not(request, Action.EDIT_RUN, run)),
    }


def task_offers(request: HttpRequest, run: WorkflowRun, task: TaskRun) -> dict[str, Offer]:
    """By name: cancel, retry, mark."""
    over = task.state in FINAL_TASK_STATES or (run.final and not task.is_hook)
    ended = f"The {task.get_kind_display().lower()} has ended." if over else ""
    retry = Offer(reason=f"A hook can't be retried by itself: {NOT_BY_ITSELF}")
    stopping = "It is being canceled already." if task.wanted == Wanted.CANCEL else ""
    cancel = why_not(request, Action.CANCEL_RUN, run) or ended or stopping
    return {
        "cancel": Offer(reason=cancel or can(run, "cancel_task")),
        "retry": retry if task.is_hook else run_offers(request, run)["retry_task"],
        "mark": Offer(reason=why_not(request, Action.MARK_RUN, run)),
    }


def can(run: WorkflowRun, capability: str) -> str:
    """Why the run's engine can't do this; empty where it can, or no engine has the run yet."""
    answer = run.engine.can(capability) if run.engine else True
    return "" if answer is True else f"{run.engine}: {answer}"


def _gone(run: WorkflowRun) -> str:
    return f"{run.workflow} is archived." if run.workflow.archived else ""
