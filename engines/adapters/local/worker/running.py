"""Runs one step in this process and says how it ended, without the secrets that the step was given."""

import json
import signal
import threading
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from django.db import connections

from engines.adapters.local.worker.board import Slot, StopCode
from engines.adapters.local.worker.capture import Capture
from engines.adapters.local.worker.progress import Report, Reporter
from engines.base import EngineUnavailable
from engines.dag import artifacts
from engines.dag.callables import Permanent
from engines.dag.context import Stopped, context_of
from engines.dag.handlers import handler_of
from engines.dag.handlers.http import RequestFailed
from engines.dag.handlers.shell import ProgramFailed
from engines.dag.outcome import Outcome, Stop, Taken, clean_text, to_json
from engines.dag.processes import LINUX, end_children
from engines.masking import Mask
from engines.states import TaskState

NOTHING = Mask(())
EXPECTED = (Permanent, ProgramFailed, RequestFailed, EngineUnavailable)
_CANCELED = {StopCode.CANCELED: Stop.CANCELED, StopCode.SIBLING: Stop.SIBLING}


class Runner:
    """Of one child. `install` makes SIGTERM stop the step that the parent names on the board."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self.capture = Capture()
        self.reporter = Reporter()
        self._inside = False
        # Threads that a step with secrets has left behind -> what they could still write.
        self._left: dict[threading.Thread, tuple[str, ...]] = {}

    def install(self) -> None:
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._inside and self.slot.stop:
            self._inside = False
            raise Stopped

    def run(self, taken: Taken) -> Outcome:
        """Whatever the step does, there is an outcome, unless it takes the process down."""
        started = time.monotonic()
        limit = taken.spec.timeout
        mask = self._mask(taken)
        threads = set(threading.enumerate()) if taken.secrets else set()
        self.capture.begin(taken.log, mask)
        self.slot.begin(taken.step_id, taken.token, started + limit if limit else 0.0)
        message = ""

        def report(text: str, progress: float | None) -> None:
            nonlocal message
            message = clean_text(mask.text(text), 500) or message
            self.reporter.report(Report(taken.step_id, taken.token, message, progress))

        values = self._call(taken, report, mask)
        self.reporter.forget()
        if taken.secrets:
            left = {*threading.enumerate()} - threads - {self.reporter.thread}
            self._left |= dict.fromkeys(left, taken.secrets)
        if LINUX:
            end_children()
        values = _with_folder(taken, values, mask)
        # A connection that the step broke or left in a transaction isn't for what comes next.
        for connection in connections.all(initialized_only=True):
            if connection.in_atomic_block or not connection.get_autocommit():
                connection.close()
        if values["state"] != TaskState.COMPLETED and values["error"]:
            self.capture.note(str(values["error"]))
        ended = time.monotonic()
        outcome = Outcome(
            execution_id=taken.plan.id,
            step_id=taken.step_id,
            token=taken.token,
            name=taken.spec.name,
            map_index=taken.map_index,
            message=message,
            log=self.capture.end(),
            seconds=ended - started,
            ended=ended,
            **values,
        )
        self.slot.end()
        return outcome

    def _mask(self, taken: Taken) -> Mask:
        """Of what nothing may show that is written from now on: a mask of nothing, most often."""
        self._left = {one: values for one, values in self._left.items() if one.is_alive()}
        values = {*taken.secrets, *(value for values in self._left.values() for value in values)}
        return Mask(values) if values else NOTHING

    def _call(
        self, taken: Taken, report: Callable[[str, float | None], None], mask: Mask
    ) -> dict[str, Any]:
        """The outcome's values that the handler decides."""
        context = context_of(taken, report, self.capture.tail, mask.text)
        try:
            self._inside = True
            result = handler_of(taken.spec.handler)(taken.inputs, context)
            self._inside = False
            text = to_json(result)
            if mask:
                text = to_json(mask.value(json.loads(text)))
            return {"state": TaskState.COMPLETED, "result": text}
        except Stopped:
            return self._stopped(taken)
        except BaseException as error:  # noqa: BLE001  the border between the hub and a step's code
            self._inside = False
            if self.slot.stop:
                return self._stopped(taken)
            # What a handler foresaw needs no traceback through the hub's own code: the line that
            # ends the log says it.
            if not isinstance(error, EXPECTED):
                self.capture.note(traceback.format_exc())
            return {
                "state": TaskState.FAILED,
                "error": describe(error, mask),
                "permanent": isinstance(error, Permanent),
            }

    def _stopped(self, taken: Taken) -> dict[str, Any]:
        return stopped_values(self.slot.stop, taken.spec.timeout)


def describe(error: BaseException, mask: Mask = NOTHING) -> str:
    """One line for people: `ValueError: no such file`."""
    text = mask.text(str(error)).strip() or "no message"
    return clean_text(text if isinstance(error, EXPECTED) else f"{type(error).__name__}: {text}")


def _with_folder(taken: Taken, values: dict[str, Any], mask: Mask) -> dict[str, Any]:
    """The outcome, or the one of a try that left more than it may; then its folder is empty now."""
    names = artifacts.names_of(taken.plan.external_id, taken.spec.name, taken.map_index)
    excess = artifacts.settle(names)
    asked = values.get("stopped") or values.get("lost")
    return _too_many(mask.text(excess)) if excess and not asked else values


def _too_many(error: str) -> dict[str, Any]:
    return {
        "state": TaskState.FAILED,
        "reason": Stop.ARTIFACTS.value,
        "error": clean_text(error),
        "permanent": True,
    }


def stopped_values(code: StopCode, limit: float | None) -> dict[str, Any]:
    """The outcome of a try that was stopped."""
    if code == StopCode.TIMEOUT:
        return {
            "state": TaskState.FAILED,
            "reason": Stop.TIMEOUT.value,
            "error": f"The step took longer than its limit of {limit or 0:g} s.",
        }
    if code == StopCode.RUN_TIMEOUT:
        return {
            "state": TaskState.FAILED,
            "reason": Stop.TIMEOUT.value,
            "error": "The run took longer than its limit.",
            "stopped": True,
        }
    if code == StopCode.ARTIFACTS:
        return _too_many("The step's folder held more than it may.")
    if code == StopCode.DRAIN:
        return {
            "state": TaskState.FAILED,
            "reason": Stop.DRAIN.value,
            "error": "Its worker was stopped.",
            "lost": True,
        }
    reason = _CANCELED.get(code, Stop.CANCELED)
    return {"state": TaskState.CANCELED, "reason": reason.value, "error": "", "stopped": True}
