"""What EngineContract's sentences are made of: the hooks that an adapter's contract test writes,
and ways to submit, look, retry and read that every engine shares.
"""

import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NoReturn
from uuid import uuid4

import pytest

from engines.base import (
    Definition,
    EngineAdapter,
    EngineError,
    LogLine,
    Page,
    RunNotFound,
    RunSnapshot,
    RunSpec,
    Submission,
    TaskKey,
    TaskSnapshot,
    WorkflowSpec,
    external_id,
)
from engines.states import DeploymentState


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one whole pass of `observe` told."""

    runs: Mapping[str, RunSnapshot]
    missing: frozenset[str]
    cursors: tuple[str | None, ...]


class Harness:
    """The hooks, then what is built on them.

    Ids that hooks get are those that the adapter's `submit` gave back. A hook that makes the engine
    work returns when the engine shows the result; how long that takes is the hook's affair.
    """

    # Hooks

    def make_adapter(self) -> EngineAdapter:
        """A new adapter on the engine under test; called more than once in a test."""
        self._missing("make_adapter")

    def make_workflow(self) -> WorkflowSpec:
        """A workflow of at least two tasks, one after the other, whose first task writes a log."""
        self._missing("make_workflow")

    def make_asking_workflow(self) -> WorkflowSpec:
        """A workflow whose only task asks, as soon as the run is submitted, for a run of the workflow
        `Other` with the parameters {"n": 1}, and doesn't try twice. Only for adapters with
        `asks_for_runs`."""
        self._missing("make_asking_workflow")

    def start(self, run_id: str) -> None:
        """Lets the engine work until the run is RUNNING and its first task has written to its
        log.
        """
        self._missing("start")

    def finish(self, run_id: str) -> None:
        """Lets the engine work until the run is final, by itself: COMPLETED, unless it was
        canceled.
        """
        self._missing("finish")

    def fail(self, run_id: str) -> None:
        """Makes the first task fail once, and lets the engine work until the run is FAILED."""
        self._missing("fail")

    def times_started(self, run_id: str) -> int:
        """How often the engine really started what was submitted under this id (or its tag)."""
        self._missing("times_started")

    def lose_next_reply(self) -> None:
        """The engine does what the next submit asks, and its answer gets lost."""
        self._missing("lose_next_reply")

    def break_engine(self) -> None:
        """The engine can't be reached from now on (until the end of the test)."""
        self._missing("break_engine")

    def leave_file(self, run_id: str, task: str, path: str, data: bytes) -> None:
        """A file is left by the task, which runs. Only for adapters with `artifacts`."""
        self._missing("leave_file")

    def misspell(self, run_id: str) -> None:
        """The engine reports a word for the run's state that the adapter doesn't know."""
        self._missing("misspell")

    def break_second_page(self, adapter: EngineAdapter) -> None:
        """The next `observe` of four runs (where the adapter `observes_changes`: of what changed)
        takes two pages or more, and the second one fails."""
        self._missing("break_second_page")

    def mend(self) -> None:
        """Undoes `break_second_page`."""
        self._missing("mend")

    def make_stranger(self) -> EngineAdapter:
        """An adapter on the same engine with credentials that it doesn't accept."""
        self._missing("make_stranger")

    def secrets(self) -> Sequence[str]:
        """The secret values of both `make_adapter` and `make_stranger`."""
        self._missing("secrets")

    def requests_made(self) -> int:
        """How many requests (to a database of ours: statements) reached the engine so far."""
        self._missing("requests_made")

    def submit_many(self, adapter: EngineAdapter, specs: Sequence[RunSpec]) -> list[str]:
        """Submits runs, gives back their ids. Written anew where there is a faster way."""
        return [adapter.submit(spec).external_id for spec in specs]

    # What the sentences are made of

    def make_spec(
        self, adapter: EngineAdapter | None = None, *, attempt: int = 1, uuid: str = ""
    ) -> RunSpec:
        """A run of the workflow; with an adapter, the engine knows the workflow afterwards."""
        uuid = uuid or str(uuid4())
        workflow = self.deploy(adapter) if adapter else self.make_workflow()
        return RunSpec(
            external_id=external_id(uuid, attempt),
            uuid=uuid,
            run_id=1,
            attempt=attempt,
            workflow=workflow,
            parameters={},
            labels={},
        )

    def deploy(self, adapter: EngineAdapter) -> WorkflowSpec:
        workflow = self.make_workflow()
        assert adapter.deploy(workflow).state != DeploymentState.FAILED
        assert adapter.deployment(workflow).state == DeploymentState.READY
        return workflow

    def submit_again(self, adapter: EngineAdapter, spec: RunSpec) -> RunSnapshot:
        """As the reconciler does it: an engine that wouldn't notice the second is asked first."""
        if adapter.submission in {Submission.TAKES_ID, Submission.TAG_ONLY}:
            try:
                return adapter.find(spec.external_id)
            except RunNotFound:
                pass
        return adapter.submit(spec)

    def look(self, adapter: EngineAdapter, *ids: str) -> Look:
        return _merged(adapter.observe(None, ids))

    def changes(self, adapter: EngineAdapter, cursor: str | None) -> Look:
        return _merged(adapter.observe(cursor, ()))

    def snapshot(self, adapter: EngineAdapter, run_id: str) -> RunSnapshot:
        return self.look(adapter, run_id).runs[run_id]

    def tasks(self, adapter: EngineAdapter, run_id: str) -> dict[TaskKey, TaskSnapshot]:
        return {(task.task, task.map_index): task for task in self.snapshot(adapter, run_id).tasks}

    def definition(self, adapter: EngineAdapter) -> Definition:
        workflow = self.make_workflow()
        return adapter.read(workflow.definition, workflow.format)

    def first_task(self, adapter: EngineAdapter) -> str:
        return self.definition(adapter).tasks[0].name

    def can(self, adapter: EngineAdapter, flag: str) -> bool:
        return adapter.capability_table()[flag] is True

    def read_log(
        self, adapter: EngineAdapter, run_id: str, task: str, offset: int
    ) -> tuple[list[LogLine], int]:
        """The rest of a finished try's log, and the offset of its end."""
        lines: list[LogLine] = []
        while True:
            chunk = adapter.logs(run_id, task, -1, 1, offset)
            lines += chunk.lines
            if chunk.complete:
                return lines, chunk.next_offset
            assert chunk.next_offset > offset, "The log stands still and is not complete."
            offset = chunk.next_offset

    def complaints(self, adapter: EngineAdapter, run_id: str) -> list[str]:
        """The whole text of every error that asking about a run brings."""
        task = self.first_task(adapter)
        texts = []
        for ask in (
            adapter.health,
            lambda: adapter.find(run_id),
            lambda: self.look(adapter, run_id),
            lambda: adapter.submit(self.make_spec()),
            lambda: adapter.cancel(run_id),
            lambda: adapter.logs(run_id, task, -1, 1, 0),
            lambda: adapter.artifacts(run_id, task, -1),
            lambda: adapter.open_artifact(run_id, task, -1, "x"),
        ):
            try:
                ask()
            except EngineError as error:
                texts.append("".join(traceback.format_exception(error)) + repr(error))
        return texts

    def _missing(self, hook: str) -> NoReturn:
        pytest.fail(
            f"{type(self).__name__} has no hook {hook!r}: write it, or name this test in `cannot` "
            "with the reason."
        )


def _merged(pages: Iterable[Page]) -> Look:
    runs: dict[str, RunSnapshot] = {}
    missing: set[str] = set()
    cursors: list[str | None] = []
    for page in pages:
        runs.update({snapshot.external_id: snapshot for snapshot in page.snapshots})
        missing.update(page.missing)
        cursors.append(page.cursor)
    return Look(runs=runs, missing=frozenset(missing), cursors=tuple(cursors))
