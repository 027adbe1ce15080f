"""A paused workflow lets no run begin; one with a limit lets only so many be active."""

import itertools
import json
import threading
import time
import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from runs import actions
from runs.models import Workflow, WorkflowRun
from runs.policy import Actor
from runs.reconciler import turns
from runs.reconciler.hold import take
from runs.reconciler.once import lease_name
from runs.reconciler.sweep import EngineSweep
from runs.states import Reason, RunState


def reasons(runs):
    rows = WorkflowRun.objects.filter(pk__in=[run.pk for run in runs]).order_by("pk")
    return [(row.state, row.reason) for row in rows]


def test_runs_of_a_paused_workflow_wait_and_begin_when_the_pause_is_over(hub):
    workflow = actions.edit_workflow(hub.actor, hub.post(), paused=True)
    run = actions.start_run(hub.actor, workflow)
    hub.sync(2)
    assert reasons([run]) == [(RunState.PENDING, Reason.PAUSED)]
    assert not hub.fake.engine.starts
    actions.edit_workflow(hub.actor, workflow, paused=False)
    assert hub.run_to_end(run).state == RunState.COMPLETED


def test_a_pause_stops_nothing_that_an_engine_has(hub):
    run = hub.start()
    hub.sync()
    actions.edit_workflow(hub.actor, run.workflow, paused=True)
    assert hub.run_to_end(run).state == RunState.COMPLETED


def test_a_run_that_waits_for_its_turn_can_be_canceled(hub):
    workflow = actions.edit_workflow(hub.actor, hub.post(), paused=True)
    run = actions.start_run(hub.actor, workflow)
    hub.sync()
    assert actions.cancel_run(hub.actor, hub.seen(run)).state == RunState.CANCELED


def test_no_more_runs_are_active_than_the_limit_and_the_oldest_goes_next(hub):
    workflow = actions.edit_workflow(hub.actor, hub.post(), max_active_runs=2)
    runs = [actions.start_run(hub.actor, workflow) for _ in range(5)]
    hub.sync(2)
    sent, waits = (RunState.SCHEDULED, ""), (RunState.PENDING, Reason.QUEUED)
    assert reasons(runs) == [sent, sent, waits, waits, waits]
    hub.fake.engine.finish()
    hub.sync()
    hub.sync()
    done = (RunState.COMPLETED, "")
    assert reasons(runs) == [done, done, sent, sent, waits]
    actions.edit_workflow(hub.actor, workflow, max_active_runs=None)
    hub.sync()
    assert reasons(runs)[4] == sent


def test_waiting_for_a_turn_writes_nothing(hub):
    workflow = actions.edit_workflow(hub.actor, hub.post(), max_active_runs=1)
    for _ in range(3):
        actions.start_run(hub.actor, workflow)
    hub.sync(2)
    waiting = WorkflowRun.objects.filter(reason=Reason.QUEUED).order_by("pk")
    before = list(waiting.values_list("pk", "version", "next_check_at"))
    assert len(before) == 2
    hub.sync(2)
    assert list(waiting.values_list("pk", "version", "next_check_at")) == before


def shared(hub, limit, task="a"):
    """A workflow of no engine in particular, with a limit. Another task makes another version."""
    text = json.dumps({"title": "shared", "tasks": [{"name": task}]})
    return actions.post_workflow(hub.actor, definition=text, max_active_runs=limit)[0]


def test_runs_of_all_versions_are_counted_together_and_queued_in_order(hub):
    old, new = shared(hub, 1), shared(hub, 1, "b")
    runs = [
        actions.start_run(hub.actor, version, engine=hub.engine) for version in (old, new, old, new)
    ]
    done, sent, waits = (
        (RunState.COMPLETED, ""),
        (RunState.SCHEDULED, ""),
        (RunState.PENDING, Reason.QUEUED),
    )
    for at in range(4):
        hub.sync(3)
        assert reasons(runs) == [done] * at + [sent] + [waits] * (3 - at)
        hub.fake.engine.finish()


def test_a_pause_of_any_version_holds_back_the_runs_of_all(hub):
    old, new = shared(hub, None), shared(hub, None, "b")
    for paused in (old, new):
        actions.edit_workflow(hub.actor, paused, paused=True)
        runs = [actions.start_run(hub.actor, one, engine=hub.engine) for one in (old, new)]
        hub.sync(2)
        assert reasons(runs) == [(RunState.PENDING, Reason.PAUSED)] * 2
        assert not turns.anybody_waits()
        other = new if paused == old else old
        actions.edit_workflow(hub.actor, other, paused=False)
        assert turns.anybody_waits()
        hub.sync(2)
        assert reasons(runs) == [(RunState.SCHEDULED, "")] * 2


