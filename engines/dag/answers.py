"""How the tries end that no worker has: the hub answers what a step asked for (engines/dag/children.py),
or the step has waited for longer than it may."""

from datetime import timedelta

from engines.base import ChildOutcome, RunNotFound
from engines.clock import database_now
from engines.dag.advance import finish, proceed
from engines.dag.children import step_of
from engines.dag.held import Held, locked
from engines.dag.models import Execution, Step
from engines.dag.outcome import Outcome, Stop, clean_text, to_json
from engines.dag.runlog import write_notes
from engines.states import FINAL_RUN_STATES, RunState, TaskState

MOST_OVERDUE = 100
NO_DURATION = timedelta(0)


def answer(external_id: str, key: str, outcome: ChildOutcome) -> None:
    """Ends the try that asked. A second answer changes nothing, and so does one to a try that was
    stopped meanwhile. Raises RunNotFound."""
    execution_id = (
        Execution.objects.filter(external_id=external_id).values_list("pk", flat=True).first()
    )
    if execution_id is None:
        raise RunNotFound(f"The local engine has no run {external_id}.")
    with locked(execution_id) as held:
        step = step_of(external_id, key) if held is not None and not held.final else None
        if held is not None and step is not None:
            _end(held, _outcome(step, outcome))
    if held is not None:
        write_notes(held)


def stop_overdue() -> bool:
    """Ends the tries that have waited for longer than their step's limit; True where that made
    steps ready for workers."""
    overdue = Step.objects.filter(deadline_at__lte=database_now(), state=TaskState.RUNNING)
    ready = False
    for step_id, execution_id in list(
        overdue.order_by("deadline_at").values_list("pk", "execution_id")[:MOST_OVERDUE]
    ):
        with locked(execution_id) as held:
            # It may have been answered before the lock was ours.
            step = overdue.filter(pk=step_id).first()
            if held is not None and step is not None:
                _end(held, _too_late(held, step))
        if held is not None:
            write_notes(held)
            ready = ready or held.left_ready
    return ready


def _end(held: Held, outcome: Outcome) -> None:
    if finish(held, outcome):
        proceed(held, None)


def _outcome(step: Step, child: ChildOutcome) -> Outcome:
    """How the step's try ended, from how the run did that it asked for."""
    result = {"run_id": child.run_id, "uuid": child.uuid}
    named = f"Run {child.run_id} of {step.request['workflow']}" if step.request else "The run"
    if child.run_id is None:
        return _ended(step, TaskState.FAILED, reason="no_child", error=child.error)
    if child.state in FINAL_RUN_STATES and child.state != RunState.COMPLETED:
        error = f"{named} {'failed' if child.state == RunState.FAILED else 'was canceled'}"
        error += f": {child.error}" if child.error else "."
        return _ended(step, TaskState.FAILED, reason="child_failed", error=error)
    if child.state == RunState.COMPLETED:
        result |= {"state": child.state.value, "result": child.result}
    try:
        text = to_json(result)
    except ValueError as problem:
        error = f"{named} completed, but its result can't be taken over: {problem}"
        return _ended(step, TaskState.FAILED, reason="result", error=error, permanent=True)
    return _ended(step, TaskState.COMPLETED, result=text)


def _too_late(held: Held, step: Step) -> Outcome:
    limit = held.plan.definition.steps[step.name].timeout or 0
    error = f"The run that it asked for took longer than the step's limit of {limit:g} s."
    return _ended(step, TaskState.FAILED, reason=Stop.TIMEOUT.value, error=error)


def _ended(
    step: Step,
    state: TaskState,
    *,
    reason: str = "",
    error: str = "",
    result: str | None = None,
    permanent: bool = False,
) -> Outcome:
    waited = database_now() - step.started_at if step.started_at else NO_DURATION
    return Outcome(
        execution_id=step.execution_id,
        step_id=step.pk,
        token=step.token,
        name=step.name,
        map_index=step.map_index,
        state=state,
        result=result,
        reason=reason,
        error=clean_text(error),
        seconds=max(waited, NO_DURATION).total_seconds(),
        permanent=permanent,
    )
