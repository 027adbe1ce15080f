"""The log file of a whole run: `<external id>/run.log` in the storage `logs`, a line an event.

Lines look like `2026-01-19 10:00:00 - INFO - Step 'a' completed successfully | elapsed_time=00:04:32`
(UTC). A failing disk never changes how a run ends: it is noted in the process's own log.
"""

from datetime import UTC, datetime

from django.conf import settings

from engines.dag.held import Held
from engines.dag.logs import append
from engines.dag.outcome import Outcome, Taken
from engines.states import TaskState


def note_start(held: Held, taken: Taken) -> None:
    """Notes that a try has begun for a worker."""
    spec, index = taken.spec, taken.map_index
    shown = spec.name if index < 0 else f"{spec.name}[{index}]"
    what = "hook" if spec.name in held.plan.definition.hooks else "step"
    target = taken.inputs.get("app") if spec.handler == "app" else None
    kind = f"app '{target}'" if target else f"handler '{spec.handler}'"
    held.note(f"Submitted {what} '{shown}' to {kind} | task_id={taken.step_id}")


def note_end(held: Held, name: str, map_index: int, outcome: Outcome) -> None:
    """Notes how a try ended that no other one follows."""
    shown = name if map_index < 0 else f"{name}[{map_index}]"
    what = "Hook" if name in held.plan.definition.hooks else "Step"
    seconds = int(outcome.seconds)
    elapsed = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if outcome.state == TaskState.COMPLETED:
        held.note(f"{what} '{shown}' completed successfully | elapsed_time={elapsed}")
    else:
        word = outcome.state.label.lower()
        held.note(
            f"{what} '{shown}' {word} | elapsed_time={elapsed} error={outcome.error}", "ERROR"
        )


def write_notes(held: Held) -> None:
    """Appends what was noted while the execution was held; after the commit."""
    if not held.notes or not settings.WORKFLOWHUB_RUN_LOGS:
        return
    stamp = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S")
    lines = "".join(
        f"{stamp} - {level} - {text.replace(chr(10), ' ')}\n" for level, text in held.notes
    )
    held.notes.clear()
    append(run_log(held.plan.external_id), lines.encode("utf-8", "replace"))


def run_log(external_id: str) -> str:
    """The path of a run's log in the storage `logs`."""
    return f"{external_id}/run.log"
