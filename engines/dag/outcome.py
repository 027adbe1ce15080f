"""What passes between the engine's tables and whoever runs a step: a taken step, and its outcome."""

import json
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from django.db.models import TextChoices

from engines.dag.definitions import Plan
from engines.dag.graph import StepSpec
from engines.dag.references import ABSENT
from engines.states import TaskState

MAX_RESULT_BYTES = 1_000_000
MAX_KEPT_INPUT_BYTES = 100_000


class Stop(TextChoices):
    """Why a step or a run was stopped; the reason that people see."""

    CANCELED = "canceled", "Cancelled by a person"
    TIMEOUT = "timeout", "Ran out of time"
    SIBLING = "sibling_failed", "Stopped because another step failed"
    DRAIN = "drained", "Its worker was stopped"
    ARTIFACTS = "artifacts", "Left more files than it may"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A step whose try has begun for a worker. `token` proves that the try is still its own.
    `secrets`: the values that its inputs hold, which nothing that it tells may."""

    step_id: int
    token: int
    plan: Plan
    spec: StepSpec
    map_index: int
    attempt: int
    try_number: int
    inputs: dict[str, Any] = field(repr=False)
    item: Any = ABSENT
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def log(self) -> str:
        """The log's path in the storage `logs`."""
        return log_name(
            self.plan.external_id, self.spec.name, self.map_index, self.attempt, self.try_number
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How a try ended. `result` is JSON text. `stopped`: somebody asked for the end; `lost`: its
    worker died; `permanent`: another try would end the same. `seconds`: how long it ran; `ended`: when
    its end was, as the machine's `time.monotonic` (0: just now)."""

    execution_id: int
    step_id: int
    token: int
    name: str
    map_index: int
    state: TaskState
    result: str | None = None
    reason: str = ""
    error: str = ""
    message: str = ""
    log: str = ""
    seconds: float = 0.0
    ended: float = 0.0
    stopped: bool = False
    lost: bool = False
    permanent: bool = False

    def ago(self, now: float) -> tuple[float | None, float]:
        """Seconds since it began (None: as long ago as its row says) and since it ended. `now`: the
        machine's `time.monotonic`."""
        if not self.ended:
            return None, 0.0
        since = max(now - self.ended, 0.0)
        return since + self.seconds, since

    @property
    def plain(self) -> bool:
        """The step did what it was to do."""
        return self.state == TaskState.COMPLETED


def refused(outcome: Outcome, error: BaseException) -> Outcome:
    """What becomes of an outcome that the database refuses for good."""
    return replace(
        outcome,
        state=TaskState.FAILED,
        result=None,
        message="",
        error=clean_text(f"The result can't be kept: {type(error).__name__}: {error}".strip()),
        permanent=True,
    )


class TooLarge(ValueError):
    """A result that is too large to be kept in the database."""


def to_json(value: Any, kind: Literal["result", "inputs"] = "result") -> str:
    """JSON text that both databases keep. Raises ValueError saying what JSON can't hold, and
    TooLarge; inputs that are large are replaced by a note, since they are only shown."""
    try:
        text = json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"The {kind} can't be written as JSON: {error}.") from None
    if "\\u0000" in text and "\x00" in _texts(value):
        raise ValueError(f"The {kind} holds a NUL character, which no database keeps.")
    if "\\ud" in text and not _is_encodable(_texts(value)):
        raise ValueError(
            f"The {kind} holds half a character, as names of files that aren't UTF-8 do: no database "
            "keeps it."
        )
    if kind == "inputs":
        if len(text) > MAX_KEPT_INPUT_BYTES:
            return json.dumps({"note": f"not shown: {len(text):,} bytes"})
    elif len(text) > MAX_RESULT_BYTES:
        raise TooLarge(
            f"The result has {len(text):,} bytes of JSON; the most is {MAX_RESULT_BYTES:,}. Write "
            "it to a file and return its path."
        )
    return text


def log_name(external_id: str, step: str, map_index: int, attempt: int, try_number: int) -> str:
    """Where the log of a try is in the storage `logs`."""
    return f"{external_id}/{step}/{map_index}/{attempt}.{try_number}.log"


def clean_text(text: str, limit: int = 2000) -> str:
    """A text for people that both databases keep, cut to `limit` characters."""
    text = text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _texts(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        return "".join(_texts(key) + _texts(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "".join(_texts(item) for item in value)
    return ""
