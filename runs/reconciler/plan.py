"""What to do next for one run: pure. No database, no clock, no engine.

`plan(wanted, seen, now)` compares what is wanted of a run with all that is known of it and answers
with steps, which runs.reconciler.handle then takes. The same facts always give the same steps, so a
process that dies between two of them is followed by one that goes on from the facts.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from engines.base import Submission
from runs.reconciler.backoff import resend_after
from runs.states import FINAL_RUN_STATES, Flag, Reason, RetryMode, RunState, Wanted, WorkflowState

CALL_WITHIN = 10.0  # seconds after its intent; a call that hasn't begun by then isn't made


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Lengths in seconds, from the settings. `deadline`: the longest that a call may take."""

    quarantine: float = 120.0
    deadline: float = 30.0
    stuck_after: float = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSeen:
    """What is known of a run's engine. `can_cancel…`: its capability flags."""

    submission: Submission
    enabled: bool = True
    accepts_runs: bool = True
    in_place: bool = False
    can_cancel: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """All facts of one run. The attempt's: `mode`, `sent_at` (the newest call), `accepted_at`.

    `keeps`: an earlier attempt was accepted by this engine, so there is something to keep.
    `queued`: a further attempt waits for this one's end. `tasks_to_cancel`: task runs of which a
    person asked the end. `waits`: why it isn't this run's turn to begin, if so. `to_ask`: how many
    engines may have taken the attempt without our knowledge, because a restore undid it; the present
    one is the first of them.
    """

    state: RunState = RunState.PENDING
    engine: EngineSeen | None = None
    pinned: bool = False
    workflow: WorkflowState = WorkflowState.READY
    mode: RetryMode = RetryMode.START
    sent_at: datetime | None = None
    accepted_at: datetime | None = None
    to_ask: int = 0
    keeps: bool = False
    queued: bool = False
    waits: str = ""
    flags: frozenset[str] = frozenset()
    cancel_requested_at: datetime | None = None
    cancel_sent_at: datetime | None = None
    tasks_to_cancel: int = 0


@dataclass(frozen=True, slots=True)
class Route:
    """Find an engine by the run's labels."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Look again at `until`; with a reason where a person should see one."""

    until: datetime
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Submit:
    """Send the run to its engine, the intent committed before."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Ask the engine for an attempt that keeps what is done, the intent committed before."""


@dataclass(frozen=True, slots=True)
class Finish:
    """No engine has it: it ends as `state` here."""

    state: RunState


@dataclass(frozen=True, slots=True)
class AskNext:
    """This engine doesn't have it: the next one that may is asked, and after the last the run goes on
    as if it had never been sent."""


@dataclass(frozen=True, slots=True)
class Recover:
    """A call was made and nobody knows what came of it: look the run up by our id. Found: it is
    adopted. Not found: `otherwise`."""

    otherwise: "Submit | Retry | Finish | Wait | AskNext"


@dataclass(frozen=True, slots=True)
class Cancel:
    """Ask the engine to stop the run; ask again at `again`. `stuck`: it takes too long."""

    again: datetime
    stuck: bool


@dataclass(frozen=True, slots=True)
class CancelTasks:
    """Ask the engine to stop single tasks."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The queued attempt becomes the run's present one."""


@dataclass(frozen=True, slots=True)
class Look:
    """Nothing to do but to observe the run with this tick."""


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing, until somebody changes something."""


Step = (
    Route
    | Wait
    | Submit
    | Retry
    | Finish
    | AskNext
    | Recover
    | Cancel
    | CancelTasks
    | Begin
    | Look
    | Nothing
)
WAIT_FOR_TURN = 300.0  # runs.reconciler.turns calls it before
WAIT_FOR_OTHERS = 30.0  # the wake-up comes with the change; this is for the one that got lost


def plan(wanted: Wanted, seen: Seen, now: datetime, limits: Limits) -> tuple[Step, ...]:
    """The steps for one run, in order. `now`: the database's clock."""
    if seen.state in FINAL_RUN_STATES:
        return _ended(seen, now)
    if wanted == Wanted.HOLD and not seen.to_ask:
        return (Nothing(),)
    if seen.accepted_at is not None:
        return _accepted(wanted, seen, now, limits)
    if seen.to_ask:
        return _restored(wanted, seen, now, limits)
    if seen.sent_at is not None:
        return _unclear(wanted, seen, seen.sent_at, now, limits)
    if wanted == Wanted.CANCEL:
        return (Finish(RunState.CANCELED),)
    return _unsent(seen, now)


def settle_seconds(submission: Submission, limits: Limits, *, again: bool) -> float:
    """How long after a lost call it may still be accepted, so that not finding the run proves
    nothing yet. With `again`, where a second submit is harmless, there is nothing to wait for; but
    a run that is to end must not be begun by a call that was only late. Counted from the intent, which
    the call may follow by CALL_WITHIN."""
    begun = min(CALL_WITHIN, limits.quarantine)
    late = min(limits.deadline, limits.quarantine) + begun
    return {
        Submission.DEDUPLICATES: 0.0 if again else late,
        Submission.OURS: 0.0,
        Submission.TAKES_ID: late,
        Submission.TAG_ONLY: limits.quarantine + begun,
    }[submission]


