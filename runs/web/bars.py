"""The strip of a workflow's or a task's last runs: a bar for how long each took, above its state."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.urls import reverse

from runs.comparison import seconds
from runs.models import TaskRun, WorkflowRun

TALLEST = 28  # pixels
LEAST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One run; `state` is empty where it hasn't got the task. `height` and `top` in pixels; `seconds` None
    where it hasn't ended or never began; `here`: it is the one whose page this is."""

    run: int
    state: str
    link: str
    height: int
    seconds: float | None
    started_at: datetime | None = None
    here: bool = False

    @property
    def top(self) -> int:
        return TALLEST - self.height


def run_bars(runs: Iterable[WorkflowRun]) -> list[Bar]:
    """Of the last runs of a workflow, in their order."""
    found = list(runs)
    lengths = [seconds(run.started_at, run.ended_at) for run in found]
    return [
        Bar(
            run=run.pk,
            state=run.state,
            link=reverse("run", args=[run.pk]),
            height=_height(length, lengths),
            seconds=length,
            started_at=run.started_at,
        )
        for run, length in zip(found, lengths, strict=True)
    ]


def task_bars(pairs: Sequence[tuple[WorkflowRun, TaskRun | None]], this: TaskRun) -> list[Bar]:
    """Of one task in the last runs of its workflow, in their order."""
    lengths = [seconds(task.started_at, task.ended_at) if task else None for _, task in pairs]
    return [
        Bar(
            run=run.pk,
            state=task.state if task else "",
            link=reverse("task", args=[run.pk, task.pk]) if task else reverse("run", args=[run.pk]),
            height=_height(length, lengths),
            seconds=length,
            started_at=task.started_at if task else None,
            here=task == this,
        )
        for (run, task), length in zip(pairs, lengths, strict=True)
    ]


def _height(length: float | None, lengths: Iterable[float | None]) -> int:
    longest = max((one for one in lengths if one), default=0)
    return max(round((length or 0) / longest * TALLEST), LEAST) if longest else LEAST
