"""The remote engine's words -> ours. A word that is not here changes nothing."""

from engines.states import RunState, TaskState

RUN_STATES = {
    "queued": RunState.SCHEDULED,
    "active": RunState.RUNNING,
    "done": RunState.COMPLETED,
    "broken": RunState.FAILED,
    "stopped": RunState.CANCELED,
}
TASK_STATES = {
    "waiting": TaskState.PENDING,
    "active": TaskState.RUNNING,
    "done": TaskState.COMPLETED,
    "broken": TaskState.FAILED,
    "stopped": TaskState.CANCELED,
    "omitted": TaskState.UPSTREAM_FAILED,
}
