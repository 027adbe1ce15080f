from django.conf import settings
from django.db import models

from engines.models import Engine
from runs.querysets import WorkflowQuerySet
from runs.states import WorkflowState


class Workflow(models.Model):
    """One version of a workflow. Versions of a title count from 1; `latest` marks the newest."""

    title = models.CharField(max_length=200)
    version = models.PositiveIntegerField()
    latest = models.BooleanField(default=True)
    engine = models.ForeignKey(
        Engine, null=True, blank=True, on_delete=models.PROTECT, related_name="workflows"
    )
    format = models.CharField(max_length=40)
    definition = models.TextField()
    content_hash = models.CharField(max_length=64)
    parameters_schema = models.JSONField(default=dict, blank=True)
    warnings = models.JSONField(default=list, blank=True)
    # What may follow the end of a task or of a run: {name, display_name, type} of each.
    hooks = models.JSONField(default=list, blank=True, editable=False)
    # The names of those that the definition refers to.
    secrets = models.JSONField(default=list, blank=True, editable=False)
    variables = models.JSONField(default=list, blank=True, editable=False)
    labels = models.ManyToManyField(
        "runs.Label", through="runs.WorkflowLabel", related_name="workflows", blank=True
    )
    state = models.CharField(
        max_length=10, choices=WorkflowState, default=WorkflowState.DEPLOYING, editable=False
    )
    state_message = models.TextField(blank=True, default="", editable=False)
    next_check_at = models.DateTimeField(null=True, blank=True, editable=False)
    check_failures = models.PositiveIntegerField(default=0, editable=False)
    # The limits are the same in all versions of a title: see runs.actions.limits.
    paused = models.BooleanField(default=False)
    max_active_runs = models.PositiveIntegerField(null=True, blank=True)
    run_timeout = models.DurationField(null=True, blank=True)
    archived_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    row_version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = WorkflowQuerySet.as_manager()

    class Meta:
        ordering = ["-id"]
        permissions = [("post_shell", "Can post workflows that run shell commands")]
        constraints = [
            models.UniqueConstraint(fields=["title", "version"], name="workflow_title_version"),
            models.UniqueConstraint(
                fields=["title"], condition=models.Q(latest=True), name="workflow_one_latest"
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_check_at"],
                name="workflow_due",
                condition=models.Q(next_check_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.title} v{self.version}"

    @property
    def archived(self) -> bool:
        return self.archived_at is not None

    @property
    def hook_names(self) -> dict[str, str]:
        """Name -> display name of the hooks that have one."""
        return {hook["name"]: hook["display_name"] for hook in self.hooks if hook["display_name"]}


class Task(models.Model):
    """A node of the static graph of one workflow version. `trigger_rule`, `repeats`: see
    engines.base.TaskSpec."""

    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="tasks")
    name = models.CharField(max_length=250)
    display_name = models.CharField(max_length=250, blank=True, default="")
    type = models.CharField(max_length=100, blank=True, default="")
    trigger_rule = models.CharField(max_length=20, blank=True, default="")
    repeats = models.BooleanField(default=False)
    position = models.PositiveIntegerField(default=0)
    downstream = models.ManyToManyField(
        "self", through="runs.DownstreamTask", symmetrical=False, related_name="upstream"
    )

    class Meta:
        ordering = ["workflow", "position"]
        constraints = [
            models.UniqueConstraint(fields=["workflow", "name"], name="task_workflow_name")
        ]

    def __str__(self) -> str:
        return self.name


class DownstreamTask(models.Model):
    """An edge of the graph: `downstream` needs `task`."""

    task = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="edges_out")
    downstream = models.ForeignKey(Task, on_delete=models.CASCADE, related_name="edges_in")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "downstream"], name="downstream_task_pair"),
            models.CheckConstraint(
                condition=~models.Q(task=models.F("downstream")), name="downstream_task_not_itself"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.task} → {self.downstream}"
