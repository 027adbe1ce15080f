"""Gets an execution going again whose counts are wrong, as no fault but a hand in the database leaves
them. Called by the checks of `manage.py fsck`."""

from engines.dag import mapping
from engines.dag.advance import close_group, proceed
from engines.dag.graph import waits_for
from engines.dag.held import locked
from engines.dag.models import Step
from engines.dag.runlog import write_notes
from engines.states import TaskState


def push(execution_id: int) -> bool:
    """Counts anew what each step waits for, and starts or ends what may; False if there is no such
    execution any more, or it has ended."""
    with locked(execution_id) as held:
        if held is None or held.final:
            return False
        steps = Step.objects.filter(execution=execution_id)
        for name in steps.filter(mapped=True, state=TaskState.RUNNING).values_list(
            "name", flat=True
        ):
            if mapping.recount(execution_id, name) == 0:
                close_group(held, name)
        whole = steps.filter(map_index=-1)
        states = {name: TaskState(state) for name, state in whole.values_list("name", "state")}
        for spec in held.plan.definition.graph.steps:
            waiting = whole.filter(name=spec.name, state=TaskState.PENDING)
            waiting.update(waits_for=waits_for(spec, states))
        held.note("Counted anew what each step waits for", "WARNING")
        proceed(held, None)
    write_notes(held)
    return True