def _unsent(seen: Seen, now: datetime) -> tuple[Step, ...]:
    later = now + timedelta(seconds=WAIT_FOR_OTHERS)
    engine = seen.engine
    if engine is None or not (engine.enabled and engine.accepts_runs):
        # In place there is something at this engine to keep; pinned, a person chose it.
        if engine and (seen.pinned or seen.keeps):
            return (Wait(later, Reason.ENGINE_OFF),)
        return (Route(),)
    if Flag.QUARANTINED in seen.flags:
        return (Nothing(),)
    if seen.workflow != WorkflowState.READY:
        return (Wait(later, Reason.DEPLOYING),)
    if seen.waits:
        return (Wait(now + timedelta(seconds=WAIT_FOR_TURN), seen.waits),)
    return (_send(seen),)


def _unclear(
    wanted: Wanted, seen: Seen, sent_at: datetime, now: datetime, limits: Limits
) -> tuple[Step, ...]:
    engine = seen.engine
    if engine is None or not engine.enabled:
        return (Wait(now + timedelta(seconds=WAIT_FOR_OTHERS), Reason.ENGINE_OFF),)
    if wanted == Wanted.RUN and not seen.flags.isdisjoint({Flag.SUBMIT_UNKNOWN, Flag.QUARANTINED}):
        return (Nothing(),)
    if _send(seen) == Retry() and engine.in_place:
        # The run is there in any case, so finding it proves nothing; the call counts only once.
        return (Retry(),)
    settle = settle_seconds(engine.submission, limits, again=wanted == Wanted.RUN)
    settled = sent_at + timedelta(seconds=settle)
    if now < settled:
        return (Recover(Wait(settled)),)
    return (Recover(_send(seen) if wanted == Wanted.RUN else Finish(RunState.CANCELED)),)


def _restored(wanted: Wanted, seen: Seen, now: datetime, limits: Limits) -> tuple[Step, ...]:
    """It may have been sent in the time that a restore undid, up to `sent_at`, the restore itself."""
    engine = seen.engine
    if engine is None or not engine.enabled:
        if seen.to_ask > 1:
            return (AskNext(),)  # an engine that is gone for good holds nobody up
        return (Wait(now + timedelta(seconds=WAIT_FOR_OTHERS), Reason.ENGINE_OFF),)
    if wanted != Wanted.CANCEL and not seen.flags.isdisjoint(
        {Flag.SUBMIT_UNKNOWN, Flag.QUARANTINED}
    ):
        return (Nothing(),)
    if wanted == Wanted.RUN and _send(seen) == Retry() and engine.in_place:
        return (Retry(),)  # as above: finding it proves nothing
    # Only the last engine would notice a second submit: it goes there.
    again = wanted != Wanted.CANCEL and seen.to_ask == 1
    settled = (seen.sent_at or now) + timedelta(
        seconds=settle_seconds(engine.submission, limits, again=again)
    )
    return (Recover(Wait(settled) if now < settled else AskNext()),)


def _accepted(wanted: Wanted, seen: Seen, now: datetime, limits: Limits) -> tuple[Step, ...]:
    if seen.engine is None or not seen.engine.enabled:
        if wanted == Wanted.CANCEL or seen.tasks_to_cancel:
            return (Wait(now + timedelta(seconds=WAIT_FOR_OTHERS)),)
        return (Nothing(),)
    if wanted == Wanted.CANCEL:
        asked = seen.cancel_requested_at or now
        elapsed = max(0.0, (now - asked).total_seconds())
        again = now + timedelta(seconds=resend_after(elapsed))
        if seen.cancel_sent_at is not None:
            due = seen.cancel_sent_at + timedelta(
                seconds=resend_after(max(0.0, (seen.cancel_sent_at - asked).total_seconds()))
            )
            if now < due:
                return (Wait(due), Look())
        return (Cancel(again, elapsed >= limits.stuck_after or not seen.engine.can_cancel),)
    if seen.tasks_to_cancel:
        return (CancelTasks(),)
    return (Look(),)


def _ended(seen: Seen, now: datetime) -> tuple[Step, ...]:
    """What is open of an ended run are its hooks."""
    if seen.queued:
        return (Begin(),)
    if not seen.tasks_to_cancel:
        return (Nothing(),)
    if seen.engine is None or not seen.engine.enabled:
        return (Wait(now + timedelta(seconds=WAIT_FOR_OTHERS)),)
    return (CancelTasks(),)


def _send(seen: Seen) -> Submit | Retry:
    keeps = seen.mode in {RetryMode.FAILED, RetryMode.TASK} and seen.keeps
    return Retry() if keeps else Submit()
