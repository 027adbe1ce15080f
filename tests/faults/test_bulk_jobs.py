"""One deed for 200 runs, by loops that are killed in the middle of it: each run once."""

import pytest
from django.db.models import Count

from runs import actions
from runs.models import BulkJob, RunEvent, WorkflowRun
from runs.states import Cause, RunState
from tests.factories import make_actor, make_engine, make_run, make_workflow
from tests.faults.nursery import Nursery
from tests.reconciler.conftest import wait_for

pytestmark = pytest.mark.django_db(transaction=True)

RUNS = 200
KILLS = (20, 70, 130, 199)  # loops die when so many runs are done


@pytest.mark.faults
def test_fault_10_a_loop_killed_in_the_middle_of_200_retries_repeats_and_skips_none(
    nursery: Nursery,
) -> None:
    workflow, engine = make_workflow(), make_engine(enabled=False)
    states = {"extract": "COMPLETED", "load": "FAILED"}
    for _ in range(RUNS):
        make_run(workflow, engine=engine, state=RunState.FAILED, task_states=states)
    job = actions.ask_bulk(make_actor(), action="retry", query="state=FAILED")

    def done() -> int:
        job.refresh_from_db()
        return job.done

    for number in KILLS:
        loop = nursery.fork("watch")
        wait_for(lambda number=number: done() >= number)  # type: ignore[misc]
        loop.kill()
        assert retried() == done(), "What is done and what is known of it differ."
    loop = nursery.fork("watch")
    wait_for(lambda: done() == RUNS and job.state == BulkJob.State.DONE)
    loop.kill()
    assert (job.done, job.skipped, job.reasons) == (RUNS, 0, {})
    assert set(WorkflowRun.objects.values_list("attempt", flat=True)) == {2}
    assert retried() == RUNS
    events = RunEvent.objects.filter(cause=Cause.RETRY, task_run=None, new=RunState.PENDING)
    each = events.order_by().values("run").annotate(number=Count("pk"))
    assert set(each.values_list("number", flat=True)) == {1}


def retried() -> int:
    return WorkflowRun.objects.filter(attempt=2).count()
