"""Steps that a worker's child has taken together, when one of them is long, or its child or its worker
is killed."""

import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.dag import spool
from engines.dag.models import Step, StepTry
from engines.states import TaskState
from tests.engines.dag.driving import python, states, step, step_row, submit
from tests.engines.dag.workers import WorkerProcess, wait_for, wait_for_end
from tests.faults.nursery import Nursery

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

Start = Callable[..., WorkerProcess]


@pytest.fixture
def ran(tmp_path: Path) -> Callable[[], Counter[str]]:
    """How often each step has begun."""
    path = tmp_path / "ran"
    path.touch()
    return lambda: Counter(path.read_text().split())


def some(
    tmp_path: Path, count: int, *, slow: int = -1, seconds: float = 60
) -> list[dict[str, Any]]:
    """Short steps, one of them perhaps slow."""
    path = str(tmp_path / "ran")
    return [
        python(
            f"s{number}",
            "sign",
            arguments={"path": path, "seconds": seconds if number == slow else 0},
        )
        for number in range(count)
    ]


def test_a_long_step_holds_nothing_up_that_was_taken_with_it(
    start_worker: Start, tmp_path: Path, ran: Callable[[], Counter[str]]
) -> None:
    """Those before it are recorded, those behind it are for others."""
    adapter, run = submit(*some(tmp_path, 60, slow=45))
    first = start_worker("--concurrency", "1")
    wait_for(lambda: "s45" in ran(), what="the slow step begins")
    wait_for(
        lambda: Counter(states(run).values())[TaskState.RUNNING] == 1,
        what="it is the only one that somebody has",
    )
    begun = {name for name in ran() if name != "s45"}
    assert {name for name, state in states(run).items() if state == "COMPLETED"} == begun
    start_worker("--concurrency", "1")
    wait_for(lambda: Counter(states(run).values())["COMPLETED"] == 59, what="others do the others")
    assert set(ran().values()) == {1}
    assert not StepTry.objects.exists()
    assert states(run)["s45"] == TaskState.RUNNING
    os.kill(first.children()[0], signal.SIGKILL)
    wait_for(lambda: "s45" in ran() and ran()["s45"] == 2, what="it is tried again")
    assert StepTry.objects.get().reason == "killed"
    adapter.cancel(run)


def test_fault_24_a_killed_child_takes_only_the_step_with_it_that_it_was_running(
    start_worker: Start, tmp_path: Path, ran: Callable[[], Counter[str]]
) -> None:
    _, run = submit(*some(tmp_path, 40, slow=25), failure_policy="continue")
    Step.objects.filter(name="s25").update(losses=100)
    worker = start_worker("--concurrency", "1")
    wait_for(lambda: "s25" in ran(), what="the slow step begins")
    os.kill(worker.children()[0], signal.SIGKILL)
    assert wait_for_end(run).state == "FAILED"
    assert step_row(run, "s25").reason == "killed"
    assert Counter(states(run).values())["COMPLETED"] == 39
    assert set(ran().values()) == {1}
    assert set(Step.objects.values_list("try_number", flat=True)) == {1}


def test_fault_24_a_killed_worker_that_comes_back_does_nothing_twice_that_was_done(
    nursery: Nursery,
) -> None:
    """The worker and its child die between two steps; what was done is on the disk."""
    nothing = {"handler": "sleep", "with": {"seconds": 0}}
    _, run = submit(*(step(f"s{number}", **nothing) for number in range(60)))
    assert nursery.call("worker", crash_at="step.next:9") == -signal.SIGKILL, nursery.said()
    files = spool.folder().glob(f"*{spool.SUFFIX}")
    kept = {outcome.name for file in files for outcome in spool.read(file)}
    assert {states(run)[name] for name in kept} == {TaskState.RUNNING}, "nobody has recorded it"
    assert nursery.call("worker") == 0, nursery.said()
    assert set(states(run).values()) == {"COMPLETED"}
    assert {step_row(run, name).try_number for name in kept} == {1}
    assert list(spool.folder().glob(f"*{spool.SUFFIX}")) == []


def test_what_was_taken_together_is_cancelled_together(
    start_worker: Start, tmp_path: Path, ran: Callable[[], Counter[str]]
) -> None:
    adapter, run = submit(*some(tmp_path, 60, slow=45))
    start_worker("--concurrency", "1")
    wait_for(lambda: "s45" in ran(), what="the slow step begins")
    adapter.cancel(run)
    assert wait_for_end(run).state == "CANCELED"
    found = states(run)
    begun = {name for name in ran() if name != "s45"}
    assert {name for name, state in found.items() if state == "COMPLETED"} == begun
    assert {found[name] for name in found.keys() - begun} == {"CANCELED"}
    assert set(ran().values()) == {1}
