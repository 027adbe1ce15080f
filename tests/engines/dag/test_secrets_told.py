"""What the process that runs a step makes of a secret that the step tells."""

import json
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from engines.adapters.local.worker import running
from engines.adapters.local.worker.board import make_board
from engines.dag import callables
from engines.dag.graph import StepSpec
from engines.dag.outcome import Taken
from engines.masking import MASK
from engines.states import TaskState

SECRET = "plain-secret-5e8f"


class Quiet:
    """Takes nothing of what a step writes, and keeps what the hub adds to it."""

    def __init__(self) -> None:
        self.masks: list[Any] = []
        self.notes: list[str] = []

    def begin(self, name: str, mask: Any) -> None:
        self.masks.append(mask)

    def note(self, text: str) -> None:
        self.notes.append(self.masks[-1].text(text))

    def tail(self, stream: str = "out") -> str:
        return ""

    def end(self) -> str:
        return ""


@pytest.fixture
def runner(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(running, "Capture", Quiet)
    monkeypatch.setattr(running, "LINUX", False)  # the test's own children live on
    monkeypatch.setattr(running, "connections", SimpleNamespace(all=lambda initialized_only: []))
    monkeypatch.setattr(callables, "_loaded", set())
    made = running.Runner(make_board(1)[0])
    reports: list[Any] = []
    made.reporter = SimpleNamespace(report=reports.append, forget=lambda: None, thread=None)
    made.reports = reports
    return made


def run(runner: Any, function: Any, *secrets: str) -> Any:
    """The outcome of a step that calls a function."""
    callables._registered["told"] = callables.Registered(function, takes_context=True)
    plan = SimpleNamespace(
        id=1, run_id=1, run_uuid="u", attempt=1, external_id="wh-u-1", title="T",
        parameters={}, labels={},
    )  # fmt: skip
    taken = Taken(
        step_id=1, token=1, plan=plan, spec=StepSpec(name="a", handler="python"), map_index=-1,
        attempt=1, try_number=1, inputs={"callable": "told"}, secrets=secrets,
    )  # fmt: skip
    try:
        return runner.run(taken)
    finally:
        del callables._registered["told"]


def test_a_result_is_masked_in_names_and_values(runner: Any) -> None:
    outcome = run(runner, lambda context: {SECRET: [SECRET, (1, f"x{SECRET}")]}, SECRET)
    assert json.loads(outcome.result) == {MASK: [MASK, [1, f"x{MASK}"]]}
    assert SECRET not in repr(outcome)


def test_an_error_and_its_traceback_are_masked_before_they_are_cut(runner: Any) -> None:
    def fail(context: Any) -> None:
        raise ValueError("x" * 1984 + SECRET)

    outcome = run(runner, fail, SECRET)
    assert outcome.state == TaskState.FAILED
    said = "\n".join([outcome.error, *runner.capture.notes])
    assert not any(SECRET[:size] in said for size in range(5, len(SECRET)))
    assert outcome.error.endswith("x•••…")
    assert "Traceback" in runner.capture.notes[0]


def test_a_message_is_masked_before_it_is_cut(runner: Any) -> None:
    def report(context: Any) -> None:
        context.progress(0.5, "x" * 490 + SECRET)

    outcome = run(runner, report, SECRET)
    [told] = runner.reports
    for message in (told.message, outcome.message):
        assert message == "x" * 490 + MASK


def test_a_result_that_is_no_json_fails_as_without_secrets(runner: Any) -> None:
    assert "can't be written as JSON" in run(runner, lambda context: {1, 2}, SECRET).error


def test_a_step_without_secrets_has_a_mask_of_nothing(runner: Any) -> None:
    outcome = run(runner, lambda context: {"a": SECRET})
    assert json.loads(outcome.result) == {"a": SECRET}
    assert not runner.capture.masks[0]


def test_what_a_thread_of_an_earlier_step_may_still_say_stays_masked(runner: Any) -> None:
    goes_on = threading.Event()

    def leave_a_thread(context: Any) -> None:
        threading.Thread(target=goes_on.wait, args=[20], daemon=True, name="left").start()

    try:
        run(runner, leave_a_thread, SECRET)
        run(runner, lambda context: 1)
        assert runner.capture.masks[-1].text(SECRET) == MASK
    finally:
        goes_on.set()
    for thread in threading.enumerate():
        if thread.name == "left":
            thread.join(5)
    run(runner, lambda context: 1)
    assert not runner.capture.masks[-1]


def test_a_handler_may_mask_what_it_cuts(runner: Any) -> None:
    outcome = run(runner, lambda context: context.mask(f"{'x' * 5}{SECRET}")[:8], SECRET)
    assert json.loads(outcome.result) == "xxxxx•••"
