"""Hooks: what runs once after a step, or the whole run, has ended.

A hook's row is made in the transaction that records the end, so it begins exactly once, whatever dies
in between. From then on workers take it like any step. But it is outside its run: nothing waits for
it, it takes none of the run's slots, its end changes nothing, and it goes on where the run has ended
or is being stopped.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from engines.clock import database_now
from engines.dag import lookups, sql, statements
from engines.dag.graph import HOOKS, StepSpec
from engines.dag.held import STEPS_CHANNEL, Held, Taker
from engines.dag.models import OPEN_STATES, Execution, Step
from engines.dag.outcome import Stop, Taken
from engines.states import RunState, TaskState

HOOK = "hook"
Take = Callable[[Held, Sequence[sql.Row], Taker], list[Taken]]


def is_hook(held: Held, name: str) -> bool:
    return name in held.plan.definition.hooks


def after_step(held: Held, name: str, state: TaskState) -> None:
    """A step, with all its items, has ended for good: its hook for such an end begins."""
    spec = held.plan.definition.steps[name]
    ends = {TaskState.COMPLETED: "on_success", TaskState.FAILED: "on_failure"}
    _begin(held, spec, ends.get(state))


def after_run(held: Held) -> None:
    """The execution has ended: its hook for such an end begins. What was canceled has none."""
    ends = {RunState.COMPLETED: "on_success", RunState.FAILED: "on_failure"}
    _begin(held, held.plan.definition.graph, ends.get(held.state))


def hand_out(held: Held, taker: Taker | None, want: int, take: Take) -> list[Taken]:
    """Up to `want` hooks that are ready, or due for their next try; the others are left ready."""
    held.hooked = False
    if not held.plan.definition.hooks:
        return []
    rows = lookups.ready_hooks(held.plan.id)
    chosen = rows[: max(want, 0)] if taker is not None else []
    taken = take(held, chosen, taker) if taker is not None else []
    if rest := [row[0] for row in rows[len(chosen) :]]:
        statements.make_ready(rest)
        held.left_ready = True
    return taken


def ended(held: Held, name: str) -> dict[str, Any]:
    """What the templates of a hook see as `ended`: the step or the run that it follows."""
    owner = owner_of(name)
    columns = ("state", "error", "result")
    if not owner:
        rows = Execution.objects.filter(pk=held.plan.id)
        return {"name": held.plan.title, **rows.values(*columns).get()}
    steps = Step.objects.filter(execution_id=held.plan.id, name=owner, map_index=-1)
    return {"name": owner, **steps.values(*columns).get()}


def owner_of(name: str) -> str:
    """The step that a hook of this name belongs to; nothing for the run's own."""
    return name.rpartition(".")[0]


def note_end(held: Held) -> None:
    """A hook has ended. Of a run that has ended itself nobody expects news any more."""
    held.turned = held.turned or held.final


def cancel(held: Held, name: str) -> None:
    """Stops a hook that goes on, whether or not its run has ended."""
    step = Step.objects.filter(
        execution_id=held.plan.id, name=name, kind=HOOK, state__in=OPEN_STATES
    ).first()
    if step is None:
        return
    if step.state == TaskState.RUNNING:
        statements.ask_to_stop([step.pk], Stop.CANCELED)
        statements.notify(STEPS_CHANNEL)
    else:
        statements.settle([step.pk], TaskState.CANCELED, Stop.CANCELED, "")
        note_end(held)
    held.note(f"Hook '{name}' cancelled")


def busy(external_ids: Iterable[str]) -> set[str]:
    """Those of the executions that have a hook which hasn't ended."""
    going = Step.objects.filter(
        execution__external_id__in=list(external_ids), kind=HOOK, state__in=OPEN_STATES
    )
    return set(going.values_list("execution__external_id", flat=True))


def _begin(held: Held, owner: Any, which: str | None) -> None:
    spec: StepSpec | None = getattr(owner, which) if which in HOOKS else None
    if spec is None:
        return
    definition = held.plan.definition
    Step.objects.bulk_create(
        [
            Step(
                execution_id=held.plan.id,
                name=spec.name,
                kind=HOOK,
                position=len(definition.graph.steps) + definition.hooks[spec.name],
                state=TaskState.SCHEDULED,
                attempt=held.plan.attempt,
                ready_at=database_now(),
                changed=sql.stamp_now(),
            )
        ],
        ignore_conflicts=True,
    )
    held.hooked = True
