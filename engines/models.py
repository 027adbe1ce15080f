"""Registered engines, and the jobs that operators ask of them (test connection, sync, import)."""

import json
from typing import Any

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models

from engines import registry
from engines.inbound import Hint
from engines.secrets import UnreadableSecret, decrypt, encrypt, redact
from engines.states import HealthState

# Django finds models here; Hint lives with its two calls, below the adapters that use them.
__all__ = ["Engine", "EngineJob", "EngineQuerySet", "Hint"]


class EngineQuerySet(models.QuerySet["Engine"]):
    def enabled(self) -> "EngineQuerySet":
        return self.filter(enabled=True)


class Engine(models.Model):
    """A registered backend *instance*: two Airflows are two rows."""

    name = models.CharField(
        max_length=63,
        unique=True,
        validators=[
            RegexValidator(
                r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?\Z",
                "Use small letters, digits and inner hyphens, such as airflow-prod.",
            )
        ],
    )
    kind = models.CharField(max_length=63, choices=registry.kind_choices)
    config = models.JSONField(default=dict, blank=True)
    encrypted_secrets = models.TextField(blank=True, default="", editable=False)
    selector = models.CharField(
        max_length=1000,
        blank=True,
        default="",
        help_text="Label selector, such as team=physics,tier in (gold,silver). Empty: takes any run.",
    )
    priority = models.IntegerField(default=100, help_text="The lowest number is asked first.")
    enabled = models.BooleanField(
        default=True, help_text="Off: nothing is sent to it or asked of it."
    )
    accepts_runs = models.BooleanField(
        default=True, help_text="Off: its runs are watched to their end, but it gets no new ones."
    )

    health = models.CharField(
        max_length=12, choices=HealthState, default=HealthState.UNKNOWN, editable=False
    )
    health_message = models.TextField(blank=True, default="", editable=False)
    engine_version = models.CharField(max_length=200, blank=True, default="", editable=False)
    capabilities = models.JSONField(default=dict, blank=True, editable=False)
    checked_at = models.DateTimeField(null=True, blank=True, editable=False)
    observed_at = models.DateTimeField(
        null=True,
        blank=True,
        editable=False,
        help_text="When all its active runs were last looked at.",
    )
    cursor = models.TextField(blank=True, default="", editable=False)
    failures = models.PositiveIntegerField(default=0, editable=False)
    breaker_until = models.DateTimeField(null=True, blank=True, editable=False)

    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = EngineQuerySet.as_manager()

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name

    @property
    def secrets(self) -> dict[str, str]:
        """Decrypted: for `connect` only, never for a page, a log or an error."""
        return json.loads(decrypt(self.encrypted_secrets)) if self.encrypted_secrets else {}

    @secrets.setter
    def secrets(self, values: dict[str, str]) -> None:
        self.encrypted_secrets = encrypt(json.dumps(values)) if values else ""

    @property
    def kept_secrets(self) -> dict[str, str]:
        """The secrets that can still be read: none where their key is gone, and then they have to be
        entered again."""
        try:
            return self.secrets
        except UnreadableSecret:
            return {}

    def words_of(self, error: Exception) -> str:
        """What broke, for operators, such as `KeyError: 'id'`: without this engine's secrets, which an
        adapter's bug may quote."""
        return redact(f"{type(error).__name__}: {error}", self.kept_secrets.values())

    def can(self, capability: str) -> bool | str:
        """True, or the sentence that tells an operator why not."""
        known: dict[str, Any] = (
            self.capabilities or registry.adapter_class(self.kind).capability_table()
        )
        return known.get(capability) or f"{self.kind} does not say that it can."


class EngineJob(models.Model):
    """Something that an operator asked of an engine; the reconciler does it, the page polls it.

    `engine` is empty for the test of settings that are not saved yet.
    """

    class Action(models.TextChoices):
        TEST = "test", "Test connection"
        SYNC = "sync", "Sync now"
        IMPORT_DEFINITIONS = "import_definitions", "Import workflows"
        IMPORT_RUNS = "import_runs", "Import runs"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    engine = models.ForeignKey(Engine, null=True, blank=True, on_delete=models.CASCADE)
    kind = models.CharField(max_length=63)
    action = models.CharField(max_length=32, choices=Action)
    state = models.CharField(max_length=16, choices=State, default=State.WAITING)
    config = models.JSONField(default=dict, blank=True)
    encrypted_secrets = models.TextField(blank=True, default="", editable=False)
    result = models.JSONField(default=dict, blank=True)
    message = models.TextField(blank=True, default="")
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    created_at = models.DateTimeField(auto_now_add=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["id"],
                name="enginejob_open",
                condition=models.Q(state__in=["waiting", "running"]),
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()} of {self.engine or self.kind}"
