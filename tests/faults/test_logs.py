"""Logs for which there is no room, and logs that are very long."""

import os
import resource
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.core.files.storage import storages
from django.test import Client
from django.urls import reverse

from engines.dag.outcome import log_name
from engines.logfile import format_line
from engines.states import RunState
from runs.models import TaskRun, TaskTry
from tests.api.conftest import Caller
from tests.engines.dag.driving import python, step_row, submit
from tests.engines.dag.workers import WorkerProcess, wait_for, wait_for_end, wait_for_worker
from tests.factories import make_run, make_user
from tests.web.conftest import write_log

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

GIGABYTE = 1_000_000_000
TAIL = 3000  # lines
MOST_READ = 20_000_000  # bytes
MOST_MEMORY = 20_000_000


@pytest.fixture
def start_worker(database_url: str) -> Iterator[Callable[..., WorkerProcess]]:
    workers: list[WorkerProcess] = []

    def start(**environment: str) -> WorkerProcess:
        workers.append(WorkerProcess(database_url, "--concurrency", "1", **environment))
        return workers[-1]

    yield start
    for worker in workers:
        worker.end()


def test_fault_30_a_full_disk_under_the_logs_changes_no_outcome(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    adapter, run = submit(python("speaker", "speak"), python("next", "speak", "speaker"))
    for name in (log_name(run, "speaker", -1, 1, 1), f"{run}/run.log"):
        path = Path(storages["logs"].path(name))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("/dev/full")  # every write: no space left on device
    start_worker()
    assert wait_for_end(run).state == RunState.COMPLETED
    assert step_row(run, "speaker").try_number == 1
    assert "from Python" in [line.text for line in adapter.logs(run, "next", -1, 1, 0).lines]


def test_fault_30_a_disk_that_fills_up_ends_the_log_and_not_the_step(
    start_worker: Callable[..., WorkerProcess],
) -> None:
    worker = start_worker(WORKFLOWHUB_LOG_MAX_BYTES="60000000")
    wait_for_worker()
    (child,) = wait_for(worker.children)
    room = 20_000_000  # bytes that any file of the child's may have
    resource.prlimit(child, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    adapter, run = submit(
        python("flood", "flood", arguments={"lines": 250_000}), python("next", "speak", "flood")
    )
    assert wait_for_end(run, 60).state == RunState.COMPLETED
    flood = step_row(run, "flood")
    assert (flood.try_number, flood.result) == (1, 250_000)
    assert Path(storages["logs"].path(flood.log)).stat().st_size == room
    assert "from Python" in [line.text for line in adapter.logs(run, "next", -1, 1, 0).lines]


def lines_at_the_end(path: Path) -> None:
    """A few lines, a hole of a gigabyte, and many lines."""
    with path.open("r+b") as file:
        file.seek(GIGABYTE)
        file.write(b"\n")
        for number in range(TAIL):
            file.write(format_line(f"line {number}", "out").encode())


def one_line(path: Path) -> None:
    """A gigabyte without an end of line."""
    os.truncate(path, GIGABYTE)


@pytest.fixture
def task() -> TaskRun:
    run = make_run(state=RunState.RUNNING)
    found: TaskRun = run.task_runs.get(name="extract")
    return found


@pytest.fixture(params=[lines_at_the_end, one_line])
def huge(request: pytest.FixtureRequest, task: TaskRun) -> Iterator[TaskTry]:
    """The try of a task whose log is a gigabyte long."""
    row = write_log(task, ["first"])
    path = Path(storages["logs"].path(row.log))
    request.param(path)
    yield row
    path.unlink()


def cost(call: Callable[[], Any]) -> tuple[Any, float, int, int]:
    """(what it gives, seconds, bytes read from files, bytes of memory at the most)"""
    process = psutil.Process()
    call()  # what is loaded once isn't counted
    before, began = process.io_counters().read_chars, time.monotonic()
    answer = call()
    seconds, read = time.monotonic() - began, process.io_counters().read_chars - before
    tracemalloc.start()
    try:
        call()
        return answer, seconds, read, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("face", ["page", "tail of the page", "run page", "API", "API search"])
def test_fault_30_the_end_of_a_gigabyte_is_shown_without_reading_it(
    huge: TaskTry, face: str, record_property: Any
) -> None:
    task, size = huge.task_run, Path(storages["logs"].path(huge.log)).stat().st_size
    page = Client()
    page.force_login(make_user())
    api = Caller()
    logs = f"{reverse('logs', args=[task.run_id])}?task={task.pk}"
    faces: dict[str, Callable[[], Any]] = {
        "page": lambda: page.get(logs),
        "tail of the page": lambda: page.get(f"{logs}&try={huge.pk}&tail=1&from={size - 4000}"),
        "run page": lambda: page.get(reverse("run", args=[task.run_id])),
        "API": lambda: api.get(f"task-runs/{task.pk}/logs?offset={size - 4000}"),
        "API search": lambda: api.get(f"task-runs/{task.pk}/logs?q=line&offset={size - 4000}"),
    }
    answer, seconds, read, memory = cost(faces[face])
    assert answer.status_code == 200
    text = answer.content.decode()
    if huge_has_lines(size) and face != "run page":
        assert f"line {TAIL - 1}" in text
    assert (read < MOST_READ, memory < MOST_MEMORY) == (True, True), (read, memory)
    if face in {"page", "API"} and huge_has_lines(size):
        figure = f"End of a log of 1 GB ({face}): {seconds * 1000:.0f} ms, {read:,} bytes read"
        record_property("figure", figure)


def huge_has_lines(size: int) -> bool:
    return size > GIGABYTE


def test_fault_30_a_gigabyte_is_given_out_piece_by_piece(huge: TaskTry) -> None:
    api = Caller()
    path = f"task-runs/{huge.task_run_id}/logs?download=true"

    def begin() -> int:
        answer = api.get(path)
        pieces = iter(answer.streaming_content)
        taken = sum(len(next(pieces)) for _ in range(20))
        answer.close()
        return taken

    taken, _, read, memory = cost(begin)
    assert taken > 0
    assert (read < MOST_READ, memory < MOST_MEMORY) == (True, True), (read, memory)


def test_fault_30_every_line_of_a_long_log_is_numbered_once_in_whatever_pieces_it_is_read(
    task: TaskRun,
) -> None:
    write_log(task, [f"line {number} {'x' * 900}" for number in range(5000)])
    api, offset, numbers = Caller(), 0, []
    while True:
        body = api.get(f"task-runs/{task.pk}/logs?limit=5000&offset={offset}").json()
        numbers += [line["n"] for line in body["lines"]]
        offset = body["next_offset"]
        if body["complete"] or not body["lines"]:
            break
    assert numbers == list(range(1, 5001))
    by_run, url = [], f"workflow-runs/{task.run_id}/logs?limit=5000"
    cursor: str | None = ""
    while cursor is not None:
        body = api.get(url + (f"&cursor={cursor}" if cursor else "")).json()
        by_run += [line["n"] for line in body["lines"]]
        cursor = body["next"]
    assert by_run == numbers
