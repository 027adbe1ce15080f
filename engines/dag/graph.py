"""The one step graph that every document format is turned into, and the pure questions about it.

Pure: no database, clock or engine. `engines/dag/formats` makes graphs, `engines/dag/advance.py` asks
them what is next.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from enum import Enum
from graphlib import TopologicalSorter
from typing import Any

from engines.states import FINAL_TASK_STATES, RunState, TaskState

# A need in one of these is met: a step that was skipped doesn't hold up those behind it, and what
# they take from it is null.
MET_STATES = frozenset({TaskState.COMPLETED, TaskState.SKIPPED})
HOOKS = ("on_success", "on_failure")
NOT_STARTED_STATES = frozenset({TaskState.PENDING, TaskState.SCHEDULED})
# What a step with the trigger rule one_failed waits for.
FAILED_STATES = frozenset({TaskState.FAILED, TaskState.UPSTREAM_FAILED})


class FailurePolicy(Enum):
    """What a failed step means for the rest of its run."""

    DRAIN = "drain"  # no new step starts, running ones finish, the others are UPSTREAM_FAILED
    CONTINUE = "continue"  # branches that don't depend on the failed step go on
    CANCEL = "cancel"  # running siblings are stopped too


class TriggerRule(Enum):
    """What must have become of a step's needs before it starts. The names are Airflow's."""

    ALL_SUCCESS = "all_success"  # each ended well or was skipped
    ALL_DONE = "all_done"  # each ended, however
    ONE_FAILED = "one_failed"  # as soon as one failed or couldn't start; skipped if none does

    @property
    def tolerant(self) -> bool:
        """A failure doesn't keep such a step from starting."""
        return self != TriggerRule.ALL_SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """`limit` further tries after the first; waits delay * factor ** n seconds, up to `most`, with
    full jitter."""

    limit: int = 0
    delay: float = 1.0
    factor: float = 2.0
    most: float = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeat:
    """Passes of a step, one after the other, each a task with its index. They end when the expression
    `until`, which sees the pass's `result`, holds; without it there are `most` of them. A step whose
    `until` never held has failed. `delay`: seconds between two passes."""

    until: str | None = None
    most: int = 100
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSpec:
    """One step. `needs`: names of the steps that must be done before it. `config`: the handler's
    arguments, with `${…}` references still in place. `when`: an expression; false skips the step.
    `for_each`: a list, or an expression that gives one; each item is a mapped task with its index.
    `repeat`: its passes, which are mapped tasks too. `outputs`: name -> template, resolved after the
    step (format bvbrc). `replaceable`: key of the config -> where in the run's parameters a start may
    have put another value, the first of them counts. `timeout` in seconds. `on_success`, `on_failure`:
    a hook, which runs once after the step's end and counts for nothing else; its name is
    `<step>.on_success`."""

    name: str
    handler: str
    config: Mapping[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    when: str | None = None
    for_each: Any = None
    retry: Retry = Retry()
    trigger: TriggerRule = TriggerRule.ALL_SUCCESS
    repeat: Repeat | None = None
    on_success: "StepSpec | None" = None
    on_failure: "StepSpec | None" = None
    timeout: float | None = None
    outputs: Mapping[str, Any] = field(default_factory=dict)
    replaceable: Mapping[str, tuple[tuple[str | int, ...], ...]] = field(default_factory=dict)
    display_name: str = ""
    line: int = 0

    @property
    def mapped(self) -> bool:
        """Whether it runs through tasks beneath it: items or passes."""
        return self.for_each is not None or self.repeat is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """A whole workflow. `outputs`: templates of the run's result. `context`: names that templates
    may use beside params, steps and item (format bvbrc: the base_context). `on_success`, `on_failure`:
    hooks of the run, of that name, which run once it has ended and change nothing about how."""

    title: str
    format: str
    steps: tuple[StepSpec, ...]
    parameters_schema: Mapping[str, Any] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    outputs: Any = None
    context: Mapping[str, Any] = field(default_factory=dict)
    max_parallel: int | None = None
    failure_policy: FailurePolicy = FailurePolicy.DRAIN
    timeout: float | None = None
    on_success: "StepSpec | None" = None
    on_failure: "StepSpec | None" = None


def hooks_of(graph: Graph) -> dict[str, StepSpec]:
    """Name -> every hook, of the steps in the order of the document, then of the run."""
    owners: list[StepSpec | Graph] = [*graph.steps, graph]
    found = [hook for owner in owners for hook in (owner.on_success, owner.on_failure)]
    return {hook.name: hook for hook in found if hook is not None}


def everything(graph: Graph) -> tuple[StepSpec, ...]:
    """Whatever an execution may run: the steps and the hooks."""
    return (*graph.steps, *hooks_of(graph).values())


def successors(graph: Graph) -> dict[str, tuple[str, ...]]:
    """Step name -> the names of the steps that need it, in the order of the document."""
    found: dict[str, list[str]] = {step.name: [] for step in graph.steps}
    for step in graph.steps:
        for need in dict.fromkeys(step.needs):
            found[need].append(step.name)
    return {name: tuple(names) for name, names in found.items()}


def in_order(graph: Graph) -> tuple[StepSpec, ...]:
    """The steps, each behind all that it needs."""
    by_name = {step.name: step for step in graph.steps}
    order = TopologicalSorter({step.name: step.needs for step in graph.steps}).static_order()
    return tuple(by_name[name] for name in order)


def behind(
    failed: str, following: Mapping[str, Sequence[str]], tolerant: AbstractSet[str]
) -> set[str]:
    """Every step that can't start because the named one ended badly: it needs that one, directly or
    through others, with no tolerant step on the way. `following`: name -> what needs it."""
    found: set[str] = set()
    waiting = [failed]
    while waiting:
        for name in following[waiting.pop()]:
            if name not in found and name not in tolerant:
                found.add(name)
                waiting.append(name)
    return found


def blocked(
    steps: Sequence[StepSpec],
    failed: str,
    behind: AbstractSet[str],
    states: Mapping[str, TaskState],
    policy: FailurePolicy,
) -> set[str]:
    """The open steps of which no further task may start because one step ended badly.

    `steps`: all, in an order in which each is behind its needs. `behind`: those that need `failed`.
    `states`: of the steps that haven't ended. A failure never blocks a tolerant step. Under the policy
    drain the steps that wait for one are not blocked either, unless they need what is: it is still to
    be decided, and they follow from that.
    """
    if policy == FailurePolicy.CONTINUE:
        return set(behind & states.keys())
    found: set[str] = set()
    undecided: set[str] = set()  # open, and either tolerant or waiting for such a step
    for step in steps:
        state = states.get(step.name)
        if state is None:
            continue
        if step.trigger.tolerant:
            undecided.add(step.name)
            continue
        kept = (
            policy == FailurePolicy.DRAIN
            and step.name not in behind
            and not undecided.isdisjoint(step.needs)
            and not any(need in found and _not_started(states[need]) for need in step.needs)
        )
        if kept and step.name != failed:
            undecided.add(step.name)
        else:
            found.add(step.name)
    return found


def _not_started(state: TaskState) -> bool:
    return state in NOT_STARTED_STATES


def waits_for(step: StepSpec, states: Mapping[str, TaskState]) -> int:
    """How many ends of its needs a step still waits for. A need that ended badly is final too: what
    follows from it was decided when it ended, and a step that is run again by hand runs in spite of
    it."""
    if step.trigger == TriggerRule.ONE_FAILED and any(
        states[need] in FAILED_STATES for need in step.needs
    ):
        return 0
    return sum(states[need] not in FINAL_TASK_STATES for need in set(step.needs))


def spread(state: TaskState, policy: FailurePolicy, *, begun: bool = False) -> TaskState | None:
    """What a task of a blocked step becomes: UPSTREAM_FAILED if it will not start, CANCELED if it must
    stop, None if nothing changes. A task that waits for its next try has started, and so has
    (`begun`) any pass of a step that repeats: they go on unless siblings are stopped."""
    if state in FINAL_TASK_STATES:
        return None
    if state in NOT_STARTED_STATES and not begun:
        return TaskState.UPSTREAM_FAILED
    return TaskState.CANCELED if policy == FailurePolicy.CANCEL else None


def final_state(states: Iterable[TaskState], *, cancel_requested: bool = False) -> RunState:
    """How a run ended whose steps all are final: FAILED if one failed (but CANCELED where somebody
    asked for that and something was stopped), CANCELED if one was cancelled, else COMPLETED."""
    found = set(states)
    canceled = TaskState.CANCELED in found
    if found & {TaskState.FAILED, TaskState.UPSTREAM_FAILED}:
        return RunState.CANCELED if cancel_requested and canceled else RunState.FAILED
    return RunState.CANCELED if canceled else RunState.COMPLETED


def group_state(states: Iterable[TaskState]) -> TaskState:
    """How a mapped step ended whose items all are final."""
    found = set(states)
    if TaskState.FAILED in found:
        return TaskState.FAILED
    if TaskState.CANCELED in found:
        return TaskState.CANCELED
    if TaskState.UPSTREAM_FAILED in found:
        return TaskState.UPSTREAM_FAILED
    return TaskState.SKIPPED if found == {TaskState.SKIPPED} else TaskState.COMPLETED


def retry_wait(retry: Retry, failures: int) -> float:
    """Seconds to wait after the given number of failures (from 1): full jitter below a limit that
    grows by `factor` each time."""
    exponent = min(failures - 1, 64)
    limit = min(retry.delay * retry.factor**exponent, retry.most)
    return random.uniform(0, limit)  # noqa: S311  jitter, not a secret
