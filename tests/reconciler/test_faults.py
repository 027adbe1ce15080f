"""What an engine and a network do wrong, and that every run still starts exactly once."""

import time

import pytest

from engines.models import Engine
from engines.secrets import MASK
from engines.states import HealthState
from engines.testing.fake_http import Fault
from runs import actions
from runs.models import RunAttempt, WorkflowRun
from runs.reconciler import handle, plan
from runs.states import Flag, Reason, RunState
from tests.adapters.remote.adapter import Adapter
from tests.faults.chance import scaled, seed

FAULTS = {Fault.DROP: 0.2, Fault.LOSE_REPLY: 0.15, Fault.ERROR: 0.05}


@pytest.fixture
def patient(settings, monkeypatch):
    """No waiting: a breaker that never opens, no back-off, no retries in the door."""
    settings.WORKFLOWHUB_BREAKER_FAILURES = 10**6
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE = 0.01
    settings.WORKFLOWHUB_ENGINE_DEADLINE = 5
    monkeypatch.setattr("runs.reconciler.outcomes.QUARANTINE_AFTER", 10**6)
    monkeypatch.setattr("engines.http.RETRIES", 0)


@pytest.mark.parametrize("submission", ["A", "B", "C"])
@pytest.mark.faults
def test_fault_15_many_runs_start_once_each_whatever_becomes_of_the_posts(
    make_hub, patient, submission, monkeypatch
):
    # A fault of this fake is over when its answer would have come: nothing is still on its way.
    monkeypatch.setattr("runs.reconciler.plan.settle_seconds", lambda *_, **__: 0.0)
    number = scaled(50)
    hub = make_hub(submission=submission, seed=seed())
    workflow = hub.post([{"name": "a"}])
    runs = [actions.start_run(hub.actor, workflow) for _ in range(number)]
    hub.fake.rates = {"POST": FAULTS, "GET": {Fault.DROP: 0.1}}
    for _ in range(60):
        hub.sync()
        hub.make_due()
        if not WorkflowRun.objects.filter(state=RunState.PENDING).exists():
            break
    hub.fake.clear()
    hub.sync()
    hub.fake.engine.finish()
    hub.sync()
    assert WorkflowRun.objects.filter(state=RunState.COMPLETED).count() == number
    assert set(hub.fake.engine.starts.values()) == {1}
    assert len(hub.fake.engine.starts) == len(runs)


def test_fault_15_a_run_found_by_its_tag_is_not_sent_again_while_a_late_accept_is_possible(
    make_hub, settings
):
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE = 60
    hub = make_hub(submission="C", late_accept=1.0)
    hub.fake.inject(Fault.LOSE_REPLY, method="POST")
    run = hub.start()
    for _ in range(3):
        hub.sync()
        hub.make_due()
    assert sum(hub.fake.engine.starts.values()) == 1
    assert hub.seen(run).state == RunState.PENDING
    for fake_run in hub.fake.engine.runs.values():
        fake_run.visible_at = 0
    hub.sync()
    assert hub.seen(run).state == RunState.SCHEDULED
    assert sum(hub.fake.engine.starts.values()) == 1


def test_fault_15_a_run_of_which_nothing_can_be_looked_up_waits_for_a_person(make_hub, monkeypatch):
    hub = make_hub(submission="C")
    hub.fake.inject(Fault.LOSE_REPLY, method="POST")
    run = hub.start()
    hub.sync()
    from engines.base import EngineRejected
    from tests.adapters.remote.adapter import Adapter

    def find(self, external_id):
        raise EngineRejected("There is no search.")

    monkeypatch.setattr(Adapter, "find", find)
    hub.make_due()
    hub.sync()
    run = hub.seen(run)
    assert Flag.SUBMIT_UNKNOWN in run.flags and run.next_check_at is None
    assert sum(hub.fake.engine.starts.values()) == 1


def test_fault_15_a_refused_run_fails_with_what_the_engine_said(hub):
    hub.fake.inject(Fault.NOT_FOUND, method="POST")
    run = hub.start()
    hub.sync()
    run = hub.seen(run)
    assert (run.state, run.reason) == (RunState.FAILED, Reason.REJECTED)
    assert "Not here" in run.error
    assert not run.in_hand


def test_runs_wait_while_the_engine_refuses_our_credentials(make_hub):
    hub = make_hub()
    hub.fake.token = "changed"
    run = hub.start()
    hub.sync()
    hub.make_due()
    hub.sync()
    run = hub.seen(run)
    assert run.state == RunState.PENDING
    assert Engine.objects.get().health == HealthState.REJECTED
    hub.fake.token = ""
    Engine.objects.update(failures=0, breaker_until=None)
    hub.make_due()
    hub.sync()
    assert hub.seen(run).state == RunState.SCHEDULED


