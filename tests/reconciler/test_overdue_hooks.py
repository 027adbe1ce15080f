"""A run of the built-in engine that its workflow's run timeout ends has failed, for its hooks as well."""

from datetime import timedelta

import pytest

from engines.dag import requests
from engines.dag.models import Execution, Step
from engines.dag.outcome import Stop
from engines.states import RunState, TaskState
from runs import actions, fsck
from runs.models import RunEvent, TaskRun, WorkflowRun
from runs.policy import Actor
from runs.reconciler.once import once
from runs.states import Reason
from tests.engines.dag.driving import Hand, step, submit
from tests.engines.dag.hooking import both, hook
from tests.reconciler.hooked import LONG_AGO, HookedHub, row, seen

pytestmark = pytest.mark.django_db

SAID = "The run took longer than its limit of 2 h (the workflow's run timeout)."
TELL = {"handler": "input", "with": {"what": "${ended.state}: ${ended.error}"}}
OVERDUE = {"state": TaskState.FAILED, "stopped": True, "reason": Stop.TIMEOUT}


@pytest.fixture
def hub(db, settings):
    settings.WORKFLOWHUB_WORKER_LOST_AFTER = 3600  # nobody hears the hand's heart beat
    return HookedHub()


@pytest.fixture
def late(hub):
    """Starts a run whose two hours are over; the run, and the step that the hand has."""

    def start(*steps, **more):
        run = hub.start(*(steps or (step("a"), step("b", "a"))), **more)
        actions.edit_workflow(Actor(), run.workflow, run_timeout=timedelta(hours=2))
        taken = hub.hand.take()
        once()
        began, limit = seen(run).started_at, timedelta(hours=2)
        assert seen(run).deadline_at == began + limit
        WorkflowRun.objects.filter(pk=run.pk).update(
            started_at=began - 2 * limit, deadline_at=began - limit
        )
        return run, taken

    return start


def end_of(run):
    run = seen(run)
    return run.state, run.reason, run.error


def hooks_of(run):
    return set(run.task_runs.filter(kind=TaskRun.Kind.HOOK).values_list("name", flat=True))


def ask_again(run):
    WorkflowRun.objects.filter(pk=run.pk).update(cancel_sent_at=None, next_check_at=LONG_AGO)
    once()


def test_a_run_that_took_too_long_begins_its_hook_of_a_failure_once(hub, late):
    run, taken = late(on_failure=TELL, on_success=TELL)
    once()
    assert Step.objects.get(name="a").stop == Stop.TIMEOUT
    assert hooks_of(run) == set()
    ask_again(run)  # as one who doesn't know whether the engine heard of it
    hook = hub.hand.end(taken, **OVERDUE)
    assert hook.inputs == {"what": f"FAILED: {SAID}"}
    once()
    ask_again(run)
    assert end_of(run) == (RunState.FAILED, Reason.TIMEOUT, SAID)
    assert (hooks_of(run), row(run, "on_failure").state) == ({"on_failure"}, TaskState.RUNNING)
    hub.hand.end(hook)
    once()
    assert row(run, "on_failure").state == TaskState.COMPLETED
    assert hub.hand.take() is None
    assert Step.objects.filter(kind="hook").count() == 1
    assert end_of(run) == (RunState.FAILED, Reason.TIMEOUT, SAID)
    assert RunEvent.objects.filter(run=run, task_run=None, new=RunState.FAILED).count() == 1
    assert list(fsck.run_checks()) == []


def test_its_steps_have_the_ends_that_the_documents_own_timeout_gives_them(hub, late):
    run, taken = late(step("a", on_failure=TELL), step("b", "a", on_failure=TELL))
    once()
    hub.hand.end(taken, **OVERDUE)
    once()
    assert hooks_of(run) == {"a.on_failure"}
    states = dict(run.task_runs.tasks().values_list("name", "state"))
    assert states == {"a": TaskState.FAILED, "b": TaskState.CANCELED}
    assert end_of(run) == (RunState.FAILED, Reason.TIMEOUT, SAID)


def test_a_run_that_nobody_runs_fails_at_once(hub, late):
    run, taken = late(step("a"), step("b", "a", retry={"limit": 1, "delay": "5m"}), on_failure=TELL)
    hub.hand.end(hub.hand.end(taken), TaskState.FAILED)
    assert Step.objects.get(name="b").state == TaskState.RETRYING
    once()
    assert Execution.objects.get().state == RunState.FAILED
    assert Step.objects.get(name="on_failure").state == TaskState.SCHEDULED


def test_a_run_that_a_person_stopped_before_has_no_hook(hub, late):
    run, taken = late(on_failure=TELL)
    actions.cancel_run(Actor(), seen(run))
    once()
    assert Step.objects.get(name="a").stop == Stop.CANCELED
    hub.hand.end(taken, TaskState.CANCELED, stopped=True, reason=Stop.CANCELED)
    once()
    assert end_of(run) == (RunState.CANCELED, Stop.CANCELED, "")
    assert Step.objects.filter(kind="hook").count() == 0


def test_a_person_who_stops_it_afterwards_changes_nothing(hub, late):
    run, taken = late(on_failure=TELL)
    once()
    actions.cancel_run(Actor(), seen(run))
    once()
    assert hub.hand.end(taken, **OVERDUE).spec.name == "on_failure"
    once()
    assert end_of(run) == (RunState.FAILED, Reason.TIMEOUT, SAID)


@pytest.mark.parametrize("first", ["its document", "the hub"])
def test_of_two_limits_the_one_that_was_first_is_told(first):
    adapter, run = submit(step("a"), timeout=3600, on_failure=hook(), on_success=hook())
    hand = Hand()
    taken = hand.take()
    Execution.objects.update(deadline_at=LONG_AGO)
    if first == "its document":
        requests.stop_overdue()
    adapter.cancel(run, overdue=SAID)
    requests.stop_overdue()
    adapter.cancel(run)
    assert hand.end(taken, **OVERDUE).spec.name == "on_failure"
    own = "The run took longer than its limit of 3600 s."
    snapshot = adapter.find(run)
    said = own if first == "its document" else SAID
    assert (snapshot.state, snapshot.reason, snapshot.error) == ("FAILED", "timeout", said)


def test_what_ended_before_is_left_as_it_ended_and_has_no_second_hook():
    adapter, run = submit(step("a"), **both())
    order = Hand().run_all()
    assert order == ["a", "on_success"]
    adapter.cancel(run, overdue=SAID)
    snapshot = adapter.find(run)
    assert (snapshot.state, snapshot.error) == ("COMPLETED", "")
    assert Hand().take() is None
