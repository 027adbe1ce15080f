"""What happens next in an execution: ends tries, makes successors ready, hands steps to workers, and
closes what is done. Knows nothing of who runs steps, so every engine whose steps we drive uses it.

Everything happens under the execution's lock (`locked`), in one transaction that records a result,
readies the successors and takes the next step for the same worker.
"""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from engines.dag import children, hooks, lookups, mapping, passes, statements, triggers
from engines.dag.definitions import Plan
from engines.dag.graph import (
    MET_STATES,
    FailurePolicy,
    StepSpec,
    blocked,
    spread,
)
from engines.dag.held import STEPS_CHANNEL, Held, Taker
from engines.dag.lifetime import begin, close
from engines.dag.models import Step
from engines.dag.outcome import Outcome, Stop, Taken
from engines.dag.runlog import note_end
from engines.dag.sql import Row, together
from engines.dag.starting import start
from engines.dag.templating import evaluate, render
from engines.dag.tries import next_try, try_again
from engines.dag.values import (
    scope_of,
    with_outputs,
)
from engines.states import TaskState


def finish(held: Held, outcome: Outcome) -> bool:
    """Records how a try ended and what follows from it; False if the try was taken away from its
    worker by then: nothing is written."""
    outcome = with_outputs(held, outcome)
    if outcome.lost and held.stopping and not hooks.is_hook(held, outcome.name):
        outcome = replace(outcome, state=TaskState.CANCELED, reason=held.reason, error="")
    if outcome.state == TaskState.COMPLETED:
        values: dict[str, Any] = {
            "state": TaskState.COMPLETED.value,
            "result": outcome.result,
            "progress": 1.0,
        }
    elif (wait := next_try(held, outcome)) is not None:
        return try_again(held, outcome, wait)
    else:
        values = {"state": outcome.state.value, "reason": outcome.reason, "error": outcome.error}
    if outcome.message:
        values["message"] = outcome.message
    values["log"] = outcome.log
    ago = outcome.ago(time.monotonic())
    ended = statements.end_step(outcome.step_id, outcome.token, values, ago)()
    if not ended:
        return False
    name, map_index = ended[0]
    note_end(held, name, map_index, outcome)
    follow(held, name, map_index, outcome.state, stopped_by_hand=outcome.reason == Stop.CANCELED)
    return True


def follow(
    held: Held, name: str, map_index: int, state: TaskState, *, stopped_by_hand: bool = False
) -> None:
    """What the end of a step means for the others: their needs are met, or they can't start."""
    if hooks.is_hook(held, name):
        hooks.note_end(held)
        return
    if map_index < 0:
        hooks.after_step(held, name, state)
    # Before what it spreads to: that may be other items of the same step, which counts them anew.
    left = statements.items_done(held.plan.id, name)()[0][0] if map_index >= 0 else None
    if state not in MET_STATES:
        _spread(held, name, map_index, by_hand=stopped_by_hand)
    if map_index >= 0:
        if left == 0:
            close_group(held, name)
    elif state not in MET_STATES:
        triggers.needs_ended(held, {name: state})
    elif names := held.plan.definition.following[name]:
        statements.meet_needs(held.plan.id, names)


def close_group(held: Held, name: str) -> None:
    """Every item of a mapped step is final, and so is the step. One that repeats may begin its next
    pass instead."""
    repeat = held.plan.definition.steps[name].repeat
    if repeat is not None:
        end = passes.pass_ended(held, name, repeat)
        if end is None:
            return
        state, values = end
    else:
        state, values = mapping.group_end(held.plan.id, name)
    ended = Step.objects.filter(
        execution_id=held.plan.id, name=name, map_index=-1, state=TaskState.RUNNING
    )
    for step_id, token in ended.values_list("pk", "token"):
        statements.end_step(step_id, token, {"state": state.value, **values})()
        held.note(f"Step '{name}' ended: {values.get('message') or 'all its items are done'}")
        follow(held, name, -1, state, stopped_by_hand=state == TaskState.CANCELED)


