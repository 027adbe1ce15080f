"""What the tests of bulk jobs share: runs that failed, a job for them, the lease that it is done under."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from runs import actions
from runs.models import BulkJob, WorkflowRun
from runs.policy import Actor
from runs.reconciler.hold import Hold, take
from runs.reconciler.once import BULK
from runs.states import RunState
from tests.factories import make_actor, make_run, make_workflow

FAILED = "state=FAILED"


@pytest.fixture
def hold(db: None) -> Iterator[Hold]:
    found = take(BULK, uuid.uuid4())
    assert found is not None
    yield found
    found.release()


def failed(number: int = 3, **kw: Any) -> list[WorkflowRun]:
    workflow = make_workflow()
    states = {"extract": "COMPLETED", "load": "FAILED"}
    return [
        make_run(workflow, state=RunState.FAILED, task_states=states, **kw) for _ in range(number)
    ]


def ask(action: str = "retry", *, actor: Actor | None = None, **asked: Any) -> BulkJob:
    if "keys" not in asked:
        asked.setdefault("query", FAILED)
    return actions.ask_bulk(actor or make_actor(), action=action, **asked)


def done(job: BulkJob) -> tuple[str, int, int]:
    job.refresh_from_db()
    return job.state, job.done, job.skipped
