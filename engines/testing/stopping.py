"""Part of EngineContract: runs and tasks that are to be stopped."""

import pytest

from engines.base import EngineAdapter, EngineRejected
from engines.states import RunState, TaskState
from engines.testing.harness import Harness

OVERDUE = "It took longer than its limit of 1 min."


class StoppingContract(Harness):
    """The sentences about stopping."""

    def test_cancel_does_what_its_flag_says(self, adapter: EngineAdapter, running: str) -> None:
        if not self.can(adapter, "cancel_run"):
            with pytest.raises(EngineRejected):
                adapter.cancel(running)
            return
        adapter.cancel(running)
        adapter.cancel(running)
        self.finish(running)
        assert self.snapshot(adapter, running).state == RunState.CANCELED
        adapter.cancel(running)

    def test_a_run_that_took_too_long_is_stopped_or_has_failed_of_that(
        self, adapter: EngineAdapter, running: str
    ) -> None:
        if not self.can(adapter, "cancel_run"):
            pytest.skip(f"{adapter.label}: {adapter.capability_table()['cancel_run']}")
        adapter.cancel(running, overdue=OVERDUE)
        adapter.cancel(running, overdue=OVERDUE)
        self.finish(running)
        ended = self.snapshot(adapter, running)
        if ended.state != RunState.CANCELED:
            said = (ended.state, ended.reason, ended.error)
            assert said == (RunState.FAILED, "timeout", OVERDUE)
        adapter.cancel(running, overdue=OVERDUE)

    def test_cancel_leaves_a_finished_run_as_it_ended(
        self, adapter: EngineAdapter, running: str
    ) -> None:
        if not self.can(adapter, "cancel_run"):
            pytest.skip(f"{adapter.label}: {adapter.capability_table()['cancel_run']}")
        self.finish(running)
        adapter.cancel(running)
        assert self.snapshot(adapter, running).state == RunState.COMPLETED

    def test_cancel_of_one_task_does_what_its_flag_says(
        self, adapter: EngineAdapter, running: str
    ) -> None:
        task = self.first_task(adapter)
        if not self.can(adapter, "cancel_task"):
            with pytest.raises(EngineRejected):
                adapter.cancel_task(running, task, -1)
            return
        adapter.cancel_task(running, task, -1)
        self.finish(running)
        assert self.tasks(adapter, running)[task, -1].state == TaskState.CANCELED
