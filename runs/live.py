"""Asking an engine something for a person who waits: it has DEADLINE seconds. Called by runs.logs and
runs.artifacts, which are the two that open an engine for a reader."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Timeout
from typing import TypeVar

from engines.base import EngineAdapter, EngineUnavailable, Submission
from runs.models import RunAttempt

T = TypeVar("T")

DEADLINE = 5.0  # seconds for an engine's answer
_askers = ThreadPoolExecutor(max_workers=8, thread_name_prefix="live")


class TooSlow(EngineUnavailable):
    """The engine didn't answer in time."""


def ask(adapter: EngineAdapter, call: Callable[[], T], what: str) -> T:
    """The answer of `call`, a call of this adapter. Raises TooSlow where it takes too long to give
    `what`, and whatever the adapter raises."""
    if adapter.submission is Submission.OURS:
        return call()  # our own tables and files: no deadline, and this thread's connection
    future = _askers.submit(call)
    try:
        return future.result(timeout=DEADLINE)
    except Timeout:
        future.cancel()
        raise TooSlow(
            f"The engine {adapter.name} took longer than {DEADLINE:g} s to give {what}. Try again."
        ) from None


def external_id_of(run_id: int, attempt: int) -> str:
    """By which the engine knows an attempt; empty where there is no such attempt."""
    ids = RunAttempt.objects.filter(run=run_id, number=attempt).values_list(
        "external_id", flat=True
    )
    return ids.first() or ""
