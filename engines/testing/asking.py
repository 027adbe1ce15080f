"""The sentences of EngineContract about tasks that ask for runs of other workflows."""

from dataclasses import replace
from uuid import uuid4

import pytest

from engines.base import (
    ChildOutcome,
    EngineAdapter,
    EngineRejected,
    RunNotFound,
    RunRequest,
    external_id,
)
from engines.states import FINAL_TASK_STATES, RunState, TaskState
from engines.testing.harness import Harness

OUTCOME = ChildOutcome(
    run_id=12, uuid=str(uuid4()), state=RunState.COMPLETED, result={"n": 5}, error=""
)


class AskingContract(Harness):
    """A part of EngineContract. Where the adapter doesn't say `asks_for_runs`, it must refuse."""

    def test_an_answer_that_nobody_asked_for_is_refused_or_not_found(
        self, adapter: EngineAdapter, running: str
    ) -> None:
        nobody = external_id(uuid4(), 1)
        error = RunNotFound if adapter.asks_for_runs else EngineRejected
        with pytest.raises(error):
            adapter.answer(nobody, f"{nobody}/ask", OUTCOME)
        assert self.snapshot(adapter, running).requests == ()

    def test_a_request_is_repeated_with_its_task_until_it_is_answered(
        self, adapter: EngineAdapter
    ) -> None:
        run_id, request = self._ask(adapter)
        assert 0 < len(request.key) <= 250
        assert (request.workflow, request.parameters, request.wait) == ("Other", {"n": 1}, True)
        for again in (adapter, self.make_adapter()):
            snapshot = self.snapshot(again, run_id)
            assert snapshot.requests == (request,)
            assert self.tasks(again, run_id)[request.task].state == TaskState.RUNNING
        adapter.answer(run_id, request.key, OUTCOME)
        assert self.snapshot(adapter, run_id).requests == ()

    def test_an_answer_ends_the_task_and_a_second_one_changes_nothing(
        self, adapter: EngineAdapter
    ) -> None:
        run_id, request = self._ask(adapter)
        adapter.answer(run_id, request.key, OUTCOME)
        task = self.tasks(adapter, run_id)[request.task]
        assert task.state == TaskState.COMPLETED
        assert task.result["result"] == OUTCOME.result
        assert task.result["run_id"] == OUTCOME.run_id
        before = self.snapshot(adapter, run_id)
        adapter.answer(run_id, request.key, OUTCOME)
        adapter.answer(
            run_id, request.key, ChildOutcome(run_id=None, state=RunState.FAILED, error="Too late.")
        )
        assert self.snapshot(adapter, run_id) == before

    @pytest.mark.parametrize("state", [RunState.FAILED, RunState.CANCELED])
    def test_a_requested_run_that_ended_badly_fails_its_task_with_both_named(
        self, adapter: EngineAdapter, state: RunState
    ) -> None:
        run_id, request = self._ask(adapter)
        outcome = ChildOutcome(run_id=12, state=state, error="The disk is full.")
        adapter.answer(run_id, request.key, outcome)
        task = self.tasks(adapter, run_id)[request.task]
        assert task.state == TaskState.FAILED
        assert "12" in task.error
        assert "The disk is full." in task.error

    def test_a_run_that_is_canceled_asks_for_nothing_any_more(self, adapter: EngineAdapter) -> None:
        run_id, request = self._ask(adapter)
        adapter.cancel(run_id)
        assert self.snapshot(adapter, run_id).requests == ()
        adapter.answer(run_id, request.key, OUTCOME)
        assert self.tasks(adapter, run_id)[request.task].state in FINAL_TASK_STATES
        assert self.snapshot(adapter, run_id).state == RunState.CANCELED

    def _ask(self, adapter: EngineAdapter) -> tuple[str, RunRequest]:
        """A run whose task waits for another, and its request."""
        if not adapter.asks_for_runs:
            pytest.skip(f"{adapter.label}: its tasks ask for no runs.")
        workflow = self.make_asking_workflow()
        assert adapter.read(workflow.definition, workflow.format).problems == ()
        run_id = adapter.submit(replace(self.make_spec(), workflow=workflow)).external_id
        (request,) = self.snapshot(adapter, run_id).requests
        return run_id, request
