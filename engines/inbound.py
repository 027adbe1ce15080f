"""What engines call in with: hints, "look at these runs now". Never states: a hint may be forged,
lost, doubled or late, so the reconciler always asks the engine itself.

An adapter's callback view calls `hint`; the reconciler's tick calls `drain` before it observes.
"""

from django.db import connection, models

CHANNEL = "workflowhub_engine"


class Hint(models.Model):
    """One run that an engine asks us to look at, by its external id."""

    engine = models.ForeignKey("engines.Engine", on_delete=models.CASCADE)
    external_id = models.CharField(max_length=250)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["engine", "external_id"], name="hint_once"),
        ]

    def __str__(self) -> str:
        return f"{self.external_id} of engine {self.engine_id}"


def hint(engine_id: int, external_id: str) -> None:
    """Asks the reconciler to look at a run soon. The same hint again before it looked adds nothing.

    On PostgreSQL it is also told on CHANNEL, with the engine's id, when the transaction commits. An
    id longer than 250 characters is no run of ours and is dropped.
    """
    if len(external_id) > 250 or "\x00" in external_id:
        return
    Hint.objects.bulk_create(
        [Hint(engine_id=engine_id, external_id=external_id)], ignore_conflicts=True
    )
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(engine_id)])


def drain(engine_id: int) -> list[str]:
    """The external ids hinted at since the last call, taken away in the same statement."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM engines_hint WHERE engine_id = %s RETURNING external_id", [engine_id]
        )
        return [external_id for (external_id,) in cursor.fetchall()]
