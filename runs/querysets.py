"""Every list's filters and prefetching. Filters are applied by name from an allow-list, never by
unpacking a user's words into the ORM."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from django.conf import settings
from django.db import models
from django.db.models import Count, Exists, F, Max, Min, OuterRef, Q, Subquery
from django.db.models.functions import Coalesce

from engines.selectors import Requirement, parse_selector
from runs import keyset
from runs.states import ACTIVE_RUN_STATES, FINAL_TASK_STATES, Reason, RunState, TaskState

if TYPE_CHECKING:
    # Named in the annotations below.
    from runs.models import Label, TaskRun, TaskTry, Workflow, WorkflowRun  # noqa: F401


FAILURE_REACH = 2000
LACKING = {"notin", "not exists"}  # what asks for objects without a label: no index names them
MOST_LABELS = 100  # that are named by their keys
LONGEST_WAIT = 300.0  # seconds: no `next_check_at` is further ahead, unless a setting says so
Known = Sequence[Sequence[tuple[int, int | None]]]
"""Of each requirement of a selector the labels it names: (key, the newest object that has it)."""
# In the order in which the partial indexes have them.
OPEN_TASK_STATES = sorted(state.value for state in TaskState if state not in FINAL_TASK_STATES)


def fitting_labels(requirement: Requirement, through: Any) -> Any:
    """The rows of the labels that a requirement names: with its key, and its values where it has any."""
    labels = through._meta.get_field("label").related_model.objects.order_by()
    labels = labels.filter(key=requirement.key)
    if requirement.operator in {"in", "notin"}:
        labels = labels.filter(value__in=requirement.values)
    return labels


def label_condition(requirement: Requirement, labels: Any, through: Any, owner: str) -> Q:
    """Whether an object has (or hasn't) one of the labels, as a semi-join on the through table.
    `labels`: keys, or a query for them."""
    links = through.objects.filter(**{owner: OuterRef("pk")}, label__in=labels)
    found = Q(Exists(links))
    return ~found if requirement.operator in LACKING else found


def known_labels(requirement: Requirement, through: Any, owner: str) -> Any:
    """The labels that a requirement names, a few more than can be named by their keys; each with
    `newest`, the key of the newest object that has it."""
    labels = fitting_labels(requirement, through)
    links = through.objects.filter(label=OuterRef("pk")).order_by(f"-{owner}")
    newest = Subquery(links.values(owner)[:1])
    # Within a union, SQLite takes a limit in a condition only.
    few = labels.model.objects.filter(pk__in=labels.values("pk")[: MOST_LABELS + 1])
    return few.order_by().annotate(newest=newest)


def narrowed(found: Any, selector: str, owner: str, known: Known | None = None) -> Any:
    """Those whose labels fit. The labels are looked up first: only of their keys does a database know how
    many objects have them; and what is newer than all that have one need not be looked through. `known`:
    what `known_labels` says of each requirement, where the caller has asked already. Raises
    SelectorError."""
    through = found.model._meta.get_field("labels").remote_field.through
    for at, requirement in enumerate(parse_selector(selector)):
        if known is None:
            labels = known_labels(requirement, through, owner)
            rows = list(labels.values_list("pk", "newest"))
        else:
            rows = list(known[at])
        few = len(rows) <= MOST_LABELS
        keys = [key for key, _ in rows]
        if not few:
            keys = fitting_labels(requirement, through).values("pk")
        found = found.filter(label_condition(requirement, keys, through, owner))
        if few and requirement.operator not in LACKING:
            found = found.filter(pk__lte=max((last or 0 for _, last in rows), default=0))
    return found


def _misdated(now: datetime) -> Q:
    """To be looked at again later than anything is ever told to wait."""
    longest = max(LONGEST_WAIT, settings.WORKFLOWHUB_SUBMIT_QUARANTINE)
    return Q(next_check_at__gt=now + timedelta(seconds=longest))


class WorkflowQuerySet(models.QuerySet["Workflow"]):
    def current(self) -> "WorkflowQuerySet":
        return self.filter(archived_at__isnull=True)

    def for_selector(self, selector: str) -> "WorkflowQuerySet":
        """Those whose labels fit. Raises SelectorError."""
        return cast("WorkflowQuerySet", narrowed(self, selector, "workflow"))

    def due(self, now: datetime) -> "WorkflowQuerySet":
        return self.filter(next_check_at__lte=now).order_by("next_check_at")

    def misdated(self, now: datetime) -> "WorkflowQuerySet":
        """As of runs."""
        return self.filter(_misdated(now))

    def for_rows(self) -> "WorkflowQuerySet":
        """What a row of the API's list shows, in two queries; the definitions stay unread."""
        return (
            self.select_related("engine", "created_by")
            .prefetch_related("labels")
            .defer("definition", "parameters_schema", "warnings")
        )

    def whole(self) -> "WorkflowQuerySet":
        """Everything about a workflow: with its tasks and what follows each."""
        return self.select_related("engine", "created_by").prefetch_related(
            "labels", "tasks__downstream"
        )

    def for_list(self) -> "WorkflowQuerySet":
        return self.select_related("engine", "created_by").prefetch_related("labels")


class RunQuerySet(models.QuerySet["WorkflowRun"]):
    def active(self) -> "RunQuerySet":
        return self.filter(state__in=sorted(ACTIVE_RUN_STATES))

    def active_by_engine(self) -> dict[int, tuple[int, int, datetime | None]]:
        """Engine's key -> how many active runs it has, how many of them don't run yet, and since when
        the engine has had one of them; one grouped query."""
        counted = self.active().exclude(engine=None).order_by().values_list("engine")
        waiting = Count("pk", filter=~Q(state=RunState.RUNNING))
        since = Min(Coalesce("scheduled_at", "created_at"), filter=~Q(state=RunState.PENDING))
        rows = counted.annotate(Count("pk"), waiting=waiting, since=since)
        return {engine: (number, behind, at) for engine, number, behind, at in rows}

    def due(self, now: datetime) -> "RunQuerySet":
        return self.filter(next_check_at__lte=now).order_by("next_check_at", "id")

    def misdated(self, now: datetime) -> "RunQuerySet":
        """Those that would be looked at later than anything is told to wait: the database's clock has
        been put back since."""
        return self.filter(_misdated(now))

    def created(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> "RunQuerySet":
        """Those made at or after `since`, and before `until`."""
        found = self
        if since is not None:
            found = found.filter(created_at__gte=since)
        if until is not None:
            found = found.filter(created_at__lt=until)
        return found if since is until is None else keyset.by_time(found, "created_at")

    def failed(self) -> "RunQuerySet":
        return self.filter(state=RunState.FAILED)

    def for_selector(self, selector: str, known: Known | None = None) -> "RunQuerySet":
        """Those whose labels fit a Kubernetes label selector; `known` as of `narrowed`. Raises
        SelectorError."""
        found = cast("RunQuerySet", narrowed(self, selector, "run", known))
        operators = {requirement.operator for requirement in parse_selector(selector)}
        return keyset.in_steps(found) if operators and operators <= LACKING else found

    def for_list(self) -> "RunQuerySet":
        """What a row of a list shows, in a fixed number of queries."""
        return (
            self.select_related("workflow", "engine", "created_by", "parent_task_run")
            .prefetch_related("labels")
            # A definition may have megabytes, and no list shows it; nor what a task took and gave.
            .defer("workflow__definition", "workflow__parameters_schema", "workflow__warnings")
            .defer(*(f"parent_task_run__{name}" for name in ("inputs", "result", "error")))
        )

    def with_progress(self) -> "RunQuerySet":
        """Adds `tasks_total` and `tasks_done`: only for a page of runs, never for all."""
        task = Q(task_runs__kind="task")
        done = task & Q(task_runs__state__in=sorted(FINAL_TASK_STATES))
        return self.annotate(
            tasks_total=Count("task_runs", filter=task), tasks_done=Count("task_runs", filter=done)
        )

    def containing(self, words: str) -> "RunQuerySet":
        """Those whose title, error, note, external id or uuid holds the words. It reads row by row:
        bound it in time first."""
        columns = ("workflow__title", "error", "error_task", "note", "external_id")
        found = Q()
        for column in columns:
            found |= Q(**{f"{column}__icontains": words})
        return self.filter(found)

    def open_failures(self) -> "RunQuerySet":
        """Failed runs that still need somebody, each failure once. One leaves when it is retried with
        success, or when a rerun of it, or of its rerun, completes (`resolved_by`). While a rerun is
        under way it stays; where that fails too, it stands for both. Only among the newest
        FAILURE_REACH of them, so that it costs the same however many there are."""
        runs = self.model._default_manager.filter(state=RunState.FAILED, resolved_by=None)
        newest = runs.order_by("-pk").values("pk")[:FAILURE_REACH]
        return self.filter(~Exists(runs.filter(previous=OuterRef("pk"))), pk__in=newest)

    def by_fingerprint(self) -> Any:
        """One row for each kind of failure, the last seen first: fingerprint, title, error_task,
        number, newest (id), first_at, last_at, under_way (how many have a rerun that hasn't ended)."""
        reruns = self.model._default_manager.active().filter(previous=OuterRef("pk"))
        return (
            self.order_by()
            .annotate(rerun=Exists(reruns))
            .values("fingerprint", "workflow__title", "error_task", "reason")
            .annotate(
                number=Count("pk"),
                newest=Max("pk"),
                first_at=Min("ended_at"),
                last_at=Max("ended_at"),
                under_way=Count("pk", filter=Q(rerun=True)),
            )
            .order_by("-newest")
        )

    def troubled(self) -> "RunQuerySet":
        """Active runs that won't go on without a person: flagged, or taken by no engine."""
        return self.active().filter(
            ~Q(flags={}) | Q(reason__in=[Reason.NO_ENGINE, Reason.ENGINE_OFF]) | Q(failures__gte=3)
        )


class TaskRunQuerySet(models.QuerySet["TaskRun"]):
    def tasks(self) -> "TaskRunQuerySet":
        """Those that make up their run, without the hooks beside it."""
        return self.filter(kind="task")

    def open_hooks(self) -> "TaskRunQuerySet":
        return self.filter(kind="hook", state__in=OPEN_TASK_STATES)

    def for_rows(self, children: "models.QuerySet[WorkflowRun]") -> "TaskRunQuerySet":
        """Adds `run_version`: a change of a task run raises its run's version. `children`: the runs
        that may be shown among those that it asked for."""
        shown = children.only("uuid", "state", "parent_task_run").order_by("pk")
        return self.annotate(run_version=F("run__version")).prefetch_related(
            models.Prefetch("child_runs", queryset=shown)
        )


class TaskTryQuerySet(models.QuerySet["TaskTry"]):
    def in_order(self, run: "WorkflowRun", place: Sequence[int] | None) -> "TaskTryQuerySet":
        """Those of a run, task by task, from `place` (task run, try) on."""
        found = self.filter(task_run__run=run).order_by("task_run", "pk")
        if place is None:
            return found
        task, key = place
        return found.filter(Q(task_run__gt=task) | Q(task_run=task, pk__gte=key))


class LabelQuerySet(models.QuerySet["Label"]):
    def on_any_of(self, workflows: Any, runs: Any) -> "LabelQuerySet":
        """Those that one of these workflows or runs has."""
        of_workflow: Any = self.model._meta.get_field("workflowlabel").related_model
        of_run: Any = self.model._meta.get_field("runlabel").related_model
        mine = OuterRef("pk")
        return self.filter(
            Exists(of_workflow.objects.filter(label=mine, workflow__in=workflows))
            | Exists(of_run.objects.filter(label=mine, run__in=runs))
        )
