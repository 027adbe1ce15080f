from django.db import models
from django.db.models.functions import Now

from runs.models.run import WorkflowRun
from runs.models.task import TaskRun
from runs.states import Cause


class RunEvent(models.Model):
    """What happened to a run or to one of its task runs; append-only, `seq` has no gaps in a run.

    `old` and `new` are states (empty where the event changed none). Written by runs.moves in the
    transaction of the change, so it is the outbox as well.
    """

    class ActorKind(models.TextChoices):
        USER = "user", "User"
        RECONCILER = "reconciler", "Reconciler"
        ENGINE = "engine", "Engine"

    run = models.ForeignKey(WorkflowRun, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField(default=1)
    task_run = models.ForeignKey(
        TaskRun, null=True, blank=True, on_delete=models.CASCADE, related_name="events"
    )
    old = models.CharField(max_length=15, blank=True, default="")
    new = models.CharField(max_length=15, blank=True, default="")
    cause = models.CharField(max_length=12, choices=Cause)
    actor_kind = models.CharField(max_length=10, choices=ActorKind)
    actor = models.CharField(max_length=200, blank=True, default="")
    detail = models.TextField(blank=True, default="")
    engine_time = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["run", "seq"]
        constraints = [models.UniqueConstraint(fields=["run", "seq"], name="runevent_run_seq")]

    def __str__(self) -> str:
        return f"{self.seq}: {self.get_cause_display()}"
