"""Whether what is encrypted can be read, and is kept no longer than it is needed."""

from collections.abc import Iterator

from django.db.models import Exists, OuterRef, QuerySet

from engines.dag.models import OPEN_STATES, Execution, Step
from engines.states import FINAL_RUN_STATES
from runs.encrypted import unreadable
from runs.invariants.check import Check


def _useless() -> QuerySet[Execution]:
    open_steps = Step.objects.filter(execution=OuterRef("pk"), state__in=OPEN_STATES)
    ended = Execution.objects.exclude(secrets="").filter(state__in=sorted(FINAL_RUN_STATES))
    return ended.exclude(Exists(open_steps))


def _kept() -> Iterator[str]:
    for name in _useless().order_by("pk").values_list("external_id", flat=True).iterator():
        yield f"the execution {name} has ended and still keeps its secrets"


def _forget() -> int:
    return _useless().update(secrets="")


CHECKS = (
    Check(
        code="I10b",
        holds="Whatever is encrypted can be decrypted.",
        remedy=(
            "Put the key that it was encrypted with behind the new one in WORKFLOWHUB_SECRET_KEYS, or "
            "enter the secret again."
        ),
        find=unreadable,
    ),
    Check(
        code="I10c",
        holds="An execution of which nothing can run any more keeps no secrets.",
        remedy="Run fsck --fix: it deletes them.",
        find=_kept,
        mend=_forget,
    ),
)
