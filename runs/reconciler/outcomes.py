"""What becomes of a run after a call to its engine: each outcome is a function from the run as it is
read then to a change. It may be asked again with the run read anew, because somebody changed the run
while the call was on its way: the answer of an engine is never dropped for that."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from engines.base import EngineUnavailable, RunSnapshot, Submission
from runs import moves
from runs.models import RunEvent
from runs.reconciler.asking import ask_next
from runs.reconciler.backoff import MOST, QUARANTINE_AFTER, full_jitter
from runs.reconciler.facts import Case
from runs.reconciler.merge import Report, end_run, merge
from runs.states import Cause, Flag, Reason, RunState, Wanted

logger = logging.getLogger("workflowhub.sync")
AGAIN = 5  # as after so many failures, where nobody counts them

Outcome = Callable[[Case, datetime], moves.RunChange]
"""(the run as it is now, the database's time) -> the change"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """The engine has the run, and told how it stands."""

    attempt: int
    snapshot: RunSnapshot
    began_at: datetime
    submission: Submission
    in_place: bool

    def __call__(self, case: Case, now: datetime) -> moves.RunChange:
        if case.run.attempt != self.attempt or case.run.final:
            return out_of_hand(case)
        ours = {case.run.external_id}
        if self.in_place and case.kept is not None:
            ours.add(case.kept.external_id)  # the engine keeps one id through retries
        if self.snapshot.external_id not in ours and self.submission is not Submission.TAG_ONLY:
            change = out_of_hand(case)
            text = f"The engine answered with a run that isn't ours: {self.snapshot.external_id}."
            end_run(
                change,
                case,
                RunState.FAILED,
                Cause.REJECT,
                moves.RECONCILER,
                now=now,
                reason=Reason.CONFLICT,
                error=text,
            )
            return change
        report = Report(snapshot=self.snapshot, began_at=self.began_at, told=True)
        change, _ = merge(case, report, now=now, in_place=self.in_place)
        return change.set(in_hand=False, failures=0, kills=0, last_error="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Untouched:
    """The call was never made. `sent_at`: of the attempt, before the intent."""

    sent_at: datetime | None

    def __call__(self, case: Case, now: datetime) -> moves.RunChange:
        change = out_of_hand(case).set(kills=0)
        change.attempt["sent_at"] = self.sent_at
        return change


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """The call failed, or what we did with its answer did: again later, and after many times in a
    row a person must look."""

    error: Exception

    def __call__(self, case: Case, now: datetime) -> moves.RunChange:
        run, change = case.run, out_of_hand(case)
        if run.final:
            if any(task.wanted == Wanted.CANCEL for task in case.open_tasks()):
                # A hook is to be stopped: that is all that is left to be done.
                change.fields["next_check_at"] = now + timedelta(seconds=full_jitter(AGAIN))
            return change
        failures = run.failures + 1
        text = str(self.error) or type(self.error).__name__
        if not isinstance(self.error, EngineUnavailable):
            text = f"{type(self.error).__name__}: {text}"
            if run.engine:
                text = run.engine.words_of(self.error)
        wait = full_jitter(failures)
        if isinstance(self.error, EngineUnavailable) and self.error.retry_after:
            # What is longer is the breaker's to keep: it lets nobody ask before.
            wait = max(wait, min(self.error.retry_after, MOST))
        change.set(failures=failures, last_error=text[:2000])
        change.fields["next_check_at"] = now + timedelta(seconds=wait)
        if failures >= QUARANTINE_AFTER:
            quarantine(change, f"{failures} errors in a row, the last: {text[:300]}")
        return change


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The engine refuses to take it, now and for ever; or `by` somebody else."""

    attempt: int
    error: str
    reason: Reason = Reason.REJECTED
    by: moves.By | None = None

    def __call__(self, case: Case, now: datetime) -> moves.RunChange:
        change = out_of_hand(case)
        if case.run.attempt == self.attempt and not case.run.final:
            by = self.by or moves.By(kind=RunEvent.ActorKind.ENGINE, name=_engine(case))
            end_run(
                change,
                case,
                RunState.FAILED,
                Cause.REJECT,
                by,
                now=now,
                reason=self.reason,
                error=self.error,
            )
        return change


@dataclass(frozen=True, slots=True, kw_only=True)
class Flagged:
    """It can't go on without a person."""

    flag: Flag
    text: str

    def __call__(self, case: Case, now: datetime) -> moves.RunChange:
        change = out_of_hand(case).set(
            failures=0, kills=0, last_error=self.text, next_check_at=None
        )
        add_flag(change, self.flag, self.text)
        return change


@dataclass(frozen=True, slots=True, kw_only=True)
class NobodyHasIt:
    """A person wants it to end and no engine has it."""

    attempt: int

    def __call__(self, case: Case, now: datetime) -> moves.RunChange:
        change = out_of_hand(case)
        run = case.run
        if run.attempt == self.attempt and not run.final and run.wanted == Wanted.CANCEL:
            end_run(change, case, RunState.CANCELED, Cause.CANCEL, moves.RECONCILER, now=now)
        return change


@dataclass(frozen=True, slots=True, kw_only=True)
class NotHere:
    """This engine doesn't have a run that it may have taken in a time that a restore undid."""

    attempt: int
    engine_id: int

    def __call__(self, case: Case, now: datetime) -> moves.RunChange:
        change = out_of_hand(case).set(failures=0, kills=0, last_error="")
        run = case.run
        same = (run.attempt, run.engine_id) == (self.attempt, self.engine_id)
        if not same or run.final or case.attempt.accepted_at or not case.attempt.ask_first:
            return change
        return ask_next(change, case, now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """Nothing is known yet: look again at `until`."""

    until: datetime

    def __call__(self, case: Case, now: datetime) -> moves.RunChange:
        return out_of_hand(case).set(next_check_at=self.until, kills=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSent:
    """The engine was asked to stop it; `again` is when to ask once more. `stuck`: why a person
    should look, if so."""

    again: datetime
    stuck: str = ""

    def __call__(self, case: Case, now: datetime) -> moves.RunChange:
        change = out_of_hand(case)
        if case.run.final or case.run.wanted != Wanted.CANCEL:
            return change
        change.set(failures=0, kills=0, last_error=self.stuck, cancel_sent_at=now)
        change.fields["next_check_at"] = self.again
        if self.stuck:
            add_flag(change, Flag.STUCK, self.stuck)
        return change


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksCanceled:
    """The engine was asked to stop tasks; `refused`: key of a task run -> why it wasn't taken."""

    asked: frozenset[int]
    refused: dict[int, str]

    def __call__(self, case: Case, now: datetime) -> moves.RunChange:
        change = out_of_hand(case).set(failures=0, kills=0, last_error="", next_check_at=None)
        for task in case.tasks.values():
            if task.pk in self.refused:
                change.tasks[task.pk] = {"wanted": Wanted.RUN}
                change.note(Cause.TROUBLE, moves.RECONCILER, self.refused[task.pk][:500], task=task)
        return change


def out_of_hand(case: Case) -> moves.RunChange:
    return moves.RunChange(case.run).set(in_hand=False)


def add_flag(change: moves.RunChange, flag: Flag, text: str) -> None:
    """Sets a flag with what is known of it, and tells it once."""
    flags: dict[str, Any] = change.fields.get("flags", change.run.flags)
    if flag not in flags:
        change.note(Cause.TROUBLE, moves.RECONCILER, f"{flag.label}: {text}"[:500])
        change.set(flags={**flags, flag.value: text[:500]})


def quarantine(change: moves.RunChange, text: str) -> None:
    """Sets the run aside until a person cancels, marks or retries it."""
    add_flag(change, Flag.QUARANTINED, text)
    change.fields["next_check_at"] = None


def _engine(case: Case) -> str:
    return case.run.engine.name if case.run.engine else ""
