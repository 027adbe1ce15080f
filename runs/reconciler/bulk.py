"""Does what was asked for many runs at once, a chunk of each open job in turn, the newest run first.

For each run there is one transaction: the lease is checked, the run is read anew with the job's filter
and the rights of its asker, the deed is done, the job's cursor moves. So a run's deed and the knowledge
of it are one, and a death anywhere neither repeats nor skips one.
"""

import logging
import re
from dataclasses import dataclass

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F

from engines.clock import database_now
from engines.faults import crash_point
from runs import leases
from runs.actions.bulk import OPEN, RIGHTS, asker, do_to_run, runs_of
from runs.errors import ActionError, Invalid
from runs.models import BulkJob, WorkflowRun
from runs.policy import Actor, require
from runs.reconciler.hold import Hold
from runs.reconciler.sweep import Tick

logger = logging.getLogger("workflowhub.sync")

CHUNK = 100
AT_ONCE = 10  # jobs that go on side by side
MOST_REASONS = 50
OTHERS = "Other reasons."
NO_MORE = "It is gone, or doesn't fit any more."


class Overtaken(Exception):
    """The job was canceled, or another process goes on with it: nothing of this counts."""


@dataclass(slots=True, kw_only=True)
class Step:
    """What became of one run. `reason`: why nothing was done; empty where it was."""

    key: int
    reason: str = ""


def tick(hold: Hold) -> Tick:
    """A chunk of each of the oldest open jobs. Raises LeaseLost and the database's errors."""
    hold.check()
    handled = 0
    jobs = BulkJob.objects.filter(state__in=OPEN).select_related("requested_by").order_by("pk")
    for job in jobs[:AT_ONCE]:
        if hold.ending:
            break
        try:
            handled += _go_on(job, hold)
        except Overtaken:
            logger.info("Bulk job %s was canceled meanwhile", job.pk)
        except (leases.LeaseLost, OperationalError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - one job's trouble stops no other
            logger.exception("Bulk job %s can't go on", job.pk)
            _give_up(job, hold, f"It broke: {type(error).__name__}.")
    more = BulkJob.objects.filter(state__in=OPEN).exists()
    return Tick(wait=0.0 if more else settings.WORKFLOWHUB_POLL, handled=handled)


def do_all(hold: Hold) -> None:
    """Chunk after chunk, until no job is open or the hold is to end."""
    while not hold.ending and tick(hold).wait == 0:
        hold.renew()


def _go_on(job: BulkJob, hold: Hold) -> int:
    """One chunk; how many runs it came by."""
    actor = asker(job)
    try:
        if actor.user is None:
            raise Invalid({"requested_by": "whoever asked for it is no user of this hub any more."})
        require(actor, RIGHTS[job.action])
        keys = _chunk(actor, job)
    except ActionError as error:
        _write(job, hold, state=BulkJob.State.FAILED, message=str(error), ended_at=database_now())
        return 0
    if job.state == BulkJob.State.WAITING:
        _write(job, hold, state=BulkJob.State.RUNNING, started_at=database_now())
    for at, key in enumerate(keys):
        if hold.ending:
            return at
        hold.check()
        with transaction.atomic():
            leases.check(hold.fence)
            _note(job, _do(actor, job, key))
            crash_point("bulk.writing")
        crash_point("bulk.written")
    if len(keys) < CHUNK:
        _end(job, hold)
    return len(keys)


def _chunk(actor: Actor, job: BulkJob) -> list[int]:
    runs = runs_of(actor, job)
    if job.cursor is not None:
        runs = runs.filter(pk__lt=job.cursor)
    return list(runs.order_by("-pk").values_list("pk", flat=True)[:CHUNK])


def _do(actor: Actor, job: BulkJob, key: int) -> Step:
    """The deed for one run, undone where it is refused. What breaks is a reason, too, so that one run
    keeps no other from its turn; the database's being away is not."""
    found = runs_of(actor, job).select_related("workflow", "engine").defer("workflow__definition")
    run: WorkflowRun | None = found.filter(pk=key).first()
    if run is None:
        return Step(key=key, reason=NO_MORE)
    try:
        with transaction.atomic():
            do_to_run(actor, job, run)
    except ActionError as error:
        return Step(key=key, reason=str(error) or type(error).__name__)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # noqa: BLE001 - one run's trouble stops no other
        logger.exception("Bulk job %s can't handle run %s", job.pk, key)
        return Step(key=key, reason=f"It broke: {type(error).__name__}.")
    return Step(key=key)


def _note(job: BulkJob, step: Step) -> None:
    """Moves the cursor behind the run. In the transaction of its deed: raises Overtaken, which undoes
    that, where the job isn't what was read any more."""
    fields: dict[str, object] = {
        "cursor": step.key,
        "done": job.done + (not step.reason),
        "skipped": job.skipped + bool(step.reason),
    }
    if step.reason:
        fields["reasons"] = counted(job.reasons, general(step.reason, step.key), 1)
    _move(job, **fields)


def _end(job: BulkJob, hold: Hold) -> None:
    """All that is left to be found was handled; what isn't found any more is said."""
    lost = max(0, job.total - job.done - job.skipped)
    _write(
        job,
        hold,
        state=BulkJob.State.DONE,
        ended_at=database_now(),
        skipped=job.skipped + lost,
        reasons=counted(job.reasons, NO_MORE, lost) if lost else job.reasons,
    )


def _give_up(job: BulkJob, hold: Hold, message: str) -> None:
    job.refresh_from_db()
    if job.state in OPEN:
        _write(job, hold, state=BulkJob.State.FAILED, message=message, ended_at=database_now())


def _write(job: BulkJob, hold: Hold, **fields: object) -> None:
    with transaction.atomic():
        leases.check(hold.fence)
        _move(job, **fields)
        crash_point("bulkjob.writing")
    crash_point("bulkjob.written")


def _move(job: BulkJob, **fields: object) -> None:
    mine = BulkJob.objects.filter(pk=job.pk, state=job.state, version=job.version)
    if not mine.update(**fields, version=F("version") + 1):
        raise Overtaken
    job.version += 1
    for name, value in fields.items():
        setattr(job, name, value)


def general(reason: str, key: int) -> str:
    """The sentence without the run's own number, so that those of many runs are one."""
    return re.sub(rf"\b{key}\b", "…", reason)[:300]


def counted(reasons: dict[str, int], reason: str, number: int) -> dict[str, int]:
    """Sentence -> how many runs, with so many more; no more than MOST_REASONS different ones."""
    if reason not in reasons and len(reasons) >= MOST_REASONS - 1:
        reason = OTHERS
    return {**reasons, reason: reasons.get(reason, 0) + number}
