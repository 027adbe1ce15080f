"""The built-in engine: executions are rows, and `manage.py worker` runs their steps.

Submit, cancel and retry are transactions in the hub's own database, so none of them can be doubled
or lost. Reports come from the same tables.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import BinaryIO, ClassVar

from django.conf import settings
from django.db import DatabaseError

from engines.base import (
    Artifacts,
    ChildOutcome,
    Definition,
    EngineAdapter,
    EngineRejected,
    EngineUnavailable,
    Health,
    LogChunk,
    Page,
    Problem,
    RetrySpec,
    RunNotFound,
    RunSnapshot,
    RunSpec,
    Submission,
)
from engines.clock import database_now
from engines.dag import answers, artifacts, leases, observing, requests
from engines.dag.formats import FORMATS, guess, read
from engines.dag.logs import open_log
from engines.dag.models import Step, StepTry, Worker
from engines.dag.outcome import log_name
from engines.logfile import read_chunk
from engines.states import FINAL_TASK_STATES, TaskState

NO_WORKER = "No worker is running: start one with manage.py worker."
CHECK_LEASES_SECONDS = 1.0


class Adapter(EngineAdapter):
    label = "Built-in engine"
    description = "Runs the steps of a workflow on the hub's own workers."
    formats = tuple(FORMATS)
    submission = Submission.OURS
    observes_changes = True
    asks_for_runs = True
    page_size = 500
    capabilities: ClassVar[Mapping[str, bool | str]] = {
        "cancel_run": True,
        "cancel_task": True,
        "retry_failed": True,
        "retry_task": True,
        "live_logs": True,
        "artifacts": True,
        "deploy": "The built-in engine takes the definition with each run.",
        "import_definitions": "Everything in the built-in engine came from this hub.",
        "import_runs": "Everything in the built-in engine came from this hub.",
    }
    _leases_checked: ClassVar[float] = 0.0

    @classmethod
    def guess(cls, text: str) -> str | None:
        return guess(text)

    @classmethod
    def read(cls, text: str, format: str) -> Definition:
        if format not in FORMATS:
            message = f"{format[:60]!r} is no format of the built-in engine: {', '.join(FORMATS)}."
            return Definition(format=format, problems=(Problem(message=message),))
        return read(text, format)

    def health(self) -> Health:
        """Fit to run something when a worker lives; it takes runs without one as well."""
        with asking():
            alive = Worker.objects.filter(
                ended_at=None,
                heartbeat_at__gte=database_now()
                - timedelta(seconds=settings.WORKFLOWHUB_WORKER_LOST_AFTER),
            )
            slots = list(alive.values_list("concurrency", flat=True))
            oldest = (
                Step.objects.filter(state=TaskState.SCHEDULED)
                .order_by("ready_at")
                .values_list("ready_at", flat=True)
                .first()
            )
            wait = (database_now() - oldest).total_seconds() if oldest else 0.0
        details = {
            "workers": len(slots),
            "slots": sum(slots),
            "oldest_ready_seconds": round(wait, 3),
        }
        if not slots:
            return Health(
                ok=False, message=NO_WORKER, capabilities=self.capability_table(), details=details
            )
        message = f"{len(slots)} worker{'s' * (len(slots) != 1)}, {sum(slots)} steps at once."
        return Health(
            ok=True, message=message, capabilities=self.capability_table(), details=details
        )

    def submit(self, run: RunSpec) -> RunSnapshot:
        with asking():
            requests.start(self.engine_id, run)
        return self.find(run.external_id)

    def retry(self, run: RunSpec, retry: RetrySpec) -> RunSnapshot:
        with asking():
            requests.start(self.engine_id, run, retry)
        return self.find(run.external_id)

    def find(self, external_id: str) -> RunSnapshot:
        with asking():
            return observing.find(external_id)

    def observe(self, cursor: str | None, watching: Sequence[str]) -> Iterator[Page]:
        with asking():
            self._check_leases()
            yield from observing.observe(self.engine_id, cursor, watching, self.page_size)

    def cancel(self, external_id: str, *, overdue: str = "") -> None:
        with asking():
            requests.cancel(external_id, overdue)

    def cancel_task(self, external_id: str, task: str, map_index: int) -> None:
        with asking():
            requests.cancel_step(external_id, task, map_index)

    def answer(self, external_id: str, key: str, outcome: ChildOutcome) -> None:
        with asking():
            answers.answer(external_id, key, outcome)

    def logs(
        self, external_id: str, task: str, map_index: int, try_number: int, offset: int
    ) -> LogChunk:
        """The log of a try of the step's latest attempt. A try without output has an empty log."""
        with asking():
            step = observing.find_step(external_id, task, map_index)
            earlier = StepTry.objects.filter(
                step=step, attempt=step.attempt, try_number=try_number
            ).first()
        if earlier is None and try_number != step.try_number:
            raise EngineRejected(f"{task} has had no try {try_number}.")
        complete = earlier is not None or step.state in FINAL_TASK_STATES
        # A step that was kept has its log where an earlier attempt wrote it.
        kept = step.log if step.try_number == try_number else ""
        name = kept or log_name(external_id, task, map_index, step.attempt, try_number)
        file = open_log(name)
        if file is None:
            return LogChunk(lines=(), next_offset=offset, complete=complete)
        with file:
            return read_chunk(file, offset=offset, complete=complete)

    def artifacts(self, external_id: str, task: str, map_index: int) -> Artifacts:
        with asking(), _reading():
            return artifacts.list_files(
                observing.find_step(external_id, task, map_index), external_id
            )

    def open_artifact(self, external_id: str, task: str, map_index: int, path: str) -> BinaryIO:
        with asking(), _reading():
            step = observing.find_step(external_id, task, map_index)
            return artifacts.open_file(step, external_id, path)

    @classmethod
    def _check_leases(cls) -> None:
        """Also without any worker: a dead worker's steps must not stay running for ever."""
        if time.monotonic() - cls._leases_checked >= CHECK_LEASES_SECONDS:
            Adapter._leases_checked = time.monotonic()
            leases.recover()
            requests.stop_overdue()


@contextmanager
def asking() -> Iterator[None]:
    """The engine is the hub's own database: when that can't be asked, neither can the engine."""
    try:
        yield
    except DatabaseError as error:
        text = str(error).strip().split("\n")[0]
        raise EngineUnavailable(f"The hub's database can't be asked: {text}") from None


@contextmanager
def _reading() -> Iterator[None]:
    """The files of steps may be on a disk that this process can't read."""
    try:
        yield
    except FileNotFoundError:
        raise RunNotFound("There is no such file.") from None
    except OSError as error:
        raise EngineUnavailable(f"The files can't be read: {error.strerror}.") from None
    except ValueError as error:
        raise RunNotFound(str(error)) from None
