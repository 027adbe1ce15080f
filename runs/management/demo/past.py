"""One past run of a story, with all that is kept of it: attempts, task runs, tries, events and labels."""

import random
import uuid as uuids
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from engines.base import external_id
from engines.models import Engine
from runs.changes import RECONCILER, By
from runs.management.demo.stories import DemoStep, Flaw, Story
from runs.models import (
    Label,
    RunAttempt,
    RunEvent,
    RunLabel,
    Task,
    TaskRun,
    TaskTry,
    Workflow,
    WorkflowRun,
)
from runs.reconciler.failure import fingerprint
from runs.states import Cause, RetryMode, RunState, TaskState, Trigger

QUEUED = timedelta(seconds=1)
CANCELED = 0.004  # share of the runs
RERUN_OF_ALL = 0.1  # share of the retries that run everything again
ENDS = {TaskState.COMPLETED, TaskState.FAILED, TaskState.CANCELED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What the runs of one story share."""

    story: Story
    workflow: Workflow
    engine: Engine
    tasks: Mapping[str, Task]
    labels: tuple[Label, ...]
    user_id: int


@dataclass(slots=True)
class Told:
    """The rows of some runs, in the order in which they must be inserted. `logs`: path -> lines."""

    runs: list[WorkflowRun] = field(default_factory=list)
    labels: list[RunLabel] = field(default_factory=list)
    attempts: list[RunAttempt] = field(default_factory=list)
    tasks: list[TaskRun] = field(default_factory=list)
    tries: list[TaskTry] = field(default_factory=list)
    events: list[RunEvent] = field(default_factory=list)
    logs: dict[str, list[tuple[datetime, str, str]]] = field(default_factory=dict)


class PastRun:
    """Tells one run from its beginning to its end. `late`: how far into the month it is, from 0 to 1."""

    def __init__(self, stage: Stage, at: datetime, late: float, rng: random.Random) -> None:
        self.stage = stage
        self.rng = rng
        self.now = at
        self.pace = 1 + (stage.story.slower - 1) * late
        self.told = Told()
        scheduled = stage.story.scheduled
        self.run = WorkflowRun(
            uuid=uuids.UUID(int=rng.getrandbits(128), version=4),
            workflow=stage.workflow,
            engine=stage.engine,
            pinned=True,
            parameters=self._parameters(),
            trigger=Trigger.SCHEDULE if scheduled else Trigger.MANUAL,
            created_by_id=stage.user_id,
            created_at=at,
        )
        self.told.runs.append(self.run)
        self.told.labels = [RunLabel(run=self.run, label=label) for label in stage.labels]
        self.rows = {
            (step.name, index): TaskRun(
                run=self.run,
                task=stage.tasks.get(step.name),
                name=step.name,
                map_index=index,
                uuid=uuids.UUID(int=rng.getrandbits(128), version=4),
                created_at=at,
            )
            for step in stage.story.steps
            for index in _indexes(step)
        }
        self.told.tasks = list(self.rows.values())
        self._event(self._asker(), Cause.CREATE, "", RunState.PENDING)

    def play(self, flaw: Flaw | None, *, keep_log: bool) -> None:
        """The first attempt; with a flaw it fails, and may be retried."""
        if flaw is None and self.rng.random() < CANCELED:
            self._attempt(1, None, canceled=True, keep_log=keep_log)
        else:
            self._attempt(1, flaw, keep_log=keep_log)
        if flaw and self.rng.random() < flaw.retried:
            self.now += timedelta(minutes=self.rng.uniform(3, 50))
            mode = RetryMode.ALL if self.rng.random() < RERUN_OF_ALL else RetryMode.FAILED
            self._begin_again(mode)
            self._attempt(2, None, mode=mode, keep_log=keep_log)
        self.run.updated_at = self.now
        for row in self.told.tasks:
            row.updated_at = row.ended_at or self.now

    def _attempt(
        self,
        number: int,
        flaw: Flaw | None,
        *,
        canceled: bool = False,
        mode: RetryMode = RetryMode.START,
        keep_log: bool,
    ) -> None:
        run, asked = self.run, self.now
        name = external_id(run.uuid, number)
        run.external_id, run.attempt = name, number
        run.scheduled_at = self.now = self.now + QUEUED
        self._event(RECONCILER, Cause.SUBMIT, RunState.PENDING, RunState.SCHEDULED)
        run.started_at = run.engine_started_at = self.now = self.now + QUEUED
        self._event(RECONCILER, Cause.OBSERVE, RunState.SCHEDULED, RunState.RUNNING)
        state, end = self._steps(flaw, canceled, keep_log=keep_log)
        run.ended_at = run.engine_ended_at = run.observed_at = self.now = end
        run.state = run.raw_state = state
        self._event(RECONCILER, Cause.OBSERVE, RunState.RUNNING, state)
        self.told.attempts.append(
            RunAttempt(
                run=run,
                number=number,
                mode=mode,
                parameters=run.parameters,
                external_id=name,
                state=state,
                error=run.error,
                actor=self._asker().name,
                requested_at=asked,
                begun_at=asked,
                sent_at=asked + QUEUED,
                accepted_at=asked + QUEUED,
                ended_at=end,
            )
        )

    def _steps(
        self, flaw: Flaw | None, canceled: bool, *, keep_log: bool
    ) -> tuple[RunState, datetime]:
        """Plays every task that is not done; the run's end and its time."""
        done: dict[str, datetime] = {}
        # In the order of time: (when, step, map index, old, new).
        moves: list[tuple[datetime, TaskRun, str, str]] = []
        failed_at = stopped_at = None
        if canceled:
            stopped_at = self.now + timedelta(seconds=self.rng.uniform(2, 60))
        for step in self.stage.story.steps:
            ready = max([self.now, *(done[need] for need in step.needs if need in done)])
            blocked = any(need not in done for need in step.needs)
            ends: list[datetime] = []
            unlucky = self.rng.choice(list(_indexes(step)))
            for index in _indexes(step):
                row = self.rows[step.name, index]
                if row.state == TaskState.COMPLETED:
                    ends.append(self.now)  # in an earlier attempt
                    continue
                row.attempt = self.run.attempt
                took = timedelta(seconds=self._seconds(step))
                if stopped_at and (blocked or ready + took > stopped_at):
                    moves += self._stop(
                        row, TaskState.CANCELED, max(stopped_at, self.now), ready, blocked
                    )
                elif blocked:
                    moves += self._stop(
                        row, TaskState.UPSTREAM_FAILED, failed_at or ready, ready, True
                    )
                elif flaw and flaw.step == step.name and index == unlucky:
                    took *= self.rng.uniform(0.2, 0.9)
                    failed_at = ready + took
                    moves += self._end(row, TaskState.FAILED, ready, failed_at, flaw, keep_log)
                else:
                    moves += self._end(
                        row, TaskState.COMPLETED, ready, ready + took, None, keep_log
                    )
                    ends.append(ready + took)
            if len(ends) == len(_indexes(step)):
                done[step.name] = max(ends)
        moves.sort(key=lambda move: move[0])
        for at, row, old, new in moves:
            self._event(RECONCILER, Cause.OBSERVE, old, new, task=row, at=at)
        end = max([self.now, *(move[0] for move in moves)])
        if failed_at:
            return RunState.FAILED, end
        return (RunState.CANCELED if canceled else RunState.COMPLETED), end

    def _end(
        self,
        row: TaskRun,
        state: TaskState,
        start: datetime,
        end: datetime,
        flaw: Flaw | None,
        keep_log: bool,
    ) -> list[tuple[datetime, TaskRun, str, str]]:
        """A task that ran to its own end."""
        row.state = row.raw_state = state
        row.started_at, row.ended_at = start, end
        row.worker = f"worker-{self.rng.randint(1, 6)}"
        number = self.rng.randint(100, 99999)
        if flaw:
            row.error = flaw.error.format(n=number)
            run = self.run
            run.error, run.error_task = row.error, row.name
            run.fingerprint = fingerprint(self.stage.story.title, row.name, row.error)
        else:
            row.result = {"rows": number}
        log = ""
        if keep_log:
            log = (
                f"{self.run.external_id}/{row.name}{'' if row.map_index < 0 else row.map_index}.log"
            )
            self.told.logs[log] = list(self._log(row, start, end, flaw, number))
        self.told.tries.append(
            TaskTry(
                task_run=row,
                attempt=self.run.attempt,
                try_number=1,
                state=state,
                error=row.error,
                worker=row.worker,
                log=log,
                log_complete=True,
                started_at=start,
                ended_at=end,
            )
        )
        return [
            (start, row, TaskState.PENDING, TaskState.RUNNING),
            (end, row, TaskState.RUNNING, state),
        ]

    def _stop(
        self, row: TaskRun, state: TaskState, at: datetime, ready: datetime, blocked: bool
    ) -> list[tuple[datetime, TaskRun, str, str]]:
        """A task that never began, or was ended with its run."""
        row.state = row.raw_state = state
        row.ended_at = at
        if blocked or ready >= at:
            return [(at, row, TaskState.PENDING, state)]
        row.started_at = ready
        return [
            (ready, row, TaskState.PENDING, TaskState.RUNNING),
            (at, row, TaskState.RUNNING, state),
        ]

    def _log(
        self, row: TaskRun, start: datetime, end: datetime, flaw: Flaw | None, number: int
    ) -> list[tuple[datetime, str, str]]:
        lines = [
            ("out", f"{row} of {self.stage.story.title}"),
            ("out", f"parameters: {self.run.parameters}"),
        ]
        lines += [("out", f"part {part} of 12 done") for part in range(1, 9 if flaw else 13)]
        if flaw:
            lines += [("out", text.format(n=number)) for text in flaw.log]
            lines += [("err", "Traceback (most recent call last):")]
            lines += [
                ("err", f'  File "/srv/{row.name}/main.py", line {number % 400 + 12}, in main')
            ]
            lines += [("err", text) for text in row.error.splitlines()]
        else:
            lines.append(("out", f"{number} rows in {(end - start).total_seconds():.1f} s"))
        part = (end - start) / len(lines)
        return [(start + part * at, stream, text) for at, (stream, text) in enumerate(lines)]

    def _begin_again(self, mode: RetryMode) -> None:
        """What runs.moves does for a retry in place."""
        run = self.run
        self._event(self._asker(), Cause.RETRY, run.state, RunState.PENDING, detail=mode)
        run.attempt += 1
        for row in self.told.tasks:
            if mode == RetryMode.ALL or row.state != TaskState.COMPLETED:
                self._event(self._asker(), Cause.RETRY, row.state, TaskState.PENDING, task=row)
                row.state, row.raw_state, row.error, row.result = TaskState.PENDING, "", "", None
                row.started_at = row.ended_at = None
        run.state, run.error, run.error_task, run.fingerprint = RunState.PENDING, "", "", ""

    def _seconds(self, step: DemoStep) -> float:
        return step.seconds * self.pace * self.rng.lognormvariate(0, 0.22)

    def _parameters(self) -> dict[str, Any]:
        story, rng = self.stage.story, self.rng
        chosen = {name: rng.choice(values) for name, values in story.samples.items()}
        return {**chosen, "pace": 2}

    def _asker(self) -> By:
        return By(kind=RunEvent.ActorKind.USER, name=self.stage.story.by)

    def _event(
        self,
        by: By,
        cause: Cause,
        old: str,
        new: str,
        *,
        detail: str = "",
        task: TaskRun | None = None,
        at: datetime | None = None,
    ) -> None:
        self.run.last_seq += 1
        self.told.events.append(
            RunEvent(
                run=self.run,
                seq=self.run.last_seq,
                attempt=self.run.attempt,
                task_run=task,
                old=old,
                new=new,
                cause=cause,
                actor_kind=by.kind,
                actor=by.name,
                detail=detail,
                seen_at=at or self.now,
            )
        )


def _indexes(step: DemoStep) -> range:
    return range(step.instances) if step.instances else range(-1, 0)
