from django.db import models


class HourlyRollup(models.Model):
    """How many attempts ended in an hour, by workflow title and engine name (empty for none); kept by
    runs.moves as they end. `durations`: how many took how long, as [bucket, number] pairs of
    runs.figures, of those that were seen to complete; `seconds`: of these together.
    """

    hour = models.DateTimeField()
    workflow = models.CharField(max_length=200)
    engine = models.CharField(max_length=63, blank=True, default="")
    completed = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    canceled = models.PositiveIntegerField(default=0)
    seconds = models.FloatField(default=0)
    durations = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["-hour", "workflow"]
        constraints = [
            models.UniqueConstraint(
                fields=["hour", "workflow", "engine"], name="hourlyrollup_identity"
            )
        ]

    def __str__(self) -> str:
        return f"{self.workflow} at {self.hour:%Y-%m-%d %H}:00"


class WorkflowPace(models.Model):
    """How long a workflow's completed attempts take, in seconds: its newest count most.

    `durations`: [bucket, weight] pairs of runs.figures, halved now and then, from which p50 and p95
    come.
    """

    workflow = models.CharField(max_length=200, unique=True)
    durations = models.JSONField(default=list, blank=True)
    p50 = models.FloatField(default=0)
    p95 = models.FloatField(default=0)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["workflow"]

    def __str__(self) -> str:
        return self.workflow


class Acknowledgement(models.Model):
    """Somebody knows of a kind of failure: it is set apart until a run above `newest` fails of it."""

    fingerprint = models.CharField(max_length=64)
    workflow = models.CharField(max_length=200)
    newest = models.BigIntegerField()
    note = models.TextField(blank=True, default="")
    by = models.CharField(max_length=200)
    at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ["-at"]
        constraints = [
            models.UniqueConstraint(
                fields=["fingerprint", "workflow"], name="acknowledgement_identity"
            )
        ]

    def __str__(self) -> str:
        return f"{self.workflow}: {self.note or self.by}"
