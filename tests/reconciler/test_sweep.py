"""Leases, crashes, poison, and what a look at unchanged runs costs."""

import uuid

import pytest
from django.db import DatabaseError, connection
from django.test.utils import CaptureQueriesContext

from engines.models import Engine
from runs import actions, leases, moves
from runs.models import RunAttempt, RunEvent, WorkflowRun
from runs.reconciler import observe
from runs.reconciler.once import lease_name
from runs.states import Flag, Reason, RunState
from tests.adapters.remote.adapter import Adapter
from tests.factories import make_engine


class Killed(BaseException):
    """Nothing catches it, like a kill."""


def writes(queries):
    return [
        query["sql"]
        for query in queries
        if query["sql"].split(None, 1)[0].upper() in {"INSERT", "UPDATE", "DELETE"}
    ]


@pytest.fixture
def unhurried(settings, monkeypatch):
    """What counts here is statements: a slow machine may take its time for a tick."""
    settings.WORKFLOWHUB_LEASE = 60
    monkeypatch.setattr("runs.reconciler.handle.SECONDS", 60)


@pytest.mark.parametrize("incremental", [False, True])
def test_a_look_at_unchanged_runs_writes_nothing_and_costs_the_same_for_ten_and_for_two_hundred(
    make_hub, sweep_of, incremental, settings, unhurried
):
    settings.WORKFLOWHUB_ACTIVE_POLL = settings.WORKFLOWHUB_POLL = 0.001
    hub = make_hub(incremental=incremental)
    workflow = hub.post()
    sweep = sweep_of(hub)
    costs = []
    for number in (10, 190):
        for _ in range(number):
            actions.start_run(hub.actor, workflow)
            sweep.hold.renew()
        sweep.tick()
        hub.fake.engine.advance()
        sweep.tick()
        sweep.tick()
        Engine.objects.update(observed_at="2100-01-01T00:00Z")
        sweep.hold.renew()
        requests = hub.fake.requests.total()
        with CaptureQueriesContext(
            connection,
        ) as caught:
            sweep.tick()
        assert hub.fake.requests.total() - requests <= 2
        assert writes(caught.captured_queries) == []
        costs.append(len(caught))
    assert WorkflowRun.objects.filter(state=RunState.RUNNING).count() == 200
    assert costs[0] == costs[1] <= 19


@pytest.mark.faults
def test_two_hundred_changed_runs_cost_hardly_more_statements_than_ten(
    make_hub, sweep_of, unhurried
):
    costs = []
    for number in (10, 200):
        hub = make_hub()
        workflow = hub.post()
        for _ in range(number):
            actions.start_run(hub.actor, workflow)
        sweep = sweep_of(hub)
        sweep.tick()
        hub.fake.engine.advance()
        with CaptureQueriesContext(connection) as caught:
            sweep.tick(full=True)
        costs.append(len(caught))
    assert WorkflowRun.objects.filter(state=RunState.RUNNING).count() == 210
    # bulk_create cuts its rows into pieces that the database takes.
    assert costs[1] - costs[0] <= 12


@pytest.mark.parametrize("submission", ["A", "B", "C"])
def test_fault_10_a_process_killed_between_intent_and_call_leaves_a_run_that_starts_once(
    make_hub, monkeypatch, submission, settings
):
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE = 0.01
    hub = make_hub(submission=submission)
    run = hub.start()

    def die(self, spec):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Adapter, "submit", die)
        with pytest.raises(Killed):
            hub.sync()
    run = hub.seen(run)
    assert run.in_hand and RunAttempt.objects.get(run=run).sent_at is not None
    hub.sync(2)
    hub.make_due()
    hub.sync()
    run = hub.seen(run)
    assert run.state == RunState.SCHEDULED and (run.in_hand, run.kills) == (False, 0)
    assert list(hub.fake.engine.starts.values()) == [1]


@pytest.mark.parametrize("submission", ["A", "B", "C"])
def test_fault_10_a_process_killed_between_accept_and_record_leaves_a_run_that_is_adopted(
    make_hub, monkeypatch, submission
):
    hub = make_hub(submission=submission)
    run = hub.start()
    submit = Adapter.submit

    def die(self, spec):
        submit(self, spec)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Adapter, "submit", die)
        with pytest.raises(Killed):
            hub.sync()
    hub.sync()
    assert hub.seen(run).state == RunState.SCHEDULED
    assert list(hub.fake.engine.starts.values()) == [1]


