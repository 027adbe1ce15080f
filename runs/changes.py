"""What is to become of one run: gathered here, written by runs.moves.

A RunChange keeps only what differs from the run as it was read, so that nothing changed is nothing
written, and refuses moves that no fault may cause.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from runs.bulk import fitted
from runs.counters import Count
from runs.models import RunEvent, TaskRun, TaskTry, WorkflowRun
from runs.states import FINAL_RUN_STATES, Cause, RunState, TaskState, may_move


class IllegalMove(Exception):
    """A change that no fault may cause: a programming error, so it is loud."""


@dataclass(frozen=True, slots=True, kw_only=True)
class By:
    """Who changes something: `kind` is user, reconciler or engine."""

    kind: str
    name: str = ""


RECONCILER = By(kind=RunEvent.ActorKind.RECONCILER)


@dataclass(slots=True, kw_only=True)
class Event:
    cause: Cause
    by: By
    old: str = ""
    new: str = ""
    detail: str = ""
    task: TaskRun | None = None
    engine_time: datetime | None = None


@dataclass(slots=True)
class RunChange:
    """What is to become of `run`, which is as it was read: its version is the one expected."""

    run: WorkflowRun
    fields: dict[str, Any] = field(default_factory=dict)
    attempt: dict[str, Any] = field(default_factory=dict)
    tasks: dict[int, dict[str, Any]] = field(default_factory=dict)
    # By identity: rows without a key yet, and there may be thousands of them.
    _new_tasks: dict[int, TaskRun] = field(default_factory=dict)
    _tries: dict[int, TaskTry] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    counts: list[Count] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(
            self.fields
            or self.attempt
            or self.tasks
            or self._new_tasks
            or self._tries
            or self.events
        )

    @property
    def new_tasks(self) -> list[TaskRun]:
        return list(self._new_tasks.values())

    @property
    def tries(self) -> list[TaskTry]:
        return list(self._tries.values())

    def keep_try(self, row: TaskTry) -> None:
        """Inserts or updates the row of one try."""
        self._tries[id(row)] = row

    def set(self, **fields: Any) -> "RunChange":
        """Columns of the run other than its state; those that don't change are left out."""
        for name, value in fields.items():
            column = self.run._meta.get_field(name)
            if getattr(self.run, name) != fitted(column, value):
                self.fields[name] = value
        return self

    def note(self, cause: Cause, by: By, detail: str = "", *, task: TaskRun | None = None) -> None:
        """An event that changes no state."""
        self.events.append(Event(cause=cause, by=by, detail=detail, task=task))

    def move(
        self,
        state: RunState,
        cause: Cause,
        by: By,
        *,
        now: datetime,
        detail: str = "",
        reason: str = "",
        engine_time: datetime | None = None,
        forced: bool = False,
    ) -> "RunChange":
        """The run's state, with our own times. Raises IllegalMove unless forced (`mark`)."""
        old = self.fields.get("state", self.run.state)
        if old == state:
            return self.set(reason=reason)
        if not forced and not may_move(old, state):
            raise IllegalMove(f"Run {self.run.pk} may not go from {old} to {state}.")
        self.fields["state"] = state
        self.set(reason=reason)
        if state != RunState.PENDING and self.run.scheduled_at is None:
            self.set(scheduled_at=now)
        if state in {RunState.RUNNING, RunState.COMPLETED} and self.run.started_at is None:
            self.set(started_at=now)
        if state in FINAL_RUN_STATES:
            self.set(ended_at=now, next_check_at=None, failures=0, missing_count=0)
            self.set(missing_since=None, flags={}, in_hand=False, deadline_at=None)
            self.attempt |= {"state": state, "ended_at": now}
            self._count_end(state, now)
        self.events.append(
            Event(cause=cause, by=by, old=old, new=state, detail=detail, engine_time=engine_time)
        )
        return self

    def move_task(
        self,
        task: TaskRun,
        state: TaskState,
        cause: Cause,
        by: By,
        *,
        detail: str = "",
        engine_time: datetime | None = None,
        **fields: Any,
    ) -> "RunChange":
        """A task run's state and other columns; `task` may be one of `new_tasks`."""
        # `task` may have been changed in here before: an event goes on from that.
        known = self.tasks.get(task.pk, {})
        old = known.get("state", task.state) if task.pk or id(task) in self._new_tasks else ""
        fields["state"] = state
        if task.pk:
            fit = {name: fitted(task._meta.get_field(name), fields[name]) for name in fields}
            changed = {
                name: value
                for name, value in fit.items()
                if known.get(name, getattr(task, name)) != value
            }
            if changed:
                self.tasks.setdefault(task.pk, {}).update(changed)
        else:
            for name, value in fields.items():
                setattr(task, name, fitted(task._meta.get_field(name), value))
            self._new_tasks[id(task)] = task
        if old != state:
            self.events.append(
                Event(
                    cause=cause,
                    by=by,
                    old=old,
                    new=state,
                    detail=detail,
                    task=task,
                    engine_time=engine_time,
                )
            )
        return self

    def _count_end(self, state: RunState, now: datetime) -> None:
        self.counts.append(
            Count(name="workflows_completed_total", labels=[("status", state.lower())])
        )
        began = self.fields.get("started_at") or self.run.started_at
        if began:
            self.counts.append(
                Count(
                    name="workflow_execution_duration_seconds",
                    seconds=(now - began).total_seconds(),
                )
            )
