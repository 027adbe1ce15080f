"""What becomes of steps whose worker is killed, paused, out of memory, or badly served by them."""

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.management import call_command

from engines.dag import leases
from engines.dag.models import StepTry, Worker
from engines.states import TaskState
from tests.engines.dag.driving import execution, python, states, step, step_row, submit
from tests.engines.dag.workers import (
    WorkerProcess,
    is_alive,
    wait_for,
    wait_for_end,
    wait_for_worker,
)
from tests.faults.chains import alone
from tests.faults.chance import chance, scaled
from tests.faults.pausing import go_on, pause

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

PROMISED = 15.0  # seconds, with the settings as they are unless somebody changes them
DEFAULTS = {"WORKFLOWHUB_HEARTBEAT": "5", "WORKFLOWHUB_WORKER_LOST_AFTER": "13"}


@pytest.fixture
def start_worker(database_url: str) -> Iterator[Callable[..., WorkerProcess]]:
    workers: list[WorkerProcess] = []

    def start(*words: str, **settings: str) -> WorkerProcess:
        workers.append(WorkerProcess(database_url, "--concurrency", *(words or "1"), **settings))
        return workers[-1]

    yield start
    for worker in workers:
        worker.end()


def shell(name: str, argv: list[str], *needs: str, **more: Any) -> dict[str, Any]:
    return step(name, *needs, handler="shell", **more, **{"with": {"argv": argv}})


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def seconds_until_lost(look: Callable[[], object], most: float) -> float:
    """From now until the step's try is given up."""
    began = time.monotonic()

    def lost() -> bool:
        look()
        return StepTry.objects.filter(reason="lost").exists()

    wait_for(lost, most, "the loss is noticed")
    return time.monotonic() - began


def test_fault_24_a_killed_worker_is_noticed_at_once_at_its_own_place(
    start_worker: Callable[..., WorkerProcess], record_property: Any
) -> None:
    first = start_worker(**DEFAULTS)
    adapter, run = submit(step("slow", handler="sleep", **{"with": {"seconds": 60}}))
    wait_for(lambda: states(run)["slow"] == TaskState.RUNNING)
    first.kill()
    took = seconds_until_lost(lambda: list(adapter.observe(None, [run])), PROMISED)
    record_property("figure", f"Worker killed, noticed at its own place after {took:.2f} s")
    assert took < PROMISED / 2
    adapter.cancel(run)


def test_fault_24_a_killed_worker_at_another_place_is_noticed_in_time(
    start_worker: Callable[..., WorkerProcess], record_property: Any, settings: Any
) -> None:
    """With the settings of production, and right after a heartbeat, which is the worst moment."""
    settings.WORKFLOWHUB_WORKER_LOST_AFTER = float(DEFAULTS["WORKFLOWHUB_WORKER_LOST_AFTER"])
    first = start_worker(**DEFAULTS | {"WORKFLOWHUB_HEARTBEAT": "1"})
    adapter, run = submit(step("slow", handler="sleep", **{"with": {"seconds": 60}}))
    wait_for(lambda: states(run)["slow"] == TaskState.RUNNING)
    Worker.objects.update(place="elsewhere")
    beaten = Worker.objects.get().heartbeat_at
    wait_for(lambda: Worker.objects.get().heartbeat_at > beaten, what="a heartbeat")
    first.kill()

    took = seconds_until_lost(lambda: list(adapter.observe(None, [run])), 60)
    record_property("figure", f"Worker killed elsewhere, noticed after {took:.2f} s at the worst")
    assert took < PROMISED
    row = step_row(run, "slow")
    assert (row.state, row.try_number, row.losses) == (TaskState.SCHEDULED, 2, 1)
    adapter.cancel(run)


