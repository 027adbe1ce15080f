"""Any graph with any rules, failing anywhere, comes to its end, and every rule is kept."""

import random

import pytest

from engines.dag.models import Step
from engines.states import FINAL_TASK_STATES, TaskState
from tests.engines.dag.driving import Hand, execution, states, step, submit

pytestmark = pytest.mark.django_db

FAILED, CANCELED = TaskState.FAILED, TaskState.CANCELED


def given(name, *needs, **more):
    return step(name, *needs, **more, **{"with": {"name": name}})


@pytest.mark.parametrize("seed", range(12))
def test_any_run_comes_to_its_end_with_every_rule_kept(seed):
    chance = random.Random(seed)
    names = [f"s{n}" for n in range(chance.randint(3, 9))]
    steps = []
    for at, name in enumerate(names):
        needs = chance.sample(names[:at], min(at, chance.randint(0, 3)))
        rule = chance.choice(["all_success", "all_done", "one_failed"]) if needs else "all_success"
        more = chance.choice([{}, {"for_each": [1, 2]}, {"repeat": 2}])
        steps.append(given(name, *needs, trigger=rule, **more))
    policy = chance.choice(["drain", "continue", "cancel"])
    _, run = submit(*steps, failure_policy=policy, max_parallel=chance.randint(1, 3))
    hands = [Hand() for _ in range(3)]
    busy = [hand.take() for hand in hands]
    while doing := [at for at, taken in enumerate(busy) if taken is not None]:
        at = chance.choice(doing)
        asked = Step.objects.get(pk=busy[at].step_id).stop
        end = CANCELED if asked else chance.choice([FAILED, *[TaskState.COMPLETED] * 2])
        busy[at] = hands[at].end(busy[at], end, stopped=bool(asked), reason=asked)
        busy = [taken or hand.take() for hand, taken in zip(hands, busy, strict=True)]
        ended = Step.objects.filter(map_index=-1, state__in=FINAL_TASK_STATES).values("name")
        items = Step.objects.filter(map_index__gte=0, name__in=ended)
        assert not items.exclude(state__in=FINAL_TASK_STATES).exists()
    found = {name: TaskState(state) for name, state in states(run).items() if "[" not in name}
    assert set(found.values()) <= FINAL_TASK_STATES
    assert execution(run).ended_at is not None
    bad = {FAILED, TaskState.UPSTREAM_FAILED}
    for one in steps:
        needs = [found[need] for need in one.get("needs", [])]
        ended = found[one["name"]]
        if one["trigger"] == "all_done":
            assert ended in {TaskState.COMPLETED, FAILED}, one
        elif one["trigger"] == "one_failed":
            assert (ended != TaskState.SKIPPED) == bool(bad & set(needs)), one
            assert ended != TaskState.UPSTREAM_FAILED, one
        elif ended == TaskState.COMPLETED:
            assert not set(needs) & {*bad, CANCELED}, one
