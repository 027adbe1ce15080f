"""Runs inside runs: started once with the right rights, and answered."""

import json

import pytest

from runs import actions
from runs.models import ChildRun, RunEvent, Workflow, WorkflowRun
from runs.models.access import Role
from runs.policy import give_role
from runs.reconciler.once import once
from runs.states import Cause, RetryMode, RunState, TaskState, Trigger, Wanted
from tests.factories import make_actor
from tests.reconciler.family import (
    HUB,
    ask,
    children_of,
    fresh,
    post,
    started,
    sync,
    task_of,
    work,
)

pytestmark = pytest.mark.django_db


def test_a_step_s_run_is_started_on_any_engine_and_its_result_comes_back(outer):
    ada = make_actor(Role.OPERATOR)
    run = started(outer, actor=ada)
    (child,) = children_of(run)
    assert (child.workflow.title, child.parameters, child.trigger) == (
        "inner",
        {"n": 5},
        Trigger.DEPENDENCY,
    )
    assert child.created_by == ada.user
    assert [(label.key, label.value) for label in child.labels.all()] == [("kind", "part")]
    assert child.parent_task_run == task_of(run)
    row = ChildRun.objects.get()
    assert (row.parent, row.child, row.depth, row.waits) == (run, child, 1, True)
    assert (row.key, row.external_id) == (f"{run.external_id}/ask/-1/1", run.external_id)
    assert RunEvent.objects.get(run=run, cause=Cause.START).detail == f"Run {child.pk} of inner v1"
    assert task_of(run).state == TaskState.RUNNING
    work()
    sync(2)
    run, child = fresh(run), fresh(child)
    assert (run.state, child.state) == (RunState.COMPLETED, RunState.COMPLETED)
    assert task_of(run).result == {
        "run_id": child.pk,
        "uuid": str(child.uuid),
        "state": "COMPLETED",
        "result": {"n": 5},
    }
    assert ChildRun.objects.get().answered_at is not None


def test_a_child_runs_on_an_engine_behind_http_found_by_its_labels(make_hub, local):
    away, other = make_hub(), make_hub()
    for hub, place in ((away, "away"), (other, "near")):
        hub.engine.label_selector = f"place={place}"
        hub.engine.save()
    definition = {"title": "far", "tasks": [{"name": "a"}]}
    actions.post_workflow(HUB, definition=json.dumps(definition))
    run = started(post("outer", ask("far", labels={"place": "away"})))
    once()
    (child,) = children_of(run)
    assert (child.engine, child.state) == (away.engine, RunState.SCHEDULED)
    away.fake.engine.finish()
    once()
    sync(2)
    assert fresh(run).state == RunState.COMPLETED
    assert task_of(run).result["run_id"] == child.pk
    assert not other.fake.engine.starts


def test_a_child_that_fails_fails_its_step_and_another_try_starts_another_run(inner):
    run = started(post("outer", ask(retry={"limit": 1, "delay": 0})))
    (first,) = children_of(run)
    work(TaskState.FAILED)
    sync(3)
    first, second = children_of(run)
    assert (first.state, second.state) == (RunState.FAILED, RunState.SCHEDULED)
    assert task_of(run).try_number == 2
    work(TaskState.FAILED)
    sync(2)
    run = fresh(run)
    assert run.state == RunState.FAILED
    assert run.error == f"ask: Run {second.pk} of inner failed: work: It went wrong."
    assert len(children_of(run)) == 2


def test_a_child_canceled_by_a_person_fails_its_step(outer):
    run = started(outer)
    (child,) = children_of(run)
    actions.cancel_run(HUB, child)
    sync(2)
    run = fresh(run)
    assert (fresh(child).state, run.state) == (RunState.CANCELED, RunState.FAILED)
    assert task_of(run).error == f"Run {child.pk} of inner was canceled."


def test_a_child_that_is_being_retried_is_waited_for(outer):
    run = started(outer)
    (child,) = children_of(run)
    actions.retry_run(HUB, child, mode=RetryMode.ALL)
    sync()
    assert task_of(run).state == TaskState.RUNNING
    sync(2)
    work()
    sync(2)
    assert fresh(child).attempt == 2
    assert fresh(run).state == RunState.COMPLETED


def test_nobody_waits_for_a_run_that_is_only_to_be_started(inner):
    run = started(post("outer", ask(wait=False)))
    sync()
    run = fresh(run)
    (child,) = children_of(run)
    assert run.state == RunState.COMPLETED
    assert task_of(run).result == {"run_id": child.pk, "uuid": str(child.uuid)}
    assert child.wanted == Wanted.RUN
    assert not child.final


@pytest.mark.faults
def test_a_hundred_items_are_a_hundred_runs(inner, settings):
    settings.WORKFLOWHUB_MAX_PARALLEL = 100
    run = started(post("outer", ask(for_each=list(range(100)), parameters={"n": "${item}"})))
    for _ in range(20):  # a slow machine needs several ticks for so many
        work()
        sync()
        if fresh(run).final:
            break
    found = children_of(run)
    assert sorted(child.parameters["n"] for child in found) == list(range(100))
    assert {child.parent_task_run.map_index for child in found} == set(range(100))
    assert fresh(run).state == RunState.COMPLETED
    assert [one["result"]["n"] for one in task_of(run).result] == list(range(100))


