"""Runs inside runs under faults, and what they cost."""

import uuid
from contextlib import suppress

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from engines.adapters.local.adapter import Adapter as LocalAdapter
from engines.base import EngineRejected, EngineUnavailable
from engines.dag.models import Execution
from runs import actions, retention
from runs.models import ChildRun, RunEvent, WorkflowRun
from runs.reconciler import children, requests
from runs.reconciler.hold import take
from runs.reconciler.once import lease_name
from runs.reconciler.sweep import EngineSweep
from runs.states import Cause, RunState
from tests.factories import make_run
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


class Killed(BaseException):
    """Nothing catches it, like a kill."""


POINTS = [
    "child.starting",
    "child.writing",
    "child.written",
    "answer.calling",
    "answer.called",
    "answer.writing",
    "answer.written",
]


@pytest.mark.faults
@pytest.mark.parametrize("point", POINTS)
def test_a_process_that_dies_anywhere_leaves_one_child_and_one_answer(outer, monkeypatch, point):
    died = []

    def die(name):
        if name == point and not died:
            died.append(name)
            raise Killed

    for module in ("requests", "children", "calls"):
        monkeypatch.setattr(f"runs.reconciler.{module}.crash_point", die)
    run = actions.start_run(HUB, outer)
    for _ in range(14):
        with suppress(Killed):
            sync()
        work()
    assert died == [point]
    assert fresh(run).state == RunState.COMPLETED
    (child,) = children_of(run)
    assert task_of(run).result["run_id"] == child.pk
    assert ChildRun.objects.get().answered_at is not None
    assert WorkflowRun.objects.count() == Execution.objects.count() == 2


@pytest.mark.faults
@pytest.mark.parametrize("point", ["calloff.writing", "calloff.written"])
def test_a_process_that_dies_while_it_cancels_a_child_cancels_it_the_next_time(
    outer, monkeypatch, point
):
    run = started(outer)
    died = []

    def die(name):
        if name == point and not died:
            died.append(name)
            raise Killed

    monkeypatch.setattr("runs.reconciler.children.crash_point", die)
    actions.cancel_run(HUB, run)
    for _ in range(5):
        with suppress(Killed):
            sync()
    assert died == [point]
    (child,) = children_of(run)
    assert child.state == RunState.CANCELED
    assert RunEvent.objects.filter(run=child, cause=Cause.CANCEL, task_run=None).count() == 1


def test_two_reconcilers_that_see_the_same_request_start_one_run(outer, local, monkeypatch):
    """The second one finds the row between its look and its write, and has no lease any more."""
    run = actions.start_run(HUB, outer)
    sync(1)
    stale = EngineSweep(local.pk, take(lease_name(local.pk), uuid.uuid4()))
    stale.hold.release()
    stale.hold.lost = False
    asked = []
    original = requests._unknown
    monkeypatch.setattr(requests, "_unknown", lambda found: asked.extend(found.values()) or asked)
    sync(1)
    assert len(children_of(run)) == 1
    parent, task = fresh(run), task_of(run)
    hold = take(lease_name(local.pk), uuid.uuid4())
    assert not requests._start(asked[0], parent, task, 1, hold.fence)
    with pytest.raises(requests.leases.LeaseLost):
        requests._start(asked[0], parent, task, 1, stale.hold.fence)
    hold.release()
    monkeypatch.setattr(requests, "_unknown", original)
    assert len(children_of(run)) == ChildRun.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_an_engine_that_is_away_is_answered_later_and_ever_more_rarely(
    outer, monkeypatch, settings
):
    settings.WORKFLOWHUB_BREAKER_FAILURES = 1000
    run = started(outer)
    work()
    sweep = EngineSweep(run.engine_id, take(lease_name(run.engine_id), uuid.uuid4()))
    asked = []

    def away(self, external_id, key, outcome):
        asked.append(key)
        raise EngineUnavailable("It is away.")

    with monkeypatch.context() as patch:
        patch.setattr(LocalAdapter, "answer", away)
        patch.setattr(children, "full_jitter", lambda failures: 3600.0)
        for _ in range(3):
            sweep.tick()
        assert len(asked) == 1
        assert ChildRun.objects.get().answered_at is None
    assert next(iter(sweep.children.later.values()))[0] == 1
    sweep.children.later.clear()
    for _ in range(2):
        sweep.tick()
    assert fresh(run).state == RunState.COMPLETED
    sweep.hold.release()


def test_an_answer_that_is_refused_is_noted_and_not_given_again(outer, monkeypatch):
    run = started(outer)
    asked = []

    def refuse(self, external_id, key, outcome):
        asked.append(key)
        raise EngineRejected("I asked for nothing.")

    monkeypatch.setattr(LocalAdapter, "answer", refuse)
    work()
    sync(3)
    assert len(asked) == 1
    row = ChildRun.objects.get()
    assert row.answered_at is not None
    assert row.error == "The engine doesn't take the answer: I asked for nothing."
    event = RunEvent.objects.get(run=run, cause=Cause.TROUBLE)
    assert (event.detail, event.task_run) == (row.error, task_of(run))


def test_a_run_that_can_not_be_written_fails_its_step_and_not_the_others(inner, monkeypatch):
    original = actions.start_run

    def break_some(actor, workflow, **options):
        if options.get("parameters") == {"n": 1}:
            raise ValueError("canary")
        return original(actor, workflow, **options)

    monkeypatch.setattr(actions, "start_run", break_some)
    step = ask(for_each=[0, 1, 2], parameters={"n": "${item}"})
    run = original(HUB, post("outer", step))
    sync(2)
    assert [child.parameters["n"] for child in children_of(run)] == [0, 2]
    assert task_of(run, index=1).error == "It could not be started: ValueError."


def test_a_child_that_was_deleted_fails_its_step(outer):
    run = started(outer)
    (child,) = children_of(run)
    work()
    WorkflowRun.objects.filter(pk=child.pk).delete()
    sync(2)
    assert task_of(run).error == "The run that it asked for was deleted."


def test_parents_and_children_can_be_purged_in_any_order(outer):
    runs = [started(outer), started(outer)]
    work()
    sync(2)
    (first_child,) = children_of(runs[0])
    (second_child,) = children_of(runs[1])
    retention._delete_runs(WorkflowRun.objects.all(), WorkflowRun, [runs[0].pk])
    assert fresh(first_child).parent_task_run is None
    retention._delete_runs(WorkflowRun.objects.all(), WorkflowRun, [second_child.pk])
    assert ChildRun.objects.get().child is None
    retention._delete_runs(WorkflowRun.objects.all(), WorkflowRun, [runs[1].pk, first_child.pk])
    assert not WorkflowRun.objects.exists()


# Cost


@pytest.mark.django_db(transaction=True)
def test_a_tick_over_idle_runs_asks_once_for_children_and_writes_nothing(outer, local):
    run = started(outer)
    make_run(outer)
    sweep = EngineSweep(local.pk, take(lease_name(local.pk), uuid.uuid4()))
    for _ in range(3):
        sweep.tick()
    with CaptureQueriesContext(connection) as caught:
        sweep.tick()
    about = [query["sql"] for query in caught.captured_queries if "runs_childrun" in query["sql"]]
    assert len(about) <= 3  # which requests are known, whether any is open, and which are due
    assert not [sql for sql in about if not sql.startswith("SELECT")]
    work()
    for _ in range(5):
        sweep.tick()
    assert fresh(run).state == RunState.COMPLETED
    with CaptureQueriesContext(connection) as caught:
        sweep.tick()
    assert len([q for q in caught.captured_queries if "runs_childrun" in q["sql"]]) == 1
    sweep.hold.release()
