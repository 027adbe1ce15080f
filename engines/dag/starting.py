"""Begins tries for a worker: renders what their steps are to be called with, and writes it down."""

from collections.abc import Sequence

from engines.dag import hooks, statements
from engines.dag.confidential import masked, secrets_for
from engines.dag.held import Held, Taker
from engines.dag.lifetime import begin
from engines.dag.outcome import Taken, to_json
from engines.dag.runlog import note_start
from engines.dag.sql import Row
from engines.dag.templating import ABSENT
from engines.dag.values import Results, inputs_of, own_values, scope_of
from engines.states import TaskState


def start(
    held: Held, rows: Sequence[Row], taker: Taker
) -> tuple[list[Taken], list[tuple[Row, str]]]:
    """Starts a try of each step (rows of `lookups.look`); and those whose templates give nothing, with
    the reason why, which is for the caller to record."""
    own = own_values(held, rows)
    seen: Results = {}
    taken, starts = [], []
    failed: list[tuple[Row, str]] = []
    for row in rows:
        step_id, name, map_index, state, token, attempt, try_number = row
        spec = held.plan.definition.steps[name]
        more = {"ended": hooks.ended(held, name)} if hooks.is_hook(held, name) else own[step_id]
        try:
            secrets = secrets_for(held.plan, name)
            scope = scope_of(held, name, seen=seen, secrets=secrets, **more)
            inputs = inputs_of(spec, scope)
            shown = to_json(inputs_of(spec, masked(scope)) if secrets else inputs, kind="inputs")
        except ValueError as error:
            failed.append((row, str(error)))
            continue
        try_number += state == TaskState.RETRYING
        starts.append(statements.Start(step_id, token + 1, try_number, shown))
        taken.append(
            Taken(
                step_id=step_id,
                token=token + 1,
                plan=held.plan,
                spec=spec,
                map_index=map_index,
                attempt=attempt,
                try_number=try_number,
                inputs=inputs,
                item=more.get("item", ABSENT),
                secrets=tuple(secrets.values()),
            )
        )
    if starts:
        if not all(hooks.is_hook(held, step.spec.name) for step in taken):
            begin(held)
        statements.take(starts, taker.column, taker.name)
    for step in taken:
        note_start(held, step)
    return taken, failed
