"""The runs and tasks that engines.testing.fake_engine keeps, and how they look as JSON."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

RUN_WORDS = ("queued", "active", "done", "broken", "stopped")
TASK_WORDS = ("waiting", "active", "done", "broken", "stopped", "omitted")
ENDED = frozenset({"done", "broken", "stopped", "omitted"})


@dataclass(slots=True, kw_only=True)
class FakeTask:
    """`fails`: how many of its first tries break."""

    name: str
    needs: tuple[str, ...] = ()
    fails: int = 0
    state: str = "waiting"
    tries: int = 0
    started: str | None = None
    ended: str | None = None
    logs: dict[int, list[str]] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "state": self.state,
            "try": self.tries,
            "started": self.started,
            "ended": self.ended,
        }


@dataclass(slots=True, kw_only=True)
class FakeRun:
    """`tag` is the id that the caller gave; `visible_at` (monotonic) is when lists show the run."""

    id: str
    tag: str
    tasks: dict[str, FakeTask]
    state: str = "queued"
    attempt: int = 1
    revision: int = 0
    visible_at: float = 0.0
    started: str | None = None
    ended: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "tag": self.tag,
            "state": self.state,
            "attempt": self.attempt,
            "started": self.started,
            "ended": self.ended,
            "tasks": [task.as_json() for task in self.tasks.values()],
        }


class Refused(Exception):
    """The engine says no: `status` is that of HTTP."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def copy_of(task: FakeTask) -> FakeTask:
    """The task as it is, for a run that takes it over."""
    return replace(task, logs={number: list(lines) for number, lines in task.logs.items()})


def tasks_of(definition: Mapping[str, Any]) -> dict[str, FakeTask]:
    """A definition's tasks in an order that their needs allow. Refused(400) for nonsense."""
    try:
        tasks = [
            FakeTask(
                name=str(task["name"]),
                needs=tuple(task.get("needs", ())),
                fails=task.get("fails", 0),
            )
            for task in definition["tasks"]
        ]
    except (KeyError, TypeError, AttributeError):
        raise Refused(400, "A definition has tasks, each with a name.") from None
    found: dict[str, FakeTask] = {}
    while len(found) < len(tasks):
        ready = [task for task in tasks if task.name not in found and found.keys() >= {*task.needs}]
        if not ready:
            raise Refused(
                400, "The tasks are in a cycle, need one that isn't there, or are doubled."
            )
        found.update({task.name: task for task in ready})
    return found
