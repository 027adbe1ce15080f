"""Trigger rules and passes as the hub sees them, through a retry."""

import pytest

from engines.models import Engine
from engines.states import HealthState
from runs import actions
from runs.policy import Actor
from runs.reconciler.once import once
from runs.states import RetryMode, TaskState
from tests.engines.dag.driving import Hand, make_spec, step, workflow

pytestmark = pytest.mark.django_db

FAILED = TaskState.FAILED


@pytest.fixture
def start(settings):
    """Starts a run of these steps in the hub, whose built-in engine has it then."""
    settings.WORKFLOWHUB_LEASE = 60
    settings.WORKFLOWHUB_WORKER_LOST_AFTER = 3600  # a hand has no heartbeat
    engine = Engine.objects.create(name="local", kind="local", health=HealthState.HEALTHY)

    def begin(*steps, **more):
        text = make_spec(workflow(*steps, **more)).workflow.definition
        posted, _ = actions.post_workflow(Actor(), definition=text, engine=engine)
        run = actions.start_run(Actor(), posted)
        once()
        return run

    return begin


def look(run):
    """What the hub shows after a look: task -> (state, attempt)."""
    once()
    run.refresh_from_db()
    return {str(task): (task.state, task.attempt) for task in run.task_runs.all()}


def test_a_retry_begins_passes_anew_and_decides_rules_anew(start):
    run = start(
        step("a"),
        step("poll", "a", repeat={"until": "${result.done}", "max": 9}, **{"with": {"n": "${index}"}}),
        step("alarm", "poll", trigger="one_failed"),
        step("clean", "poll", trigger="all_done"),
    )  # fmt: skip
    hand = Hand()
    taken = hand.end(hand.take())
    for _ in range(2):
        taken = hand.end(taken, result={"done": False})
    seen = look(run)
    assert [seen[f"poll[{n}]"][0] for n in range(3)] == ["COMPLETED", "COMPLETED", "RUNNING"]
    poll = run.task_runs.get(name="poll", map_index=-1)
    assert (poll.message, poll.progress) == ("Pass 3 of at most 9", pytest.approx(2 / 9))
    assert run.task_runs.get(name="poll", map_index=1).parent == poll
    taken = hand.end(taken, FAILED)
    while taken:
        taken = hand.end(taken)
    seen = look(run)
    assert seen["poll"] == seen["poll[2]"] == ("FAILED", 1)
    assert seen["alarm"] == seen["clean"] == ("COMPLETED", 1)
    assert (run.state, run.error) == ("FAILED", "poll[2]: It went wrong.")

    run = actions.retry_run(Actor(), run, mode=RetryMode.FAILED)
    look(run)
    taken = hand.end(hand.take(), result={"done": False})
    taken = hand.end(taken, result={"done": True})
    assert taken.spec.name == "clean"
    hand.end(taken)
    assert look(run) == {
        "a": ("COMPLETED", 1),
        "poll": ("COMPLETED", 2),
        "poll[0]": ("COMPLETED", 2),
        "poll[1]": ("COMPLETED", 2),
        "poll[2]": ("SKIPPED", 2),  # there was no third pass this time
        "alarm": ("SKIPPED", 2),
        "clean": ("COMPLETED", 2),
    }
    assert run.state == "COMPLETED"
    assert run.task_runs.get(name="poll", map_index=-1).result == {"done": True}
    assert run.task_runs.get(name="poll", map_index=0).inputs == {"n": 0}


def test_the_workflow_knows_its_rules_and_what_repeats(start):
    run = start(
        step("a", repeat=2), step("b", "a", trigger="all_done"), step("c", "b", for_each=[1])
    )
    found = run.workflow.tasks.values_list("name", "trigger_rule", "repeats")
    assert list(found) == [("a", "", True), ("b", "all_done", False), ("c", "", False)]
