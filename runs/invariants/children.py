"""I2: nobody waits for ever for a run inside a run, and none goes on for nobody."""

from collections.abc import Iterator
from typing import Any

from django.db import transaction
from django.db.models import F, Q, QuerySet

from engines.clock import database_now
from runs import actions, moves
from runs.errors import Conflict
from runs.invariants.check import FINAL, JUST_NOW, MENDED_AT_ONCE, Check
from runs.models import ChildRun


def _unanswered() -> QuerySet[ChildRun]:
    """Ended long ago, and the step that asked for it still waits."""
    before = database_now() - JUST_NOW
    ended = Q(child__state__in=FINAL, child__ended_at__lt=before)
    gone = Q(child=None, created_at__lt=before)
    waited_for = ~Q(parent__state__in=FINAL)
    return ChildRun.objects.filter(ended | gone, waited_for, answered_at=None)


def _orphans() -> QuerySet[ChildRun]:
    """Open, though the run that asked ended long ago or began anew."""
    before = database_now() - JUST_NOW
    ended = Q(parent__state__in=FINAL, parent__ended_at__lt=before)
    anew = Q(parent__attempt__gt=F("attempt"), parent__updated_at__lt=before)
    return ChildRun.objects.filter(ended | anew, answered_at=None)


def _lines(rows: QuerySet[ChildRun], text: str) -> Iterator[str]:
    columns = rows.order_by("pk").values_list("task", "map_index", "parent_id", "child_id")
    for task, index, parent, child in columns.iterator():
        step = task if index < 0 else f"{task}[{index}]"
        which: Any = f"run {child}" if child else "no run"
        yield f"step {step} of run {parent} asked for a run ({which}): {text}"


def _call_off() -> int:
    """Does what the reconciler's tick would have done."""
    mended = 0
    for row in _orphans().select_related("child").iterator(chunk_size=MENDED_AT_ONCE):
        try:
            with transaction.atomic():
                if row.child is not None and row.waits and not row.child.final:
                    text = f"Canceled because run {row.parent_id} has ended."
                    actions.stop_run(row.child, moves.RECONCILER, text)
                ChildRun.objects.filter(pk=row.pk).update(answered_at=database_now())
        except Conflict:
            continue  # somebody changed it meanwhile
        mended += 1
    return mended


CHECKS = (
    Check(
        code="I2d",
        holds="A step that asked for a run is told how that ended.",
        remedy="See whether the engine of the run that asked is enabled and healthy: its tick tells it.",
        find=lambda: _lines(_unanswered(), "nobody told it of the end"),
    ),
    Check(
        code="I2e",
        holds="A run that was asked for is canceled when the one that asked ends.",
        remedy="Run fsck --fix: it cancels them.",
        find=lambda: _lines(_orphans(), "it goes on for nobody"),
        mend=_call_off,
    ),
)
