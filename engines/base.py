"""What every engine adapter is: an EngineAdapter, the frozen data that crosses its border, and the
three errors that may leave it.

An adapter only talks to its engine. It never touches the hub's tables of runs, decides nothing about
retries or states of the hub's runs, and keeps no state between calls but what its engine keeps. The
reconciler is its only caller, apart from `read` (pure, also called when a workflow is posted) and
`logs` (also called for a live tail).
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, BinaryIO, ClassVar

from engines.config import ConfigField
from engines.folders import Artifact, Artifacts
from engines.logfile import LogChunk, LogLine
from engines.states import DeploymentState, RunState, TaskState

__all__ = [
    "CAPABILITIES",
    "Artifact",
    "Artifacts",
    "ChildOutcome",
    "Definition",
    "Deployment",
    "EngineAdapter",
    "EngineError",
    "EngineRejected",
    "EngineUnavailable",
    "Health",
    "LogChunk",
    "LogLine",
    "Page",
    "Problem",
    "RetrySpec",
    "RunNotFound",
    "RunRequest",
    "RunSnapshot",
    "RunSpec",
    "Submission",
    "TaskKey",
    "TaskSnapshot",
    "TaskSpec",
    "WorkflowSpec",
    "external_id",
]


class EngineError(Exception):
    """Base of the three errors. The text is for operators and never holds a secret."""


class EngineUnavailable(EngineError):
    """The engine can't be asked now: says nothing about any run. `retry_after`: seconds, if told."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineRejected(EngineError):
    """The engine refuses this request and will refuse it again: stop, and show the operator."""


class RunNotFound(EngineError):
    """The engine is up and doesn't know the run: the reconciler counts the sighting."""


class Submission(Enum):
    """What happens when the same submit reaches the engine twice (RELIABILITY P1)."""

    DEDUPLICATES = "A"  # takes our id, a second submit is refused or harmless
    TAKES_ID = "B"  # takes our id, does not deduplicate
    TAG_ONLY = "C"  # makes its own id; ours is a tag to search for
    OURS = "D"  # our own tables: the submit is a row


CAPABILITIES: dict[str, str] = {
    "cancel_run": "Cancel a run",
    "cancel_task": "Cancel one task",
    "retry_failed": "Retry what failed",
    "retry_task": "Retry one task",
    "live_logs": "Logs while a task runs",
    "artifacts": "Files that tasks leave",
    "deploy": "Send definitions to the engine",
    "import_definitions": "Import workflows",
    "import_runs": "Import runs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What is wrong (or, as a warning, doubtful) in a definition. `line` counts from 1, 0 is unknown;
    `path` is like `steps.align.needs[0]`."""

    message: str
    line: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpec:
    """A task of the static graph. `type` is the handler's or operator's name. `trigger_rule`: what
    must have become of the tasks that it needs before it starts, where a failure of theirs doesn't keep
    it from that (`all_done`, `one_failed`). `repeats`: its mapped instances are passes, one after the
    other, so that none of them can be run again alone."""

    name: str
    display_name: str = ""
    type: str = ""
    downstream: tuple[str, ...] = ()
    trigger_rule: str = ""
    repeats: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A definition as read, without asking any engine. Valid when `problems` is empty.

    `hooks` run once after the end of a task or of the run, and are no part of the graph.
    `parameters_schema` is a JSON Schema (draft 2020-12) of an object; `normalised` is the definition
    in its canonical form for people to look at; `permissions` names what its poster must be allowed to
    do beyond posting (`post_shell`). `secrets` and `variables`: the names that it refers to, whose
    values the hub sends with each run.
    """

    title: str = ""
    format: str = ""
    tasks: tuple[TaskSpec, ...] = ()
    hooks: tuple[TaskSpec, ...] = ()
    parameters_schema: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    normalised: Any = None
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()
    permissions: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    variables: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSpec:
    """A workflow version as an engine sees it."""

    id: int
    title: str
    version: int
    format: str
    definition: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSpec:
    """What to run. `external_id` is ours and unique for each attempt: `wh-<uuid>-<attempt>`.
    `variables` and `secrets`: name -> value of those that the definition names. An adapter that keeps
    secrets keeps them encrypted, and no longer than the run."""

    external_id: str
    uuid: str
    run_id: int
    attempt: int
    workflow: WorkflowSpec
    parameters: Mapping[str, Any]
    labels: Mapping[str, str]
    created_by: str = ""
    variables: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)


