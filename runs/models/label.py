from django.db import models

from runs.querysets import LabelQuerySet


class Label(models.Model):
    """A (key, value) pair; on any one workflow or run a key has one value."""

    key = models.CharField(max_length=200)
    value = models.CharField(max_length=200, blank=True, default="")

    objects = LabelQuerySet.as_manager()

    class Meta:
        ordering = ["key", "value"]
        constraints = [models.UniqueConstraint(fields=["key", "value"], name="label_key_value")]

    def __str__(self) -> str:
        return f"{self.key}={self.value}"


class WorkflowLabel(models.Model):
    workflow = models.ForeignKey("runs.Workflow", on_delete=models.CASCADE)
    label = models.ForeignKey(Label, on_delete=models.CASCADE)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["workflow", "label"], name="workflowlabel_pair")
        ]
        indexes = [models.Index(fields=["label", "-workflow"], name="workflowlabel_newest")]

    def __str__(self) -> str:
        return str(self.label)


class RunLabel(models.Model):
    run = models.ForeignKey("runs.WorkflowRun", on_delete=models.CASCADE)
    label = models.ForeignKey(Label, on_delete=models.CASCADE)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "label"], name="runlabel_pair")]
        # A list filtered by label walks this index from the newest run down, however skewed the label is.
        indexes = [models.Index(fields=["label", "-run"], name="runlabel_newest")]

    def __str__(self) -> str:
        return str(self.label)
