"""What bounds a tick: the time for calls, and what a look at a few runs reads."""

import pytest

from engines.inbound import hint
from runs import actions
from runs.models import RunAttempt, WorkflowRun
from runs.reconciler import handle, observe
from runs.states import RunState
from tests.adapters.remote.adapter import Adapter


class Killed(BaseException):
    """Nothing catches it, like a kill."""


def test_fault_13_a_tick_calls_for_so_long_only_and_looks_at_the_runs_all_the_same(
    make_hub, sweep_of, monkeypatch
):
    hub = make_hub()
    running = hub.start()
    sweep = sweep_of(hub)
    sweep.tick(full=True)
    hub.fake.engine.finish()
    runs = [hub.start() for _ in range(4)]
    monkeypatch.setattr("runs.reconciler.handle.SECONDS", 0.0)
    monkeypatch.setattr("runs.reconciler.handle.GROUP", 3)
    for done in range(1, 5):
        tick = sweep.tick(full=True)
        assert hub.seen(running).state == RunState.COMPLETED
        sent = RunAttempt.objects.filter(run__in=runs, sent_at__isnull=False)
        # In the order in which they came, and of the others nothing is left behind.
        assert list(sent.order_by("run").values_list("run", flat=True)) == [
            run.pk for run in runs[:done]
        ]
        assert sent.filter(accepted_at__isnull=False).count() == done
        assert not WorkflowRun.objects.filter(in_hand=True).exists()
        assert (tick.wait == 0) == (done < 4)
    assert list(hub.fake.engine.starts.values()) == [1] * 5


def test_fault_10_a_process_killed_after_its_time_was_up_starts_no_run_twice(make_hub, monkeypatch):
    hub = make_hub()
    runs = [hub.start() for _ in range(3)]

    def die(done, fence):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(handle, "SECONDS", 0.0)
        patch.setattr(handle, "write_outcomes", die)
        with pytest.raises(Killed):
            hub.sync()
    assert all(hub.seen(run).in_hand for run in runs)
    hub.sync(2)
    assert {hub.seen(run).state for run in runs} == {RunState.SCHEDULED}
    assert list(hub.fake.engine.starts.values()) == [1, 1, 1]


def test_a_look_at_one_run_reads_no_other(make_hub, sweep_of, settings, monkeypatch):
    settings.WORKFLOWHUB_ACTIVE_POLL = 60
    hub = make_hub()
    runs = [hub.start() for _ in range(5)]
    sweep = sweep_of(hub)
    sweep.tick(full=True)
    sweep.tick(full=True)
    remembered = dict(sweep.memory.seen)
    asked_for, read = [], []
    adapter_observe, versions = Adapter.observe, observe._versions

    def spy(self, cursor, watching):
        asked_for.append(list(watching))
        return adapter_observe(self, cursor, watching)

    def spy_too(rows):
        found = versions(rows)
        read.extend(found)
        return found

    monkeypatch.setattr(Adapter, "observe", spy)
    monkeypatch.setattr(observe, "_versions", spy_too)
    monkeypatch.setattr(observe, "FORGET_BEYOND", 0)
    actions.ask_for_look(hub.actor, hub.seen(runs[2]))
    tick = sweep.tick()
    assert asked_for == [[runs[2].external_id]]
    assert read == [runs[2].external_id]
    assert sweep.memory.seen == remembered
    sweep.tick()
    assert len(read) == 1  # and where nothing is asked, nothing is read
    assert tick.wait <= settings.WORKFLOWHUB_ACTIVE_POLL


def test_a_first_run_is_watched_also_between_two_full_looks(make_hub, sweep_of, settings):
    settings.WORKFLOWHUB_POLL = 60
    settings.WORKFLOWHUB_ACTIVE_POLL = 30
    hub = make_hub()
    sweep = sweep_of(hub)
    assert sweep.tick(full=True).wait == 60
    hub.start()
    assert sweep.tick().wait == 30


def test_many_hints_are_asked_for_in_pieces(make_hub, sweep_of, settings, monkeypatch):
    settings.WORKFLOWHUB_ACTIVE_POLL = 60
    monkeypatch.setattr(observe, "CHUNK", 2)
    hub = make_hub()
    runs = [hub.start() for _ in range(5)]
    sweep = sweep_of(hub)
    sweep.tick(full=True)
    hub.fake.engine.finish()
    for run in runs:
        hint(hub.engine.pk, run.external_id)
    sweep.tick()
    assert {hub.seen(run).state for run in runs} == {RunState.COMPLETED}


def test_a_hint_makes_the_run_looked_at_now(make_hub, sweep_of, settings):
    settings.WORKFLOWHUB_ACTIVE_POLL = 60
    hub = make_hub()
    run, other = hub.start(), hub.start()
    sweep = sweep_of(hub)
    sweep.tick(full=True)
    hub.fake.engine.finish()
    hint(hub.engine.pk, run.external_id)
    hint(hub.engine.pk, "nobody-knows-it")
    sweep.tick()
    assert hub.seen(run).state == RunState.COMPLETED
    assert hub.seen(other).state == RunState.SCHEDULED


def test_a_look_that_was_asked_for_is_noted(make_hub, sweep_of, settings):
    settings.WORKFLOWHUB_ACTIVE_POLL = 60
    hub = make_hub()
    run = hub.start()
    sweep = sweep_of(hub)
    sweep.tick(full=True)
    version = hub.seen(run).version
    asked = actions.ask_for_look(hub.actor, hub.seen(run))
    sweep.tick()
    run = hub.seen(run)
    assert run.observed_at >= asked and run.next_check_at is None and run.version == version
