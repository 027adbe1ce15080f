"""The values that steps get and give: what templates see, declared outputs, and a run's result."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from engines.dag import lookups
from engines.dag.graph import StepSpec
from engines.dag.held import Held
from engines.dag.models import Step
from engines.dag.outcome import Outcome, to_json
from engines.dag.sql import Row, marks, run
from engines.dag.templating import ABSENT, Scope, render
from engines.states import TaskState

Results = dict[tuple[str, ...], Mapping[str, Any]]


def scope_of(
    held: Held, name: str, *, deciding: bool = False, seen: Results | None = None, **more: Any
) -> Scope:
    """What the templates of a step (or of the run's outputs, name "") can see. `deciding`: those that
    say whether and how often it runs, which are its own and not its tasks'. `seen`: results that were
    read a moment ago; what is read now is added."""
    definition = held.plan.definition
    names = definition.deciding[name] if deciding else definition.sources[name]
    seen = {} if seen is None else seen
    if names and names not in seen:
        seen[names] = {
            row[0]: json.loads(row[1]) if row[1] is not None else None
            for row in lookups.results(held.plan.id, names)
        }
    return Scope(
        params=held.plan.parameters,
        steps=seen[names] if names else {},
        context=definition.graph.context,
        run=held.plan.run,
        variables=held.plan.variables,
        **more,
    )


def own_values(held: Held, rows: Iterable[Row]) -> dict[int, dict[str, Any]]:
    """What only one task's templates can see, for each row of `lookups.look` by its id: its item and
    index, or as a pass its index and what the pass before gave."""
    found: dict[int, dict[str, Any]] = {}
    items = []
    for step_id, name, map_index, *_ in rows:
        if map_index < 0:
            found[step_id] = {}
        elif held.plan.definition.steps[name].repeat is not None:
            found[step_id] = {"index": map_index, "previous": _previous(held, name, map_index)}
        else:
            found[step_id] = {"index": map_index}
            items.append(step_id)
    if items:
        text = "SELECT id, item FROM dag_step WHERE id IN"
        for step_id, item in run(f"{text} ({marks(items)})", items):
            found[step_id]["item"] = json.loads(item or "null")
    return found


def _previous(held: Held, name: str, map_index: int) -> Any:
    """What the pass before gave, if anything asks for it."""
    if map_index == 0 or name not in held.plan.definition.recalls:
        return None
    rows = run(
        "SELECT result FROM dag_step WHERE execution_id = %s AND name = %s AND map_index = %s",
        [held.plan.id, name, map_index - 1],
    )
    return json.loads(rows[0][0] or "null") if rows else None


def inputs_of(spec: StepSpec, scope: Scope) -> dict[str, Any]:
    """A step's arguments, rendered. Where a start gave another value (format orchestrator) that one
    counts, as it is: no reference in it is read. Raises TemplateError."""
    if not spec.config:
        return {}
    given = {
        key: value
        for key, places in spec.replaceable.items()
        for value in _given(scope.params, places)
    }
    return {
        key: given[key] if key in given else render(value, scope)
        for key, value in spec.config.items()
    }


def _given(params: Mapping[str, Any], places: Iterable[Sequence[str | int]]) -> list[Any]:
    """The value at the first of the places that has one, or none."""
    for place in places:
        value: Any = params
        for part in place:
            value = value.get(part, ABSENT) if isinstance(value, Mapping) else ABSENT
        if value is not ABSENT:
            return [value]
    return []


def with_outputs(held: Held, outcome: Outcome) -> Outcome:
    """A step that declares outputs (format bvbrc): they join what its handler gave."""
    spec = held.plan.definition.steps[outcome.name]
    if outcome.state != TaskState.COMPLETED or not spec.outputs:
        return outcome
    given = json.loads(outcome.result or "null")
    try:
        declared = render(spec.outputs, scope_of(held, spec.name))
        result = to_json({**(given if isinstance(given, dict) else {}), **declared})
    except ValueError as error:
        return replace(
            outcome, state=TaskState.FAILED, reason="template", error=str(error), permanent=True
        )
    return replace(outcome, result=result)


def run_result(held: Held) -> Any:
    """The run's outputs as its document asks for them, else what its `output` steps collected."""
    graph = held.plan.definition.graph
    if graph.outputs is not None:
        return render(graph.outputs, scope_of(held, ""))
    names = [step.name for step in graph.steps if step.handler == "output"]
    if not names:
        return None
    rows = {row[0]: row[1] for row in lookups.results(held.plan.id, names)}
    found = [json.loads(text) for name in names if (text := rows.get(name)) is not None]
    if len(found) == 1:
        return found[0]
    merged: dict[str, Any] = {}
    for name, value in zip(names, found, strict=False):
        merged |= value if isinstance(value, dict) else {name: value}
    return merged


def first_error(execution_id: int) -> str:
    """What people read first about a run that failed: `step: its error`."""
    first = (
        Step.objects.filter(execution_id=execution_id, kind="task", state=TaskState.FAILED)
        .exclude(error="")
        .order_by("ended_at", "mapped", "id")  # rather the item than its step
        .values("name", "map_index", "error")
        .first()
    )
    if first is None:
        return ""
    name = first["name"] if first["map_index"] < 0 else f"{first['name']}[{first['map_index']}]"
    return f"{name}: {first['error']}"
