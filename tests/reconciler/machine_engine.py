"""The engine of the state machine of test_machine.py: what it has, and what of our calls reaches it."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from engines.base import RunSnapshot, Submission, TaskSnapshot
from runs.states import FINAL_RUN_STATES, RunState, TaskState

TASKS = ("a", "b")


class Fault(Enum):
    """What becomes of one call."""

    NONE = "answered"
    LOST = "never arrives"
    DEAF = "arrives, and the answer is lost"
    LATE = "seems lost, and arrives later"


@dataclass(slots=True)
class Execution:
    """What the engine has for one of our ids."""

    name: str
    tag: str
    attempt: int
    state: RunState = RunState.SCHEDULED
    cancel: bool = False

    def snapshot(self) -> RunSnapshot:
        going = {
            RunState.SCHEDULED: TaskState.PENDING,
            RunState.RUNNING: TaskState.RUNNING,
            RunState.COMPLETED: TaskState.COMPLETED,
            RunState.FAILED: TaskState.FAILED,
            RunState.CANCELED: TaskState.CANCELED,
        }[self.state]
        return RunSnapshot(
            external_id=self.name,
            state=self.state,
            raw_state=self.state,
            attempt=self.attempt,
            tasks=tuple(TaskSnapshot(task=name, state=going) for name in TASKS),
        )


@dataclass(slots=True)
class FakeEngine:
    """`starts` counts what began for each of our ids; `under_way`: lost calls, (until, id, attempt)."""

    submission: Submission
    executions: list[Execution] = field(default_factory=list)
    starts: Counter[str] = field(default_factory=Counter)
    under_way: list[tuple[datetime, str, int]] = field(default_factory=list)

    def accept(self, tag: str, attempt: int) -> Execution:
        dedups = self.submission in {Submission.DEDUPLICATES, Submission.OURS}
        found = self.find(tag)
        if found is not None and dedups:
            return found
        own = self.submission is Submission.TAG_ONLY
        name = f"e{len(self.executions)}" if own else tag
        self.executions.append(Execution(name, tag, attempt))
        self.starts[tag] += 1
        return self.executions[-1]

    def find(self, tag: str) -> Execution | None:
        return next((one for one in self.executions if tag in {one.tag, one.name}), None)

    def live(self) -> list[Execution]:
        return [one for one in self.executions if one.state not in FINAL_RUN_STATES]
