"""Three loops and a worker are killed and paused past their leases every other second, while engines
lose four POSTs in ten and one GET in ten: no run is started twice, none is lost, all come to their end.
"""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.core.management import call_command
from django.db.models import Count

from engines.dag.models import Execution
from engines.testing.fake_http import Fault
from runs import actions
from runs.models import RunAttempt, RunEvent, WorkflowRun
from runs.policy import Actor
from runs.states import FINAL_RUN_STATES, RunState
from tests.factories import make_engine
from tests.faults.chance import chance, scaled, seed
from tests.faults.crowd import make_crowd
from tests.faults.nursery import Child, Nursery
from tests.reconciler.conftest import Hub

LOST_POSTS = {
    Fault.DROP: 0.13,
    Fault.LOSE_REPLY: 0.15,
    Fault.ERROR: 0.04,
    Fault.TRUNCATED: 0.04,
    Fault.HANG: 0.02,
}
LOST_GETS = {Fault.DROP: 0.06, Fault.ERROR: 0.02, Fault.HTML: 0.02}
LEASE = 1.0
PAUSE = (1.3 * LEASE, 2.5 * LEASE)
SHORT = {
    "WORKFLOWHUB_LEASE": LEASE,
    "WORKFLOWHUB_POLL": 0.5,
    "WORKFLOWHUB_ACTIVE_POLL": 0.7,
    "WORKFLOWHUB_BREAKER_PAUSE": 0.2,
    # Longer than any pause, and than the longest late accept.
    "WORKFLOWHUB_SUBMIT_QUARANTINE": 4.0,
    "WORKFLOWHUB_ENGINE_DEADLINE": 4.0,
}
CALM_AFTER = 40.0  # seconds of trouble for 1,000 runs at least, and until each was sent once
MOST = 900.0


class Chaos:
    """What is killed and paused, and started again."""

    def __init__(self, nursery: Nursery, random: random.Random) -> None:
        self.nursery = nursery
        self.random = random
        self.done: Counter[str] = Counter()
        self.loops = [self._loop() for _ in range(3)]
        self.worker = self._worker()
        self._asleep: list[tuple[float, Child]] = []
        self._next = time.monotonic() + 2

    def _loop(self) -> Child:
        # It is not the runs that kill here.
        return self.nursery.fork("watch", settings=SHORT, changed=["strikes:1000000"])

    def _worker(self) -> Child:
        return self.nursery.fork("worker", settings=SHORT, drain=False)

    def go_on(self) -> None:
        """Does what is due of it."""
        now = time.monotonic()
        for due, child in list(self._asleep):
            if now >= due:
                child.send(signal.SIGCONT)
                self._asleep.remove((due, child))
        if now >= self._next:
            self._next = now + self.random.uniform(1.0, 2.0)
            self._strike(now)

    def _strike(self, now: float) -> None:
        draw, at = self.random.random(), self.random.randrange(len(self.loops))
        if draw < 0.15:
            self.done["worker killed"] += 1
            self.worker.kill()
            self.worker = self._worker()
        elif draw < 0.55:
            self.done["loop killed"] += 1
            self._asleep = [one for one in self._asleep if one[1] != self.loops[at]]
            self.loops[at].kill()
            self.loops[at] = self._loop()
        elif not any(child == self.loops[at] for _, child in self._asleep):
            self.done["loop paused"] += 1
            self.loops[at].send(signal.SIGSTOP)
            self._asleep.append((now + self.random.uniform(*PAUSE), self.loops[at]))

    def end(self) -> None:
        """Who is asleep wakes up, and nothing is struck any more."""
        for _, child in self._asleep:
            child.send(signal.SIGCONT)
        self._asleep.clear()


def active() -> int:
    return WorkflowRun.objects.active().count()


def unsent() -> bool:
    return RunAttempt.objects.filter(sent_at=None).exists()


@pytest.mark.long
@pytest.mark.faults
@pytest.mark.django_db(transaction=True)
def test_fault_10_11_15_in_all_this_no_run_of_four_thousand_is_started_twice_and_none_is_lost(
    nursery: Nursery,
    make_hub: Callable[..., Hub],
    record_property: Callable[[str, object], None],
) -> None:
    number = scaled(1000)
    options: dict[str, Any] = {"tick": 0.3, "hang": 0.1}
    hubs = {kind: make_hub(submission=kind, seed=seed(), **options) for kind in "ABC"}
    hubs["C"].fake.engine.late_accept = 0.3
    for hub in hubs.values():
        make_crowd(hub.start([{"name": "a"}]), number - 1)
        hub.fake.rates = {"POST": LOST_POSTS, "GET": LOST_GETS}
    local = make_engine("local", name="local")
    steps = [{"name": "a", "handler": "sleep", "with": {"seconds": 0}}]
    flow, _ = actions.post_workflow(Actor(), definition={"title": "d", "steps": steps})
    make_crowd(actions.start_run(Actor(), flow), number - 1)
    assert active() == 4 * number
    began = time.monotonic()
    chaos = Chaos(nursery, chance("chaos"))
    calm, late = 0.0, 0
    while left := active():
        elapsed = time.monotonic() - began
        assert elapsed < MOST * max(1, number / 1000), f"{left} runs are not at their end"
        if not calm and elapsed > CALM_AFTER * max(0.5, number / 1000) and not unsent():
            calm, late = elapsed, left
            chaos.end()
            for hub in hubs.values():
                hub.fake.clear()
        if not calm:
            chaos.go_on()
        time.sleep(0.1)
    took = time.monotonic() - began
    chaos.end()
    faults = sum(chaos.done.values())
    record_property(
        "figure",
        f"Chaos: {4 * number:,} runs in {took:.0f} s, {late} of them after the trouble; "
        f"{', '.join(f'{count} x {what}' for what, count in sorted(chaos.done.items()))}",
    )
    assert faults >= 5
    ended = WorkflowRun.objects.values_list("state").annotate(Count("pk"))
    assert dict(ended) == {RunState.COMPLETED: 4 * number}
    for hub in hubs.values():
        starts = hub.fake.engine.starts
        assert (len(starts), set(starts.values())) == (number, {1}), starts.most_common(3)
    assert Execution.objects.filter(engine_id=local.pk).count() == number
    ends = RunEvent.objects.filter(task_run=None, new__in=FINAL_RUN_STATES)
    assert ends.count() == ends.values("run").distinct().count() == 4 * number
    assert not RunAttempt.objects.filter(accepted_at=None).exists()
    for loop in chaos.loops:
        loop.send(signal.SIGTERM)
    for loop in chaos.loops:
        assert loop.wait() == 0
    chaos.worker.kill()
    call_command("fsck", verbosity=0)
