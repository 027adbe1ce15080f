"""Whether a try that ended badly is followed by another, and when."""

import time

from django.conf import settings

from engines.dag import statements
from engines.dag.graph import retry_wait
from engines.dag.held import Held
from engines.dag.hooks import is_hook
from engines.dag.models import Step
from engines.dag.outcome import Outcome, Stop
from engines.states import TaskState

MAX_LOSSES = 3


def next_try(held: Held, outcome: Outcome) -> float | None:
    """Seconds to wait if the step is to be tried again."""
    stopping = held.stopping and not is_hook(held, outcome.name)
    if stopping or outcome.state != TaskState.FAILED or outcome.stopped:
        return None
    step = Step.objects.filter(pk=outcome.step_id).values("failures", "losses", "stop").first()
    if step is None or (step["stop"] and not outcome.lost):
        return None  # somebody asked for its end, and it failed before that
    if outcome.lost:
        again = settings.WORKFLOWHUB_AUTO_RESUME and step["losses"] < MAX_LOSSES
        return 0.0 if again or outcome.reason == Stop.DRAIN else None
    retry = held.plan.definition.steps[outcome.name].retry
    if outcome.permanent or step["failures"] >= retry.limit:
        return None
    return retry_wait(retry, step["failures"] + 1)


def try_again(held: Held, outcome: Outcome, wait: float) -> bool:
    """The step waits for its next try. A lost try is ready at once: its worker failed, not it."""
    values = {"reason": outcome.reason, "error": outcome.error, "log": outcome.log}
    lost = outcome.lost
    state = TaskState.SCHEDULED if lost else TaskState.RETRYING
    ago = outcome.ago(time.monotonic())
    values["state"] = state.value
    ended = statements.end_step(outcome.step_id, outcome.token, values, ago)()
    if not ended:
        return False
    statements.record_try(outcome.step_id)
    if lost:
        statements.ready_again(outcome.step_id, 0 if outcome.reason == Stop.DRAIN else 1)
    else:
        statements.wait_for_retry(outcome.step_id, wait)
    name, map_index = ended[0]
    name = name if map_index < 0 else f"{name}[{map_index}]"
    held.note(f"Step '{name}' is tried again in {wait:.1f} s | error={outcome.error}", "WARNING")
    held.left_ready = held.left_ready or lost
    return True
