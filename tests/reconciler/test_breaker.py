"""An engine that fails is left alone for a while, then asked once; one that names a time is asked then."""

from engines.models import Engine
from engines.states import HealthState
from engines.testing.fake_http import Fault
from runs.states import RunState


def test_fault_21_the_breaker_opens_after_failures_in_a_row_and_one_probe_closes_it(
    hub, settings, monkeypatch
):
    monkeypatch.setattr("engines.http.RETRIES", 0)
    settings.WORKFLOWHUB_BREAKER_FAILURES = 3
    settings.WORKFLOWHUB_BREAKER_PAUSE = 60
    run = hub.start()
    hub.fake.down = True
    for _ in range(4):
        hub.sync()
        hub.make_due()
    engine = Engine.objects.get()
    assert engine.breaker_until is not None and engine.health == HealthState.UNHEALTHY
    hub.fake.down = False
    asked = hub.fake.requests.total()
    hub.sync()
    assert hub.fake.requests.total() == asked, "an open breaker lets nothing through"
    Engine.objects.update(breaker_until="2020-01-01T00:00Z")
    hub.make_due()
    hub.sync()
    engine.refresh_from_db()
    assert (engine.failures, engine.breaker_until) == (0, None)
    assert hub.seen(run).state == RunState.SCHEDULED


def test_fault_21_a_half_open_breaker_asks_once_and_closes_again_when_it_fails(
    hub, settings, monkeypatch
):
    monkeypatch.setattr("engines.http.RETRIES", 0)
    hub.start()
    hub.fake.down = True
    Engine.objects.update(failures=9, breaker_until="2020-01-01T00:00Z")
    hub.sync()
    assert hub.fake.requests.total() == 1
    assert Engine.objects.get().failures == 10


def test_fault_15_21_retry_after_is_obeyed(hub):
    hub.fake.inject(Fault.BUSY, method="POST")
    hub.fake.retry_after = 40
    run = hub.start()
    hub.sync()
    engine = Engine.objects.get()
    wait = (engine.breaker_until - engine.checked_at).total_seconds()
    assert 35 < wait < 45
    assert hub.seen(run).next_check_at is not None


def test_fault_15_21_a_long_retry_after_is_obeyed_though_the_run_itself_is_due_before(hub):
    hub.fake.inject(Fault.BUSY, method="POST")
    hub.fake.retry_after = 3000
    run = hub.start()
    hub.sync()
    engine = Engine.objects.get()
    assert 2900 < (engine.breaker_until - engine.checked_at).total_seconds() < 3100
    assert (hub.seen(run).next_check_at - engine.checked_at).total_seconds() < 310
    asked = hub.fake.requests.total()
    hub.make_due()
    hub.sync()
    assert hub.fake.requests.total() == asked
