"""A state machine over `plan`, `outcomes`, `merge` and `moves`: whatever people, the engine, the network
and crashes do and in whatever order, nothing starts twice, nothing is lost, and everything ends.

500 sequences of 50 steps; with WORKFLOWHUB_FAULTS_SCALE=10 they are 5,000 of 100.
"""

import pytest
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from engines.base import Submission
from runs.states import RetryMode, RunState
from tests.faults import chance
from tests.reconciler.machine import World
from tests.reconciler.machine_engine import Fault

ENDS = st.sampled_from([RunState.COMPLETED, RunState.FAILED])


class Machine(RuleBasedStateMachine):
    submission: Submission

    @initialize()
    def begin(self):
        self.world = World(self.submission)

    @rule(fault=st.sampled_from([Fault.NONE, *Fault]))
    def the_reconciler_goes_on(self, fault):
        self.world.fault = fault
        self.world.go_on()

    @precondition(lambda self: self.world.ticking is not None)
    @rule()
    def the_reconciler_dies(self):
        self.world.crash()

    @rule(seconds=st.sampled_from([0.1, 1, 10, 31, 130]))
    def time_passes(self, seconds):
        self.world.wait(seconds)

    @precondition(lambda self: self.world.engine.live())
    @rule(data=st.data(), end=ENDS)
    def the_engine_goes_on(self, data, end):
        self.world.proceed(data.draw(st.sampled_from(self.world.engine.live())), end)

    @precondition(lambda self: self.world.engine.under_way)
    @rule()
    def a_lost_call_arrives(self):
        self.world.arrive()

    @precondition(lambda self: self.world.engine.executions)
    @rule()
    def the_engine_is_observed(self):
        self.world.observe()

    @precondition(lambda self: self.world.reports)
    @rule(data=st.data())
    def a_report_is_told(self, data):
        """The newest, or an old one: late, doubled, out of order."""
        at = data.draw(
            st.integers(max(0, len(self.world.reports) - 6), len(self.world.reports) - 1)
        )
        self.world.tell(self.world.reports[at])

    @rule()
    def somebody_cancels(self):
        self.world.cancel()

    @rule(mode=st.sampled_from([RetryMode.ALL, RetryMode.RESTART, RetryMode.FAILED]))
    def somebody_retries(self, mode):
        self.world.retry(mode)

    @precondition(lambda self: self.world.run.attempt > 1)
    @rule(state=st.sampled_from([RunState.COMPLETED, RunState.FAILED]))
    def somebody_marks(self, state):
        self.world.mark(state)

    @invariant()
    def nothing_is_broken(self):
        if hasattr(self, "world"):
            self.world.check()

    def teardown(self):
        if hasattr(self, "world"):
            self.world.come_to_rest()


@pytest.mark.faults
@pytest.mark.parametrize("submission", Submission, ids=lambda one: one.name)
def test_nothing_starts_twice_or_is_lost(submission):
    machine = seed(chance.seed())(type("Case", (Machine,), {"submission": submission}))
    machine.TestCase.settings = settings(
        max_examples=chance.scaled(500) // len(Submission),
        stateful_step_count=50 if chance.scaled(1) == 1 else 100,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    machine.TestCase().runTest()
