"""One deed for many runs. It is asked for here, counted and confirmed; runs.reconciler.bulk does it, one
run at a time, with the actions that pages and the API have for one run."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.db.models import Count, Exists, F, Max, OuterRef, Q, QuerySet

from engines.clock import database_now
from runs import audit
from runs.actions.attempts import cancel_run, retry_run
from runs.actions.housekeeping import delete_run
from runs.actions.runs import edit_run
from runs.actions.selection import Selection, read_selection
from runs.errors import Conflict, Denied, Invalid
from runs.labels import MAX_LABELS, clean_labels, labels_of
from runs.models import BulkJob, RunAttempt, WorkflowRun
from runs.models.access import Role
from runs.policy import Action, Actor, allow, require, visible
from runs.querysets import RunQuerySet
from runs.states import ACTIVE_RUN_STATES, FINAL_RUN_STATES, RetryMode, RunState, Wanted
from runs.wakeups import wake_reconciler

MOST = 100_000  # runs of one job
SHOWN = 10
OPEN = (BulkJob.State.RUNNING, BulkJob.State.WAITING)
MODES = (RetryMode.FAILED, RetryMode.ALL)
RIGHTS: dict[str, Action] = {
    BulkJob.Action.RETRY: Action.RETRY_RUN,
    BulkJob.Action.CANCEL: Action.CANCEL_RUN,
    BulkJob.Action.LABEL: Action.EDIT_RUN,
    BulkJob.Action.DELETE: Action.HOUSEKEEPING,
}
_NOT_HELD = ~Q(wanted=Wanted.HOLD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What a job would be for. `total`: how many runs, exactly; `fits`: those of them that the deed can
    be done to as they are, as far as their rows say. `refusal`: why it can't be asked for, or empty."""

    action: BulkJob.Action
    options: Mapping[str, Any]
    selection: Selection
    total: int
    fits: int
    newest: int
    first: list[WorkflowRun]

    @property
    def refusal(self) -> str:
        if not self.total:
            return "No run that you may see fits."
        if self.total > MOST:
            return (
                f"More than {MOST:,} runs fit, which is the most for one job. Narrow the filter, "
                "by time for instance, and do it in parts."
            )
        return ""


def preview_bulk(
    actor: Actor,
    *,
    action: str,
    query: str = "",
    keys: Sequence[int] | None = None,
    everything: bool = False,
    options: Mapping[str, Any] | None = None,
    newest: int | None = None,
) -> Preview:
    """Counts what a job would be for; two statements. `options`: None while they aren't chosen.
    `newest`: runs with a key above it are left out. Raises Invalid for a filter with mistakes, and
    Denied."""
    if action not in BulkJob.Action.values:
        raise Invalid({"action": f"Choose from {', '.join(BulkJob.Action.values)}."})
    require(actor, RIGHTS[action])
    cleaned: dict[str, Any] = {"mode": RetryMode.FAILED.value}
    if options is not None:
        cleaned = clean_options(BulkJob.Action(action), options)
    selection = read_selection(query=query, keys=keys, everything=everything)
    runs = selection.runs(actor)
    if newest is not None:
        runs = runs.filter(pk__lte=newest)
    some = runs.order_by().values("pk", "state", "wanted")[: MOST + 1]
    counted = some.aggregate(
        total=Count("pk"), fits=Count("pk", filter=_fitting(action, cleaned)), newest=Max("pk")
    )
    first = runs.select_related("workflow").defer("workflow__definition", "result", "parameters")
    return Preview(
        action=BulkJob.Action(action),
        options=cleaned,
        selection=selection,
        total=counted["total"],
        fits=counted["fits"],
        newest=counted["newest"] or 0,
        first=list(first.order_by("-pk")[:SHOWN]),
    )


def ask_bulk(actor: Actor, *, expected: int | None = None, **asked: Any) -> BulkJob:
    """A job for the runs of `preview_bulk`, which takes the same arguments. `expected`: how many runs
    were confirmed; it is a Conflict where there are more by now."""
    if actor.user is None:
        raise Denied("A job is done with somebody's rights: log in, or use a token.")
    now = database_now()  # what ends while it is counted has been confirmed by nobody
    preview = preview_bulk(actor, **{**asked, "options": asked.get("options") or {}})
    if preview.refusal:
        raise Conflict(preview.refusal)
    if expected is not None and preview.total > expected:
        raise Conflict(
            f"It was for {expected:,} runs a moment ago and would be for {preview.total:,} now: look "
            "again, then decide."
        )
    with transaction.atomic():
        job = BulkJob.objects.create(
            action=preview.action,
            options=dict(preview.options),
            query=preview.selection.query,
            keys=None if preview.selection.keys is None else list(preview.selection.keys),
            newest=preview.newest,
            total=preview.total,
            requested_by=actor.user,  # type: ignore[misc]
            role=actor.role or "",
            face=actor.face,
        )
        # By the clock that says when runs ended.
        BulkJob.objects.filter(pk=job.pk).update(created_at=now)
        job.created_at = now
        audit.record(
            actor,
            f"bulk_{job.action}",
            job,
            runs=job.total,
            query=job.query,
            keys=(job.keys or [])[:100],
            options=job.options,
        )
        wake_reconciler()
    return job