def test_fault_12_a_run_that_kills_twice_is_set_aside_and_the_others_go_on(hub, monkeypatch):
    killer, *others = [hub.start() for _ in range(4)]
    submit = Adapter.submit

    def die(self, spec):
        if spec.run_id == killer.pk:
            raise Killed
        return submit(self, spec)

    monkeypatch.setattr(Adapter, "submit", die)
    monkeypatch.setattr("runs.reconciler.handle.GROUP", 4)
    find = Adapter.find

    def die_too(self, external_id):
        if external_id == killer.external_id:
            raise Killed
        return find(self, external_id)

    monkeypatch.setattr(Adapter, "find", die_too)
    for _ in range(3):
        try:
            hub.sync()
        except Killed:
            continue
    hub.make_due()
    hub.sync()
    assert Flag.QUARANTINED in hub.seen(killer).flags
    assert not hub.seen(killer).in_hand
    for run in others:
        assert hub.seen(run).state == RunState.SCHEDULED
    assert set(hub.fake.engine.starts.values()) == {1}


def test_fault_12_a_poisoned_run_backs_off_and_is_set_aside_after_twenty_errors(hub, monkeypatch):
    bad, good = hub.start(), hub.start()
    submit, find = Adapter.submit, Adapter.find

    def trip(method, of):
        def call(self, spec):
            if of(spec) == bad.external_id:
                raise KeyError("surprise")
            return method(self, spec)

        return call

    monkeypatch.setattr(Adapter, "submit", trip(submit, lambda spec: spec.external_id))
    monkeypatch.setattr(Adapter, "find", trip(find, lambda name: name))
    hub.sync()
    run = hub.seen(bad)
    assert run.failures == 1 and run.next_check_at is not None and "surprise" in run.last_error
    assert hub.seen(good).state == RunState.SCHEDULED
    for _ in range(20):
        hub.make_due()
        hub.sync()
    run = hub.seen(bad)
    assert Flag.QUARANTINED in run.flags and run.next_check_at is None
    actions.cancel_run(hub.actor, run)
    monkeypatch.setattr(Adapter, "find", find)
    hub.sync()
    assert hub.seen(bad).state == RunState.PENDING, "a lost call may still arrive"
    hub.settle(bad)
    hub.sync()
    assert hub.seen(bad).state == RunState.CANCELED


def test_fault_12_a_report_that_cannot_be_merged_stops_no_other(hub, monkeypatch):
    bad, good = hub.start(), hub.start()
    hub.sync()
    merge = observe.merge

    def trip(case, *rest, **options):
        if case.run.pk == bad.pk:
            raise KeyError("surprise")
        return merge(case, *rest, **options)

    monkeypatch.setattr(observe, "merge", trip)
    hub.fake.engine.finish()
    hub.sync()
    assert hub.seen(good).state == RunState.COMPLETED
    assert hub.seen(bad).failures >= 1
    monkeypatch.setattr(observe, "merge", merge)
    hub.sync()
    assert hub.seen(bad).state == RunState.COMPLETED


def test_fault_12_a_row_that_the_database_refuses_does_not_spoil_its_batch(hub, monkeypatch):
    runs = [hub.start() for _ in range(5)]
    hub.sync()
    apply = moves.apply

    def refuse(changes, fence=None):
        if any(change.run.pk == runs[2].pk and change.fields.get("state") for change in changes):
            raise DatabaseError("value out of range")
        return apply(changes, fence=fence)

    monkeypatch.setattr(moves, "apply", refuse)
    hub.fake.engine.finish()
    hub.sync()
    states = [hub.seen(run).state for run in runs]
    assert states.count(RunState.COMPLETED) == 4
    assert hub.seen(runs[2]).failures >= 1


def test_fault_11_a_stale_reconciler_writes_nothing(hub, sweep_of, monkeypatch):
    run = hub.start()
    hub.sync()
    sweep = sweep_of(hub)
    hub.fake.engine.finish()
    observe = Adapter.observe

    def paused(self, cursor, watching):
        # While it waited for the answer, somebody else took the lease over.
        from runs.models import Lease

        Lease.objects.update(expires_at="2020-01-01T00:00Z")
        assert leases.acquire(lease_name(hub.engine.pk), uuid.uuid4(), 60)
        yield from observe(self, cursor, watching)

    monkeypatch.setattr(Adapter, "observe", paused)
    with pytest.raises(leases.LeaseLost):
        sweep.tick(full=True)
    assert hub.seen(run).state == RunState.SCHEDULED


def test_fault_11_a_reconciler_paused_past_its_lease_does_not_call(hub, sweep_of):
    hub.start()
    sweep = sweep_of(hub)
    sweep.hold._until = 0.0
    with pytest.raises(leases.LeaseLost):
        sweep.tick()
    assert not hub.fake.requests


