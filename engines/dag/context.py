"""What a running step may do beside returning its result: tell how far it is, write to its log, and
keep files in a folder of its own."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engines import folders
from engines.dag.artifacts import names_of, root
from engines.dag.outcome import Taken


class Stopped(BaseException):
    """Raised within a step that must stop now. Not an Exception, so that a step which catches
    everything still ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunInfo:
    """The run that a step belongs to."""

    id: int
    uuid: str
    attempt: int
    external_id: str
    title: str
    parameters: Mapping[str, Any]
    labels: Mapping[str, str]


@dataclass(slots=True)
class StepContext:
    """Handed to callables that have a parameter `context`. `report` takes (message, progress);
    `tail` gives the end of what the step has written so far, to its standard output ("out") or to
    its standard error ("err"). `mask` takes the step's secrets out of a text: for one that is cut
    before it is shown, so that no part of a secret is left."""

    run: RunInfo
    step: str
    map_index: int
    try_number: int
    item: Any
    report: Callable[[str, float | None], None]
    tail: Callable[[str], str]
    mask: Callable[[str], str] = str
    _folder: Path | None = field(default=None)

    def log(self, text: str) -> None:
        """Writes a line to the step's log."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201  the log is what the step prints

    def progress(self, fraction: float | None, message: str = "") -> None:
        """Tells how far the step is: 0 to 1, or None where nobody knows. Shown within a second."""
        if fraction is not None:
            fraction = min(max(float(fraction), 0.0), 1.0)
        self.report(message, fraction)

    @property
    def output_dir(self) -> Path:
        """The step's own folder, made on first use; a later try finds what an earlier one left."""
        if self._folder is None:
            folders.make(root(), names_of(self.run.external_id, self.step, self.map_index))
            self._folder = step_folder(self.run.external_id, self.step, self.map_index)
        return self._folder


def context_of(
    taken: Taken,
    report: Callable[[str, float | None], None],
    tail: Callable[[str], str],
    mask: Callable[[str], str] = str,
) -> StepContext:
    plan = taken.plan
    return StepContext(
        run=RunInfo(
            id=plan.run_id,
            uuid=plan.run_uuid,
            attempt=plan.attempt,
            external_id=plan.external_id,
            title=plan.title,
            parameters=plan.parameters,
            labels=plan.labels,
        ),
        step=taken.spec.name,
        map_index=taken.map_index,
        try_number=taken.try_number,
        item=taken.item,
        report=report,
        tail=tail,
        mask=mask,
    )


def step_folder(external_id: str, step: str, map_index: int) -> Path:
    """Where a step keeps its files. Raises ValueError for a name that is no name."""
    return root().joinpath(*names_of(external_id, step, map_index))
