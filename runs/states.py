"""The one owner of state words' order, finality, moves and tone. The words are in engines/states.py."""

from django.db.models import TextChoices

from engines.states import (
    FINAL_RUN_STATES,
    FINAL_TASK_STATES,
    DeploymentState,
    HealthState,
    RunState,
    TaskState,
)

__all__ = [
    "ACTIVE_RUN_STATES",
    "FINAL_RUN_STATES",
    "FINAL_TASK_STATES",
    "RUN_MOVES",
    "TASK_RANK",
    "TONES",
    "WORST_FIRST",
    "Cause",
    "Flag",
    "HealthState",
    "Reason",
    "RetryMode",
    "RunState",
    "TaskState",
    "Trigger",
    "Wanted",
    "WorkflowState",
    "may_move",
    "run_rank",
    "shown_state",
    "task_order",
]

WorkflowState = DeploymentState


class Wanted(TextChoices):
    HOLD = "HOLD", "Hold"
    RUN = "RUN", "Run"
    CANCEL = "CANCEL", "Cancel"


class Trigger(TextChoices):
    MANUAL = "manual", "By hand"
    API = "api", "API"
    SCHEDULE = "schedule", "Schedule"
    DEPENDENCY = "dependency", "Another run"
    RERUN = "rerun", "Rerun"
    IMPORT = "import", "Import"


class Cause(TextChoices):
    """Why a state changed, for the event."""

    CREATE = "create", "Created"
    START = "start", "Started"
    ROUTE = "route", "Routed to an engine"
    SUBMIT = "submit", "Sent to the engine"
    ADOPT = "adopt", "Found at the engine"
    OBSERVE = "observe", "Reported by the engine"
    CANCEL = "cancel", "Cancel"
    RETRY = "retry", "Retry"
    RESTART = "restart", "Restart"
    MARK = "mark", "Marked by hand"
    FORCE = "force", "Forced"
    REJECT = "reject", "Refused by the engine"
    LOST = "lost", "Lost"
    TROUBLE = "trouble", "Trouble"
    EDIT = "edit", "Edited"
    RESTORE = "restore", "Restored from a backup"


class RetryMode(TextChoices):
    START = "start", "First attempt"
    FAILED = "failed", "What failed"
    ALL = "all", "Everything"
    TASK = "task", "Chosen tasks"
    RESTART = "restart", "Restart"


class Reason(TextChoices):
    """Says more about a state; adapters' own reasons are kept as they come."""

    HELD = "held", "Held until it is started"
    NO_ENGINE = "no_engine", "No engine takes it"
    DEPLOYING = "deploying", "Waits for its workflow to be deployed"
    REJECTED = "rejected", "The engine refused it"
    CONFLICT = "conflict", "The engine has a foreign run with our id"
    LOST = "lost", "The engine has lost it"
    TIMEOUT = "timeout", "Ran out of time"
    MARKED = "marked", "Marked by hand"
    QUEUED = "queued", "Waits for its turn"
    PAUSED = "paused", "Its workflow is paused"
    RESTORED = "restored", "Looked for at its engines, after a restore"
    ENGINE_OFF = "engine_off", "Its engine is disabled or takes no runs"
    NOT_REPORTED = "not_reported", "The run ended without it"


class Flag(TextChoices):
    """Trouble that needs a person while the run is not final."""

    SUBMIT_UNKNOWN = "submit_unknown", "Nobody knows whether the engine took it"
    QUARANTINED = "quarantined", "Set aside after repeated errors"
    STUCK = "stuck", "Asked to stop and still running"


ACTIVE_RUN_STATES = frozenset(set(RunState) - FINAL_RUN_STATES)

# Within one attempt. A new attempt begins at PENDING again, and only moves.begin_attempt does that.
RUN_MOVES: dict[RunState, frozenset[RunState]] = {
    RunState.PENDING: frozenset(set(RunState) - {RunState.PENDING}),
    RunState.SCHEDULED: frozenset({RunState.RUNNING, *FINAL_RUN_STATES}),
    RunState.RUNNING: frozenset(FINAL_RUN_STATES),
    RunState.COMPLETED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.CANCELED: frozenset(),
}

_RUN_RANK = {RunState.PENDING: 0, RunState.SCHEDULED: 1, RunState.RUNNING: 2}

TASK_RANK: dict[TaskState, int] = {
    TaskState.PENDING: 0,
    TaskState.SCHEDULED: 1,
    TaskState.RUNNING: 2,
    TaskState.RETRYING: 3,
    **dict.fromkeys(FINAL_TASK_STATES, 4),
}

# Of several mapped instances of a task the first of these stands for all.
WORST_FIRST = (
    TaskState.FAILED,
    TaskState.RETRYING,
    TaskState.RUNNING,
    TaskState.UPSTREAM_FAILED,
    TaskState.SCHEDULED,
    TaskState.PENDING,
    TaskState.CANCELED,
    TaskState.COMPLETED,
    TaskState.SKIPPED,
)

TONES: dict[str, str] = {
    "PENDING": "idle",
    "SCHEDULED": "queued",
    "RUNNING": "active",
    "RETRYING": "warn",
    "COMPLETED": "good",
    "FAILED": "bad",
    "CANCELED": "muted",
    "SKIPPED": "muted",
    "UPSTREAM_FAILED": "bad-soft",
}


def run_rank(state: str) -> int:
    return _RUN_RANK.get(RunState(state), 3)


def may_move(old: str, new: str) -> bool:
    """Whether a run may go from old to new within one attempt."""
    return RunState(new) in RUN_MOVES[RunState(old)]


def task_order(attempt: int, try_number: int, state: str) -> tuple[int, int, int]:
    """Reports about a task run may only raise this."""
    return (attempt, try_number, TASK_RANK[TaskState(state)])


def shown_state(state: str, wanted: str) -> str:
    """The word that people see: Canceling is derived, never stored."""
    if wanted == Wanted.CANCEL and state not in FINAL_RUN_STATES:
        return "Canceling"
    if wanted == Wanted.HOLD and state == RunState.PENDING:
        return "Held"
    return RunState(state).label
