"""Steps with ten thousand items: what they cost and where they end."""

import collections
from contextlib import contextmanager

import pytest
from django.db import connection

from engines.base import RetrySpec
from engines.dag import mapping, sql
from engines.dag.models import Step
from engines.models import Engine
from engines.states import HealthState, RunState, TaskState
from runs import actions
from runs.models import RunEvent, TaskRun, WorkflowRun
from runs.policy import Actor
from runs.reconciler.once import once
from runs.states import RetryMode
from tests.engines.dag.driving import (
    Hand,
    execution,
    make_adapter,
    make_spec,
    states,
    step,
    step_row,
    submit,
    workflow,
)

pytestmark = pytest.mark.django_db

MANY = mapping.MAX_ITEMS
HUB = 2_000  # items of a run that the hub sees, too: what it costs grows with them
FAILED, CANCELED = TaskState.FAILED, TaskState.CANCELED
STEPS = (
    step("a"),
    step("each", for_each="${steps.a.result}", **{"with": {"n": "${item}", "at": "${index}"}}),
    step(
        "last",
        when="${steps.each.result[9999].n} == 9999",
        **{"with": {"all": "${steps.each.result}"}},
    ),
)


@contextmanager
def at_most(number):
    """No more statements than that, whatever sends them."""
    sent = []

    def wrapped(execute, text, values, many, context):
        sent.append(text)
        return execute(text, values, many, context)

    with pytest.MonkeyPatch.context() as patch, connection.execute_wrapper(wrapped):
        real = sql._send
        patch.setattr(sql, "_send", lambda text, values: (sent.append(text), real(text, values))[1])
        yield
    assert len(sent) <= number, collections.Counter(text[:60] for text in sent).most_common(5)


def begin(hand, *, items=MANY):
    """Ends the step that gives the list; the first item's try."""
    return hand.end(hand.take(), result=list(range(items)))


def pass_over(run, *rest):
    """As if all items that nobody has begun had run to their end, but for those named."""
    group = step_row(run, "each")
    items = Step.objects.filter(execution=group.execution_id, name="each", map_index__gte=0)
    for row in items.filter(map_index__in=[0, 999]):
        assert row.item == row.map_index
    items.filter(state__in=[TaskState.PENDING, TaskState.SCHEDULED]).exclude(
        map_index__in=rest
    ).update(
        state=TaskState.COMPLETED,
        result={"n": 9999},
        started_at=group.started_at,
        ended_at=group.started_at,
        changed=sql.stamp_now(),
    )
    assert mapping.recount(group.execution_id, "each") == len(rest)


def counted(run):
    return collections.Counter(state for name, state in states(run).items() if "[" in name)


def test_a_step_goes_through_ten_thousand_items_and_the_next_gets_all_their_results():
    _, run = submit(*STEPS, max_parallel=10)
    hand = Hand()
    with at_most(30):
        first = begin(hand)
    assert first.inputs == {"n": 0, "at": 0}
    assert counted(run) == {"RUNNING": 1, "SCHEDULED": 9, "PENDING": MANY - 10}
    pass_over(run, 0, 5000)
    with at_most(12):
        second = hand.end(first, result={"n": 1})
    assert (second.map_index, step_row(run, "each").progress) == (5000, 0.9999)
    with at_most(25):
        last = hand.end(second, result={"n": 2})
    found = last.inputs["all"]
    assert (len(found), found[0], found[5000], found[9999]) == (
        MANY,
        {"n": 1},
        {"n": 2},
        {"n": 9999},
    )
    hand.end(last)
    assert execution(run).state == RunState.COMPLETED


def test_a_run_of_ten_thousand_items_is_cancelled_at_once():
    adapter, run = submit(*STEPS, max_parallel=10)
    hand = Hand()
    first = begin(hand)
    with at_most(20):
        adapter.cancel(run)
    assert counted(run) == {"RUNNING": 1, "CANCELED": MANY - 1}
    hand.end(first, CANCELED, stopped=True)
    assert execution(run).state == RunState.CANCELED


@pytest.mark.parametrize("policy", ["drain", "cancel"])
def test_a_failure_ends_ten_thousand_items_at_once(policy):
    _, run = submit(*STEPS, max_parallel=10, failure_policy=policy)
    hand = Hand()
    first = begin(hand)
    with at_most(30):
        hand.end(first, FAILED)
    assert counted(run) == {"FAILED": 1, "UPSTREAM_FAILED": MANY - 1}
    assert execution(run).state == RunState.FAILED


