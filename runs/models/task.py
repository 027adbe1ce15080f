import uuid

from django.db import models

from runs.models.run import WorkflowRun
from runs.models.workflow import Task
from runs.querysets import OPEN_TASK_STATES, TaskRunQuerySet, TaskTryQuerySet
from runs.states import TaskState, Wanted


class TaskRun(models.Model):
    """A task, or one mapped instance of it, within a run; kept through attempts.

    `attempt`, `try_number` and the state's rank only rise. `map_index` is -1 for an unmapped task.
    A hook runs once after its task or run has ended, and may go on when the run has. It takes part in
    nothing that is asked of the run's tasks.
    """

    class Kind(models.TextChoices):
        TASK = "task", "Task"
        HOOK = "hook", "Hook"

    run = models.ForeignKey(WorkflowRun, on_delete=models.CASCADE, related_name="task_runs")
    task = models.ForeignKey(
        Task, null=True, blank=True, on_delete=models.SET_NULL, related_name="task_runs"
    )
    name = models.CharField(max_length=250)
    map_index = models.IntegerField(default=-1)
    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    kind = models.CharField(max_length=4, choices=Kind, default=Kind.TASK)
    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.SET_NULL, related_name="children"
    )
    attempt = models.PositiveIntegerField(default=1)
    try_number = models.PositiveIntegerField(default=1)
    state = models.CharField(
        max_length=15, choices=TaskState, default=TaskState.PENDING, editable=False
    )
    wanted = models.CharField(max_length=6, choices=Wanted, default=Wanted.RUN, editable=False)
    marked = models.BooleanField(default=False, editable=False)
    raw_state = models.CharField(max_length=100, blank=True, default="", editable=False)
    external_id = models.CharField(max_length=250, blank=True, default="", editable=False)
    reason = models.CharField(max_length=100, blank=True, default="", editable=False)
    error = models.TextField(blank=True, default="", editable=False)
    worker = models.CharField(max_length=200, blank=True, default="", editable=False)
    inputs = models.JSONField(null=True, blank=True, editable=False)
    result = models.JSONField(null=True, blank=True, editable=False)
    message = models.TextField(blank=True, default="", editable=False)
    progress = models.FloatField(null=True, blank=True, editable=False)
    started_at = models.DateTimeField(null=True, blank=True, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TaskRunQuerySet.as_manager()

    class Meta:
        ordering = ["run", "id"]
        constraints = [
            models.UniqueConstraint(fields=["run", "name", "map_index"], name="taskrun_identity"),
            models.CheckConstraint(
                condition=models.Q(progress__isnull=True)
                | models.Q(progress__gte=0, progress__lte=1),
                name="taskrun_progress",
            ),
        ]
        indexes = [
            models.Index(
                fields=["run"], name="taskrun_cancel", condition=models.Q(wanted=Wanted.CANCEL)
            ),
            models.Index(
                fields=["run"],
                name="taskrun_open_hook",
                condition=models.Q(kind="hook", state__in=OPEN_TASK_STATES),
            ),
        ]

    def __str__(self) -> str:
        return self.name if self.map_index < 0 else f"{self.name}[{self.map_index}]"

    @property
    def is_hook(self) -> bool:
        return self.kind == self.Kind.HOOK

    @property
    def hook_of(self) -> str:
        """The task that a hook follows; empty for a hook of the run."""
        return self.name.rpartition(".")[0]


class TaskTry(models.Model):
    """One row per (attempt, try). `log`: a path in the storage `logs` once it is archived there."""

    task_run = models.ForeignKey(TaskRun, on_delete=models.CASCADE, related_name="tries")
    attempt = models.PositiveIntegerField()
    try_number = models.PositiveIntegerField()
    external_id = models.CharField(max_length=250, blank=True, default="")
    state = models.CharField(max_length=15, choices=TaskState)
    reason = models.CharField(max_length=100, blank=True, default="")
    error = models.TextField(blank=True, default="")
    worker = models.CharField(max_length=200, blank=True, default="")
    log = models.CharField(max_length=500, blank=True, default="")
    log_complete = models.BooleanField(default=False)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    objects = TaskTryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "task tries"
        ordering = ["task_run", "attempt", "try_number"]
        constraints = [
            models.UniqueConstraint(
                fields=["task_run", "attempt", "try_number"], name="tasktry_identity"
            )
        ]
        indexes = [
            models.Index(
                fields=["id"], name="tasktry_unstored", condition=models.Q(log_complete=False)
            )
        ]

    def __str__(self) -> str:
        return f"{self.task_run} attempt {self.attempt} try {self.try_number}"
