"""kill -9 of the worker, the sync loop and the q2 cluster in mid-run: each run ends exactly once."""

from contextlib import ExitStack

import pytest
from django.core.management import call_command

from engines.states import FINAL_RUN_STATES, RunState
from runs import actions
from runs.models import RunEvent, WorkflowRun
from runs.policy import Actor
from tests.e2e.processes import command, eventually, kill, kill_only
from tests.factories import make_engine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

STEPS = 4
DOCUMENT = {
    "title": "survivor",
    "parameters": {"trace": {"type": "string"}},
    "steps": [
        {
            "name": f"step{n}",
            "handler": "shell",
            "needs": [f"step{n - 1}"] if n else [],
            "with": {"argv": ["sh", "-c", f'echo {n} >> "$0"; sleep 0.4', "${params.trace}"]},
        }
        for n in range(STEPS)
    ],
}


@pytest.fixture
def hub(database_url):
    """Starts a command of the hub: `hub("worker", …)`."""
    with ExitStack() as stack:
        yield lambda *words: stack.enter_context(command(*words, database_url=database_url))


@pytest.fixture
def runs(database_url, tmp_path):
    make_engine("local", name="local")
    workflow, _ = actions.post_workflow(Actor(), definition=DOCUMENT)
    return [
        actions.start_run(Actor(), workflow, parameters={"trace": str(tmp_path / f"{n}.trace")})
        for n in range(3)
    ]


def some_step_runs(runs):
    return any((n := run.parameters["trace"]) and _lines(n) for run in runs)


def _lines(path):
    try:
        with open(path) as file:
            return file.read().split()
    except FileNotFoundError:
        return []


def all_ended(runs):
    states = WorkflowRun.objects.filter(pk__in=[run.pk for run in runs])
    return all(state in FINAL_RUN_STATES for state in states.values_list("state", flat=True))


def each_ended_once(runs):
    for run in WorkflowRun.objects.filter(pk__in=[run.pk for run in runs]):
        assert run.state == RunState.COMPLETED, (run.state, run.reason, run.error)
        ends = RunEvent.objects.filter(run=run, task_run=None, new__in=FINAL_RUN_STATES)
        assert ends.count() == 1
        assert set(_lines(run.parameters["trace"])) == {str(n) for n in range(STEPS)}
    call_command("fsck")


def test_fault_24_a_killed_worker_is_replaced_and_its_steps_run_again(hub, runs):
    hub("sync", "--watch")
    worker = hub("worker", "--concurrency", "2")
    eventually(lambda: some_step_runs(runs), what="a step runs")
    kill_only(worker)
    hub("worker", "--concurrency", "2")
    eventually(lambda: all_ended(runs), seconds=60, what="all runs ended")
    each_ended_once(runs)


def test_fault_10_a_killed_sync_loop_is_replaced_and_nothing_is_sent_twice(hub, runs):
    sync = hub("sync", "--watch")
    hub("worker", "--concurrency", "2")
    eventually(lambda: some_step_runs(runs), what="a step runs")
    kill(sync)
    hub("sync", "--watch")
    eventually(lambda: all_ended(runs), seconds=60, what="all runs ended")
    each_ended_once(runs)
    for run in runs:
        assert len(_lines(run.parameters["trace"])) == STEPS


def test_fault_14_a_killed_cluster_of_background_jobs_harms_no_run(hub, runs):
    call_command("ensure_schedules", verbosity=0)
    hub("sync", "--watch")
    hub("worker", "--concurrency", "2")
    cluster = hub("qcluster")
    eventually(lambda: some_step_runs(runs), what="a step runs")
    kill(cluster)
    hub("qcluster")
    eventually(lambda: all_ended(runs), seconds=60, what="all runs ended")
    each_ended_once(runs)
