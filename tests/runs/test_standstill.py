"""Runs whose turn never comes, because all that have one wait for them."""

import pytest

from runs import actions
from runs.models import ChildRun, WorkflowRun
from runs.standstill import without_a_turn
from runs.states import Reason, RunState
from tests.api.conftest import Caller
from tests.factories import make_run
from tests.reconciler.family import HUB, ask, children_of, fresh, local, post, sync, work

__all__ = ["local"]  # a fixture

pytestmark = pytest.mark.django_db


def limited(title, *steps, most=1):
    return actions.edit_workflow(HUB, post(title, *steps), max_active_runs=most)


def start(workflow, times=1):
    runs = [actions.start_run(HUB, workflow) for _ in range(times)]
    sync(3)
    return runs


def the_child_of(run):
    (child,) = children_of(run)
    return child


@pytest.fixture
def own(local):
    """A workflow of which one run may be active, and which asks for a run of itself."""
    return limited("own", ask("own"))


@pytest.fixture
def stuck(own):
    """The run that waits for its turn, behind the run that waits for it."""
    (run,) = start(own)
    child = the_child_of(run)
    assert (child.state, child.reason) == (RunState.PENDING, Reason.QUEUED)
    return child


def test_a_run_behind_the_one_that_waits_for_it(stuck):
    assert without_a_turn() == {stuck.pk}


def test_it_goes_on_once_there_is_room_or_one_of_them_is_canceled(own, stuck):
    actions.edit_workflow(HUB, own, max_active_runs=2)
    assert without_a_turn() == set()
    actions.edit_workflow(HUB, own, max_active_runs=1)
    assert without_a_turn() == {stuck.pk}
    actions.cancel_run(HUB, fresh(stuck.parent_task_run.run))
    assert without_a_turn() == set()


def test_many_turns_and_all_of_them_wait(local):
    runs = start(limited("own", ask("own"), most=3), times=3)
    assert without_a_turn() == {the_child_of(run).pk for run in runs}


def test_one_that_waits_for_nobody_ends_and_makes_room(local):
    most = limited("own", ask("own"), most=2)
    (run,) = start(most)
    assert children_of(run)[0].reason == ""  # the second turn is the child's, whose own child waits
    assert len(without_a_turn()) == 1
    ChildRun.objects.filter(parent__parent_task_run__run=run).update(waits=False)
    assert without_a_turn() == set()


def test_others_of_the_workflow_that_work_make_room(local):
    own = post("own", {"name": "work", "handler": "output"})
    actions.edit_workflow(HUB, own, max_active_runs=1)
    start(own)
    (outer,) = start(post("outer", ask("own")))
    assert the_child_of(outer).reason == Reason.QUEUED
    assert without_a_turn() == set()
    work()
    sync(3)
    assert the_child_of(outer).reason == ""


def test_a_ring_through_another_workflow(local):
    middle = post("middle", {"name": "wait", "handler": "output"})
    own = limited("own", ask("middle"))
    middle = post("middle", ask("own"))
    assert middle.version == 2
    (run,) = start(own)
    sync(3)
    waiting = the_child_of(the_child_of(run))
    assert waiting.reason == Reason.QUEUED
    assert without_a_turn() == {waiting.pk}


def test_two_workflows_that_wait_for_each_other(local):
    for title in ("left", "right"):
        post(title, {"name": "wait", "handler": "output"})
    left, right = limited("left", ask("right")), limited("right", ask("left"))
    runs = [actions.start_run(HUB, one) for one in (left, right)]
    sync(4)
    waiting = [the_child_of(run) for run in runs]
    assert [child.reason for child in waiting] == [Reason.QUEUED] * 2
    assert without_a_turn() == {child.pk for child in waiting}


def test_where_nobody_waits_for_a_turn_one_statement_says_so(local, django_assert_num_queries):
    make_run(state="RUNNING")
    with django_assert_num_queries(1):
        assert without_a_turn() == set()


def test_triage_names_it(stuck):
    body = Caller().get("triage").json()
    assert [run["id"] for run in body["no_turn"]] == [stuck.pk]
    assert (body["stuck"], body["no_engine"]) == ([], [])
    actions.cancel_run(HUB, WorkflowRun.objects.get(pk=stuck.pk))
    assert Caller().get("triage").json()["no_turn"] == []


def test_the_overview_and_its_own_page_say_so(stuck, admin_client):
    html = admin_client.get("/").content.decode()
    assert "Waits for a turn that never comes: all runs of own that have one" in html
    html = admin_client.get(f"/runs/{stuck.pk}/").content.decode()
    assert "Its turn never comes by itself: at most 1 run of own may be active" in html
    other = make_run(state="RUNNING")
    assert "never comes" not in admin_client.get(f"/runs/{other.pk}/").content.decode()