def test_what_may_begin_is_found_by_as_many_statements_however_many_versions_there_are(hub):
    old = shared(hub, 2)

    def statements():
        for _ in range(3):
            actions.start_run(hub.actor, Workflow.objects.get(latest=True), engine=hub.engine)
        with CaptureQueriesContext(connection) as caught:
            hub.sync(2)
        for run in WorkflowRun.objects.active():
            actions.cancel_run(hub.actor, run)
        hub.sync(3)
        assert not WorkflowRun.objects.active().exists()
        return len(caught)

    statements()
    before = statements()
    for number in range(10):
        shared(hub, 2, f"b{number}")
    assert statements() == before
    assert Workflow.objects.filter(title=old.title).count() == 11


def test_the_oldest_begins_first_whatever_its_engine_is(make_hub):
    one, other = make_hub(), make_hub()
    workflow = shared(one, 1)
    first = actions.start_run(one.actor, workflow, engine=one.engine)
    one.sync()
    second = actions.start_run(one.actor, workflow, engine=other.engine)
    third = actions.start_run(one.actor, workflow, engine=one.engine)
    one.sync(2)
    one.fake.engine.finish()
    one.sync(3)  # the engine of the third is asked first
    done, sent, waits = (
        (RunState.COMPLETED, ""),
        (RunState.SCHEDULED, ""),
        (RunState.PENDING, Reason.QUEUED),
    )
    assert reasons([first, second, third]) == [done, sent, waits]


@pytest.mark.parametrize(
    "state",
    [
        {"enabled": False},
        {"accepts_runs": False},
        {"health": "unhealthy"},
        {"health": "rejected"},
        {"breaker_until": "2099-01-01T00:00Z"},
    ],
    ids=str,
)
def test_a_run_whose_engine_is_away_lets_others_pass(make_hub, state):
    one, other = make_hub(), make_hub()
    workflow = shared(one, 1)
    actions.start_run(one.actor, workflow, engine=other.engine)
    type(other.engine).objects.filter(pk=other.engine.pk).update(**state)
    later = actions.start_run(one.actor, workflow, engine=one.engine)
    hold = take(lease_name(one.engine.pk), uuid.uuid4())
    EngineSweep(one.engine.pk, hold).tick()
    hold.release()
    assert reasons([later]) == [(RunState.SCHEDULED, "")]


def test_a_pause_that_came_a_moment_before_holds_back_what_was_about_to_begin(hub, monkeypatch):
    run = hub.start()
    pause = turns.Turns.why_not

    def paused_now(self, case):
        waits = pause(self, case)
        Workflow.objects.update(paused=True)
        return waits

    monkeypatch.setattr(turns.Turns, "why_not", paused_now)
    hub.sync()
    assert reasons([run]) == [(RunState.PENDING, Reason.PAUSED)]
    assert not hub.fake.engine.starts


LIMIT = 4


@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
def test_two_engines_at_once_never_pass_the_limit_together_and_keep_the_order(make_hub):
    hubs = [make_hub(), make_hub()]
    engines = [hub.fake.engine for hub in hubs]
    engines[1].lock = engines[0].lock  # so that both can be counted at one moment
    workflow, newer = shared(hubs[0], LIMIT), shared(hubs[0], LIMIT, "b")
    runs = [
        actions.start_run(Actor(), version, engine=hubs[at % 2].engine)
        for at, version in zip(range(30), itertools.cycle([workflow, workflow, newer, newer]))
    ]
    names = {f"wh-{run.uuid}-1": at for at, run in enumerate(runs)}
    most, order, broken = [0], [], []
    stop = threading.Event()

    def count(submit):
        def counted(tag, definition):
            with engines[0].lock:
                run = submit(tag, definition)
                order.append(names[tag])
                most.append(sum(len(engine._active) for engine in engines))
                return run

        return counted

    for engine in engines:
        engine.submit = count(engine.submit)

    def sweep(hub):
        try:
            hold = take(lease_name(hub.engine.pk), uuid.uuid4())
            ticks = EngineSweep(hub.engine.pk, hold)
            while not stop.is_set():
                ticks.tick(full=True)
                time.sleep(0.01)
            hold.release()
        except Exception as error:
            broken.append(error)
            raise
        finally:
            connection.close()

    threads = [threading.Thread(target=sweep, args=[hub]) for hub in hubs]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 60
    busiest = 0
    while time.monotonic() < until and not broken:
        busiest = max(busiest, turns._count([workflow.title])[workflow.title].busy)
        if not WorkflowRun.objects.active().exists():
            break
        for engine in engines:
            engine.advance()
        time.sleep(0.02)
    stop.set()
    for thread in threads:
        thread.join(30)
    assert not broken
    assert set(reasons(runs)) == {(RunState.COMPLETED, "")}
    assert 1 < max(most) <= LIMIT
    assert busiest <= LIMIT
    assert sorted(order) == list(range(30))
    # Those that begin together may reach their engines in any order.
    assert all(abs(at - place) < LIMIT for place, at in enumerate(order)), order
