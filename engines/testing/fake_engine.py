"""A workflow engine in memory, for tests: it takes runs, steps them to their end, keeps their logs.

engines.testing.fake_http puts it on a port. It has words of its own for states, so that an adapter
has something to translate. Every change raises `revision`; `changed_since` lists by it. Safe for
threads.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from engines.testing.fake_run import (
    ENDED,
    RUN_WORDS,
    FakeRun,
    FakeTask,
    Refused,
    copy_of,
    tasks_of,
)

MOST_STEPS_AT_ONCE = 100


class FakeEngine:
    """`submission` is A (a second submit of an id is a conflict), B (it starts again) or C (each
    gets an id of the engine's, ours is a tag). `tick`: seconds a step takes; None: only `advance`
    steps. `late_accept`: seconds until a submitted run is shown. `clock_offset`: seconds its clock
    is wrong by.
    """

    def __init__(
        self,
        *,
        submission: str = "A",
        tick: float | None = None,
        late_accept: float = 0.0,
        clock_offset: float = 0.0,
    ) -> None:
        self.submission = submission
        self.tick = tick
        self.late_accept = late_accept
        self.clock_offset = clock_offset
        self.runs: dict[str, FakeRun] = {}
        self.starts: Counter[str] = Counter()  # tag -> how often it was really started
        self.revision = 0
        self.lock = threading.RLock()
        self._tags: dict[str, list[str]] = {}
        self._active: dict[str, FakeRun] = {}
        self._attempts: set[tuple[str, int]] = set()
        self._stepped = time.monotonic()

    # What callers ask

    def submit(self, tag: str, definition: dict[str, Any]) -> FakeRun:
        """Starts a run. Refused(409) in class A for an id that it has, Refused(400) for
        nonsense.
        """
        tasks = tasks_of(definition)
        with self.lock:
            if self.submission == "A" and tag in self.runs:
                raise Refused(409, f"There is a run {tag} already.")
            return self._start(tag, tasks)

    def retry_as_new(self, tag: str, previous: str, names: Iterable[str]) -> FakeRun:
        """Starts a run that takes every task but those named as it is in the previous one. Doing it
        again gives the same run."""
        with self.lock:
            if known := self._tags.get(tag):
                return self.runs[known[-1]]
            again = set(names)
            tasks = {
                name: FakeTask(name=name, needs=task.needs, fails=max(0, task.fails - task.tries))
                if name in again
                else copy_of(task)
                for name, task in self.get(previous).tasks.items()
            }
            return self._start(tag, tasks)

    def retry_in_place(self, id: str, attempt: int, names: Iterable[str]) -> FakeRun:
        """Runs the named tasks again under the same id, once for each number of an attempt."""
        with self.lock:
            run = self.get(id)
            if (id, attempt) in self._attempts:
                return run
            if run.state not in ENDED:
                raise Refused(409, f"Run {id} has not ended.")
            self._attempts.add((id, attempt))
            self.starts[f"{run.tag}#{attempt}"] += 1
            for name in names:
                task = self._task(run, name)
                task.state, task.started, task.ended = "waiting", None, None
            run.state, run.attempt, run.ended = "queued", attempt, None
            self._active[id] = run
            self._touch(run)
            return run

    def get(self, id: str) -> FakeRun:
        """Refused(404) when there is no such run, or it isn't shown yet."""
        with self.lock:
            self._catch_up()
            run = self.runs.get(id)
            if run is None or not self._visible(run):
                raise Refused(404, f"There is no run {id}.")
            return run

    def tagged(self, tag: str) -> list[FakeRun]:
        """The runs that carry a tag, oldest first."""
        with self.lock:
            self._catch_up()
            runs = [self.runs[id] for id in self._tags.get(tag, ())]
            return [run for run in runs if self._visible(run)]

    def known(self, ids: Sequence[str]) -> list[FakeRun]:
        """Those of `ids` that it knows."""
        with self.lock:
            self._catch_up()
            found = (self.runs.get(id) for id in ids)
            return [run for run in found if run is not None and self._visible(run)]

    def changed_since(self, revision: int) -> list[FakeRun]:
        """Runs with a later revision, in its order."""
        with self.lock:
            self._catch_up()
            found = [
                run for run in self.runs.values() if run.revision > revision and self._visible(run)
            ]
            return sorted(found, key=lambda run: run.revision)

    def cancel(self, id: str) -> FakeRun:
        """Stops a run that hasn't ended; one that has keeps its end."""
        with self.lock:
            run = self.get(id)
            if run.state not in ENDED:
                for task in run.tasks.values():
                    if task.state not in ENDED:
                        self._end(task, "stopped")
                self._end_run(run, "stopped")
            return run

    def cancel_task(self, id: str, name: str) -> FakeRun:
        with self.lock:
            run = self.get(id)
            task = self._task(run, name)
            if task.state not in ENDED:
                self._end(task, "stopped")
                self._touch(run)
            return run

    def log(self, id: str, name: str, try_number: int) -> tuple[list[str], bool]:
        """The lines of one try, and whether no more will come."""
        with self.lock:
            task = self._task(self.get(id), name)
            if try_number not in task.logs:
                raise Refused(404, f"Task {name} of run {id} has no try {try_number}.")
            over = task.tries > try_number or task.state in ENDED
            return list(task.logs[try_number]), over

    # What tests make it do

    def advance(self, id: str | None = None, steps: int = 1) -> None:
        """Moves one run, or each that hasn't ended, by a step: queued, then each wave of tasks
        starts and ends."""
        with self.lock:
            for _ in range(steps):
                for run in [self.runs[id]] if id else list(self._active.values()):
                    self._step(run)

    def finish(self, id: str | None = None) -> None:
        """Moves one run, or all, to the end that its definition leads to."""
        with self.lock:
            for run in [self.runs[id]] if id else list(self._active.values()):
                if run.state not in RUN_WORDS:  # was misspelled
                    run.state = "active"
                while run.state not in ENDED:
                    self._step(run)

    def fail(self, id: str, name: str | None = None) -> None:
        """Makes a task (the first that has not ended) break, and moves the run to its end."""
        with self.lock:
            run = self.runs[id]
            open_tasks = [task for task in run.tasks.values() if task.state not in ENDED]
            task = run.tasks[name] if name else open_tasks[0]
            task.fails = task.tries if task.state == "active" else task.tries + 1
            self.finish(id)

    def misspell(self, id: str, word: str = "hibernating") -> None:
        """Reports a state that no documentation names."""
        with self.lock:
            run = self.runs[id]
            run.state = word
            self._touch(run)

    def forget(self, id: str) -> None:
        """Loses a run, as an engine does whose database was emptied."""
        with self.lock:
            run = self.runs.pop(id)
            self._active.pop(id, None)
            self._tags[run.tag].remove(id)

    # How it works

    def _start(self, tag: str, tasks: dict[str, FakeTask]) -> FakeRun:
        self.starts[tag] += 1
        id = f"r-{len(self.starts)}-{sum(self.starts.values())}" if self.submission == "C" else tag
        run = FakeRun(id=id, tag=tag, tasks=tasks, visible_at=time.monotonic() + self.late_accept)
        ids = self._tags.setdefault(tag, [])
        if id not in ids:
            ids.append(id)
        self.runs[id] = self._active[id] = run
        self._touch(run)
        return run

    def _step(self, run: FakeRun) -> None:
        if run.state in ENDED or run.state not in RUN_WORDS:
            return
        if run.state == "queued":
            run.state, run.started = "active", run.started or self._now()
        else:
            for task in run.tasks.values():
                if task.state == "active":
                    self._end(task, "broken" if task.tries <= task.fails else "done")
        self._omit_and_start(run)
        if all(task.state in ENDED for task in run.tasks.values()):
            broken = any(task.state == "broken" for task in run.tasks.values())
            self._end_run(run, "broken" if broken else "done")
        self._touch(run)

    def _omit_and_start(self, run: FakeRun) -> None:
        for task in run.tasks.values():  # in the order of needs
            if task.state != "waiting":
                continue
            before = {run.tasks[name].state for name in task.needs}
            if before & {"broken", "stopped", "omitted"}:
                self._end(task, "omitted")
            elif before <= {"done"}:
                task.state, task.tries, task.started = "active", task.tries + 1, self._now()
                task.logs[task.tries] = [f"{self._now()} out {task.name} starts, try {task.tries}"]

    def _end(self, task: FakeTask, state: str) -> None:
        if task.tries in task.logs and task.state == "active":
            task.logs[task.tries] += [
                f"{self._now()} out {task.name} works · 50 %",
                f"{self._now()} err {task.name} is {state}",
            ]
        task.state, task.ended = state, self._now()

    def _end_run(self, run: FakeRun, state: str) -> None:
        run.state, run.ended = state, self._now()
        self._active.pop(run.id, None)
        self._touch(run)

    def _touch(self, run: FakeRun) -> None:
        self.revision += 1
        run.revision = self.revision

    def _catch_up(self) -> None:
        if self.tick is None:
            return
        steps = int((time.monotonic() - self._stepped) / self.tick)
        if steps:
            self._stepped += steps * self.tick
            self.advance(steps=min(steps, MOST_STEPS_AT_ONCE))

    def _visible(self, run: FakeRun) -> bool:
        return run.visible_at <= time.monotonic()

    def _now(self) -> str:
        when = datetime.now(UTC) + timedelta(seconds=self.clock_offset)
        return when.strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _task(self, run: FakeRun, name: str) -> FakeTask:
        if name not in run.tasks:
            raise Refused(404, f"Run {run.id} has no task {name}.")
        return run.tasks[name]
