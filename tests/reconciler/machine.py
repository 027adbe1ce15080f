"""A world in memory for the state machine of test_machine.py: one run, its engine with every fault that
a network has, and a reconciler that may be stopped at each of its boundaries.

The decisions are the product's (`plan`, `outcomes`, `merge`, `settle`, `moves.RunChange`); only what
PostgreSQL and HTTP do is played here: `Store.write` is moves.apply's compare-and-set.
"""

import copy
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from engines.base import EngineUnavailable, Submission
from engines.models import Engine
from runs import moves
from runs.models import RunAttempt, RunEvent, TaskRun, Workflow, WorkflowRun
from runs.reconciler import outcomes, plan
from runs.reconciler.facts import Case
from runs.reconciler.handle import KILLS, seen_of
from runs.reconciler.merge import Report, merge
from runs.reconciler.settle import settle_case
from runs.states import (
    FINAL_RUN_STATES,
    FINAL_TASK_STATES,
    Cause,
    Flag,
    RetryMode,
    RunState,
    Wanted,
    WorkflowState,
)
from tests.reconciler.machine_engine import TASKS, Execution, FakeEngine, Fault

LIMITS = plan.Limits(quarantine=120, deadline=30, stuck_after=180)
USER = moves.By(kind=RunEvent.ActorKind.USER, name="somebody")


