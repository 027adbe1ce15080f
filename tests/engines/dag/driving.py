"""Runs executions without worker processes: takes steps and says how they ended."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

from django.test import override_settings

from engines.adapters.local.adapter import Adapter
from engines.base import RunSpec, WorkflowSpec, external_id
from engines.dag import leases
from engines.dag.held import Taker
from engines.dag.leases import register
from engines.dag.models import Execution, Step, Worker
from engines.dag.outcome import Outcome, Taken
from engines.dag.turns import turn
from engines.models import Engine
from engines.states import TaskState


def make_adapter() -> Adapter:
    engine = Engine.objects.create(name=f"local-{uuid4().hex[:8]}", kind="local")
    return Adapter(engine_id=engine.pk, name=engine.name, config={})


def make_spec(
    definition: Any,
    *,
    parameters: dict[str, Any] | None = None,
    uuid: str = "",
    attempt: int = 1,
    format: str = "workflowhub",
    **more: Any,
) -> RunSpec:
    text = definition if isinstance(definition, str) else json.dumps(definition)
    run_uuid = uuid or str(uuid4())
    return RunSpec(
        external_id=external_id(run_uuid, attempt),
        uuid=run_uuid,
        run_id=7,
        attempt=attempt,
        workflow=WorkflowSpec(id=1, title="Test", version=1, format=format, definition=text),
        parameters=parameters or {},
        labels={"team": "physics"},
        **more,
    )


def step(name: str, *needs: str, handler: str = "input", **more: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "handler": handler, **more}
    return found | ({"needs": list(needs)} if needs else {})


def workflow(*steps: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"title": "Test", "steps": list(steps), **more}


def python(
    name: str, callable: str, *needs: str, arguments: dict[str, Any] | None = None, **more: Any
) -> dict[str, Any]:
    """A step that calls a function of tests/handlers.py."""
    values = {"callable": callable, **(arguments or {})}
    return step(name, *needs, handler="python", **more, **{"with": values})


def submit(*steps: dict[str, Any], **more: Any) -> tuple[Adapter, str]:
    """Starts a workflow of these steps; the adapter, and the run's external id."""
    given = {name: more.pop(name) for name in ("secrets", "variables") if name in more}
    parameters = more.pop("run_parameters", None)
    adapter = make_adapter()
    spec = make_spec(workflow(*steps, **more), parameters=parameters, **given)
    adapter.submit(spec)
    return adapter, spec.external_id


def outcome_of(
    taken: Taken, state: TaskState = TaskState.COMPLETED, result: Any = None, **more: Any
) -> Outcome:
    if state == TaskState.FAILED:
        more.setdefault("error", "It went wrong.")
    return Outcome(
        execution_id=taken.plan.id,
        step_id=taken.step_id,
        token=taken.token,
        name=taken.spec.name,
        map_index=taken.map_index,
        state=state,
        result=json.dumps(result) if state == TaskState.COMPLETED else None,
        **more,
    )


def register_this_process() -> Worker:
    """A worker by name only. Were it declared lost at this place, what runs beneath this process would
    be killed, and the tests' database is among that."""
    worker = register(1)
    worker.place = ""
    worker.save(update_fields=["place"])
    return worker


class Hand:
    """A worker that does nothing but what the test says."""

    def __init__(self) -> None:
        self.worker = register_this_process()
        self.taker = Taker(self.worker.pk, "hand:1")

    def take(self) -> Taken | None:
        return next(iter(turn(self.taker).taken), None)

    def end(
        self, taken: Taken, state: TaskState = TaskState.COMPLETED, result: Any = None, **more: Any
    ) -> Taken | None:
        """Ends the step and takes the next."""
        return self.report(taken, state, result, **more)[1]

    def take_together(self, want: int) -> list[Taken]:
        return turn(self.taker, want=want).taken

    def end_together(
        self, taken: Sequence[Taken], ends: Mapping[str, TaskState] | None = None, want: int = 1
    ) -> list[Taken]:
        """Ends steps in one transaction and takes the next. `ends`: of those that don't end well."""
        states = [(ends or {}).get(each.spec.name, TaskState.COMPLETED) for each in taken]
        outcomes = [outcome_of(*each) for each in zip(taken, states, strict=True)]
        return turn(self.taker, outcomes, taken[0].plan, want=want).taken

    def report(
        self, taken: Taken, state: TaskState = TaskState.COMPLETED, result: Any = None, **more: Any
    ) -> tuple[bool, Taken | None, bool]:
        stay = more.pop("stay", True)
        outcome = outcome_of(taken, state, result, **more)
        late, found, others = turn(self.taker, [outcome], taken.plan, stay=stay)
        return not late, next(iter(found), None), others

    def run_all(self, ends: dict[str, TaskState] | None = None) -> list[str]:
        """Takes and ends steps until none is ready; the names in the order of their starts."""
        order = []
        taken = self.take()
        while taken is not None:
            order.append(taken.spec.name)
            state = (ends or {}).get(taken.spec.name, TaskState.COMPLETED)
            taken = self.end(taken, state, taken.inputs)
        return order


def states(execution: str) -> dict[str, str]:
    """Step, or step[index], to its state."""
    return {str(step): step.state for step in Step.objects.filter(execution__external_id=execution)}


def step_row(external: str, name: str, map_index: int = -1) -> Step:
    return Step.objects.get(execution__external_id=external, name=name, map_index=map_index)


def execution(external: str) -> Execution:
    return Execution.objects.get(external_id=external)


def lose_workers() -> int:
    """Takes their steps away from all workers, as if they had been silent for long; how many."""
    Worker.objects.update(place="")  # else whatever this process has started would be ended, too
    with override_settings(WORKFLOWHUB_WORKER_LOST_AFTER=0):
        return leases.recover()
