"""Which steps can't start any more because one ended badly: tables, and any graph against a model that
walks all ways."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.dag.graph import (
    FailurePolicy,
    Graph,
    StepSpec,
    TriggerRule,
    behind,
    blocked,
    in_order,
    spread,
    successors,
    waits_for,
)
from engines.states import FINAL_TASK_STATES, TaskState

DRAIN, CONTINUE, CANCEL = FailurePolicy.DRAIN, FailurePolicy.CONTINUE, FailurePolicy.CANCEL
STRICT, ALL_DONE, ONE_FAILED = TriggerRule.ALL_SUCCESS, TriggerRule.ALL_DONE, TriggerRule.ONE_FAILED
PENDING, RUNNING = TaskState.PENDING, TaskState.RUNNING


def make_graph(**steps):
    """`a="b c"`: a needs b and c; `a="? b"`: with all_done, `a="! b"`: with one_failed."""
    rules = {"?": ALL_DONE, "!": ONE_FAILED}
    specs = []
    for name, text in steps.items():
        words = text.split()
        rule = rules.get(words[0], STRICT) if words else STRICT
        needs = tuple(word for word in words if word not in rules)
        specs.append(StepSpec(name=name, handler="input", needs=needs, trigger=rule))
    return Graph(title="", format="", steps=tuple(specs))


def find_blocked(graph, failed, policy, **states):
    """Every step that isn't named is pending; `done` stands for any final state."""
    tolerant = {step.name for step in graph.steps if step.trigger.tolerant}
    opened = {
        step.name: states.get(step.name, PENDING) for step in graph.steps if step.name != failed
    }
    opened = {name: state for name, state in opened.items() if state not in FINAL_TASK_STATES}
    followers = behind(failed, successors(graph), tolerant)
    return "".join(sorted(blocked(in_order(graph), failed, followers, opened, policy)))


CHAIN = {"a": "", "b": "a", "c": "b", "x": ""}


@pytest.mark.parametrize(
    ("steps", "policy", "expected"),
    [
        (CHAIN, CONTINUE, "bc"),
        (CHAIN, DRAIN, "bcx"),
        (CHAIN, CANCEL, "bcx"),
        # A tolerant step is never blocked, and what is behind it only where nothing starts any more.
        ({"a": "", "t": "? a", "s": "t"}, CONTINUE, ""),
        ({"a": "", "t": "? a", "s": "t"}, DRAIN, ""),
        ({"a": "", "t": "? a", "s": "t"}, CANCEL, "s"),
        ({"a": "", "t": "! a", "s": "t"}, DRAIN, ""),
        ({"a": "", "x": "", "t": "? x", "s": "t", "u": "s"}, DRAIN, "x"),
        # A need that failed, or is blocked, counts for more than a tolerant one.
        ({"a": "", "t": "? a", "s": "t a"}, DRAIN, "s"),
        ({"a": "", "t": "? a", "s": "t a"}, CONTINUE, "s"),
        ({"a": "", "b": "a", "t": "? a", "s": "t b"}, CONTINUE, "bs"),
        ({"a": "", "x": "", "t": "? a", "s": "t x", "u": "s"}, DRAIN, "sux"),
        # The order of the document doesn't matter.
        ({"u": "s", "s": "t x", "t": "? a", "x": "", "a": ""}, DRAIN, "sux"),
    ],
)  # fmt: skip
def test_a_failure_of_the_step_a_blocks(steps, policy, expected):
    assert find_blocked(make_graph(**steps), "a", policy) == expected


def test_a_tolerant_step_that_has_ended_keeps_nothing_from_being_blocked():
    graph = make_graph(a="", t="? a", s="t", x="")
    assert find_blocked(graph, "x", DRAIN, t=TaskState.COMPLETED) == "as"
    assert find_blocked(graph, "x", DRAIN, t=RUNNING) == "a"


def test_a_step_that_runs_doesnt_block_what_waits_for_it_and_for_a_tolerant_step():
    graph = make_graph(a="", t="? a", r="", s="t r")
    assert find_blocked(graph, "a", DRAIN, r=RUNNING) == "r"
    assert find_blocked(graph, "a", DRAIN) == "rs"


def test_a_mapped_step_whose_item_failed_starts_no_other_item_under_drain():
    graph = make_graph(a="", t="? a")
    states = {"a": RUNNING, "t": PENDING}
    assert blocked(in_order(graph), "a", set(), states, DRAIN) == {"a"}
    assert blocked(in_order(graph), "a", set(), states, CONTINUE) == set()


