import hashlib
import secrets
from typing import Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class Role(models.TextChoices):
    VIEWER = "viewer", "Viewer"
    OPERATOR = "operator", "Operator"
    EDITOR = "editor", "Editor"
    ADMINISTRATOR = "administrator", "Administrator"
    RUNNER = "runner", "Runner"


class ApiToken(models.Model):
    """A bearer token: 256 random bits, of which only a prefix and the SHA-256 are kept.

    `role` caps what the token may do below what its user may do.
    """

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="api_tokens"
    )
    name = models.CharField(max_length=100, blank=True, default="")
    role = models.CharField(max_length=13, choices=Role)
    prefix = models.CharField(max_length=12, editable=False)
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"{self.prefix}… of {self.user}"

    @classmethod
    def issue(cls, **fields: object) -> tuple[Self, str]:
        """A saved token and its plain text, which is never to be seen again."""
        plain = f"wh_{secrets.token_urlsafe(32)}"
        token = cls(prefix=plain[:9], digest=cls.digest_of(plain), **fields)
        token.save(force_insert=True)
        return token, plain

    @staticmethod
    def digest_of(plain: str) -> str:
        return hashlib.sha256(plain.encode()).hexdigest()


class AuditEntry(models.Model):
    """Who did what to which object; append-only, chained by hashes (`manage.py cleanup` chains)."""

    class Face(models.TextChoices):
        WEB = "web", "Browser"
        API = "api", "API"
        ADMIN = "admin", "Admin"
        COMMAND = "command", "Command"

    at = models.DateTimeField(db_default=Now())
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL
    )
    actor_name = models.CharField(max_length=200, blank=True, default="")
    face = models.CharField(max_length=7, choices=Face, default=Face.COMMAND)
    action = models.CharField(max_length=50)
    object_kind = models.CharField(max_length=50)
    object_id = models.CharField(max_length=100, blank=True, default="")
    object_name = models.CharField(max_length=300, blank=True, default="")
    detail = models.JSONField(default=dict, blank=True)
    digest = models.CharField(max_length=64, blank=True, default="", editable=False)

    class Meta:
        verbose_name_plural = "audit entries"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["object_kind", "object_id", "-id"], name="audit_object"),
            models.Index(fields=["id"], name="audit_unchained", condition=models.Q(digest="")),
        ]

    def __str__(self) -> str:
        return f"{self.actor_name} {self.action} {self.object_kind} {self.object_id}"


class IdempotencyKey(models.Model):
    """The answer to a POST that carried an Idempotency-Key, stored in the insert's transaction."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    key = models.CharField(max_length=255)
    request_digest = models.CharField(max_length=64)
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)
    headers = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "key"], name="idempotencykey_user_key")
        ]
        indexes = [models.Index(fields=["created_at"], name="idempotencykey_age")]

    def __str__(self) -> str:
        return self.key