def test_fault_16_a_run_that_its_engine_forgot_is_lost_after_three_sightings_over_a_while(
    hub, settings
):
    settings.WORKFLOWHUB_LOST_AFTER = 60
    run, other = hub.start(), hub.start()
    hub.sync()
    hub.fake.engine.forget(hub.seen(run).external_id)
    import time

    hub.sync()
    assert hub.seen(run).missing_count == 1
    hub.sync()
    assert hub.seen(run).missing_count == 1, "sightings in quick succession count once"
    settings.WORKFLOWHUB_LOST_AFTER = 0.4
    until = time.monotonic() + 30
    while not hub.seen(run).final and time.monotonic() < until:
        hub.sync()
        time.sleep(0.1)
    run = hub.seen(run)
    assert (run.state, run.reason) == (RunState.FAILED, Reason.LOST)
    assert hub.seen(other).missing_count == 0


def test_fault_16_a_run_that_comes_back_is_not_lost(hub, settings):
    settings.WORKFLOWHUB_LOST_AFTER = 60
    run = hub.start()
    hub.sync()
    hub.fake.inject(Fault.NOT_FOUND)
    known = dict(hub.fake.engine.runs)
    hub.fake.clear()
    hub.fake.engine.runs.clear()
    hub.sync()
    assert hub.seen(run).missing_count == 1
    hub.fake.engine.runs.update(known)
    hub.fake.engine.advance()
    hub.sync()
    run = hub.seen(run)
    assert (run.missing_count, run.state) == (0, RunState.RUNNING)


def test_fault_16_when_very_many_runs_vanish_at_once_the_engine_is_left_alone(hub):
    runs = [hub.start() for _ in range(12)]
    hub.sync()
    hub.fake.engine.runs.clear()
    hub.sync()
    assert Engine.objects.get().breaker_until is not None
    assert set(WorkflowRun.objects.values_list("missing_count", flat=True)) == {0}
    assert len(runs) == WorkflowRun.objects.filter(state=RunState.SCHEDULED).count()


@pytest.mark.parametrize("fault", [Fault.HTML, Fault.TRUNCATED, Fault.ERROR, Fault.NOT_FOUND])
def test_fault_17_nonsense_from_an_engine_changes_no_state(hub, fault, monkeypatch):
    monkeypatch.setattr("engines.http.RETRIES", 0)
    run = hub.start()
    hub.sync()
    before = hub.seen(run)
    hub.fake.engine.finish()
    hub.fake.inject(fault, method="GET", path="/runs", times=1)
    hub.sync()
    after = hub.seen(run)
    assert (after.state, after.version) == (before.state, before.version)
    hub.sync()
    assert hub.seen(run).state == RunState.COMPLETED


def test_fault_17_an_unknown_word_is_shown_and_changes_nothing(hub):
    run = hub.start()
    hub.sync()
    hub.fake.engine.advance()
    hub.sync()
    hub.fake.engine.misspell(hub.seen(run).external_id)
    hub.sync()
    run = hub.seen(run)
    assert (run.state, run.raw_state) == (RunState.RUNNING, "hibernating")


@pytest.mark.parametrize("offset", [-7200, 7200])
def test_fault_19_our_own_times_do_not_follow_a_wrong_clock(make_hub, offset):
    hub = make_hub(clock_offset=offset)
    run = hub.run_to_end(hub.start())
    assert run.state == RunState.COMPLETED
    assert run.created_at <= run.scheduled_at <= run.started_at <= run.ended_at
    for task in run.task_runs.all():
        assert run.created_at <= task.started_at <= task.ended_at <= run.ended_at
    assert abs((run.engine_started_at - run.started_at).total_seconds()) > 7000


def test_fault_20_a_page_that_fails_half_way_moves_no_watermark(make_hub, monkeypatch):
    monkeypatch.setattr("engines.http.RETRIES", 0)
    monkeypatch.setattr("tests.adapters.remote.adapter.Adapter.page_size", 5)
    hub = make_hub(incremental=True)
    for _ in range(20):
        hub.start([{"name": "a"}])
    hub.sync()
    hub.fake.engine.advance()
    hub.fake.inject(Fault.ERROR, method="GET", path="changed_since", after=1)
    hub.sync()
    hub.sync()
    assert WorkflowRun.objects.filter(state=RunState.RUNNING).count() == 20


def test_fault_22_a_cancel_that_the_engine_ignores_is_sent_again_and_shown_as_stuck(
    hub, settings, monkeypatch
):
    settings.WORKFLOWHUB_STUCK_AFTER = 0.01
    monkeypatch.setattr(
        "engines.testing.fake_engine.FakeEngine.cancel", lambda self, id: self.get(id)
    )
    run = hub.start()
    hub.sync()
    actions.cancel_run(hub.actor, hub.seen(run))
    hub.sync()
    first = hub.seen(run)
    assert first.cancel_sent_at and first.next_check_at > first.cancel_sent_at
    WorkflowRun.objects.update(cancel_sent_at="2020-01-01T00:00Z")
    hub.make_due()
    hub.sync()
    run = hub.seen(run)
    assert run.cancel_sent_at > first.cancel_sent_at
    assert Flag.STUCK in run.flags and run.state == RunState.SCHEDULED
    assert hub.fake.requests["POST /runs/*/cancel"] == 2