@pytest.mark.parametrize(
    ("state", "policy", "begun", "expected"),
    [
        (PENDING, DRAIN, False, TaskState.UPSTREAM_FAILED),
        (TaskState.SCHEDULED, CONTINUE, False, TaskState.UPSTREAM_FAILED),
        (PENDING, DRAIN, True, None),
        (PENDING, CANCEL, True, TaskState.CANCELED),
        (RUNNING, DRAIN, False, None),
        (RUNNING, CANCEL, False, TaskState.CANCELED),
        (TaskState.RETRYING, DRAIN, False, None),
        (TaskState.RETRYING, CANCEL, False, TaskState.CANCELED),
        (TaskState.COMPLETED, CANCEL, False, None),
    ],
)
def test_a_task_of_a_blocked_step_becomes(state, policy, begun, expected):
    assert spread(state, policy, begun=begun) == expected


@pytest.mark.parametrize(
    ("rule", "a", "b", "expected"),
    [
        (STRICT, "RUNNING", "FAILED", 1),
        (STRICT, "COMPLETED", "SKIPPED", 0),
        (ALL_DONE, "RUNNING", "FAILED", 1),
        (ALL_DONE, "UPSTREAM_FAILED", "CANCELED", 0),
        (ONE_FAILED, "RUNNING", "COMPLETED", 1),
        (ONE_FAILED, "RUNNING", "CANCELED", 1),
        (ONE_FAILED, "RUNNING", "FAILED", 0),
        (ONE_FAILED, "PENDING", "UPSTREAM_FAILED", 0),
    ],
)
def test_a_step_that_is_made_anew_waits_for(rule, a, b, expected):
    step = StepSpec(name="s", handler="input", needs=("a", "b"), trigger=rule)
    assert waits_for(step, {"a": TaskState(a), "b": TaskState(b)}) == expected


# ---- any graph --------------------------------------------------------------------------------

NAMES = "abcdefgh"


@st.composite
def situations(draw):
    """A graph of up to eight steps in any order, the state of each, one that failed, a policy."""
    count = draw(st.integers(1, len(NAMES)))
    specs = []
    for at in range(count):
        needs = draw(st.sets(st.sampled_from(NAMES[:at]), max_size=3)) if at else set()
        rule = draw(st.sampled_from([STRICT, STRICT, ALL_DONE, ONE_FAILED])) if needs else STRICT
        specs.append(
            StepSpec(name=NAMES[at], handler="input", needs=tuple(sorted(needs)), trigger=rule)
        )
    graph = Graph(title="", format="", steps=tuple(draw(st.permutations(specs))))
    states = {step.name: draw(st.sampled_from(sorted(TaskState))) for step in graph.steps}
    return graph, states, draw(st.sampled_from(NAMES[:count])), draw(st.sampled_from(FailurePolicy))


def ways_from(graph, name):
    """Every way along the needs of others, as the list of the steps on it, `name` left out."""
    for step in graph.steps:
        if name in step.needs:
            yield [step]
            yield from ([step, *rest] for rest in ways_from(graph, step.name))


def ways_to(graph, step):
    """Every way back along the needs of a step, as the list of those on it, nearest first."""
    by_name = {other.name: other for other in graph.steps}
    for need in step.needs:
        yield [by_name[need]]
        yield from ([by_name[need], *rest] for rest in ways_to(graph, by_name[need]))


def model(graph, opened, failed, policy):
    """The same by definition: what a way without a tolerant step leads to, and under drain what isn't
    kept, found by asking again until nothing changes."""
    strict = [s for s in graph.steps if s.name in opened and not s.trigger.tolerant]
    if policy == CANCEL:
        return {step.name for step in strict}
    reached = {
        way[-1].name
        for way in ways_from(graph, failed)
        if not any(step.trigger.tolerant for step in way)
    } & opened.keys()
    if policy == CONTINUE:
        return reached
    found = reached | ({failed} & {step.name for step in strict})
    while True:
        stopped = {n for n in found if opened[n] in {PENDING, TaskState.SCHEDULED}}
        more = {
            step.name
            for step in strict
            if not stopped.isdisjoint(step.needs) or not _kept(graph, step, opened, found)
        } - found
        if not more:
            return found
        found |= more


def _kept(graph, step, opened, found):
    return any(
        way[-1].trigger.tolerant
        and all(other.name in opened and other.name not in found for other in way)
        for way in ways_to(graph, step)
    )


@settings(deadline=None, max_examples=100)
@given(situations())
def test_the_blocked_steps_of_any_graph_are_those_of_the_model(situation):
    graph, states, failed, policy = situation
    opened = {name: state for name, state in states.items() if state not in FINAL_TASK_STATES}
    tolerant = {step.name for step in graph.steps if step.trigger.tolerant}
    followers = behind(failed, successors(graph), tolerant)
    found = blocked(in_order(graph), failed, followers, opened, policy)
    assert found == model(graph, opened, failed, policy)
    assert found <= opened.keys() - tolerant
