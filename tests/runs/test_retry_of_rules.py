"""What a retry runs again where tasks start in spite of failures, or repeat."""

import pytest

from runs import actions
from runs.models import Task, TaskRun
from runs.states import RetryMode, RunState, TaskState
from tests.factories import make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db

C, F = TaskState.COMPLETED, TaskState.FAILED
# clean and alarm start in spite of failures; report follows clean, poll repeats.
GRAPH = {
    "good": [],
    "a": [],
    "b": ["a"],
    "clean": ["a"],
    "report": ["clean"],
    "alarm": ["b"],
    "poll": [],
    "other": ["good"],
}
STATES = {"good": C, "a": F, "b": TaskState.UPSTREAM_FAILED, "clean": C, "report": C, "alarm": C}


@pytest.fixture
def run():
    workflow = make_workflow(GRAPH)
    Task.objects.filter(workflow=workflow, name="clean").update(trigger_rule="all_done")
    Task.objects.filter(workflow=workflow, name="alarm").update(trigger_rule="one_failed")
    Task.objects.filter(workflow=workflow, name="poll").update(repeats=True)
    states = {**STATES, "poll": C, "other": C}
    run = make_run(workflow, engine=make_engine(), state=RunState.FAILED, task_states=states)
    task = Task.objects.get(workflow=workflow, name="poll")
    for index, state in enumerate([C, C, C]):
        TaskRun.objects.create(run=run, task=task, name="poll", map_index=index, state=state)
    return run


def planned(run, mode=RetryMode.FAILED, **more):
    return sorted(str(task) for task in actions.plan_retry(run, mode=mode, **more))


def test_what_starts_in_spite_of_a_failure_is_decided_anew_with_what_follows_it(run):
    assert planned(run) == ["a", "alarm", "b", "clean", "report"]


def test_what_is_not_behind_the_failure_is_kept(run):
    run.task_runs.filter(name__in=["a", "b"]).update(state=C)
    run.task_runs.filter(name="other").update(state=F)
    assert planned(run) == ["other"]


def test_passes_begin_anew(run):
    run.task_runs.exclude(name="poll").update(state=C)
    run.task_runs.filter(name="poll", map_index__in=[-1, 2]).update(state=F)
    assert planned(run) == ["poll", "poll[0]", "poll[1]", "poll[2]"]


def test_a_pass_is_not_run_again_alone(run):
    chosen = planned(run, RetryMode.TASK, tasks=[("poll", 1)])
    assert chosen == ["poll", "poll[0]", "poll[1]", "poll[2]"]


def test_a_chosen_task_is_run_again_without_what_is_behind_it(run):
    assert planned(run, RetryMode.TASK, tasks=[("a", None)]) == ["a"]
    below = planned(run, RetryMode.TASK, tasks=[("a", None)], downstream=True)
    assert below == ["a", "alarm", "b", "clean", "report"]
