"""The Gantt bars of a run's tasks: shares of the time from the run's first sign to its last."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from runs.models import TaskRun, WorkflowRun

LEAST_SHARE = 0.4  # per cent: a short task is still a visible bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """`left` and `width` in per cent of the whole."""

    left: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """`bars`: task run's key -> bar; a task that didn't start has none."""

    begin: datetime
    length: timedelta
    bars: dict[int, Bar]


def timeline(run: WorkflowRun, tasks: Iterable[TaskRun], now: datetime) -> Timeline:
    """Bars of the tasks. While the run is active, or a hook goes on, the right edge is now. An
    engine's clock may be off: what lies outside is cut, and nothing is negative."""
    begun = [task for task in tasks if task.started_at]
    spans = [(task.pk, task.started_at, task.ended_at) for task in begun if task.started_at]
    begin = min([start for _, start, _ in spans] + [run.started_at or run.created_at])
    ends = [ended for _, _, ended in spans if ended]
    over = run.final and all(task.ended_at or not task.is_hook for task in begun)
    end = max([*ends, run.ended_at or now, begin]) if over else max([*ends, now])
    length = max(end - begin, timedelta(milliseconds=1))
    bars = {}
    for key, start, ended in spans:
        left = _share(start - begin, length)
        right = _share((ended or end) - begin, length)
        left = min(left, 100 - LEAST_SHARE)
        bars[key] = Bar(left=round(left, 2), width=round(max(right - left, LEAST_SHARE), 2))
    return Timeline(begin=begin, length=length, bars=bars)


def _share(part: timedelta, whole: timedelta) -> float:
    return min(max(part / whole * 100, 0.0), 100.0)
