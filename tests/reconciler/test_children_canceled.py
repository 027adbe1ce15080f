"""Runs inside runs are canceled with whoever asked for them, and only then."""

import pytest

from engines.adapters.local.adapter import Adapter as LocalAdapter
from engines.base import EngineUnavailable
from engines.dag.models import Step
from runs import actions
from runs.models import ChildRun, RunEvent
from runs.reconciler.once import once
from runs.states import Cause, RunState, TaskState, Wanted
from tests.engines.dag.driving import Hand
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


def test_canceling_the_parent_cancels_children_and_grandchildren_and_says_why(outer, local):
    run = started(post("top", ask("outer")))
    sync(2)
    (child,) = children_of(run)
    (grandchild,) = children_of(child)
    actions.cancel_run(HUB, run)
    sync(3)
    assert {fresh(one).state for one in (run, child, grandchild)} == {RunState.CANCELED}
    for one, asker in ((child, run), (grandchild, child)):
        event = RunEvent.objects.get(run=one, cause=Cause.CANCEL, task_run=None)
        assert event.detail == f"Canceled because run {asker.pk} was canceled."
    assert not ChildRun.objects.filter(answered_at=None).exists()


def test_canceling_the_step_or_marking_it_cancels_its_run(outer):
    first, second = started(outer), started(outer)
    actions.cancel_task(HUB, task_of(first))
    actions.mark_task(HUB, task_of(second), TaskState.COMPLETED, note="by hand")
    sync(2)
    for run in (first, second):
        (child,) = children_of(run)
        assert child.state == RunState.CANCELED
    event = RunEvent.objects.get(run=children_of(second)[0], cause=Cause.CANCEL, task_run=None)
    assert event.detail == f"Canceled because step ask of run {second.pk} no longer waits for it."


def test_marking_the_parent_cancels_its_children_also_where_its_engine_is_off_or_down(
    outer, local, monkeypatch
):
    first, second = started(outer), started(outer)
    local.enabled = False
    local.save()
    actions.mark_run(HUB, first, RunState.COMPLETED, note="by hand")
    once()
    assert children_of(first)[0].wanted == Wanted.CANCEL
    local.enabled = True
    local.save()

    def down(self):
        raise EngineUnavailable("It is away.")

    monkeypatch.setattr(LocalAdapter, "health", down)
    actions.mark_run(HUB, second, RunState.COMPLETED, note="by hand")
    sync()
    assert children_of(second)[0].wanted == Wanted.CANCEL


def test_a_step_that_waited_for_too_long_cancels_its_run_and_its_next_try_starts_another(inner):
    run = started(post("outer", ask(timeout=60, retry={"limit": 1, "delay": 0})))
    (first,) = children_of(run)
    Step.objects.filter(deadline_at__isnull=False).update(deadline_at="2020-01-01T00:00Z")
    LocalAdapter._leases_checked = 0.0
    sync(2)
    first, second = children_of(run)
    assert (first.state, second.final) == (RunState.CANCELED, False)
    event = RunEvent.objects.get(run=first, cause=Cause.CANCEL, task_run=None)
    assert event.detail == f"Canceled because step ask of run {run.pk} no longer waits for it."


def test_a_restart_of_the_parent_cancels_the_old_attempt_s_child_and_starts_another(outer):
    run = started(outer)
    (old,) = children_of(run)
    actions.restart_run(HUB, run)
    sync(4)
    old, new = children_of(run)
    assert (fresh(run).attempt, old.state, new.final) == (2, RunState.CANCELED, False)
    work()
    sync(2)
    assert fresh(run).state == RunState.COMPLETED
    assert task_of(run).result["run_id"] == new.pk


def test_a_retry_of_the_parent_keeps_the_run_of_a_completed_step(inner):
    bad = {"name": "bad", "handler": "output", "with": {"x": "y"}, "needs": "ask"}
    run = started(post("outer", ask(), bad))
    work()
    sync(2)
    Hand().run_all({"bad": TaskState.FAILED})
    sync(2)
    assert fresh(run).state == RunState.FAILED
    actions.retry_run(HUB, fresh(run))
    sync(2)
    Hand().run_all()
    sync(2)
    assert fresh(run).state == RunState.COMPLETED
    assert len(children_of(run)) == 1


def test_what_nobody_waited_for_goes_on_when_its_asker_is_canceled(inner, monkeypatch):
    def later(self, external_id, key, outcome):
        raise EngineUnavailable("Not now.")

    with monkeypatch.context() as patch:
        patch.setattr(LocalAdapter, "answer", later)
        run = started(post("outer", ask(wait=False)))
        assert task_of(run).state == TaskState.RUNNING
    actions.cancel_run(HUB, run)
    sync(2)
    assert fresh(run).state == RunState.CANCELED
    assert children_of(run)[0].wanted == Wanted.RUN
    assert ChildRun.objects.get().answered_at is not None
