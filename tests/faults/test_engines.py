"""What engines and networks do wrong: lost calls, lost memories, nonsense, shifting pages, deaf ears,
late news."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from engines.base import Submission
from engines.clock import database_now
from engines.models import Engine
from engines.testing.fake_http import Fault
from runs import actions
from runs.models import Counter, RunAttempt, RunEvent, WorkflowRun
from runs.reconciler import plan
from runs.reconciler.once import once
from runs.reconciler.sweep import EngineSweep
from runs.states import Cause, Reason, RetryMode, RunState, Wanted
from tests.adapters.remote.adapter import Adapter
from tests.faults.chance import chance
from tests.reconciler.conftest import Hub

MakeHub = Callable[..., Hub]
AMBIGUOUS = [
    Fault.DROP,
    Fault.LOSE_REPLY,
    Fault.ERROR,
    Fault.BUSY,
    Fault.HANG,
    Fault.HTML,
    Fault.TRUNCATED,
]


@pytest.fixture(autouse=True)
def impatient(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engines.http.RETRIES", 0)
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE = 0.01
    settings.WORKFLOWHUB_BREAKER_FAILURES = 1000
    settings.WORKFLOWHUB_LEASE = 60  # nobody renews it in these tests


# Submits


@pytest.mark.faults
@pytest.mark.parametrize("fault", AMBIGUOUS)
def test_fault_15_whatever_becomes_of_a_submit_the_run_starts_once(
    make_hub: MakeHub, fault: Fault
) -> None:
    hubs = [make_hub(submission=kind, hang=0.05, retry_after=0) for kind in "ABC"]
    runs = [(hub, hub.start()) for hub in hubs for _ in range(2)]
    for hub in hubs:
        hub.fake.inject(fault, method="POST", times=2)
    once()
    assert RunAttempt.objects.filter(sent_at__isnull=False, accepted_at=None).count() == 6
    for _ in range(4):
        hubs[0].make_due()
        once()
    for hub, run in runs:
        run = hub.seen(run)
        assert (run.state, run.failures, run.in_hand) == (RunState.SCHEDULED, 0, False)
    assert [list(hub.fake.engine.starts.values()) for hub in hubs] == [[1, 1]] * 3


def test_fault_15_a_conflict_with_a_run_that_is_not_shown_yet_is_no_refusal(
    make_hub: MakeHub,
) -> None:
    hub = make_hub(submission="A", late_accept=60.0)
    hub.fake.inject(Fault.LOSE_REPLY, method="POST")
    run = hub.start()
    for _ in range(3):
        once()
        hub.make_due()
    # It was sent again, because nobody knew it, and the engine said that it has it.
    assert hub.fake.requests["POST /runs"] > 1
    assert hub.seen(run).state == RunState.PENDING
    for known in hub.fake.engine.runs.values():
        known.visible_at = 0
    once()
    assert hub.seen(run).state == RunState.SCHEDULED
    assert list(hub.fake.engine.starts.values()) == [1]


# What they forget


@pytest.mark.faults
def test_fault_16_an_engine_that_forgot_everything_is_left_alone_until_its_memory_is_back(
    make_hub: MakeHub, settings: Any
) -> None:
    settings.WORKFLOWHUB_LOST_AFTER = 0.001
    hub = make_hub()
    runs = [hub.start() for _ in range(15)]
    once()
    hub.fake.engine.advance()
    once()
    memory = dict(hub.fake.engine.runs)
    hub.fake.engine.runs.clear()
    for _ in range(6):
        once()
        assert Engine.objects.get().breaker_until is not None
        Engine.objects.update(breaker_until="2020-01-01T00:00Z")
    assert {hub.seen(run).state for run in runs} == {RunState.RUNNING}
    assert set(WorkflowRun.objects.values_list("missing_count", flat=True)) == {0}
    hub.fake.engine.runs.update(memory)
    hub.fake.engine.finish()
    once()
    assert {hub.seen(run).state for run in runs} == {RunState.COMPLETED}


@pytest.mark.faults
def test_fault_16_a_few_runs_that_are_gone_are_lost_one_by_one(
    make_hub: MakeHub, settings: Any
) -> None:
    settings.WORKFLOWHUB_LOST_AFTER = 60
    hub = make_hub()
    gone, *others = [hub.start() for _ in range(5)]
    once()
    hub.fake.engine.forget(hub.seen(gone).external_id)
    sightings = []
    for seconds in (0, 10, 21, 30, 41, 50, 61):
        run = hub.seen(gone)
        if run.missing_since:
            WorkflowRun.objects.filter(pk=run.pk).update(
                missing_since=database_now() - timedelta(seconds=seconds)
            )
        once()
        sightings.append(hub.seen(gone).missing_count)
    # Three sightings, spread over the whole while; then it is lost.
    assert sightings[:6] == [1, 1, 2, 2, 3, 3]
    run = hub.seen(gone)
    assert (run.state, run.reason) == (RunState.FAILED, Reason.LOST)
    assert {hub.seen(other).missing_count for other in others} == {0}


# Nonsense


@pytest.mark.parametrize("fault", [Fault.HTML, Fault.TRUNCATED])
def test_fault_17_nonsense_is_counted_as_an_error_of_the_engine(hub: Hub, fault: Fault) -> None:
    run = hub.start()
    once()
    before = hub.seen(run)
    hub.fake.inject(fault, method="GET", path="/runs?")
    once()
    after = hub.seen(run)
    assert (after.state, after.version) == (before.state, before.version)
    counted = Counter.objects.get(
        name="executor_errors_total", labels='[["error_type", "EngineUnavailable"]]'
    )
    assert counted.value == 1
    once()
    assert Engine.objects.get().failures == 0


# Pages


def paged(make_hub: MakeHub, monkeypatch: pytest.MonkeyPatch) -> tuple[Hub, list[WorkflowRun]]:
    monkeypatch.setattr(Adapter, "page_size", 5)
    hub = make_hub(incremental=True)
    return hub, [hub.start([{"name": "a"}]) for _ in range(25)]


@pytest.mark.faults
def test_fault_20_a_list_that_shifts_while_it_is_read_hides_nothing(
    make_hub: MakeHub,
    sweep_of: Callable[[Hub], EngineSweep],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.WORKFLOWHUB_POLL = 60  # after the first look, only what changed is asked for
    hub, runs = paged(make_hub, monkeypatch)
    sweep = sweep_of(hub)
    sweep.tick()
    random, answer = chance("shifting"), hub.fake.answer

    def shifting(method: str, target: str, body: bytes) -> Any:
        told = answer(method, target, body)
        if "changed_since" in target:
            for run in random.sample(runs, 3):  # they move to the end of the list
                hub.fake.engine.advance(run.external_id)
        return told

    monkeypatch.setattr(hub.fake, "answer", shifting)
    hub.fake.engine.advance()
    sweep.tick()
    monkeypatch.setattr(hub.fake, "answer", answer)
    sweep.tick()
    at_engine = {run.id: run.state for run in hub.fake.engine.runs.values()}
    assert {hub.seen(run).raw_state for run in runs} <= {"active", "done"}
    assert {run.external_id: hub.seen(run).raw_state for run in runs} == at_engine


@pytest.mark.faults
def test_fault_20_when_page_three_of_five_fails_the_watermark_stays(
    make_hub: MakeHub,
    sweep_of: Callable[[Hub], EngineSweep],
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings.WORKFLOWHUB_POLL = 60  # after the first look, only what changed is asked for
    hub, runs = paged(make_hub, monkeypatch)
    sweep = sweep_of(hub)
    sweep.tick()
    sweep.tick()
    mark = sweep.memory.cursor
    assert mark
    hub.fake.engine.finish()
    hub.fake.inject(Fault.ERROR, method="GET", path="changed_since", after=2)
    asked = hub.fake.requests["GET /runs"]
    sweep.tick()
    assert hub.fake.requests["GET /runs"] - asked == 3
    assert sweep.memory.cursor == mark
    Engine.objects.update(cursor=mark)
    sweep.tick()
    assert sweep.memory.cursor != mark
    assert {hub.seen(run).state for run in runs} == {RunState.COMPLETED}


# Cancels


def test_fault_22_a_cancel_is_sent_again_with_growing_gaps_and_is_stuck_after_three_minutes() -> (
    None
):
    asked = datetime(2026, 5, 4, tzinfo=UTC)
    now, sent, stuck = asked, [], []
    seen = plan.Seen(
        state=RunState.RUNNING,
        engine=plan.EngineSeen(submission=Submission.DEDUPLICATES),
        sent_at=asked,
        accepted_at=asked,
        cancel_requested_at=asked,
    )
    while (now - asked).total_seconds() < 600:
        (step, *_) = plan.plan(Wanted.CANCEL, seen, now, plan.Limits())
        if isinstance(step, plan.Cancel):
            sent.append((now - asked).total_seconds())
            stuck.append(step.stuck)
            seen = replace(seen, cancel_sent_at=now)
            now = step.again
        else:
            assert isinstance(step, plan.Wait)
            now = step.until
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert gaps == sorted(gaps) and (gaps[0], gaps[-1]) == (5, 60)
    assert len(sent) < 20
    assert stuck == [at >= 180 for at in sent]


# Late news


def test_fault_23_the_late_success_of_an_attempt_before_a_retry_changes_nothing(
    make_hub: MakeHub,
) -> None:
    hub = make_hub(incremental=True)
    run = hub.start()
    once()
    hub.fake.engine.advance()
    once()
    first = hub.seen(run)
    # A person gave it up and started it anew; the engine goes on with the first attempt.
    actions.mark_run(hub.actor, first, RunState.FAILED, note="It hangs.")
    actions.retry_run(hub.actor, hub.seen(run), mode=RetryMode.ALL)
    once()
    before = hub.seen(run)
    assert (before.attempt, before.state) == (2, RunState.SCHEDULED)
    hub.fake.engine.finish(first.external_id)
    once()
    after = hub.seen(run)
    assert (after.state, after.version, after.last_seq) == (
        before.state,
        before.version,
        before.last_seq,
    )
    assert {task.attempt for task in run.task_runs.all()} == {2}
    hub.fake.engine.fail(before.external_id)
    once()
    assert hub.seen(run).state == RunState.FAILED
    assert [row.state for row in RunAttempt.objects.filter(run=run)] == ["FAILED", "FAILED"]
    ends = RunEvent.objects.filter(run=run, task_run=None, new=RunState.FAILED)
    assert list(ends.values_list("attempt", "cause")) == [(1, Cause.MARK), (2, Cause.OBSERVE)]
