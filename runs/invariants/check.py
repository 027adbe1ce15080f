"""What an invariant is, and the words that several of them use."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import QuerySet

from runs.models import WorkflowRun
from runs.states import ACTIVE_RUN_STATES, FINAL_RUN_STATES

FINAL = sorted(FINAL_RUN_STATES)
ACTIVE = sorted(ACTIVE_RUN_STATES)
JUST_NOW = timedelta(minutes=5)  # what is younger may be on its way
MENDED_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One invariant. `find` yields what breaks it, as sentences; `mend` repairs it all and says how
    many, where a machine may."""

    code: str
    holds: str
    remedy: str
    find: Callable[[], Iterable[str]]
    mend: Callable[[], int] | None = None


def names(rows: QuerySet[WorkflowRun]) -> Iterator[str]:
    """A line for each of the runs."""
    for pk, state in rows.values_list("pk", "state").order_by("pk").iterator():
        yield f"run {pk} ({state})"
