"""The uuid of a step's run can be known beforehand: whoever takes it gets no part in the run that asks."""

import uuid
from contextlib import suppress

import pytest

from engines.dag.models import Execution
from runs import actions
from runs.actions import runs as starting
from runs.models import ChildRun, WorkflowRun
from runs.models.access import Role
from runs.reconciler.requests import REQUESTED_RUNS
from runs.states import RunState, Trigger, Wanted
from tests.factories import make_actor, make_run
from tests.reconciler.family import HUB, children_of, fresh, post, started, sync, task_of, work

pytestmark = pytest.mark.django_db


def uuid_of_its_run(run):
    return uuid.uuid5(REQUESTED_RUNS, f"{run.external_id}/ask/-1/1")


def finished(run):
    """The run, driven to its end however slowly."""
    for _ in range(6):
        sync(2)
        work()
        if fresh(run).final:
            break
    return fresh(run)


def other(local):
    return post("other", {"name": "work", "handler": "output", "with": {"n": 7}})


WAYS = {
    "the same workflow": lambda inner: {"workflow": inner, "parameters": {"n": 666}},
    "held": lambda inner: {"workflow": inner, "parameters": {"n": 666}, "hold": True},
    "another workflow": lambda inner: {"workflow": other(inner)},
}


@pytest.fixture(params=WAYS)
def stranger(request, inner, outer):
    """A run with the uuid that the step's own would have, and the run that asks."""
    run = actions.start_run(HUB, outer)
    given = WAYS[request.param](inner)
    workflow = given.pop("workflow")
    taker = actions.start_run(
        make_actor(Role.OPERATOR), workflow, uuid=uuid_of_its_run(run), **given
    )
    return run, taker


def test_the_step_gets_a_run_of_its_own(stranger):
    run, taker = stranger
    run = finished(run)
    assert run.state == RunState.COMPLETED
    (child,) = children_of(run)
    assert child.pk != taker.pk
    assert (child.trigger, child.parameters) == (Trigger.DEPENDENCY, {"n": 5})
    assert ChildRun.objects.get().child == child
    assert task_of(run).result == {
        "run_id": child.pk,
        "uuid": str(child.uuid),
        "state": "COMPLETED",
        "result": {"n": 5},
    }
    assert fresh(taker).parent_task_run is None
    assert WorkflowRun.objects.count() == 3


def test_a_stranger_s_run_outlives_the_cancel_of_the_run_that_asked(stranger):
    run, taker = stranger
    sync(2)
    actions.cancel_run(HUB, fresh(run))
    sync(3)
    assert fresh(run).state == RunState.CANCELED
    assert [child.state for child in children_of(run)] == [RunState.CANCELED]
    assert fresh(taker).wanted != Wanted.CANCEL
    assert not fresh(taker).final


class NoStrangers:
    """A factory that hides the runs of the workflow `other` from people."""

    def allow(self, user, action, obj):
        return True

    def visible(self, user, queryset):
        if queryset.model is WorkflowRun:
            return queryset.exclude(workflow__title="other")
        return queryset


def test_a_hidden_stranger_keeps_no_step_from_its_run(outer, local, settings):
    run = actions.start_run(make_actor(Role.OPERATOR), outer)
    make_run(other(local), uuid=uuid_of_its_run(run))
    settings.WORKFLOWHUB_PERMISSION_FACTORY = f"{__name__}.NoStrangers"
    assert finished(run).state == RunState.COMPLETED
    assert task_of(run).result["result"] == {"n": 5}


def test_who_takes_the_uuid_in_the_last_moment_is_a_stranger_too(inner, outer, monkeypatch):
    run = actions.start_run(HUB, outer)
    taker = make_run(inner, uuid=uuid_of_its_run(run), parameters={"n": 666})
    look, looks = starting._with_uuid, []

    def too_early(*args):
        looks.append(args)
        return None if len(looks) == 1 else look(*args)

    monkeypatch.setattr(starting, "_with_uuid", too_early)
    assert finished(run).state == RunState.COMPLETED
    assert len(looks) == 2
    assert task_of(run).result["result"] == {"n": 5}
    assert fresh(taker).parent_task_run is None


class Killed(BaseException):
    """Nothing catches it, like a kill."""


@pytest.mark.faults
@pytest.mark.parametrize("point", ["child.starting", "child.writing", "child.written"])
def test_a_process_that_dies_meanwhile_still_leaves_one_run(stranger, monkeypatch, point):
    run, taker = stranger
    died = []

    def die(name):
        if name == point and not died:
            died.append(name)
            raise Killed

    monkeypatch.setattr("runs.reconciler.requests.crash_point", die)
    with suppress(Killed):
        sync(2)
    run = finished(run)
    assert died == [point]
    assert run.state == RunState.COMPLETED
    (child,) = children_of(run)
    assert task_of(run).result["run_id"] == child.pk
    assert WorkflowRun.objects.count() == 3
    assert Execution.objects.filter(external_id=child.external_id).count() == 1
    assert ChildRun.objects.get().child == child


@pytest.mark.parametrize("hidden", [False, True])
def test_the_step_s_own_run_is_found_again_whatever_became_of_its_row(outer, settings, hidden):
    run = started(outer, actor=make_actor(Role.OPERATOR))
    (child,) = children_of(run)
    ChildRun.objects.all().delete()
    if hidden:
        settings.WORKFLOWHUB_PERMISSION_FACTORY = f"{__name__}.NoChildren"
    assert finished(run).state == RunState.COMPLETED
    assert children_of(run) == [fresh(child)]
    assert ChildRun.objects.get().child == child


class NoChildren:
    """A factory that hides what steps asked for from people."""

    def allow(self, user, action, obj):
        return True

    def visible(self, user, queryset):
        if queryset.model is WorkflowRun and user is not None:
            return queryset.filter(parent_task_run=None)
        return queryset
