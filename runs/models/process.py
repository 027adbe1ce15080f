from django.db import models


class Lease(models.Model):
    """Who may act on a thing (`engine:3`, `router`) until when, by the database's clock.

    `token` rises with every change of owner and is checked in every write under the lease.
    """

    name = models.CharField(max_length=100, primary_key=True)
    owner = models.UUIDField(null=True, blank=True)
    token = models.PositiveBigIntegerField(default=0)
    expires_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Heartbeat(models.Model):
    """When a background process last proved that it works (`sync`, `qcluster`)."""

    name = models.CharField(max_length=100, primary_key=True)
    at = models.DateTimeField()
    detail = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["name"]

    def __str__(self) -> str:
        return self.name


class Restore(models.Model):
    """A restore of this database. What was done between `backup_at` and `at` is unknown here and may
    live on at engines: `life` keeps the ids of what is begun since apart from the ids used then."""

    at = models.DateTimeField()
    backup_at = models.DateTimeField()
    life = models.CharField(max_length=12, unique=True)

    class Meta:
        ordering = ["-at"]

    def __str__(self) -> str:
        return f"{self.at:%Y-%m-%d %H:%M} from {self.backup_at:%Y-%m-%d %H:%M}"


class Counter(models.Model):
    """A metric's total, one row per process so that no row is hot; cleanup folds them together.

    `labels` is a sorted list of [name, value]; `buckets` counts per upper bound for a histogram.
    """

    name = models.CharField(max_length=100)
    labels = models.CharField(max_length=500, default="[]")
    process = models.CharField(max_length=40, default="")
    value = models.FloatField(default=0)
    count = models.PositiveBigIntegerField(default=0)
    buckets = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["name", "labels"]
        constraints = [
            models.UniqueConstraint(
                fields=["name", "labels", "process"], name="counter_name_labels_process"
            )
        ]

    def __str__(self) -> str:
        return self.name
