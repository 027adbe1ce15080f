import uuid

from django.conf import settings
from django.db import models

from engines.models import Engine
from runs.models.workflow import Workflow
from runs.querysets import RunQuerySet
from runs.states import ACTIVE_RUN_STATES, FINAL_RUN_STATES, RetryMode, RunState, Trigger, Wanted

ACTIVE = models.Q(state__in=sorted(ACTIVE_RUN_STATES))


class WorkflowRun(models.Model):
    """What is wanted of a run (`wanted`, `attempt`) and what was observed of it (`state`).

    Faces change what is wanted, through runs.actions; only runs.moves writes what was observed.
    `external_id` is committed before any engine is called with it. `next_check_at` is when the
    reconciler has something to do for this run beyond watching it; empty means nothing.
    """

    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    workflow = models.ForeignKey(Workflow, on_delete=models.PROTECT, related_name="runs")
    engine = models.ForeignKey(
        Engine, null=True, blank=True, on_delete=models.PROTECT, related_name="runs"
    )
    pinned = models.BooleanField(
        default=False, editable=False, help_text="The engine was named, not found by labels."
    )
    parameters = models.JSONField(default=dict, blank=True)
    labels = models.ManyToManyField(
        "runs.Label", through="runs.RunLabel", related_name="runs", blank=True
    )
    note = models.TextField(blank=True, default="")

    wanted = models.CharField(max_length=6, choices=Wanted, default=Wanted.RUN, editable=False)
    attempt = models.PositiveIntegerField(default=1, editable=False)
    state = models.CharField(
        max_length=10, choices=RunState, default=RunState.PENDING, editable=False
    )
    raw_state = models.CharField(max_length=100, blank=True, default="", editable=False)
    reason = models.CharField(max_length=100, blank=True, default="", editable=False)
    flags = models.JSONField(default=dict, blank=True, editable=False)
    marked = models.BooleanField(default=False, editable=False)
    external_id = models.CharField(max_length=250, blank=True, default="", editable=False)
    error = models.TextField(blank=True, default="", editable=False)
    error_task = models.CharField(max_length=250, blank=True, default="", editable=False)
    fingerprint = models.CharField(max_length=64, blank=True, default="", editable=False)
    result = models.JSONField(null=True, blank=True, editable=False)

    previous = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="reruns"
    )
    resolved_by = models.ForeignKey(
        "self",
        null=True,
        blank=True,
        editable=False,
        db_index=False,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="The rerun that completed where this one failed.",
    )
    parent_task_run = models.ForeignKey(
        "runs.TaskRun", null=True, blank=True, on_delete=models.SET_NULL, related_name="child_runs"
    )
    trigger = models.CharField(max_length=12, choices=Trigger, default=Trigger.MANUAL)
    source = models.JSONField(default=dict, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, db_index=False, on_delete=models.SET_NULL
    )

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)
    scheduled_at = models.DateTimeField(null=True, blank=True, editable=False)
    started_at = models.DateTimeField(null=True, blank=True, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)
    engine_started_at = models.DateTimeField(null=True, blank=True, editable=False)
    engine_ended_at = models.DateTimeField(null=True, blank=True, editable=False)
    observed_at = models.DateTimeField(null=True, blank=True, editable=False)
    cancel_requested_at = models.DateTimeField(null=True, blank=True, editable=False)
    cancel_sent_at = models.DateTimeField(null=True, blank=True, editable=False)

    next_check_at = models.DateTimeField(null=True, blank=True, editable=False)
    deadline_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="When its attempt has run too long."
    )
    failures = models.PositiveIntegerField(
        default=0, editable=False, help_text="Errors in a row while handling it."
    )
    in_hand = models.BooleanField(
        default=False, editable=False, help_text="Set while it is handled: a crash leaves it set."
    )
    kills = models.PositiveIntegerField(default=0, editable=False)
    missing_since = models.DateTimeField(null=True, blank=True, editable=False)
    missing_count = models.PositiveIntegerField(default=0, editable=False)
    last_error = models.TextField(blank=True, default="", editable=False)

    last_seq = models.PositiveIntegerField(default=0, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["engine", "external_id"],
                condition=~models.Q(external_id=""),
                name="run_external_id",
            ),
        ]
        indexes = [
            models.Index(fields=["state", "-id"], name="run_state"),
            models.Index(fields=["workflow", "-id"], name="run_workflow"),
            models.Index(fields=["engine", "-id"], name="run_engine"),
            models.Index(fields=["created_by", "-id"], name="run_by"),
            models.Index(fields=["engine", "id"], name="run_active", condition=ACTIVE),
            models.Index(
                fields=["next_check_at"],
                name="run_due",
                condition=models.Q(next_check_at__isnull=False),
            ),
            # SQLite reads no statistics: it takes these rather than the one by engine or workflow.
            models.Index(
                fields=["engine", "next_check_at"],
                name="run_engine_due",
                condition=models.Q(next_check_at__isnull=False),
            ),
            models.Index(
                fields=["engine", "deadline_at"],
                name="run_deadline",
                condition=models.Q(deadline_at__isnull=False),
            ),
            models.Index(
                fields=["workflow", "id"],
                name="run_open",
                condition=models.Q(ended_at__isnull=True),
            ),
            models.Index(fields=["-created_at"], name="run_created"),
            models.Index(fields=["ended_at"], name="run_ended"),
            models.Index(
                fields=["fingerprint", "-id"],
                name="run_fingerprint",
                condition=~models.Q(fingerprint=""),
            ),
            models.Index(
                fields=["resolved_by"],
                name="run_resolved_by",
                condition=models.Q(resolved_by__isnull=False),
            ),
            models.Index(
                fields=["-id"],
                name="run_open_failure",
                condition=models.Q(state=RunState.FAILED, resolved_by__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return f"Run {self.pk} of {self.workflow}"

    @property
    def final(self) -> bool:
        return self.state in FINAL_RUN_STATES


class RunAttempt(models.Model):
    """One row per attempt. `sent_at`: just before the engine was called (the intent); `accepted_at`:
    the engine is known to have it. A row whose `begun_at` is empty waits for the attempt before it to
    end. `tasks`: what is to run again, as [name, map index] pairs; empty means everything.
    `ask_first`: engines (keys) that may have taken it in a time which a restore undid, the present one
    first; the last is the one to send it to when none of them has it, 0 to route it anew."""

    run = models.ForeignKey(WorkflowRun, on_delete=models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    mode = models.CharField(max_length=8, choices=RetryMode, default=RetryMode.START)
    tasks = models.JSONField(default=list, blank=True)
    parameters = models.JSONField(default=dict, blank=True)
    external_id = models.CharField(max_length=250, blank=True, default="")
    state = models.CharField(max_length=10, choices=RunState, blank=True, default="")
    error = models.TextField(blank=True, default="")
    actor = models.CharField(max_length=200, blank=True, default="")
    requested_at = models.DateTimeField(auto_now_add=True)
    begun_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    accepted_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    ask_first = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["run", "number"]
        constraints = [
            models.UniqueConstraint(fields=["run", "number"], name="runattempt_run_number")
        ]

    def __str__(self) -> str:
        return f"Attempt {self.number} of run {self.run_id}"