def complete(
    outcomes: Sequence[Outcome], plan: Plan, taker: Taker | None, want: int = 1
) -> tuple[Held, list[Taken]] | None:
    """`finish` and `proceed` for tries of one execution that ended well, which most do: the lock and
    everything that doesn't depend on an answer go to the database together. None if one of them was
    taken away: then the transaction must be undone."""
    now = time.monotonic()
    items = Counter(outcome.name for outcome in outcomes if outcome.map_index >= 0)
    needs: Counter[str] = Counter()
    for outcome in outcomes:
        if outcome.map_index < 0:
            needs.update(plan.definition.following[outcome.name])
    with together():
        lock = statements.lock_execution(plan.id)
        ended = statements.end_well([_ended_well(outcome, now) for outcome in outcomes])
        left = {name: statements.items_done(plan.id, name, items[name]) for name in items}
        for count in sorted(set(needs.values())):
            names = [name for name, each in needs.items() if each == count]
            statements.meet_needs(plan.id, names, count)
        found = lookups.look(plan.id, plan.max_parallel, want)
    row = lock()
    if not row or len(ended()) < len(outcomes):
        return None
    held = Held.of(plan, row[0])
    rows: list[Row] | None = found()
    for outcome in outcomes:
        note_end(held, outcome.name, outcome.map_index, outcome)
        if hooks.is_hook(held, outcome.name):
            hooks.note_end(held)
        elif outcome.map_index < 0:
            hooks.after_step(held, outcome.name, TaskState.COMPLETED)
    for name, answer in left.items():
        if answer()[0][0] == 0:
            close_group(held, name)
            rows = None
    return held, proceed(held, taker, want, rows=rows)


def _ended_well(outcome: Outcome, now: float) -> statements.WellEnded:
    return statements.WellEnded(
        outcome.step_id,
        outcome.token,
        outcome.result,
        outcome.message,
        outcome.log,
        *outcome.ago(now),
    )


def proceed(
    held: Held, taker: Taker | None, want: int = 1, rows: list[Row] | None = None
) -> list[Taken]:
    """Makes ready what may start, within the limit of the execution, hands up to `want` steps to the
    taker, and closes the execution when nothing is left. Hooks come first, and are handed out beyond
    its limit and its end. `rows`: what a look has just found."""
    taken = hooks.hand_out(held, taker, want, _take)
    taken += _proceed(held, taker, want - len(taken), rows)
    if held.hooked:  # of a step that couldn't start, or of the execution, which ended just now
        taken += hooks.hand_out(held, taker, want - len(taken), _take)
    return taken


