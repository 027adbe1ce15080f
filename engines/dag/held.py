"""An execution that one process holds: its lock, and what is to be told after the commit."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import transaction

from engines.dag import statements
from engines.dag.definitions import Plan, plan
from engines.dag.outcome import Stop
from engines.dag.sql import Row, as_key
from engines.faults import crash_point
from engines.states import FINAL_RUN_STATES, RunState

STEPS_CHANNEL = "workflowhub_steps"
ENGINE_CHANNEL = "workflowhub_engine"


@dataclass(slots=True)
class Held:
    """An execution under its lock. `notes` are lines for the run's log, to be written after the
    commit; `left_ready`: steps were made ready that nobody has taken yet; `turned`: its own state
    changed, or a step asks for a run; `hooked`: a hook began that nobody was offered yet."""

    plan: Plan
    state: RunState
    cancel_requested: bool
    reason: str
    notes: list[tuple[str, str]] = field(default_factory=list)
    left_ready: bool = False
    turned: bool = False
    hooked: bool = False

    @classmethod
    def of(cls, plan: Plan, row: Row) -> "Held":
        """From what `lock_execution` gave."""
        return cls(plan, RunState(row[1]), bool(row[2]), row[3])

    @property
    def final(self) -> bool:
        return self.state in FINAL_RUN_STATES

    @property
    def stopping(self) -> bool:
        """Nothing may start any more."""
        return self.final or self.cancel_requested or self.reason == Stop.TIMEOUT

    def note(self, text: str, level: str = "INFO") -> None:
        self.notes.append((level, text))


@dataclass(frozen=True, slots=True)
class Taker:
    """The worker that takes steps, as its row names it."""

    id: UUID
    name: str

    @property
    def column(self) -> Any:
        return as_key(self.id)


@contextmanager
def locked(execution_id: int) -> Iterator[Held | None]:
    """A transaction that holds the execution; None if there is no such execution. Whoever waits for
    work hears of it at the commit."""
    with transaction.atomic():
        held = hold(execution_id)
        yield held
        if held is not None:
            announce(held)
        crash_point("execution.writing")
    crash_point("execution.written")


def hold(execution_id: int) -> Held | None:
    """The execution, locked until the transaction ends."""
    rows = statements.lock_execution(execution_id)()
    return Held.of(plan(rows[0][0]), rows[0]) if rows else None


def announce(held: Held) -> None:
    """PostgreSQL: tells idle workers of ready steps, and the reconciler of what it should look at.
    An execution that has ended forgets its secrets with its last hook."""
    if held.final and held.plan.definition.secrets:
        statements.forget_secrets(held.plan.id)
    if held.left_ready:
        statements.notify(STEPS_CHANNEL)
    if held.turned:
        statements.notify(ENGINE_CHANNEL, str(held.plan.engine_id))