class World:
    """`tick` is the reconciler's generator: it stops at each boundary, to go on or to be dropped."""

    def __init__(self, submission: Submission) -> None:
        self.now = datetime(2026, 1, 1, tzinfo=UTC)
        self.engine = FakeEngine(submission)
        self.row = Engine(pk=1, name="engine", kind="remote")
        self.seen = plan.EngineSeen(submission=submission)
        self.run = WorkflowRun(
            pk=1,
            workflow=Workflow(pk=1, title="w", state=WorkflowState.READY),
            engine=self.row,
            created_at=self.now,
            updated_at=self.now,
            external_id="",
            next_check_at=self.now,
        )
        own = self.run.external_id = f"wh-{self.run.uuid}-1"
        first = RunAttempt(run=self.run, number=1, external_id=own, begun_at=self.now)
        self.attempts = {1: first}
        self.tasks = {
            (name, -1): TaskRun(pk=at, run=self.run, name=name) for at, name in enumerate(TASKS, 1)
        }
        self.events = [("", RunState.PENDING, Cause.CREATE)]
        self.run.last_seq = 1
        self.reports: list[Report] = []
        self.fault = Fault.NONE
        self.ticking: Iterator[None] | None = None
        self.marked_while_live = False

    # What the database does

    def case(self) -> Case:
        """As read now: what is written later doesn't show in it."""
        run = copy.copy(self.run)
        run.flags = dict(self.run.flags)
        return Case(
            run=run,
            attempts={number: copy.copy(row) for number, row in self.attempts.items()},
            tasks={key: copy.copy(task) for key, task in self.tasks.items()},
        )

    def write(self, change: moves.RunChange) -> bool:
        """Compare-and-set on the version."""
        if not change:
            return True
        if change.run.version != self.run.version:
            return False
        for name, value in change.fields.items():
            setattr(self.run, name, value)
        for name, value in change.attempt.items():
            setattr(self.attempts[self.run.attempt], name, value)
        for task in self.tasks.values():
            for name, value in change.tasks.get(task.pk, {}).items():
                setattr(task, name, value)
        told = [event for event in change.events if event.task is None]
        self.events += [(event.old, event.new, event.cause) for event in told]
        self.run.version += 1
        self.run.last_seq += len(change.events)
        return True

    def settle(self, outcome: outcomes.Outcome) -> None:
        """An engine's answer is never dropped: the run is read anew where it changed meanwhile."""
        assert self.write(outcome(self.case(), self.now))

    # What the reconciler does

    def go_on(self) -> None:
        """To the next boundary, with a new tick where none is under way."""
        if self.ticking is None:
            self.ticking = self._tick()
        try:
            next(self.ticking)
        except StopIteration:
            self.ticking = None

    def _tick(self) -> Iterator[None]:
        case = self.case()
        if case.run.next_check_at is None or case.run.next_check_at > self.now:
            return
        kills = case.run.kills + case.run.in_hand
        if case.run.in_hand and kills >= KILLS:
            change = outcomes.out_of_hand(case).set(kills=kills)
            outcomes.quarantine(change, "killer")
            self.write(change)
            return
        steps = plan.plan(Wanted(case.run.wanted), seen_of(case, self.seen), self.now, LIMITS)
        yield
        calls = (plan.Submit, plan.Retry, plan.Recover, plan.Cancel)
        step = next((step for step in steps if isinstance(step, calls)), None)
        if step is None:
            self.write(settle_case(case, steps, self.now).set(in_hand=False))
            return
        committed = self.now
        intent = moves.RunChange(case.run).set(in_hand=True, kills=kills)
        if isinstance(step, plan.Submit | plan.Retry):
            intent.attempt["sent_at"] = committed
        if not self.write(intent):
            return
        yield
        if isinstance(step, plan.Cancel):
            yield from self._cancel(case, step)
        elif isinstance(step, plan.Recover):
            yield from self._recover(case, step)
        else:
            yield from self._send(case, committed)

    def _send(self, case: Case, committed: datetime) -> Iterator[None]:
        tag, attempt, began = case.run.external_id, case.run.attempt, self.now
        if (self.now - committed).total_seconds() > plan.CALL_WITHIN:
            self.settle(outcomes.Untouched(sent_at=case.attempt.sent_at))
            return
        fault, found = self.fault, None
        if fault in {Fault.NONE, Fault.DEAF}:
            found = self.engine.accept(tag, attempt)
        elif fault is Fault.LATE and self.engine.submission is not Submission.OURS:
            by_tag = self.engine.submission is Submission.TAG_ONLY
            most = timedelta(seconds=LIMITS.quarantine if by_tag else LIMITS.deadline)
            self.engine.under_way.append((self.now + most, tag, attempt))
        yield
        if found is None or fault is Fault.DEAF:
            self.settle(outcomes.Failed(error=EngineUnavailable("lost")))
            return
        self.settle(self._accepted(found, attempt, began))

    def _accepted(self, found: Execution, attempt: int, began: datetime) -> outcomes.Accepted:
        return outcomes.Accepted(
            attempt=attempt,
            snapshot=found.snapshot(),
            began_at=began,
            submission=self.engine.submission,
            in_place=False,
        )

    def _recover(self, case: Case, step: plan.Recover) -> Iterator[None]:
        if self.fault is not Fault.NONE:
            self.settle(outcomes.Failed(error=EngineUnavailable("lost")))
            return
        found, began = self.engine.find(case.run.external_id), self.now
        answer = self._accepted(found, case.run.attempt, began) if found else None
        yield
        if answer is not None:
            self.settle(answer)
        elif isinstance(step.otherwise, plan.Wait):
            self.settle(outcomes.Later(until=step.otherwise.until))
        elif isinstance(step.otherwise, plan.Finish):
            self.settle(outcomes.NobodyHasIt(attempt=case.run.attempt))
        else:
            # Its own intent: the run as it was read may be out of date by now.
            fresh = self.case()
            if fresh.run.version != case.run.version + 1:
                self.settle(outcomes.Later(until=self.now))
                return
            intent, committed = moves.RunChange(fresh.run), self.now
            intent.attempt["sent_at"] = committed
            self.write(intent)
            yield
            yield from self._send(case, committed)

    def _cancel(self, case: Case, step: plan.Cancel) -> Iterator[None]:
        found = self.engine.find(case.run.external_id)
        if self.fault in {Fault.NONE, Fault.DEAF} and found:
            found.cancel = True
        yield
        if self.fault is Fault.NONE:
            self.settle(outcomes.CancelSent(again=step.again, stuck="slow" if step.stuck else ""))
        else:
            self.settle(outcomes.Failed(error=EngineUnavailable("lost")))

    def crash(self) -> None:
        self.ticking = None

    def observe(self) -> None:
        """What the engine says now of the run's attempts; it may be told later, and again."""
        some = self.engine.executions[-3:]
        self.reports += [Report(snapshot=one.snapshot(), began_at=self.now) for one in some]

    def tell(self, report: Report) -> None:
        case = self.case()
        if report.snapshot.external_id != case.run.external_id:
            return  # it is looked up by this id
        change, _ = merge(case, report, now=self.now)
        self.write(change)

    # What people do, as runs.actions does it

    def cancel(self) -> None:
        run = self.run
        asked = run.wanted == Wanted.CANCEL and run.attempt + 1 not in self.attempts
        if run.final or (asked and Flag.QUARANTINED not in run.flags):
            return
        change = moves.RunChange(self.case().run)
        change.set(wanted=Wanted.CANCEL, cancel_requested_at=run.cancel_requested_at or self.now)
        change.note(Cause.CANCEL, USER)
        self.attempts.pop(run.attempt + 1, None)
        if self.attempts[run.attempt].sent_at is None:
            self._end_here(change)
        else:
            change.fields["next_check_at"] = self.now
        self.write(change)

    def retry(self, mode: RetryMode) -> None:
        run = self.run
        if run.attempt + 1 in self.attempts or (not run.final and run.wanted == Wanted.HOLD):
            return
        unsent = self.attempts[run.attempt].sent_at is None
        if not run.final and unsent:
            if run.wanted == Wanted.RUN and not run.flags:
                return  # what is asked for is on its way
            change = moves.RunChange(self.case().run)
            self._end_here(change)
            self.write(change)
        attempt = moves.queue_attempt(run, mode=mode, tasks=[], by=USER, parameters={})
        case = self.case()
        change = moves.RunChange(case.run)
        if run.final:
            tasks = case.tasks.values()
            moves.begin_attempt(
                change, attempt, tasks, USER, cause=Cause.RETRY, now=self.now, in_place=False
            )
        else:
            change.set(wanted=Wanted.CANCEL, cancel_requested_at=self.now)
            change.note(Cause.RETRY, USER)
            change.fields["next_check_at"] = self.now
        self.attempts[attempt.number] = attempt
        self.write(change)

    def mark(self, state: RunState) -> None:
        if self.run.final:
            return
        self.marked_while_live = True
        case = self.case()
        change = moves.RunChange(case.run).move(state, Cause.MARK, USER, now=self.now, forced=True)
        change.set(marked=True)
        moves.close_tasks(change, case.tasks.values(), state, USER, now=self.now)
        self.attempts.pop(self.run.attempt + 1, None)
        self.write(change)

    def _end_here(self, change: moves.RunChange) -> None:
        change.move(RunState.CANCELED, Cause.CANCEL, USER, now=self.now)
        moves.close_tasks(change, self.case().tasks.values(), RunState.CANCELED, USER, now=self.now)

    # What the engine and time do

    def proceed(self, one: Execution, end: RunState) -> None:
        if one.state == RunState.SCHEDULED and not one.cancel:
            one.state = RunState.RUNNING
        elif one.state not in FINAL_RUN_STATES:
            one.state = RunState.CANCELED if one.cancel else end

    def arrive(self) -> None:
        """The oldest lost call reaches the engine after all."""
        if self.engine.under_way:
            _, tag, attempt = self.engine.under_way.pop(0)
            self.engine.accept(tag, attempt)

    def wait(self, seconds: float) -> None:
        """Nothing stays under way for longer than a call may take."""
        self.now += timedelta(seconds=seconds)
        for until, tag, attempt in self.engine.under_way:
            if until <= self.now:
                self.engine.accept(tag, attempt)
        self.engine.under_way = [one for one in self.engine.under_way if one[0] > self.now]

    # What must hold

    def check(self) -> None:
        run = self.run
        for tag, number in self.engine.starts.items():
            assert number == 1, f"{tag} was started {number} times"
        if not self.marked_while_live:
            live = self.engine.live()
            assert len(live) <= 1, [one.tag for one in live]
            assert not (run.final and live), f"{run.state}, and {live[0].tag} goes on"
        state = ""
        for old, new, cause in self.events:
            if new:
                assert old == state, self.events
                begins = cause in {Cause.RETRY, Cause.RESTART, Cause.MARK}
                assert old not in FINAL_RUN_STATES or begins, self.events
                state = new
        assert state == run.state
        assert (run.ended_at is not None) == run.final
        assert run.attempt in self.attempts
        if run.final:
            assert all(task.state in FINAL_TASK_STATES for task in self.tasks.values())
            assert not run.in_hand
            assert self.attempts[run.attempt].state == run.state
        elif run.wanted != Wanted.HOLD and not run.flags.keys() & {
            Flag.QUARANTINED.value,
            Flag.SUBMIT_UNKNOWN.value,
        }:
            watched = self.attempts[run.attempt].accepted_at is not None
            assert watched or run.next_check_at is not None, "nobody will look at it"

    def come_to_rest(self) -> None:
        """Without further faults the run reaches its end."""
        self.crash()
        self.fault = Fault.NONE
        for _ in range(60):
            if Flag.QUARANTINED in self.run.flags:
                self.cancel()
            while self.go_on() or self.ticking is not None:
                pass
            for one in self.engine.live():
                self.proceed(one, RunState.COMPLETED)
            self.observe()
            if self.reports:
                self.tell(self.reports[-1])
            self.wait(20)
            self.check()
            if self.run.final and self.run.attempt + 1 not in self.attempts:
                return
        raise AssertionError(f"It never ends: {self.run.state}, {self.run.wanted}, {self.events}")
