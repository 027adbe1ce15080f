"""Steps that repeat, for tests that drive them by hand."""

from typing import Any

from engines.dag.models import Step
from engines.dag.outcome import Taken
from tests.engines.dag.driving import Hand, step

POLL = {"until": "${result.done} == true", "max": 3}


def poll(name: str = "poll", *needs: str, repeat: Any = None, **more: Any) -> dict[str, Any]:
    return step(name, *needs, repeat=repeat or POLL, **more)


def end_passes(hand: Hand, *results: Any) -> Taken | None:
    """Takes a pass and ends it, for each result; what the hand has then."""
    taken = hand.take()
    for result in results:
        taken = hand.end(taken, result=result)
    return taken


def take_all(count: int) -> dict[str, tuple[Hand, Taken]]:
    """So many hands with a step each: (hand, what it took) by the step's name."""
    hands = [Hand() for _ in range(count)]
    return {taken.spec.name: (hand, taken) for hand in hands if (taken := hand.take())}


def is_due(**more: Any) -> None:
    Step.objects.filter(state="PENDING", **more).update(ready_at="2020-01-01T00:00Z")
