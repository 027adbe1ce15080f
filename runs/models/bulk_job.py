from django.conf import settings
from django.db import models


class BulkJob(models.Model):
    """One deed for all runs that fit a filter; the reconciler does it, oldest run last, the page polls it.

    `query` is the filter as the list of runs has it in its URL (empty: every run), `keys` the runs that
    were ticked instead. Runs with a key above `newest` came later and are left alone. `cursor` is the
    last run that was handled; it moves in the transaction of that run's deed, so that none is handled
    twice, whatever dies. `role` caps what it may do, as its asker's token did.
    """

    class Action(models.TextChoices):
        RETRY = "retry", "Retry"
        CANCEL = "cancel", "Cancel"
        LABEL = "label", "Change labels"
        DELETE = "delete", "Delete"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        CANCELED = "canceled", "Canceled"
        FAILED = "failed", "Failed"

    action = models.CharField(max_length=10, choices=Action)
    options = models.JSONField(default=dict, blank=True)
    query = models.CharField(max_length=2000, blank=True, default="")
    keys = models.JSONField(null=True, blank=True)
    newest = models.BigIntegerField()
    total = models.PositiveIntegerField(default=0)
    state = models.CharField(max_length=8, choices=State, default=State.WAITING)
    cursor = models.BigIntegerField(null=True, blank=True)
    done = models.PositiveIntegerField(default=0)
    skipped = models.PositiveIntegerField(default=0)
    reasons = models.JSONField(default=dict, blank=True)
    message = models.TextField(blank=True, default="")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    role = models.CharField(max_length=13, blank=True, default="")
    face = models.CharField(max_length=7)
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)
    version = models.PositiveIntegerField(default=1)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["id"],
                name="bulkjob_open",
                condition=models.Q(state__in=["running", "waiting"]),
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} {self.total} runs"
