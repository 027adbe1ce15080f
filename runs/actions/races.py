"""Intents and reports meet at the same row: who reports isn't a rival of who asks.

Every look at an engine may raise a run's version, several times a second. An intent that was read
just before is not refused for that: it is read and checked anew. It is refused where another *person*
was first: where what is wanted of the run, or its attempt, isn't what the caller saw.
"""

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from runs import moves
from runs.errors import Conflict
from runs.models import TaskRun, WorkflowRun
from runs.policy import Actor

TRIES = 10

Given = TypeVar("Given", WorkflowRun, TaskRun)
More = ParamSpec("More")
Answer = TypeVar("Answer")


class Raced(Conflict):
    """Something else was written between the reading of a run and the writing of a change."""


def write(change: moves.RunChange) -> None:
    """Writes one change. Raises Raced: the run isn't what was read any more."""
    if not moves.apply_one(change):
        fresh = WorkflowRun.objects.get(pk=change.run.pk)
        raise Raced("Somebody else changed the run at the same moment.", fresh)


def patient(
    intent: Callable[Concatenate[Actor, Given, More], Answer],
) -> Callable[Concatenate[Actor, Given, More], Answer]:
    """The intent, tried again as long as only reports come in between."""

    @wraps(intent)
    def again(actor: Actor, obj: Given, /, *args: More.args, **kwargs: More.kwargs) -> Answer:
        for _ in range(TRIES):
            seen = _asked(obj)
            try:
                return intent(actor, obj, *args, **kwargs)
            except Raced:
                obj.refresh_from_db()
                if _asked(obj) != seen:
                    raise
        return intent(actor, obj, *args, **kwargs)

    return again


def _asked(obj: WorkflowRun | TaskRun) -> tuple[str, int]:
    """What people asked for, as far as the caller saw it."""
    return (obj.wanted, obj.attempt)