def test_fault_15_22_a_cancel_whose_submit_got_lost_looks_first(make_hub, monkeypatch):
    monkeypatch.setattr("engines.http.RETRIES", 0)
    hub = make_hub()
    hub.fake.inject(Fault.LOSE_REPLY, method="POST")
    run = hub.start()
    hub.sync()
    actions.cancel_run(hub.actor, hub.seen(run))
    hub.make_due()
    hub.sync(2)
    assert hub.seen(run).state == RunState.CANCELED
    assert hub.fake.engine.runs[run.external_id].state == "stopped"


def test_fault_15_an_answer_with_a_foreign_run_is_a_conflict(hub, monkeypatch):
    from dataclasses import replace

    from tests.adapters.remote.adapter import Adapter

    submit = Adapter.submit
    monkeypatch.setattr(
        Adapter, "submit", lambda self, run: replace(submit(self, run), external_id="not-ours")
    )
    run = hub.start()
    hub.sync()
    run = hub.seen(run)
    assert (run.state, run.reason) == (RunState.FAILED, Reason.CONFLICT)


def test_fault_12_an_adapter_that_breaks_is_shown_and_stops_no_other(make_hub, monkeypatch):
    broken, sound = make_hub(), make_hub()
    runs = [broken.start(), sound.start()]
    sound.sync()
    observe = Adapter.observe

    def raises(self, cursor, watching):
        if self.engine_id == broken.engine.pk:
            raise KeyError("surprise")
        return observe(self, cursor, watching)

    monkeypatch.setattr(Adapter, "observe", raises)
    sound.fake.engine.finish()
    sound.sync()
    assert [hub.seen(run).state for hub, run in zip((broken, sound), runs, strict=True)] == [
        RunState.SCHEDULED,
        RunState.COMPLETED,
    ]
    engine = Engine.objects.get(pk=broken.engine.pk)
    assert engine.health == HealthState.UNHEALTHY and "surprise" in engine.health_message
    assert engine.failures == 1


@pytest.mark.parametrize("call", ["observe", "submit"])
def test_an_adapter_that_quotes_a_secret_as_it_breaks_leaves_it_nowhere(hub, call, monkeypatch):
    hub.engine.secrets = {"token": "s3cr3t-canary"}
    hub.engine.save()

    def raises(self, *given):
        raise ValueError(f"can't use {self.config['token']}")

    monkeypatch.setattr(Adapter, call, raises)
    run = hub.start()
    hub.sync(2)
    run, engine = hub.seen(run), Engine.objects.get(pk=hub.engine.pk)
    told = run.last_error if call == "submit" else engine.health_message
    assert f"ValueError: can't use {MASK}" in told
    assert "s3cr3t" not in f"{vars(run)} {vars(engine)}"


@pytest.mark.parametrize("submission", ["A", "C"])
def test_fault_10_a_call_that_its_intent_waited_for_too_long_is_not_made(
    make_hub, settings, monkeypatch, submission
):
    """The process was held up in between; else the call might be taken for lost too soon."""
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE = 0.01
    hub = make_hub(submission=submission)
    run = hub.start()
    with monkeypatch.context() as held_up:
        held_up.setattr("runs.reconciler.handle.is_late", lambda committed: True)
        hub.sync(2)
    assert hub.fake.requests["POST /runs"] == 0
    attempt = RunAttempt.objects.get(run=run)
    assert (attempt.sent_at, hub.seen(run).in_hand) == (None, False)
    hub.fake.inject(Fault.DROP, method="POST")
    hub.make_due()
    hub.sync()
    sent_at = RunAttempt.objects.get(run=run).sent_at
    assert sent_at is not None
    time.sleep(0.05)
    with monkeypatch.context() as held_up:
        held_up.setattr("runs.reconciler.handle.is_late", lambda committed: True)
        hub.make_due()
        hub.sync()
    assert RunAttempt.objects.get(run=run).sent_at == sent_at, "nor is it sent again"
    hub.make_due()
    hub.sync()
    assert hub.run_to_end(run).state == RunState.COMPLETED
    assert set(hub.fake.engine.starts.values()) == {1}


def test_an_intent_is_late_when_ten_seconds_have_gone_by(monkeypatch):
    now = time.monotonic()
    monkeypatch.setattr(handle.time, "monotonic", lambda: now)
    assert not handle.is_late(now - plan.CALL_WITHIN)
    assert handle.is_late(now - plan.CALL_WITHIN - 0.1)
