from django.conf import settings
from django.db import models


class Named(models.Model):
    """What a definition refers to by name. `workflow`: the title of the workflow, in all its versions,
    that alone sees it; empty: all workflows do, where they have none of that name themselves."""

    name = models.CharField(max_length=100)
    workflow = models.CharField(max_length=200, blank=True, default="")
    description = models.TextField(blank=True, default="")
    updated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        editable=False,
    )
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        abstract = True
        ordering = ["workflow", "name"]

    def __str__(self) -> str:
        return f"{self.workflow}/{self.name}" if self.workflow else self.name


class Secret(Named):
    """`${secrets.name}`: sent to the engine with a run, and shown nowhere. `encrypted`: by
    engines.secrets."""

    encrypted = models.TextField(editable=False)

    class Meta(Named.Meta):
        abstract = False
        constraints = [
            models.UniqueConstraint(fields=["workflow", "name"], name="secret_identity"),
        ]


class Variable(Named):
    """`${vars.name}`: a text that many workflows share, seen by everybody."""

    value = models.TextField(blank=True, default="")

    class Meta(Named.Meta):
        abstract = False
        constraints = [
            models.UniqueConstraint(fields=["workflow", "name"], name="variable_identity"),
        ]
