from django.db import models

from runs.models.run import WorkflowRun


class ChildRun(models.Model):
    """A run that a step of another run asked for. `key`: the engine's, unique, so that asking twice
    starts one run; `attempt` and `try_number` are the asking task run's. `child` is empty where none
    could be started, and `error` says why. It is open until `answered_at`: the engine was told how the
    child ended (where nobody `waits` for that: that it was started), or the child was canceled because
    whoever asked for it has ended."""

    key = models.CharField(max_length=250, unique=True)
    parent = models.ForeignKey(
        WorkflowRun, on_delete=models.CASCADE, related_name="requested_runs", db_index=False
    )
    external_id = models.CharField(max_length=250)
    task = models.CharField(max_length=250)
    map_index = models.IntegerField(default=-1)
    attempt = models.PositiveIntegerField(default=1)
    try_number = models.PositiveIntegerField(default=1)
    waits = models.BooleanField(default=True)
    depth = models.PositiveIntegerField(default=1)
    child = models.OneToOneField(
        WorkflowRun, null=True, blank=True, on_delete=models.SET_NULL, related_name="requested_by"
    )
    error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    answered_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["parent", "id"]
        indexes = [
            models.Index(fields=["parent", "task", "map_index"], name="childrun_parent"),
            models.Index(
                fields=["id"],
                name="childrun_open",
                condition=models.Q(answered_at__isnull=True),
            ),
        ]

    def __str__(self) -> str:
        return self.key
