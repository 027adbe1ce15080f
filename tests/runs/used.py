"""Runs and task runs of which every column has been used, and what a change tells."""

from datetime import UTC, datetime, timedelta

from runs import moves
from runs.models import TaskRun, Workflow, WorkflowRun
from runs.states import RunState, TaskState, Wanted

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
EARLIER = NOW - timedelta(seconds=90)
SOMEBODY = moves.By(kind="user", name="ada")
UUID = "11111111-2222-4333-8444-555555555555"


def used_run(**fields):
    """A run of which every column has been used."""
    values = {
        "pk": 7,
        "uuid": UUID,
        "workflow": Workflow(pk=1, title="w"),
        "attempt": 2,
        "state": RunState.FAILED,
        "wanted": Wanted.CANCEL,
        "parameters": {"old": True},
        "external_id": "wh-old",
        "raw_state": "boom",
        "reason": "timeout",
        "flags": {"stuck": "…"},
        "marked": True,
        "error": "an error",
        "error_task": "a task",
        "fingerprint": "f",
        "result": {"x": 1},
        "scheduled_at": EARLIER,
        "started_at": EARLIER,
        "ended_at": EARLIER,
        "engine_started_at": EARLIER,
        "engine_ended_at": EARLIER,
        "cancel_requested_at": EARLIER,
        "cancel_sent_at": EARLIER,
        "deadline_at": EARLIER,
        "failures": 3,
        "in_hand": True,
        "kills": 1,
        "missing_since": EARLIER,
        "missing_count": 2,
        "last_error": "the last",
    }
    return WorkflowRun(**values | fields)


def used_task(pk, name, **fields):
    values = {
        "attempt": 2,
        "try_number": 4,
        "wanted": Wanted.CANCEL,
        "marked": True,
        "raw_state": "odd",
        "reason": "lost",
        "error": "an error",
        "worker": "w1",
        "result": 5,
        "message": "half way",
        "progress": 0.5,
        "started_at": EARLIER,
        "ended_at": EARLIER,
        "state": TaskState.FAILED,
        "run": WorkflowRun(pk=7),
    }
    return TaskRun(pk=pk, name=name, **values | fields)


def told(change):
    return [
        (event.cause, event.by, event.old, event.new, event.detail, event.task, event.engine_time)
        for event in change.events
    ]
