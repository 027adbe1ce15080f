"""What a restore does to jobs that were under way in the backup."""

import pytest

from engines.clock import database_now
from runs.management.backup.aftermath import ASK_AGAIN, forget_the_present
from runs.models import BulkJob, WorkflowRun
from runs.reconciler.once import once
from runs.states import RunState
from tests.factories import make_bulk_job, make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("state", ["waiting", "running"])
def test_an_open_bulk_job_is_canceled_so_that_nothing_of_it_is_done_twice(state: str) -> None:
    run = make_run(
        make_workflow(), state=RunState.FAILED, task_states={"extract": "FAILED", "load": "FAILED"}
    )
    job = make_bulk_job(state=state, newest=run.pk, requested_by=make_user())
    done = make_bulk_job(state="done", message="kept")
    forget_the_present(database_now())
    once()
    job.refresh_from_db()
    assert (job.state, job.message, job.version) == ("canceled", ASK_AGAIN, 2)
    assert job.ended_at is not None
    assert WorkflowRun.objects.get().attempt == 1
    assert BulkJob.objects.get(pk=done.pk).message == "kept"