def test_fault_24_25_the_late_result_of_a_worker_paused_past_its_lease_is_void(
    start_worker: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    lock, again = tmp_path / "step", tmp_path / "again"
    paused = start_worker()
    # The second try may run beside the first: nobody here can end a process on another machine.
    script = 'echo $$; [ -e "$0" ] && sleep 1 && exit; touch "$0"; sleep 0.5; touch "$1"'
    _, run = submit(shell("a", ["sh", "-c", script, str(lock), str(again)]))
    wait_for(lock.exists)
    Worker.objects.update(place="elsewhere")
    for pid in (paused.pid, *paused.children()):
        pause(pid)
    wait_for(lambda: leases.recover() and True, what="the worker is declared lost")
    start_worker()
    assert wait_for_end(run).state == "COMPLETED"
    row = step_row(run, "a")
    won = row.result["stdout_tail"]
    for pid in paused.children():
        go_on(pid)
    wait_for(again.exists, what="the paused step goes on to its end")
    # Its child takes its pause only after it was told that the result is void.
    child = psutil.Process(paused.children()[0])
    wait_for(lambda: child.status() == psutil.STATUS_SLEEPING and not child.children())
    row.refresh_from_db()
    assert (row.result["stdout_tail"], row.try_number) == (won, 2)
    assert [(one.reason, one.state) for one in StepTry.objects.all()] == [("lost", "FAILED")]
    go_on(paused.pid)
    wait_for(lambda: Worker.objects.filter(ended_at=None).count() == 2, what="it starts anew")
    row.refresh_from_db()
    assert (row.result["stdout_tail"], row.try_number) == (won, 2)
    assert execution(run).state == "COMPLETED"


def test_fault_24_a_step_that_wants_more_memory_than_there_is_fails_alone(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    worker = start_worker()
    wait_for_worker()
    (child,) = wait_for(worker.children)
    most = psutil.Process(child).memory_info().vms + 300_000_000
    resource.prlimit(child, resource.RLIMIT_AS, (most, most))
    program = ["python3", "-c", "x = [bytearray(16_000_000) for _ in range(10_000)]"]
    _, run = submit(
        python("inside", "eat"),
        shell("outside", program),
        python("other", "add", arguments={"left": 1, "right": 2}),
        failure_policy="continue",
    )
    wait_for_end(run, 30)
    assert step_row(run, "inside").error.startswith("MemoryError")
    assert "MemoryError" in step_row(run, "outside").error
    assert step_row(run, "other").result == 3
    assert {row.losses for row in execution(run).steps.all()} == {0}


DEAF = (
    'setsid sh -c \'trap "" TERM HUP INT; echo $$ >> "$0"; exec >&- 2>&-; '
    'while :; do sleep 0.2; done\' "$0" & '
)


@pytest.mark.parametrize("end", ["the step", "the child", "the worker"])
def test_fault_25_deaf_daemons_end_with_whatever_started_them(
    end: str, start_worker: Callable[..., WorkerProcess], tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    worker = start_worker()
    script = f'{DEAF}{DEAF}while [ $(wc -l < "$0") -lt 2 ]; do sleep 0.05; done; '
    script += "" if end == "the step" else "sleep 300"
    adapter, run = submit(shell("daemons", ["sh", "-c", f'touch "$0"; {script}', str(pids)]))
    wait_for(lambda: len(lines(pids)) == 2, what="the daemons run")
    daemons = [int(pid) for pid in lines(pids)]
    if end == "the step":
        assert wait_for_end(run).state == "COMPLETED"
    elif end == "the child":
        os.kill(worker.children()[0], signal.SIGKILL)
    else:
        worker.kill()
        leases.recover()
    wait_for(lambda: not any(is_alive(pid) for pid in daemons), what="the end of the daemons")
    adapter.cancel(run)


def test_fault_25_no_step_runs_twice_at_once_whoever_is_killed_or_paused_when(
    start_worker: Callable[..., WorkerProcess], tmp_path: Path, settings: Any
) -> None:
    rng, silence = chance("workers"), 2.0
    settings.WORKFLOWHUB_WORKER_LOST_AFTER = silence
    steps = [shell(f"s{n}", alone(str(tmp_path / f"s{n}"), 0.4)) for n in range(scaled(24))]

    def start() -> WorkerProcess:
        return start_worker("2", WORKFLOWHUB_WORKER_LOST_AFTER=str(silence))

    workers = [start(), start()]
    wait_for(lambda: Worker.objects.count() == 2, what="both are there")
    adapter, run = submit(*steps, max_parallel=4, failure_policy="continue")

    def ended() -> int:
        return sum("x" in lines(tmp_path / f"s{n}") for n in range(len(steps)))

    for at in range(scaled(6)):
        before = ended()
        wait_for(lambda before=before: ended() > before or ended() == len(steps), what="an end")
        time.sleep(rng.uniform(0, 0.3))
        victim = workers.pop(rng.randrange(2))
        fault = ("kill", "kill a child", "pause")[at % 3]
        if fault == "kill":
            victim.kill()
            victim = start()
        elif fault == "kill a child":
            for pid in victim.children()[:1]:
                psutil.Process(pid).kill()
        else:
            pause(victim.pid)
            time.sleep(silence * rng.uniform(0.5, 1.5))
            go_on(victim.pid)
        workers.append(victim)
        list(adapter.observe(None, [run]))
    wait_for_end(run, 60)
    assert set(states(run).values()) == {TaskState.COMPLETED}, StepTry.objects.values_list("reason")
    assert list(tmp_path.glob("*.twice")) == []
    assert StepTry.objects.exists(), "Nobody was hit."
    call_command("fsck", verbosity=0)