TaskKey = tuple[str, int]
"""(task name, map index); the map index of an unmapped task is -1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrySpec:
    """A second or later attempt that keeps what is done: run `tasks` again, take every other task's
    state and result as it is in `previous_external_id`."""

    previous_external_id: str
    tasks: tuple[TaskKey, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSnapshot:
    """A task as the engine reports it. `state` None: the engine's word is not one that we know, the
    task keeps its state and the raw word is shown. `attempt` None: the run's. `log` is the path in the
    storage `logs` where the engine already writes this try's log, if it does."""

    task: str
    map_index: int = -1
    state: TaskState | None
    raw_state: str = ""
    attempt: int | None = None
    try_number: int = 1
    external_id: str = ""
    reason: str = ""
    error: str = ""
    worker: str = ""
    inputs: Any = None
    result: Any = None
    message: str = ""
    progress: float | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    parent: TaskKey | None = None
    kind: str = "task"
    log: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """The engine asks for a run of a workflow on any engine; the hub answers with `answer`.

    `key`: never used again, whatever happens; at most 250 characters. `task` is in the same snapshot,
    and runs. `workflow`: a title; `version` None: the newest. `wait` False: the answer comes as soon
    as the run is started, and the run goes on whatever becomes of the one that asked.
    """

    key: str
    task: TaskKey
    workflow: str
    version: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    wait: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildOutcome:
    """How a requested run ended, or that it was started, where nobody waits for its end. `run_id`
    None: there is no such run, and `error` says why; the state is then FAILED."""

    run_id: int | None
    uuid: str = ""
    state: RunState
    result: Any = None
    error: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSnapshot:
    """A run as the engine reports it. `state` None: unknown word, nothing changes but `raw_state`.

    `tasks` may hold only those that changed: a task left out says nothing. The snapshot that first
    reports a final state holds every task (`EngineContract` checks it); of its hooks, which may go on,
    later ones tell. `state` None also: nothing is said of the run itself. `attempt` None: the engine
    doesn't know. `result`: the run's outputs, once it is final. `requests`: of the tasks that are in
    here, as long as they are not answered.
    """

    external_id: str
    state: RunState | None
    raw_state: str = ""
    attempt: int | None = None
    reason: str = ""
    error: str = ""
    result: Any = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tasks: tuple[TaskSnapshot, ...] = ()
    requests: tuple[RunRequest, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of an observation. `missing`: ids asked for that the engine, being up, doesn't know.
    `cursor`: only on the last page, to be given to the next `observe`; kept only after a full pass."""

    snapshots: tuple[RunSnapshot, ...] = ()
    missing: tuple[str, ...] = ()
    cursor: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """The answer of a health check. `capabilities`: flag -> True, or the sentence why not."""

    ok: bool
    message: str = ""
    version: str = ""
    capabilities: Mapping[str, bool | str] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Whether the engine has a workflow version: deploying, ready or failed with `message`."""

    state: DeploymentState
    message: str = ""


def external_id(run_uuid: object, attempt: int, life: str = "") -> str:
    """Our id of one attempt: `wh-<uuid>-<attempt>`; with `life` (small letters and digits) behind it
    where the hub was restored from a backup since the run was made, and may have used that id."""
    return f"wh-{run_uuid}-{attempt}-{life}" if life else f"wh-{run_uuid}-{attempt}"


class EngineAdapter(ABC):
    """One instance talks to one registered engine. Cheap to make, safe to throw away, used by one
    thread at a time. Every method may raise EngineUnavailable, EngineRejected or RunNotFound and
    nothing else."""

    label: ClassVar[str]
    description: ClassVar[str]
    formats: ClassVar[tuple[str, ...]]
    fields: ClassVar[tuple[ConfigField, ...]] = ()
    # Flag -> True, or the sentence that tells an operator why not. A flag left out is False.
    capabilities: ClassVar[Mapping[str, bool | str]] = {}
    # What an engine does may depend on its settings: an instance may set these four anew.
    submission: Submission
    # The engine keeps one id through retries (Airflow); else each attempt has an id of its own.
    retries_in_place: bool = False
    # `observe(cursor, ())` yields whatever changed; else only the runs named in `watching`.
    observes_changes: bool = False
    # Its steps may ask for runs of other workflows: snapshots have `requests`, and it takes `answer`.
    asks_for_runs: bool = False
    # How many runs one call of `observe` may ask for.
    page_size: int = 100

    def __init__(self, *, engine_id: int, name: str, config: Mapping[str, Any]) -> None:
        self.engine_id = engine_id
        self.name = name
        self.config = config

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        unknown = set(cls.capabilities) - set(CAPABILITIES)
        if unknown:
            raise TypeError(f"{cls.__name__} declares unknown capabilities: {sorted(unknown)}")

    @classmethod
    def capability_table(cls) -> dict[str, bool | str]:
        """Every flag -> True or the reason why not."""
        return {
            flag: cls.capabilities.get(flag) or f"{cls.label} has no such call."
            for flag in CAPABILITIES
        }

    @classmethod
    def guess(cls, text: str) -> str | None:
        """Which of our formats a definition, even a broken one, seems to be in; None if none."""
        return None

    @classmethod
    @abstractmethod
    def read(cls, text: str, format: str) -> Definition:
        """Reads a definition without asking any engine. Never raises for bad input: see problems."""

    @abstractmethod
    def health(self) -> Health:
        """Asks the engine how it is. `ok=False` where it answers but isn't fit to run anything."""

    def deploy(self, workflow: WorkflowSpec) -> Deployment:
        """Makes the engine know a workflow version; doing it twice changes nothing."""
        return Deployment(state=DeploymentState.READY)

    def deployment(self, workflow: WorkflowSpec) -> Deployment:
        """Whether the engine knows the version by now."""
        return Deployment(state=DeploymentState.READY)

    def undeploy(self, workflow: WorkflowSpec) -> None:
        """Removes what `deploy` made, and only that."""
        return

    @abstractmethod
    def submit(self, run: RunSpec) -> RunSnapshot:
        """Starts a run. EngineUnavailable leaves open whether it was accepted: the caller looks."""

    @abstractmethod
    def find(self, external_id: str) -> RunSnapshot:
        """The run that carries our id, wherever its submit got lost. Raises RunNotFound."""

    @abstractmethod
    def observe(self, cursor: str | None, watching: Sequence[str]) -> Iterator[Page]:
        """Pages of snapshots: of the runs `watching`, and where `observes_changes` also of anything
        that changed since `cursor`. A failure half way is raised; no cursor was given by then."""

    def cancel(self, external_id: str, *, overdue: str = "") -> None:
        """Asks the engine to stop a run; returning means asked, not stopped. Twice is fine. `overdue`:
        the run is stopped for having taken too long, and this sentence says so. An engine that lets
        something follow the end of a run ends it as failed, with the reason `timeout` and this error;
        any other may leave it alone, since the hub shows the run as failed in either case."""
        raise EngineRejected(f"{self.label} can't cancel a run.")

    def cancel_task(self, external_id: str, task: str, map_index: int) -> None:
        raise EngineRejected(f"{self.label} can't cancel one task.")

    def retry(self, run: RunSpec, retry: RetrySpec) -> RunSnapshot:
        """Starts an attempt that keeps what is done. The same call twice starts one attempt."""
        raise EngineRejected(f"{self.label} can't retry parts of a run.")

    def logs(
        self, external_id: str, task: str, map_index: int, try_number: int, offset: int
    ) -> LogChunk:
        """Log lines of one try from a byte offset on."""
        raise EngineRejected(f"{self.label} gives no logs.")

    def artifacts(self, external_id: str, task: str, map_index: int) -> Artifacts:
        """The files that a task left, at most 1,000, by path; also while it runs."""
        raise EngineRejected(f"{self.label} keeps no files of its tasks.")

    def open_artifact(self, external_id: str, task: str, map_index: int, path: str) -> BinaryIO:
        """One of these files, to be read piece by piece and closed. Raises RunNotFound also for a
        path that is none of them."""
        raise EngineRejected(f"{self.label} keeps no files of its tasks.")

    def answer(self, external_id: str, key: str, outcome: ChildOutcome) -> None:
        """Tells the engine how a run that it requested ended. A second time changes nothing, and so
        does an answer that nobody waits for any more."""
        raise EngineRejected(f"{self.label} asks for no runs.")

    def link(self, external_id: str) -> str:
        """The run's page in the engine's own UI, or nothing."""
        return ""