def test_three_failed_items_of_ten_thousand_run_again_and_the_others_are_kept():
    adapter = make_adapter()
    spec = make_spec(workflow(*STEPS, max_parallel=10, failure_policy="continue"))
    adapter.submit(spec)
    hand = Hand()
    taken = begin(hand)
    pass_over(spec.external_id, 0, 70, 9000)
    while taken:
        taken = hand.end(taken, FAILED)
    assert step_row(spec.external_id, "each").error == "3 of 10,000 items: It went wrong."
    again = make_spec(spec.workflow.definition, uuid=spec.uuid, attempt=2)
    tasks = tuple(("each", index) for index in (-1, 0, 70, 9000)) + (("last", -1),)
    with at_most(45):
        adapter.retry(again, RetrySpec(previous_external_id=spec.external_id, tasks=tasks))
    run = again.external_id
    assert counted(run) == {"COMPLETED": MANY - 3, "SCHEDULED": 3}
    kept = step_row(run, "each", 9999)
    assert (kept.attempt, kept.item, kept.result, kept.ran_in) == (
        1, 9999, {"n": 9999}, spec.external_id,
    )  # fmt: skip
    seen, taken = [], hand.take()
    while taken and taken.spec.name == "each":
        seen.append((taken.map_index, taken.inputs["n"], taken.attempt))
        taken = hand.end(taken, result={"n": -1})
    assert sorted(seen) == [(0, 0, 2), (70, 70, 2), (9000, 9000, 2)]
    assert [taken.inputs["all"][index] for index in (0, 1)] == [{"n": -1}, {"n": 9999}]
    hand.end(taken)
    assert execution(run).state == RunState.COMPLETED


def test_one_item_too_many_fails_the_step():
    _, run = submit(*STEPS)
    assert begin(Hand(), items=MANY + 1) is None
    assert step_row(run, "each").error == "for_each gave 10,001 items; the most is 10,000."


def test_results_that_are_too_large_together_fail_the_step():
    _, run = submit(*STEPS, max_parallel=1)
    hand = Hand()
    taken = begin(hand, items=9)
    while taken:
        taken = hand.end(taken, result="x" * 900_000)
    each = step_row(run, "each")
    assert (each.state, each.reason) == ("FAILED", "result")
    assert "8,100,018 bytes" in each.error
    assert states(run)["last"] == "UPSTREAM_FAILED"


@pytest.mark.parametrize("items", [[1, "a", None, True, {"k": [1.5]}, [], "é\u2028", 2**60]])
def test_items_keep_their_types(items):
    submit(step("each", for_each=items, **{"with": {"x": "${item}"}}), max_parallel=1)
    hand = Hand()
    taken, seen = hand.take(), []
    while taken:
        seen.append(taken.inputs["x"])
        taken = hand.end(taken)
    assert seen == items


# ---- the hub's side -----------------------------------------------------------------------------


def sync(most):
    with at_most(most):
        once()


@pytest.mark.faults
def test_a_run_of_many_items_end_to_end_in_the_hub(settings):
    """The hub looks while items run, and when all have ended; three fail and are run again."""
    settings.WORKFLOWHUB_LEASE = 60
    settings.WORKFLOWHUB_WORKER_LOST_AFTER = 3600  # a hand has no heartbeat
    engine = Engine.objects.create(name="local", kind="local", health=HealthState.HEALTHY)
    last = step("last", **{"with": {"all": "${steps.each.result}"}})
    document = workflow(*STEPS[:2], last, max_parallel=10, failure_policy="continue")
    hub = Actor()
    posted, _ = actions.post_workflow(
        hub, definition=make_spec(document).workflow.definition, engine=engine
    )
    run = actions.start_run(hub, posted)
    once()
    run.refresh_from_db()
    hand = Hand()
    taken = begin(hand, items=HUB)
    sync(150)
    tasks = TaskRun.objects.filter(run=run)
    assert tasks.filter(name="each").count() == HUB + 1
    assert not tasks.filter(name="each", map_index__gte=0, parent=None).exists()
    for _ in range(300):
        bad = taken.map_index in {0, 70}
        taken = hand.end(taken, FAILED if bad else TaskState.COMPLETED, taken.inputs)
    sync(150)
    assert tasks.filter(name="each", state="COMPLETED").count() == 298
    pass_over(run.external_id, taken.map_index, 1900)
    while taken is not None:
        bad = taken.map_index == 1900
        taken = hand.end(taken, FAILED if bad else TaskState.COMPLETED, taken.inputs)
    sync(200)
    run.refresh_from_db()
    assert (run.state, run.error) == ("FAILED", "each[0]: It went wrong.")
    found = collections.Counter(tasks.filter(map_index__gte=0).values_list("state", flat=True))
    assert found == {"COMPLETED": HUB - 3, "FAILED": 3}
    assert RunEvent.objects.filter(task_run__map_index=1711).count() == 2

    run = actions.retry_run(hub, run, mode=RetryMode.FAILED)
    sync(200)
    taken, again = hand.take(), []
    while taken is not None:
        again.append(taken.map_index)
        taken = hand.end(taken, result=taken.inputs)
    assert sorted(again) == [-1, 0, 70, 1900]
    sync(200)
    run.refresh_from_db()
    assert run.state == "COMPLETED"
    assert tasks.filter(attempt=2).count() == 5
    assert tasks.get(name="each", map_index=1900).result == {"n": 1900, "at": 1900}

    run = actions.start_run(hub, posted)
    once()
    taken = begin(hand, items=HUB)
    once()
    actions.cancel_run(hub, WorkflowRun.objects.get(pk=run.pk))
    sync(200)
    hand.end(taken, CANCELED, stopped=True)
    sync(200)
    run.refresh_from_db()
    assert run.state == "CANCELED"
    assert run.task_runs.filter(state="CANCELED").count() == HUB + 2
