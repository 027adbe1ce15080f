"""An engine behind HTTP and the loop over it."""

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from engines.models import Engine
from engines.testing.fake_http import FakeHttpEngine
from runs import actions
from runs.models import Lease, RunAttempt, WorkflowRun
from runs.policy import Actor
from runs.reconciler.hold import Hold, take
from runs.reconciler.loop import Loop
from runs.reconciler.once import lease_name, once
from runs.reconciler.sweep import EngineSweep
from tests.factories import make_engine
from tests.reconciler.family import inner, local, outer

__all__ = ["inner", "local", "outer"]  # fixtures of tests about runs inside runs

TASKS = [{"name": "a"}, {"name": "b", "needs": ["a"]}]


class Hub:
    """One fake engine and what a test does with it."""

    def __init__(self, fake: FakeHttpEngine, engine: Engine) -> None:
        self.fake = fake
        self.engine = engine
        self.actor = Actor()

    def post(self, tasks: list[dict[str, Any]] | None = None, title: str = "flow") -> Any:
        definition = {"title": title, "tasks": tasks or TASKS}
        return actions.post_workflow(
            self.actor, definition=json.dumps(definition), engine=self.engine
        )[0]

    def start(self, tasks: list[dict[str, Any]] | None = None, **options: Any) -> WorkflowRun:
        return actions.start_run(self.actor, self.post(tasks), **options)

    def sync(self, times: int = 1) -> None:
        for _ in range(times):
            once()

    def make_due(self) -> None:
        """Nobody waits for a back-off in a test."""
        WorkflowRun.objects.filter(next_check_at__isnull=False).update(
            next_check_at="2020-01-01T00:00Z"
        )

    def settle(self, run: WorkflowRun) -> None:
        """So long after its call that a lost one can't arrive any more."""
        RunAttempt.objects.filter(run=run, sent_at__isnull=False).update(
            sent_at="2020-01-01T00:00Z"
        )
        self.make_due()

    def seen(self, run: WorkflowRun) -> WorkflowRun:
        return WorkflowRun.objects.get(pk=run.pk)

    def run_to_end(self, run: WorkflowRun) -> WorkflowRun:
        self.sync()
        self.fake.engine.finish()
        self.sync()
        return self.seen(run)


@pytest.fixture
def make_hub(db: None) -> Iterator[Callable[..., Hub]]:
    fakes: list[FakeHttpEngine] = []

    def make(**options: Any) -> Hub:
        config = {
            name: options.pop(name) for name in ("in_place", "incremental") if name in options
        }
        config["submission"] = options.get("submission", "A")
        fake = FakeHttpEngine(**options)
        fake.start()
        fakes.append(fake)
        return Hub(fake, make_engine("remote", config={"url": fake.url, **config}))

    yield make
    for fake in fakes:
        fake.stop()


@pytest.fixture
def hub(make_hub: Callable[..., Hub]) -> Hub:
    return make_hub()


@pytest.fixture
def sweep_of() -> Iterator[Callable[[Hub], EngineSweep]]:
    holds: list[Hold] = []

    def make(hub: Hub) -> EngineSweep:
        hold = take(lease_name(hub.engine.pk), uuid.uuid4())
        assert hold is not None
        holds.append(hold)
        return EngineSweep(hub.engine.pk, hold)

    yield make
    for hold in holds:
        hold.release()


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> float:
    """How long it took until the condition held."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if condition():
            return time.monotonic() - began
        time.sleep(0.005)
    raise AssertionError("It did not come true in time.")


def leases_held() -> set[str]:
    return set(Lease.objects.exclude(expires_at=None).values_list("name", flat=True))


@pytest.fixture
def start_loop(transactional_db: None) -> Iterator[Callable[..., Any]]:
    """Starts a loop in a thread: (the loop, what stops it, the thread)."""
    running = []

    def start(engine: Engine | None = None) -> Any:
        stop = threading.Event()
        loop = Loop(engine)
        thread = threading.Thread(target=loop.watch, args=(stop,))
        thread.start()
        running.append((stop, thread))
        return loop, stop, thread

    yield start
    for stop, thread in running:
        stop.set()
        thread.join(20)
        assert not thread.is_alive()
