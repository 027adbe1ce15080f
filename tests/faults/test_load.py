"""A hundred thousand runs are due at once: each tick does its part, and no engine waits for another."""

import time
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.db.models import Q
from django.test.utils import CaptureQueriesContext

from runs.models import RunAttempt, WorkflowRun
from runs.reconciler.handle import BATCH, SECONDS
from runs.reconciler.sweep import EngineSweep
from runs.states import RunState
from tests.faults.chance import scaled
from tests.faults.crowd import make_crowd
from tests.reconciler.conftest import Hub, wait_for

MakeHub = Callable[..., Hub]


def sent(hub: Hub) -> int:
    return RunAttempt.objects.filter(run__engine=hub.engine, sent_at__isnull=False).count()


@pytest.mark.long
@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
def test_fault_13_with_a_hundred_thousand_due_runs_a_tick_is_short_and_no_engine_starves(
    make_hub: MakeHub,
    transactional_db: None,
    sweep_of: Callable[[Hub], EngineSweep],
    start_loop: Callable[..., Any],
    settings: Any,
    record_property: Callable[[str, object], None],
) -> None:
    settings.WORKFLOWHUB_LEASE = 30
    crowded, other = make_hub(), make_hub()
    number = scaled(100_000, least=10_000)
    make_crowd(crowded.start([{"name": "a"}]), number)
    assert WorkflowRun.objects.filter(next_check_at__isnull=False).count() == number + 1
    sweep = sweep_of(crowded)
    sweep.tick()
    ticks, work = [], []
    for _ in range(3):
        sweep.hold.renew()
        before = sent(crowded)
        began, worked = time.monotonic(), time.thread_time()
        with CaptureQueriesContext(connection) as caught:
            tick = sweep.tick()
        ticks.append(time.monotonic() - began)
        work.append(time.thread_time() - worked)
        called = sent(crowded) - before
        assert 0 < called <= tick.handled <= BATCH
        # What a tick asks of the database follows from what it does, not from the crowd.
        assert len(caught) < 100 + 5 * called
        assert tick.wait == 0, "the rest is due"
    # In the order in which they came.
    by_age = RunAttempt.objects.order_by("run").values_list("run", flat=True)
    sent_runs = list(by_age.filter(sent_at__isnull=False))
    assert sent_runs == list(by_age[: len(sent_runs)])
    record_property(
        "figure", f"Tick with {number:,} due runs: {', '.join(f'{t:.2f}' for t in ticks)} s"
    )
    # Measured in this thread's own time, whatever else the machine does.
    assert max(work) < SECONDS + 1.0
    sweep.hold.release()
    start_loop()
    few = [other.start([{"name": "a"}]) for _ in range(10)]
    late = Q(pk__in=[run.pk for run in few]) & ~Q(state=RunState.SCHEDULED)
    lag = wait_for(lambda: not WorkflowRun.objects.filter(late).exists(), 10)
    record_property("figure", f"Ten runs at another engine meanwhile: {lag:.2f} s")
    assert sent(crowded) < number, "there is still a crowd"