def _proceed(held: Held, taker: Taker | None, want: int, rows: list[Row] | None) -> list[Taken]:
    taken: list[Taken] = []
    while not held.final:
        if rows is None:
            rows = lookups.look(held.plan.id, held.plan.max_parallel, want)()
        (busy, _, count, *_), *rows = rows
        ready = [row for row in rows if row[3] == TaskState.SCHEDULED]
        waiting = [row for row in rows if row[3] != TaskState.SCHEDULED]
        waiting = [] if held.stopping else waiting[: max(held.plan.max_parallel - busy, 0)]
        prepared = [row for row in waiting if not _decide(held, row)]
        rows = None
        if len(prepared) < len(waiting):
            continue  # a step was skipped, expanded or failed: others may be ready now
        if not busy and not prepared:
            if not waiting and not lookups.anything_open(held.plan.id):
                close(held)
            return taken
        chosen: list[Row] = []
        if taker is not None and not held.stopping:
            # Others want some as well.
            share = max(1, -(-(count + len(prepared)) // 2))
            chosen = [*ready, *prepared][: min(share, want - len(taken))]
        begun = _take(held, chosen, taker) if taker is not None else []
        taken += begun
        if len(begun) < len(chosen):
            continue
        numbers = {step.step_id for step in begun}
        rest = [row[0] for row in prepared if row[0] not in numbers]
        if rest:
            statements.make_ready(rest)
            held.left_ready = True
        return taken
    return taken


def settle_open(held: Held, rows: Iterable[Row], state: TaskState, reason: str) -> None:
    """Ends steps that nobody runs, and the groups that are done by it."""
    chosen = list(rows)
    if chosen:
        statements.settle([row[0] for row in chosen], state.value, reason, "")
        _close_groups(held, chosen)


def _close_groups(held: Held, rows: Iterable[Row]) -> None:
    """Ends the mapped steps of which these were the last items."""
    for name in {row[1] for row in rows if row[2] >= 0}:
        if mapping.recount(held.plan.id, name) == 0:
            close_group(held, name)


def _spread(held: Held, failed: str, map_index: int, *, by_hand: bool) -> None:
    """Ends or stops the other steps as the failure policy says. What a person cancelled takes only
    those with it that need it."""
    if held.stopping:
        return
    definition = held.plan.definition
    policy = FailurePolicy.CONTINUE if by_hand else held.plan.policy
    if policy == FailurePolicy.DRAIN and triggers.drained(held, failed, map_index):
        policy = FailurePolicy.CONTINUE
    behind = definition.behind(failed)
    names = sorted(behind) if policy == FailurePolicy.CONTINUE else None
    if names == []:
        return
    rows = lookups.open_steps(held.plan.id, names)
    states = {row[1]: TaskState(row[3]) for row in rows if row[2] < 0}
    chosen = blocked(definition.order, failed, behind, states, policy)
    ended: dict[TaskState, list[Row]] = {TaskState.UPSTREAM_FAILED: [], TaskState.CANCELED: []}
    running = []
    for row in rows:
        step_id, name, index, state, mapped = row
        repeats = definition.steps[name].repeat is not None
        if name not in chosen or (mapped and state == TaskState.RUNNING and not repeats):
            continue  # a mapped step ends with its items
        new = spread(TaskState(state), policy, begun=repeats and index >= 0)
        if new == TaskState.CANCELED and (mapped or children.is_held(held, row)):
            running.append(step_id)  # a step that repeats begins no further pass
        elif new is not None:
            ended[new].append(row)
    if running:
        statements.ask_to_stop(running, Stop.SIBLING)
        statements.notify(STEPS_CHANNEL)
    reasons = {
        TaskState.UPSTREAM_FAILED: f"after {failed}"[:100],
        TaskState.CANCELED: Stop.SIBLING.value,
    }
    # All of them, before the end of a group is the next thing to spread.
    for new, found in ended.items():
        if found:
            statements.settle([row[0] for row in found], new.value, reasons[new], "")
            triggers.needs_ended(held, {row[1]: new for row in found if row[2] < 0})
    _close_groups(held, [row for found in ended.values() for row in found])


def _decide(held: Held, row: Row) -> bool:
    """Skips or expands a step whose needs are met, or has it ask for its run; False if a worker is
    to run it as it is."""
    step_id, name, map_index, state = row[:4]
    spec = held.plan.definition.steps[name]
    if state != TaskState.PENDING or map_index >= 0:
        return _ask(held, row)
    try:
        if reason := _skips(held, spec):
            statements.settle([step_id], TaskState.SKIPPED, reason, "")
            shown = f"when={spec.when}" if reason == "when" else f"trigger={spec.trigger.value}"
            held.note(f"Step '{name}' skipped | {shown}")
            follow(held, name, -1, TaskState.SKIPPED)
            return True
        if not spec.mapped:
            return _ask(held, row)
        if spec.repeat is not None:
            passes.open_passes(step_id, spec.repeat)
            begin(held)
            return True
        items = mapping.items_of(render(spec.for_each, scope_of(held, name, deciding=True)))
    except ValueError as error:
        _fail_before_start(held, row, str(error))
        return True
    mapping.expand(step_id, items)
    begin(held)
    if not items:
        close_group(held, name)
    return True


def _skips(held: Held, spec: StepSpec) -> str:
    """Why a step isn't run though its needs are met, or "". Raises TemplateError."""
    if not triggers.fires(held, spec):
        return "trigger"
    if spec.when is not None and not evaluate(spec.when, scope_of(held, spec.name, deciding=True)):
        return "when"
    return ""


def _ask(held: Held, row: Row) -> bool:
    """Begins the try of a step that no worker runs; False for all others."""
    if not children.asks(held, row[1]):
        return False
    try:
        children.ask(held, row)
    except ValueError as error:
        _fail_before_start(held, row, str(error))
    else:
        begin(held)
    return True


def _fail_before_start(held: Held, row: Row, error: str) -> None:
    """A template that gives nothing fails the step; another try would find the same."""
    step_id, name, map_index = row[:3]
    statements.settle([step_id], TaskState.FAILED, "template", error)
    held.note(f"Step '{name}' failed | error={error}", "ERROR")
    follow(held, name, map_index, TaskState.FAILED)


def _take(held: Held, rows: Sequence[Row], taker: Taker) -> list[Taken]:
    """Starts tries for the taker, and ends the steps whose templates give nothing."""
    taken, failed = start(held, rows, taker)
    for row, error in failed:
        # After the others have begun: what follows may be that they must stop.
        _fail_before_start(held, row, error)
    return taken
