"""Saying that one knows of a kind of failure, which sets it apart until a newer run fails of it."""

from typing import cast

from django.db import transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from runs import audit
from runs.errors import Invalid
from runs.models import Acknowledgement, WorkflowRun
from runs.policy import Action, Actor, require, visible
from runs.querysets import RunQuerySet

LONGEST_NOTE = 1000


def acknowledge(
    actor: Actor, *, fingerprint: str, workflow: str, note: str = "", newest: int | None = None
) -> tuple[Acknowledgement, bool]:
    """The acknowledgement, and whether it is new; one that is there gets this note. `newest`: the last
    run that the actor saw failing of it; all there are where it is left out. What came after that is
    not known of."""
    seen = cast(RunQuerySet, visible(actor, WorkflowRun.objects.all()))
    found = seen.open_failures().filter(fingerprint=fingerprint, workflow__title=workflow)
    run = found.order_by("-pk").first()
    require(actor, Action.EDIT_RUN, run)
    if run is None:
        raise Invalid({"fingerprint": "No failure of this kind is open any more."})
    note = note.replace("\x00", "\ufffd").strip()
    if len(note) > LONGEST_NOTE:
        raise Invalid({"note": f"At most {LONGEST_NOTE:,} characters."})
    last = run.pk if newest is None else min(newest, run.pk)
    given = {"note": note, "by": actor.name}
    with transaction.atomic():
        row, new = Acknowledgement.objects.update_or_create(
            fingerprint=fingerprint,
            workflow=workflow,
            defaults={**given, "newest": Greatest(F("newest"), Value(last))},
            create_defaults={**given, "newest": last},
        )
        row.refresh_from_db()
        audit.record(actor, "acknowledge", row, newest=row.newest, note=note)
    return row, new


def withdraw_acknowledgement(actor: Actor, row: Acknowledgement) -> None:
    """It is open again; twice is fine."""
    runs = visible(actor, WorkflowRun.objects.all()).filter(workflow__title=row.workflow)
    alike = runs.filter(fingerprint=row.fingerprint).select_related("workflow", "engine")
    require(actor, Action.EDIT_RUN, alike.order_by("-pk").first())
    with transaction.atomic():
        if Acknowledgement.objects.filter(pk=row.pk).delete()[0]:
            audit.record(actor, "withdraw_acknowledgement", row)
