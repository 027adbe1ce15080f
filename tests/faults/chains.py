"""Runs whose steps tell on each other when two of one kind are at work at once, and what must be true
of all runs in the end."""

from pathlib import Path
from typing import Any

from django.core.management import call_command

from engines.states import FINAL_RUN_STATES, RunState
from runs import actions
from runs.models import RunEvent, WorkflowRun
from runs.policy import Actor
from tests.e2e.processes import eventually


def alone(lock: str, seconds: float) -> list[str]:
    """A program that says TWICE in the file `lock`.twice where another one like it runs."""
    script = (
        f'exec 9>>"$0"; flock -n 9 || echo TWICE >> "$0.twice"; sleep {seconds}; echo x >> "$0"'
    )
    return ["sh", "-c", script, lock]


def chain(folder: Path, name: str, *, steps: int, seconds: float) -> dict[str, Any]:
    return {
        "title": name,
        "steps": [
            {
                "name": f"s{n}",
                "handler": "shell",
                "needs": [f"s{n - 1}"] if n else [],
                "with": {"argv": alone(str(folder / f"${{run.id}}-{n}"), seconds)},
            }
            for n in range(steps)
        ],
    }


def start(definition: dict[str, Any]) -> WorkflowRun:
    workflow, _ = actions.post_workflow(Actor(), definition=definition)
    return actions.start_run(Actor(), workflow)


def all_end() -> None:
    active = WorkflowRun.objects.active()
    try:
        eventually(lambda: not active.exists(), seconds=60, what="all runs end")
    except AssertionError:
        columns = ("state", "reason", "flags", "in_hand", "kills", "failures", "last_error")
        raise AssertionError(list(active.values("pk", *columns))) from None


def ended_once(folder: Path) -> None:
    for run in WorkflowRun.objects.all():
        assert run.state == RunState.COMPLETED, (run.pk, run.state, run.reason, run.error)
        ends = RunEvent.objects.filter(run=run, task_run=None, new__in=FINAL_RUN_STATES)
        assert ends.count() == 1
    assert list(folder.glob("*.twice")) == []
    call_command("fsck", verbosity=0)
