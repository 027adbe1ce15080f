"""Which task a run failed of, and the fingerprint by which equal failures are found again: pure."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from engines.states import TaskState

LATEST = datetime.max.replace(tzinfo=UTC)
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`")
_NUMBER = re.compile(
    r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)[0-9a-f]{6,}\b|\d+",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedTask:
    """How a task run ended; `label` names its mapped instance too."""

    name: str
    label: str
    state: str
    error: str
    ended_at: datetime | None


def root_of(tasks: Iterable[EndedTask]) -> EndedTask | None:
    """The task that failed first by itself; those that failed because of others are no root. Where
    none failed, one that was canceled by itself is what the run failed of."""
    known = list(tasks)
    for state in (TaskState.FAILED, TaskState.CANCELED):
        ended = [task for task in known if task.state == state]
        if ended:
            return min(ended, key=lambda task: task.ended_at or LATEST)
    return None


def sentence(root: EndedTask | None) -> str:
    """What the run failed of, in words; empty when nobody knows."""
    if root is None:
        return ""
    return root.error or (f"{root.label} was canceled." if root.state == TaskState.CANCELED else "")


def first_line(error: str) -> str:
    """The line that says what happened: of a traceback the last, else the first."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    if not lines:
        return ""
    return lines[-1] if lines[0].startswith("Traceback") else lines[0]


def fingerprint(workflow: str, task: str, error: str) -> str:
    """SHA-256 of the workflow's title, the root task and what went wrong, without numbers, ids and
    quoted texts, so that two runs which failed of the same thing share it. Empty without a cause."""
    line = first_line(error)
    if not (line or task):
        return ""
    plain = _NUMBER.sub("#", _QUOTED.sub("'…'", line)).lower()
    return hashlib.sha256("\x00".join([workflow, task, plain]).encode()).hexdigest()
