"""EngineContract: the one suite that every adapter passes, whatever engine it talks to.

A mixin for pytest, not a TestCase. An adapter's tests/test_contract.py holds a subclass that says
how to reach a real or a fake engine and how to make it do things (the hooks of
engines.testing.harness); the sentences are here. What an engine can't show is a gap that the
subclass declares with its reason, so that it is skipped in plain sight:

    class TestContract(EngineContract):
        cannot = {"test_bad_credentials_are_rejected_not_unavailable": "It has no credentials."}

A hook that is neither written nor made needless by `cannot` fails its tests.
"""

from collections.abc import Mapping
from typing import ClassVar
from uuid import uuid4

import pytest

from engines.base import (
    CAPABILITIES,
    Definition,
    EngineAdapter,
    EngineRejected,
    EngineUnavailable,
    LogLine,
    RetrySpec,
    RunNotFound,
    RunSpec,
    Submission,
    external_id,
)
from engines.states import FINAL_RUN_STATES, RunState, TaskState
from engines.testing.asking import AskingContract
from engines.testing.garbage import GARBAGE
from engines.testing.leavings import LeavingsContract
from engines.testing.stopping import StoppingContract


class EngineContract(AskingContract, LeavingsContract, StoppingContract):
    """The sentences. A subclass writes the hooks of Harness and says what it `cannot` show."""

    # Test name -> why this engine can't show it.
    cannot: ClassVar[Mapping[str, str]] = {}
    # How many runs "many" is, and how many requests may observe them.
    many: ClassVar[int] = 500
    most_requests: ClassVar[int] = 10

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        unknown = [name for name in cls.cannot if not hasattr(EngineContract, name)]
        if unknown:
            raise TypeError(f"{cls.__name__}.cannot names no test of the contract: {unknown}")

    # Fixtures

    @pytest.fixture(autouse=True)
    def gap(self, request: pytest.FixtureRequest) -> None:
        name = getattr(request.node, "originalname", request.node.name)
        if name in self.cannot:
            pytest.skip(self.cannot[name])

    @pytest.fixture
    def adapter(self, gap: None) -> EngineAdapter:
        return self.make_adapter()

    @pytest.fixture
    def spec(self, adapter: EngineAdapter) -> RunSpec:
        return self.make_spec(adapter)

    @pytest.fixture
    def submitted(self, adapter: EngineAdapter, spec: RunSpec) -> str:
        return adapter.submit(spec).external_id

    @pytest.fixture
    def running(self, submitted: str) -> str:
        self.start(submitted)
        return submitted

    @pytest.fixture
    def failed(self, submitted: str) -> str:
        self.fail(submitted)
        return submitted

    # Submitting

    def test_submitting_twice_with_one_key_starts_one_run(
        self, adapter: EngineAdapter, spec: RunSpec
    ) -> None:
        first = adapter.submit(spec)
        second = self.submit_again(adapter, spec)
        assert second.external_id == first.external_id
        assert self.times_started(first.external_id) == 1

    def test_submitting_again_after_a_lost_reply_finds_the_run(
        self, adapter: EngineAdapter, spec: RunSpec
    ) -> None:
        self.lose_next_reply()
        with pytest.raises(EngineUnavailable):
            adapter.submit(spec)
        found = self.submit_again(self.make_adapter(), spec)
        assert self.times_started(found.external_id) == 1
        assert self.look(adapter, found.external_id).runs.keys() == {found.external_id}

    def test_a_run_is_found_by_our_id(
        self, adapter: EngineAdapter, spec: RunSpec, submitted: str
    ) -> None:
        assert adapter.find(spec.external_id).external_id == submitted
        with pytest.raises(RunNotFound):
            adapter.find(external_id(uuid4(), 1))

    # Observing

    def test_observing_leaves_out_unknown_runs(
        self, adapter: EngineAdapter, submitted: str
    ) -> None:
        stranger = external_id(uuid4(), 1)
        look = self.look(adapter, submitted, stranger)
        assert submitted in look.runs
        assert stranger not in look.runs
        assert look.missing == {stranger}

    def test_an_engine_that_is_down_says_nothing_about_runs(
        self, adapter: EngineAdapter, running: str
    ) -> None:
        self.break_engine()
        for ask in (
            lambda: self.look(adapter, running),
            lambda: adapter.find(running),
            lambda: adapter.submit(self.make_spec()),
            adapter.health,
        ):
            with pytest.raises(EngineUnavailable):
                ask()

    def test_every_state_is_one_of_ours(self, adapter: EngineAdapter, submitted: str) -> None:
        seen = [self.snapshot(adapter, submitted)]
        self.start(submitted)
        seen.append(self.snapshot(adapter, submitted))
        self.finish(submitted)
        seen.append(self.snapshot(adapter, submitted))
        assert [snapshot.state for snapshot in seen][1:] == [RunState.RUNNING, RunState.COMPLETED]
        for snapshot in seen:
            assert isinstance(snapshot.state, RunState)
            assert snapshot.raw_state
            for task in snapshot.tasks:
                assert isinstance(task.state, TaskState)

    def test_a_word_we_dont_know_is_unknown(self, adapter: EngineAdapter, running: str) -> None:
        self.misspell(running)
        snapshot = self.snapshot(adapter, running)
        assert snapshot.state is None
        assert snapshot.raw_state

    def test_many_runs_are_observed_in_few_requests(self, adapter: EngineAdapter) -> None:
        self.deploy(adapter)
        ids = self.submit_many(adapter, [self.make_spec() for _ in range(self.many)])
        before = self.requests_made()
        look = self.look(adapter, *ids)
        assert look.runs.keys() == set(ids)
        assert self.requests_made() - before <= self.most_requests

    def test_a_page_that_fails_half_way_moves_no_watermark(self, adapter: EngineAdapter) -> None:
        self.deploy(adapter)
        ids = [adapter.submit(self.make_spec()).external_id for _ in range(4)]
        watching = () if adapter.observes_changes else ids
        self.break_second_page(adapter)
        cursors = []
        with pytest.raises(EngineUnavailable):
            for page in adapter.observe(None, watching):
                cursors.append(page.cursor)
        assert cursors, "The first page was to come through."
        assert set(cursors) == {None}
        self.mend()
        assert self.look(adapter, *ids).runs.keys() >= set(ids)

    def test_a_cursor_comes_only_with_the_last_page(
        self, adapter: EngineAdapter, running: str
    ) -> None:
        look = self.look(adapter, running)
        assert set(look.cursors[:-1]) <= {None}
        if adapter.observes_changes:
            assert look.cursors[-1]
            assert self.changes(adapter, look.cursors[-1]).runs == {}
            self.finish(running)
            changed = self.changes(adapter, look.cursors[-1])
            assert changed.runs[running].state == RunState.COMPLETED
        else:
            assert set(look.cursors) <= {None}

    def test_the_first_final_snapshot_holds_every_task(
        self, adapter: EngineAdapter, running: str
    ) -> None:
        self.snapshot(adapter, running)
        self.finish(running)
        snapshot = self.snapshot(adapter, running)
        assert snapshot.state in FINAL_RUN_STATES
        definition = self.definition(adapter)
        assert {task.task for task in snapshot.tasks} >= {task.name for task in definition.tasks}
        assert all(task.state in set(TaskState) for task in snapshot.tasks)

    # Retrying

    def test_retry_does_what_its_flag_says(
        self, adapter: EngineAdapter, spec: RunSpec, failed: str
    ) -> None:
        again = self.make_spec(attempt=2, uuid=spec.uuid)
        undone = tuple(
            key
            for key, task in self.tasks(adapter, failed).items()
            if task.state != TaskState.COMPLETED
        )
        order = RetrySpec(previous_external_id=failed, tasks=undone)
        if not self.can(adapter, "retry_failed"):
            with pytest.raises(EngineRejected):
                adapter.retry(again, order)
            return
        first = adapter.retry(again, order)
        second = adapter.retry(again, order)
        assert second.external_id == first.external_id
        assert (first.external_id == failed) == adapter.retries_in_place
        self.finish(first.external_id)
        assert self.snapshot(adapter, first.external_id).state == RunState.COMPLETED
        # In place, the first attempt was started under this id as well.
        assert self.times_started(first.external_id) == (2 if adapter.retries_in_place else 1)

    def test_retry_keeps_what_is_done(
        self, adapter: EngineAdapter, spec: RunSpec, running: str
    ) -> None:
        if not self.can(adapter, "retry_task"):
            pytest.skip(f"{adapter.label}: {adapter.capability_table()['retry_task']}")
        self.finish(running)
        before = self.tasks(adapter, running)
        last = list(before)[-1]
        again = self.make_spec(attempt=2, uuid=spec.uuid)
        order = RetrySpec(previous_external_id=running, tasks=(last,))
        new = adapter.retry(again, order).external_id
        self.finish(new)
        after = self.tasks(adapter, new)
        assert {key: task.state for key, task in after.items()} == dict.fromkeys(
            before, TaskState.COMPLETED
        )
        kept = self.first_task(adapter), -1
        assert after[kept].ended_at == before[kept].ended_at

    # Logs

    def test_logs_resume_from_an_offset(self, adapter: EngineAdapter, running: str) -> None:
        task = self.first_task(adapter)
        early: list[LogLine] = []
        offset = 0
        if self.can(adapter, "live_logs"):
            chunk = adapter.logs(running, task, -1, 1, 0)
            early, offset = list(chunk.lines), chunk.next_offset
            assert early
        self.finish(running)
        late, end = self.read_log(adapter, running, task, offset)
        whole, whole_end = self.read_log(adapter, running, task, 0)
        assert early + late == whole
        assert end == whole_end
        assert [line.n for line in whole] == list(range(1, len(whole) + 1))
        nothing = adapter.logs(running, task, -1, 1, end)
        assert (nothing.lines, nothing.next_offset, nothing.complete) == ((), end, True)

    # Secrets

    def test_bad_credentials_are_rejected_not_unavailable(self, adapter: EngineAdapter) -> None:
        stranger = self.make_stranger()
        for ask in (
            stranger.health,
            lambda: stranger.submit(self.make_spec()),
            lambda: self.look(stranger, external_id(uuid4(), 1)),
        ):
            with pytest.raises(EngineRejected):
                ask()

    def test_secrets_never_appear_in_errors_or_repr(
        self, adapter: EngineAdapter, submitted: str
    ) -> None:
        stranger = self.make_stranger()
        texts = [repr(adapter), str(adapter), repr(stranger)]
        texts += self.complaints(stranger, submitted)
        texts += self.complaints(adapter, external_id(uuid4(), 1))
        self.break_engine()
        texts += self.complaints(adapter, submitted)
        assert len(texts) > 6, "Nothing went wrong, so nothing was tested."
        for secret in self.secrets():
            assert len(secret) >= 8, "A short secret proves nothing."
            assert not [text for text in texts if secret in text]

    # Definitions and flags

    def test_the_workflow_of_these_tests_is_read_without_a_problem(
        self, adapter: EngineAdapter
    ) -> None:
        definition = self.definition(adapter)
        assert definition.problems == ()
        assert len(definition.tasks) >= 2
        assert definition.tasks[1].name in definition.tasks[0].downstream

    @pytest.mark.parametrize("number", range(len(GARBAGE)))
    def test_reading_never_raises_on_garbage(self, adapter: EngineAdapter, number: int) -> None:
        for form in adapter.formats:
            found = adapter.read(GARBAGE[number], form)
            assert isinstance(found, Definition)
            assert found.problems
            assert all(problem.message for problem in found.problems)
        assert adapter.read(self.make_workflow().definition, "no-such-format").problems

    def test_every_flag_is_true_or_says_why_not(self, adapter: EngineAdapter) -> None:
        health = adapter.health()
        assert health.ok
        for table in (adapter.capability_table(), health.capabilities):
            assert set(table) <= set(CAPABILITIES)
            assert all(
                value is True or (isinstance(value, str) and value) for value in table.values()
            )
        assert isinstance(adapter.submission, Submission)
