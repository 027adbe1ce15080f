"""An execution begins to run, and ends. Under its lock, like everything that advance.py decides."""

import json
from typing import Any

from engines.dag import hooks, lookups, statements
from engines.dag.graph import final_state
from engines.dag.held import Held
from engines.dag.models import Execution
from engines.dag.outcome import Stop, to_json
from engines.dag.values import first_error, run_result
from engines.states import RunState, TaskState


def begin(held: Held) -> None:
    """The first of its steps starts, unless one has."""
    if held.state == RunState.SCHEDULED:
        statements.start_execution(held.plan.id, held.plan.definition.graph.timeout)
        held.state = RunState.RUNNING
        held.turned = True
        held.notes.insert(0, ("INFO", "Workflow execution started"))


def close(held: Held) -> None:
    """Ends an execution whose steps all are final."""
    execution_id = held.plan.id
    found = map(TaskState, lookups.final_states(execution_id))
    state = final_state(found, cancel_requested=held.cancel_requested)
    values: dict[str, Any] = {"reason": held.reason, "result": None}
    if held.reason == Stop.TIMEOUT:
        state = RunState.FAILED  # of the error that it was stopped with
    elif state == RunState.COMPLETED:
        try:
            values["result"] = json.loads(to_json(run_result(held)))
        except ValueError as error:
            state = RunState.FAILED
            values |= {"reason": "outputs", "error": f"The run's outputs: {error}"}
    elif state == RunState.FAILED:
        values["error"] = first_error(execution_id)
    Execution.objects.filter(pk=execution_id).update(state=state, **values)
    statements.end_execution(execution_id)
    held.state = state
    held.turned = True
    hooks.after_run(held)
    held.note(
        f"Workflow execution ended: {state.label.lower()}",
        "ERROR" if state == RunState.FAILED else "INFO",
    )


def too_long(held: Held) -> str:
    """What an execution fails of that takes longer than its document allows."""
    return f"The run took longer than its limit of {held.plan.definition.graph.timeout or 0:g} s."
