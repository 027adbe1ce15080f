"""`input`, `output` and `sleep`."""

import time
from typing import Any

from engines.dag.callables import Permanent
from engines.dag.context import StepContext

TICK = 0.5


def give_arguments(arguments: dict[str, Any], context: StepContext) -> Any:
    """The arguments as they are. An `input` without any gives the run's parameters."""
    return arguments or dict(context.run.parameters)


def sleep(arguments: dict[str, Any], context: StepContext) -> dict[str, float]:
    """Waits `seconds`, telling how far it is."""
    seconds = arguments.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)) or seconds < 0:
        raise Permanent(f"seconds must be a number from 0 on, and it is {seconds!r}.")
    start = time.monotonic()
    while (left := start + seconds - time.monotonic()) > 0:
        time.sleep(min(left, TICK))
        if seconds > 2 * TICK:
            context.progress((time.monotonic() - start) / seconds)
    return {"seconds": seconds}
