"""SIGTERM with work in flight: it is finished or handed back, and others go on with it at once."""

import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from engines.dag.models import Step, StepTry, Worker
from engines.dag.outcome import Stop
from engines.states import RunState, TaskState
from runs import actions
from runs.models import Lease, WorkflowRun
from runs.policy import Actor
from tests.e2e.hubs import Answer, ask, up
from tests.e2e.processes import eventually
from tests.engines.dag.workers import WorkerProcess
from tests.factories import make_engine, make_run, make_token
from tests.faults.chains import start
from tests.faults.nursery import Nursery

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

DRAIN = 25.0  # seconds
AFTER_SIGTERM, AFTER_KILL = 2.0, 10.0  # seconds until others go on
GRACE = 0.5


def sleep(name: str, seconds: float, *needs: str) -> dict[str, Any]:
    return {"name": name, "handler": "sleep", "needs": list(needs), "with": {"seconds": seconds}}


class Request(threading.Thread):
    """A request that waits for an answer meanwhile."""

    def __init__(self, url: str, path: str, token: str) -> None:
        super().__init__()
        self.answer: Answer | None = None
        self._ask = lambda: ask(url, path, authorization=f"Bearer {token}")

    def run(self) -> None:
        self.answer = self._ask()


def test_fault_34_requests_in_flight_are_answered_before_the_web_process_ends(
    database_url: str, tmp_path: Path, record_property: Any
) -> None:
    run, token = make_run(engine=make_engine()), make_token()
    WorkflowRun.objects.update(next_check_at=None)
    with up(tmp_path, database_url, "--only", "web", "--port", "0") as hub:
        # Nobody looks at the run, so that these wait until their time is over.
        path = f"/api/v1/workflow-runs/{run.pk}?refresh=3"
        requests = [Request(hub.url, path, token) for _ in range(5)]
        for request in requests:
            request.start()
        due = WorkflowRun.objects.exclude(next_check_at=None)
        eventually(due.exists, what="they are in flight")
        time.sleep(1)  # all five of them
        began = time.monotonic()
        hub.process.send_signal(signal.SIGTERM)
        assert hub.process.wait(DRAIN) == 0
        took = time.monotonic() - began
        for request in requests:
            request.join(10)
    assert [request.answer and request.answer.status for request in requests] == [200] * 5
    assert "while stopping" not in hub.said
    record_property(
        "figure", f"Web process drained in {took:.1f} s, with requests of 3 s in flight"
    )


def test_fault_34_a_whole_hub_drains_in_time_and_leaves_nothing_held(
    database_url: str, tmp_path: Path, record_property: Any
) -> None:
    make_engine("local", name="local")
    token = make_token()
    run = start({"title": "short", "steps": [sleep("a", 2), sleep("b", 0, "a")]})
    connection.close()
    with up(tmp_path, database_url, "--port", "0") as hub:
        running = Step.objects.filter(name="a", state=TaskState.RUNNING)
        eventually(running.exists, seconds=60, what="the step runs")
        request = Request(hub.url, f"/api/v1/workflow-runs/{run.pk}?refresh=3", token)
        request.start()
        time.sleep(1)  # it is in flight
        began = time.monotonic()
        hub.process.send_signal(signal.SIGTERM)
        assert hub.process.wait(DRAIN) == 0
        took = time.monotonic() - began
        request.join(10)
        assert "while stopping" not in hub.said, hub.said
    record_property("figure", f"Whole hub drained in {took:.1f} s, with a step of 2 s in flight")
    assert request.answer and request.answer.status == 200
    steps = dict(Step.objects.values_list("name", "state"))
    assert steps == {"a": TaskState.COMPLETED, "b": TaskState.SCHEDULED}
    assert not StepTry.objects.exists()
    assert not Worker.objects.filter(ended_at=None).exists()
    assert not Lease.objects.exclude(expires_at=None).exists()
    call_command("fsck", verbosity=0)


def test_fault_34_a_step_that_outlasts_the_drain_is_handed_back(
    database_url: str, tmp_path: Path, record_property: Any
) -> None:
    make_engine("local", name="local")
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(90)"
    program = {"argv": [sys.executable, "-c", deaf]}
    steps = [sleep("a", 90), {"name": "b", "handler": "shell", "with": program}]
    start({"title": "long", "steps": steps})
    connection.close()
    with up(tmp_path, database_url, "--port", "0") as hub:
        running = Step.objects.filter(state=TaskState.RUNNING)
        eventually(lambda: running.count() == 2, seconds=60, what="both steps run")
        began = time.monotonic()
        hub.process.send_signal(signal.SIGTERM)
        assert hub.process.wait(DRAIN) == 0
        took = time.monotonic() - began
        assert "did not end in time" not in hub.said, hub.said
    record_property("figure", f"Whole hub drained in {took:.1f} s, with steps of 90 s in flight")
    assert set(Step.objects.values_list("state", "losses")) == {(TaskState.SCHEDULED, 0)}
    assert set(StepTry.objects.values_list("reason", flat=True)) == {Stop.DRAIN}
    assert not Worker.objects.filter(ended_at=None).exists()


@pytest.fixture
def start_worker(database_url: str) -> Iterator[Callable[[], WorkerProcess]]:
    workers: list[WorkerProcess] = []

    def start_one() -> WorkerProcess:
        # The settings of production.
        defaults = {"WORKFLOWHUB_HEARTBEAT": "5", "WORKFLOWHUB_WORKER_LOST_AFTER": "13"}
        words = ("--concurrency", "1", "--grace", str(GRACE))
        workers.append(WorkerProcess(database_url, *words, **defaults))
        return workers[-1]

    yield start_one
    for worker in workers:
        worker.end()


@pytest.mark.parametrize("how", ["SIGTERM", "kill -9"])
def test_fault_24_34_another_worker_goes_on_soon(
    how: str,
    nursery: Nursery,
    start_worker: Callable[[], WorkerProcess],
    record_property: Any,
) -> None:
    make_engine("local", name="local")
    nursery.fork("watch", settings={"WORKFLOWHUB_WORKER_LOST_AFTER": 13.0})
    first = start_worker()
    run = start({"title": "long", "steps": [sleep("a", 60)]})
    running = Step.objects.filter(state=TaskState.RUNNING)
    eventually(running.exists, what="the step runs")
    holder = running.get().worker_id
    second = start_worker()
    eventually(lambda: Worker.objects.count() == 2, what="the second worker is there")
    began = time.monotonic()
    if how == "SIGTERM":
        first.process.terminate()
    else:
        first.process.kill()
    eventually(running.exclude(worker_id=holder).exists, what="the second goes on with it")
    took = time.monotonic() - began
    record_property("figure", f"Step taken over by another worker {took:.1f} s after {how}")
    assert took < (AFTER_SIGTERM + GRACE if how == "SIGTERM" else AFTER_KILL)
    assert running.get().losses == (how != "SIGTERM")
    actions.cancel_run(Actor(), WorkflowRun.objects.get(pk=run.pk))
    ended = WorkflowRun.objects.filter(state=RunState.CANCELED)
    eventually(ended.exists, what="the run ends")
    assert second.process.poll() is None