def test_a_paused_workflow_s_run_is_started_and_waits_for_its_turn(outer, inner):
    actions.edit_workflow(HUB, inner, paused=True)
    run = started(outer)
    (child,) = children_of(run)
    assert (child.state, child.reason) == (RunState.PENDING, "paused")
    assert task_of(run).state == TaskState.RUNNING


# What is refused


def refused(run):
    sync(2)
    assert fresh(run).state == RunState.FAILED
    assert ChildRun.objects.get(parent=run).child is None
    assert children_of(run) == []
    return task_of(run).error


def test_a_workflow_that_is_not_there_fails_the_step(local):
    run = started(post("outer", ask("nothing")))
    assert refused(run).startswith("There is no workflow 'nothing', or")


def test_a_version_that_is_not_there_or_archived_fails_the_step(inner):
    run = started(post("outer", ask(version=7)))
    assert refused(run).startswith("There is no workflow 'inner' v7, or")
    actions.edit_workflow(HUB, inner, archived=True)
    for steps in ([ask()], [ask(version=1)]):
        run = started(post(f"outer {len(steps)} {steps}"[:50], *steps))
        assert refused(run).startswith("inner v1 is archived.")


def test_the_newest_version_is_started_unless_one_is_named(inner):
    newer = post("inner", {"name": "work", "handler": "output"})
    sync()
    assert newer.version == 2
    run = started(post("outer", ask(), {**ask(version=1), "name": "old"}))
    titles = {child.parent_task_run.name: child.workflow.version for child in children_of(run)}
    assert titles == {"ask": 2, "old": 1}


def test_bad_parameters_and_labels_fail_the_step_with_the_field(inner):
    bad = {
        "value": {"parameters": {"n": "many"}},
        "name": {"parameters": {"m": 1}},
        "label": {"labels": {"not a key": "x"}},
    }
    steps = [{**ask(**arguments), "name": name} for name, arguments in bad.items()]
    run = started(post("outer", *steps, failure_policy="continue"))
    sync(2)
    assert children_of(run) == []
    assert task_of(run, "value").error.startswith("parameters.n:")
    assert task_of(run, "name").error.startswith("parameters.m:")
    assert "is no label key" in task_of(run, "label").error


def test_the_rights_of_whoever_started_the_run_decide(outer):
    viewer = make_actor(Role.OPERATOR)
    run = actions.start_run(viewer, outer)
    viewer.user.groups.clear()
    sync(2)
    assert "viewer" not in refused(run)
    assert refused(run).startswith("There is no workflow 'inner', or user")


def test_a_person_who_may_only_look_by_now_starts_no_further_run(outer):
    actor = make_actor(Role.OPERATOR)
    run = actions.start_run(actor, outer)
    give_role(actor.user, Role.VIEWER)
    sync(2)
    assert refused(run).endswith("which may not start runs. Ask an administrator.")


def test_no_run_is_started_in_the_name_of_somebody_who_has_gone(outer):
    actor = make_actor(Role.ADMINISTRATOR)
    run = actions.start_run(actor, outer)
    name = actor.user.username
    actor.user.delete()
    sync(2)
    assert refused(run).startswith(f"{name}, who started run {run.pk}, has no account any more")


class OnlyOuter:
    """A factory under which a person sees one workflow only."""

    def allow(self, user, action, obj):
        return True

    def visible(self, user, queryset):
        if queryset.model is Workflow and user is not None:
            return queryset.filter(title="outer")
        return queryset


def test_what_its_creator_may_not_see_is_not_there(outer, settings):
    settings.WORKFLOWHUB_PERMISSION_FACTORY = f"{__name__}.OnlyOuter"
    run = actions.start_run(make_actor(Role.OPERATOR), outer)
    sync(2)
    assert refused(run).startswith("There is no workflow 'inner', or user")
    sync()
    assert children_of(started(outer))  # the hub's own run sees it


@pytest.mark.faults
def test_a_workflow_that_starts_itself_ends_ten_runs_down(local):
    workflow = post("again", ask("again"))
    run = actions.start_run(HUB, workflow)
    for _ in range(40):
        sync()
        if fresh(run).final:
            break
    runs = list(WorkflowRun.objects.order_by("pk"))
    assert len(runs) == 11
    assert [row.depth for row in ChildRun.objects.order_by("pk")] == list(range(1, 12))
    assert {run.state for run in runs} == {RunState.FAILED}
    assert task_of(runs[-1]).error == (
        f"Runs can be nested 10 deep, and run {runs[-1].pk} is the 10th below the first. "
        "Does a workflow start itself without end?"
    )
    assert fresh(run).error.startswith(f"ask: Run {runs[1].pk} of again failed: ask: Run")
