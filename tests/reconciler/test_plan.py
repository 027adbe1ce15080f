"""plan(wanted, seen, now): a table of cases, and what holds for every sequence of events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.base import Submission
from runs.reconciler import plan as p
from runs.states import FINAL_RUN_STATES, Flag, Reason, RetryMode, RunState, Wanted, WorkflowState

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
LIMITS = p.Limits(quarantine=120, deadline=30, stuck_after=180)
A = p.EngineSeen(submission=Submission.DEDUPLICATES)
B = p.EngineSeen(submission=Submission.TAKES_ID)
C = p.EngineSeen(submission=Submission.TAG_ONLY)
D = p.EngineSeen(submission=Submission.OURS)
OFF = replace(A, enabled=False)
FULL = replace(A, accepts_runs=False)


def ago(seconds):
    return NOW - timedelta(seconds=seconds)


def at(seconds):
    return NOW + timedelta(seconds=seconds)


def sent(engine, seconds=1.0, **kw):
    return p.Seen(engine=engine, sent_at=ago(seconds), **kw)


def running(engine=A, **kw):
    return p.Seen(state=RunState.RUNNING, engine=engine, sent_at=ago(9), accepted_at=ago(8), **kw)


RUN, CANCEL, HOLD = Wanted.RUN, Wanted.CANCEL, Wanted.HOLD
RETRY = {"mode": RetryMode.FAILED, "keeps": True}
CASES = {
    "held": (HOLD, p.Seen(engine=A), p.Nothing()),
    "no engine": (RUN, p.Seen(), p.Route()),
    "new": (RUN, p.Seen(engine=A), p.Submit()),
    "not deployed": (
        RUN,
        p.Seen(engine=A, workflow=WorkflowState.DEPLOYING),
        p.Wait(at(30), Reason.DEPLOYING),
    ),
    "not its turn": (RUN, p.Seen(engine=A, waits="queued"), p.Wait(at(300), "queued")),
    "not its turn, canceled": (
        CANCEL,
        p.Seen(engine=A, waits="queued"),
        p.Finish(RunState.CANCELED),
    ),
    "pinned engine off": (RUN, p.Seen(engine=OFF, pinned=True), p.Wait(at(30), Reason.ENGINE_OFF)),
    "engine off": (RUN, p.Seen(engine=OFF), p.Route()),
    "engine takes no runs": (RUN, p.Seen(engine=FULL), p.Route()),
    "engine takes no runs, sent": (RUN, sent(FULL), p.Recover(p.Submit())),
    "retry stays with its engine": (
        RUN,
        p.Seen(engine=FULL, **RETRY),
        p.Wait(at(30), Reason.ENGINE_OFF),
    ),
    "set aside": (RUN, p.Seen(engine=A, flags=frozenset({Flag.QUARANTINED})), p.Nothing()),
    "retry": (RUN, p.Seen(engine=A, **RETRY), p.Retry()),
    "retry of what was never taken": (
        RUN,
        p.Seen(engine=A, mode=RetryMode.FAILED, keeps=False),
        p.Submit(),
    ),
    "retry of everything": (RUN, p.Seen(engine=A, mode=RetryMode.ALL, keeps=True), p.Submit()),
    "unclear A": (RUN, sent(A), p.Recover(p.Submit())),
    "unclear B": (RUN, sent(B), p.Recover(p.Wait(at(39)))),
    "unclear B, settled": (RUN, sent(B, 41), p.Recover(p.Submit())),
    "unclear C": (RUN, sent(C), p.Recover(p.Wait(at(129)))),
    "unclear C, settled": (RUN, sent(C, 131), p.Recover(p.Submit())),
    "unclear D": (RUN, sent(D), p.Recover(p.Submit())),
    "unclear retry": (RUN, sent(A, **RETRY), p.Recover(p.Retry())),
    "unclear retry in place": (RUN, sent(replace(A, in_place=True), **RETRY), p.Retry()),
    "unclear, engine off": (RUN, sent(OFF), p.Wait(at(30), Reason.ENGINE_OFF)),
    "unknown": (RUN, sent(C, 999, flags=frozenset({Flag.SUBMIT_UNKNOWN})), p.Nothing()),
    "cancel unsent": (CANCEL, p.Seen(engine=A), p.Finish(RunState.CANCELED)),
    "cancel without engine": (CANCEL, p.Seen(), p.Finish(RunState.CANCELED)),
    "cancel unclear": (CANCEL, sent(A), p.Recover(p.Wait(at(39)))),
    "cancel unclear, settled": (CANCEL, sent(A, 41), p.Recover(p.Finish(RunState.CANCELED))),
    "cancel unclear D": (CANCEL, sent(D), p.Recover(p.Finish(RunState.CANCELED))),
    "cancel unclear C": (CANCEL, sent(C), p.Recover(p.Wait(at(129)))),
    "cancel": (CANCEL, running(cancel_requested_at=NOW), p.Cancel(at(5), False)),
    "cancel for long": (CANCEL, running(cancel_requested_at=ago(200)), p.Cancel(at(60), True)),
    "cancel that can't be": (
        CANCEL,
        running(replace(A, can_cancel=False), cancel_requested_at=NOW),
        p.Cancel(at(5), True),
    ),
    "cancel, engine off": (CANCEL, running(OFF), p.Wait(at(30))),
    "cancel a task": (RUN, running(tasks_to_cancel=1), p.CancelTasks()),
    "running": (RUN, running(), p.Look()),
    "running, engine off": (RUN, running(OFF), p.Nothing()),
    "ended": (RUN, p.Seen(state=RunState.FAILED, engine=A), p.Nothing()),
    "restored": (RUN, sent(A, to_ask=1), p.Recover(p.AskNext())),
    "restored, others may have it": (RUN, sent(A, to_ask=2), p.Recover(p.Wait(at(39)))),
    "restored, others, settled": (RUN, sent(A, 41, to_ask=2), p.Recover(p.AskNext())),
    "restored B": (RUN, sent(B, to_ask=1), p.Recover(p.Wait(at(39)))),
    "restored C": (RUN, sent(C, to_ask=3), p.Recover(p.Wait(at(129)))),
    "restored C, settled": (RUN, sent(C, 131, to_ask=1), p.Recover(p.AskNext())),
    "restored, canceled": (CANCEL, sent(A, to_ask=1), p.Recover(p.Wait(at(39)))),
    "restored, canceled, settled": (CANCEL, sent(A, 41, to_ask=1), p.Recover(p.AskNext())),
    "restored, held": (HOLD, sent(A, to_ask=1), p.Recover(p.AskNext())),
    "restored, held, found": (HOLD, running(to_ask=1), p.Look()),
    "restored, time unknown": (RUN, p.Seen(engine=B, to_ask=1), p.Recover(p.Wait(at(40)))),
    "restored, engine off": (RUN, sent(OFF, to_ask=1), p.Wait(at(30), Reason.ENGINE_OFF)),
    "restored, engine off, others": (RUN, sent(OFF, to_ask=2), p.AskNext()),
    "restored, engine gone": (RUN, sent(None, to_ask=1), p.Wait(at(30), Reason.ENGINE_OFF)),
    "restored, engine gone, others": (RUN, sent(None, to_ask=2), p.AskNext()),
    "restored, unknown": (
        RUN,
        sent(C, 999, to_ask=1, flags=frozenset({Flag.SUBMIT_UNKNOWN})),
        p.Nothing(),
    ),
    "restored, set aside, held": (
        HOLD,
        sent(C, 999, to_ask=1, flags=frozenset({Flag.QUARANTINED})),
        p.Nothing(),
    ),
    "restored, unknown, canceled": (
        CANCEL,
        sent(C, 999, to_ask=1, flags=frozenset({Flag.SUBMIT_UNKNOWN})),
        p.Recover(p.AskNext()),
    ),
    "restored, retry": (RUN, sent(A, to_ask=1, **RETRY), p.Recover(p.AskNext())),
    "restored, retry in place": (
        RUN,
        sent(replace(A, in_place=True), to_ask=1, **RETRY),
        p.Retry(),
    ),
    "restored, retry in place, canceled": (
        CANCEL,
        sent(replace(A, in_place=True), 41, to_ask=1, **RETRY),
        p.Recover(p.AskNext()),
    ),
    "restored, ended": (RUN, p.Seen(state=RunState.FAILED, to_ask=1), p.Nothing()),
    "ended, another attempt waits": (
        CANCEL,
        p.Seen(state=RunState.CANCELED, engine=A, queued=True),
        p.Begin(),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_step_is(case):
    wanted, seen, step = CASES[case]
    assert p.plan(wanted, seen, NOW, LIMITS) == (step,)


def test_a_cancel_is_sent_again_only_after_a_while():
    seen = running(cancel_requested_at=ago(2), cancel_sent_at=ago(2))
    assert p.plan(CANCEL, seen, NOW, LIMITS) == (p.Wait(at(3)), p.Look())
    later = p.plan(CANCEL, seen, at(4), LIMITS)
    assert isinstance(later[0], p.Cancel)


times = st.one_of(st.none(), st.floats(0, 400).map(ago))
engines = st.builds(
    p.EngineSeen,
    submission=st.sampled_from(Submission),
    enabled=st.booleans(),
    accepts_runs=st.booleans(),
    in_place=st.booleans(),
    can_cancel=st.booleans(),
)
facts = st.builds(
    p.Seen,
    state=st.sampled_from(RunState),
    engine=st.one_of(st.none(), engines),
    pinned=st.booleans(),
    workflow=st.sampled_from(WorkflowState),
    mode=st.sampled_from(RetryMode),
    sent_at=times,
    accepted_at=times,
    keeps=st.booleans(),
    queued=st.booleans(),
    flags=st.frozensets(st.sampled_from([flag.value for flag in Flag])),
    cancel_requested_at=times,
    cancel_sent_at=times,
    tasks_to_cancel=st.integers(0, 2),
    to_ask=st.integers(0, 3),
)


@given(st.sampled_from(Wanted), facts)
def test_whatever_is_seen_there_is_a_step_and_it_is_safe(wanted, seen):
    steps = p.plan(wanted, seen, NOW, LIMITS)
    assert steps
    sends = [step for step in steps if isinstance(step, p.Submit | p.Retry)]
    if seen.state in FINAL_RUN_STATES or wanted == Wanted.HOLD or seen.accepted_at:
        assert not sends, "nothing is sent twice, nor after the end"
    if any(isinstance(step, p.Submit) for step in steps):
        assert seen.sent_at is None, "a second submit comes only after a look-up"
        assert not seen.to_ask, "nor is anything sent that may have been sent before a restore"
        assert wanted == Wanted.RUN
    for step in steps:
        if isinstance(step, p.Recover) and not isinstance(step.otherwise, p.Wait):
            again = isinstance(step.otherwise, p.Submit | p.Retry)
            if isinstance(step.otherwise, p.AskNext):
                again = wanted != Wanted.CANCEL and seen.to_ask == 1
            settle = p.settle_seconds(seen.engine.submission, LIMITS, again=again)
            assert (seen.sent_at or NOW) + timedelta(seconds=settle) <= NOW
        if isinstance(step, p.Submit | p.Retry | p.Recover | p.Cancel | p.CancelTasks):
            assert seen.engine is not None and seen.engine.enabled
        if isinstance(step, p.Wait):
            assert step.until > NOW
        if isinstance(step, p.Finish):
            assert wanted == Wanted.CANCEL and seen.sent_at is None and seen.accepted_at is None


class World:
    """An engine that takes our calls or loses them, driven by `plan` alone."""

    def __init__(self, submission):
        self.engine = p.EngineSeen(submission=submission)
        self.seen = p.Seen(engine=self.engine)
        self.wanted = Wanted.RUN
        self.now = NOW
        self.started = 0
        self.late = []  # (when it arrives)

    def arrive(self):
        due = [when for when in self.late if when <= self.now]
        self.late = [when for when in self.late if when > self.now]
        for _ in due:
            if self.engine.submission in {Submission.DEDUPLICATES, Submission.OURS}:
                self.started = 1
            else:
                self.started += 1

    def step(self, fate, delay):
        self.arrive()
        (step, *_) = p.plan(self.wanted, self.seen, self.now, LIMITS)
        if isinstance(step, p.Recover):
            if fate == "down":
                return
            if self.started:
                self.seen = replace(self.seen, accepted_at=self.now, state=RunState.RUNNING)
                return
            step = step.otherwise
        if isinstance(step, p.Submit):
            self.seen = replace(self.seen, sent_at=self.now)
            if fate == "down":
                return
            most = p.settle_seconds(self.engine.submission, LIMITS, again=True)
            self.late.append(self.now + timedelta(seconds=min(delay, most)))
            if fate == "answered":
                self.late[-1] = self.now
                self.arrive()
                self.seen = replace(self.seen, accepted_at=self.now, state=RunState.RUNNING)


@given(
    st.sampled_from(Submission),
    st.lists(
        st.tuples(
            st.sampled_from(["answered", "lost", "down"]),
            st.floats(0, 200),
            st.floats(0.1, 100),
        ),
        max_size=25,
    ),
)
def test_no_sequence_of_lost_calls_and_crashes_starts_a_run_twice(submission, history):
    world = World(submission)
    for fate, delay, passes in history:
        world.step(fate, delay)
        world.now += timedelta(seconds=passes)
        world.arrive()
        assert world.started <= 1
    for _ in range(10):
        world.now += timedelta(seconds=200)
        world.step("answered", 0)
    assert world.started == 1 and world.seen.accepted_at is not None