def cancel_bulk(actor: Actor, job: BulkJob) -> BulkJob:
    """No further run is begun; what is done stays done. Twice is once. For who asked for the job,
    and for administrators."""
    if actor.user is None or job.requested_by_id != actor.user.pk:
        require(actor, Action.HOUSEKEEPING)
    with transaction.atomic():
        stopped = BulkJob.objects.filter(pk=job.pk, state__in=OPEN).update(
            state=BulkJob.State.CANCELED,
            message=f"Canceled by {actor.name}.",
            ended_at=database_now(),
            version=F("version") + 1,
        )
        if stopped:
            audit.record(actor, "cancel", job)
    job.refresh_from_db()
    if not stopped and job.state != BulkJob.State.CANCELED:
        raise Conflict("The job has ended already.", job)
    return job


def bulk_jobs(actor: Actor) -> QuerySet[BulkJob]:
    """The jobs that somebody may see: their own, administrators all."""
    jobs = visible(actor, BulkJob.objects.select_related("requested_by"))
    if allow(actor, Action.HOUSEKEEPING):
        return jobs
    return jobs.filter(requested_by=actor.user.pk if actor.user else None)


def asker(job: BulkJob) -> Actor:
    """Who a job acts for, with the rights that they have now, and never more than when they asked."""
    return Actor(user=job.requested_by, face=job.face, cap=Role(job.role))  # type: ignore[arg-type]


def runs_of(actor: Actor, job: BulkJob) -> RunQuerySet:
    """The runs that a job is for as they are now. What failed, began anew or was to be kept only since
    it was asked for has been confirmed by nobody. Raises Invalid."""
    keys = None if job.keys is None else tuple(job.keys)
    runs = Selection(query=job.query, keys=keys).runs(actor).filter(pk__lte=job.newest)
    if job.action in {BulkJob.Action.RETRY, BulkJob.Action.DELETE}:
        runs = runs.exclude(ended_at__gt=job.created_at)
    if job.action == BulkJob.Action.CANCEL:
        present = RunAttempt.objects.filter(run=OuterRef("pk"), number=OuterRef("attempt"))
        runs = runs.filter(~Exists(present.filter(begun_at__gt=job.created_at)))
    return runs


def do_to_run(actor: Actor, job: BulkJob, run: WorkflowRun) -> None:
    """The job's deed for one run, with all that the action for one asks and refuses."""
    deeds: dict[str, Callable[[], object]] = {
        BulkJob.Action.RETRY: lambda: retry_run(actor, run, mode=RetryMode(job.options["mode"])),
        BulkJob.Action.CANCEL: lambda: cancel_run(actor, run),
        BulkJob.Action.LABEL: lambda: edit_run(actor, run, labels=_relabeled(run, job.options)),
        BulkJob.Action.DELETE: lambda: delete_run(actor, run),
    }
    deeds[job.action]()


def clean_options(action: BulkJob.Action, given: Mapping[str, Any]) -> dict[str, Any]:
    """What belongs to the action: of a retry `mode`, of labels `set` (key -> value) and `remove`
    (keys). Raises Invalid."""
    known = {BulkJob.Action.RETRY: {"mode"}, BulkJob.Action.LABEL: {"set", "remove"}}
    if unknown := sorted(set(given) - known.get(action, set())):
        raise Invalid({f"options.{unknown[0]}": f"is no option of {action.label.lower()}."})
    if action == BulkJob.Action.RETRY:
        mode = given.get("mode", RetryMode.FAILED.value)
        if mode not in MODES:
            raise Invalid({"options.mode": f"Choose from {', '.join(MODES)}."})
        return {"mode": str(mode)}
    if action == BulkJob.Action.LABEL:
        return _clean_change(given)
    return {}


def _clean_change(given: Mapping[str, Any]) -> dict[str, Any]:
    setting, removing = clean_labels(given.get("set")), given.get("remove") or []
    if not isinstance(removing, (list, tuple)) or not all(isinstance(k, str) for k in removing):
        raise Invalid({"options.remove": "Give a list of keys."})
    if len(removing) > MAX_LABELS:
        raise Invalid({"options.remove": f"At most {MAX_LABELS} keys."})
    clean_labels([{"key": key} for key in dict.fromkeys(removing)])
    if both := sorted(set(setting) & set(removing)):
        raise Invalid({"options.remove": f"{both[0]} is to be set and removed: choose one."})
    if not setting and not removing:
        raise Invalid({"options": "Say which labels to set or to remove."})
    return {"set": setting, "remove": sorted(set(removing))}


def _relabeled(run: WorkflowRun, options: Mapping[str, Any]) -> dict[str, str]:
    removed = options["remove"]
    kept = {key: text for key, text in labels_of(run).items() if key not in removed}
    return {**kept, **options["set"]}


def _fitting(action: str, options: Mapping[str, Any]) -> Q:
    """Which runs a deed can be done to, by their own columns alone."""
    if action == BulkJob.Action.CANCEL:
        return Q(state__in=sorted(ACTIVE_RUN_STATES))
    if action == BulkJob.Action.DELETE:
        return Q(state__in=sorted(FINAL_RUN_STATES))
    if action == BulkJob.Action.RETRY:
        failed = options["mode"] == RetryMode.FAILED
        return _NOT_HELD & ~Q(state=RunState.COMPLETED) if failed else _NOT_HELD
    return Q(pk__isnull=False)