def test_a_change_by_a_person_while_the_call_is_under_way_loses_neither(hub, monkeypatch):
    run = hub.start()
    submit = Adapter.submit

    def meanwhile(self, spec):
        answer = submit(self, spec)
        actions.cancel_run(hub.actor, hub.seen(run))
        return answer

    monkeypatch.setattr(Adapter, "submit", meanwhile)
    hub.sync(2)
    run = hub.seen(run)
    assert run.state == RunState.CANCELED
    assert RunAttempt.objects.get(run=run).accepted_at is not None
    assert run.kills == 0


def test_events_have_no_gap_after_all_that(hub):
    run = hub.start()
    hub.sync()
    actions.restart_run(hub.actor, hub.seen(run))
    hub.sync(3)
    hub.fake.engine.finish()
    hub.sync()
    seqs = list(RunEvent.objects.filter(run=run).order_by("seq").values_list("seq", flat=True))
    assert seqs == list(range(1, hub.seen(run).last_seq + 1))


def test_a_run_without_an_engine_waits_and_is_routed_when_one_comes(make_hub):
    hub = make_hub()
    workflow = hub.post()
    type(workflow).objects.update(engine=None)
    workflow.refresh_from_db()
    Engine.objects.update(selector="team=physics")
    run = actions.start_run(hub.actor, workflow, labels={"team": "biology"})
    hub.sync()
    assert hub.seen(run).reason == Reason.NO_ENGINE
    assert hub.seen(run).engine is None
    Engine.objects.update(selector="")
    hub.make_due()
    hub.sync()
    run = hub.seen(run)
    assert (run.engine, run.state) == (hub.engine, RunState.SCHEDULED)


def test_runs_are_routed_to_two_engines_by_their_labels(make_hub):
    physics, biology = make_hub(), make_hub()
    workflow = physics.post()
    type(workflow).objects.update(engine=None)
    workflow.refresh_from_db()
    for hub, team in ((physics, "physics"), (biology, "biology")):
        Engine.objects.filter(pk=hub.engine.pk).update(selector=f"team={team}")
    runs = {
        team: actions.start_run(physics.actor, workflow, labels={"team": team})
        for team in ("physics", "biology")
    }
    physics.sync()
    assert physics.seen(runs["physics"]).engine == physics.engine
    assert physics.seen(runs["biology"]).engine == biology.engine
    assert len(physics.fake.engine.starts) == len(biology.fake.engine.starts) == 1


def test_a_run_of_a_pinned_engine_that_is_off_waits_and_another_goes_elsewhere(make_hub):
    hub, other = make_hub(), make_hub()
    pinned = hub.start()
    workflow = hub.post(title="free")
    type(workflow).objects.filter(pk=workflow.pk).update(engine=None)
    workflow.refresh_from_db()
    free = actions.start_run(hub.actor, workflow)
    assert free.engine == hub.engine
    Engine.objects.filter(pk=hub.engine.pk).update(accepts_runs=False)
    hub.sync(2)
    assert hub.seen(pinned).reason == Reason.ENGINE_OFF
    free = hub.seen(free)
    assert free.engine == other.engine and free.state == RunState.SCHEDULED


def test_runs_wait_for_their_workflow_to_be_deployed(hub, monkeypatch):
    from engines.base import Deployment
    from engines.states import DeploymentState
    from runs.models import Workflow

    answers = iter([DeploymentState.DEPLOYING, DeploymentState.READY])
    monkeypatch.setattr(Adapter, "deploy", lambda self, spec: Deployment(state=next(answers)))
    monkeypatch.setattr(Adapter, "deployment", lambda self, spec: Deployment(state=next(answers)))
    run = hub.start()
    hub.sync()
    run = hub.seen(run)
    assert (run.state, run.reason) == (RunState.PENDING, Reason.DEPLOYING)
    Workflow.objects.update(next_check_at="2020-01-01T00:00Z")
    hub.sync()
    assert Workflow.objects.get().state == DeploymentState.READY
    assert hub.seen(run).state == RunState.SCHEDULED


def test_an_engine_whose_settings_are_wrong_says_so_and_stops_no_other(make_hub):
    hub = make_hub()
    make_engine("remote", config={"url": "nonsense"}, name="broken")
    run = hub.start()
    hub.sync()
    assert hub.seen(run).state == RunState.SCHEDULED
    broken = Engine.objects.get(name="broken")
    assert broken.health == "rejected" and "settings are wrong" in broken.health_message
