"""Which failures are settled: a failed run whose rerun completes names it as its `resolved_by`, and so do
those that it was a rerun of, up the whole chain.

runs.moves calls `record` in the transaction of the ends; `open_failures` of runs.querysets asks for it.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import F

from runs.bulk import update_rows
from runs.changes import RunChange
from runs.models import WorkflowRun
from runs.states import RunState

LONGEST_CHAIN = 100


def record(changes: Iterable[RunChange], now: datetime) -> None:
    """Settles what these changes settle, and opens again what a run that is said to have failed, or
    that is run anew, had settled. Costs nothing where none of them completes or had completed."""
    known = [change for change in changes if "state" in change.fields]
    undone = [
        change.run.pk
        for change in known
        if change.run.state == RunState.COMPLETED != change.fields["state"]
    ]
    if undone:
        WorkflowRun.objects.filter(resolved_by__in=undone).update(
            resolved_by=None, version=F("version") + 1, updated_at=now
        )
    ahead = {
        change.run.previous_id: change.run.pk
        for change in known
        if change.fields["state"] == RunState.COMPLETED and change.run.previous_id
    }
    settled = _ancestors(ahead)
    update_rows(
        WorkflowRun,
        [
            (pk, version, {"resolved_by": by, "version": version + 1, "updated_at": now})
            for pk, (version, by) in sorted(settled.items())
        ],
    )


def _ancestors(ahead: dict[int, int]) -> dict[int, tuple[int, int]]:
    """Failed run -> (its version, the run that settles it): all before these, each locked."""
    found: dict[int, tuple[int, int]] = {}
    for _ in range(LONGEST_CHAIN):
        if not ahead:
            break
        rows = WorkflowRun.objects.filter(pk__in=ahead).order_by("pk")
        above: dict[int, int] = {}
        columns = ("pk", "previous", "state", "resolved_by", "version")
        locked = rows.select_for_update(no_key=True)
        for pk, previous, state, resolved_by, version in locked.values_list(*columns):
            if state == RunState.FAILED and resolved_by is None:
                found[pk] = (version, ahead[pk])
            if previous and previous not in found:
                above[previous] = ahead[pk]
        ahead = above
    return found
