"""What begins hooks, once and for the right end, and what they see and tell."""

from dataclasses import replace

import pytest
from django.db import transaction

from engines.dag import hooks, leases, observing, turns
from engines.dag.held import locked
from engines.dag.models import Step
from engines.states import TaskState
from tests.engines.dag.driving import (
    Hand,
    execution,
    make_adapter,
    make_spec,
    outcome_of,
    states,
    step,
    step_row,
    submit,
    workflow,
)
from tests.engines.dag.hooking import both, hook, hook_names, run_all
from tests.engines.dag.test_formats_documents import EXAMPLES

pytestmark = pytest.mark.django_db

FAILED, CANCELED = TaskState.FAILED, TaskState.CANCELED


def test_the_end_of_a_step_begins_its_hook_and_what_needs_the_step_doesnt_wait_for_it():
    _, run = submit(step("a", **both()), step("b", "a"))
    first, second = Hand(), Hand()
    taken = first.end(first.take())
    assert taken.spec.name == "a.on_success"
    b = second.take()
    assert b.spec.name == "b"
    second.end(b)
    assert execution(run).state == "COMPLETED"
    assert states(run) == {"a": "COMPLETED", "b": "COMPLETED", "a.on_success": "RUNNING"}
    first.end(taken)
    assert states(run)["a.on_success"] == "COMPLETED"


@pytest.mark.parametrize(
    ("end", "word"), [(TaskState.COMPLETED, "on_success"), (TaskState.FAILED, "on_failure")]
)
def test_a_run_begins_the_hook_for_its_end_and_workers_find_it_though_it_is_over(end, word):
    _, run = submit(step("a"), **both())
    hand = Hand()
    taken = hand.take()
    hand.end(taken, end)
    assert execution(run).state == end
    assert states(run) == {"a": end, word: "RUNNING"}


def test_a_hook_that_nobody_took_with_the_end_is_found_by_any_worker():
    adapter, run = submit(step("a"), on_failure=hook())
    hand = Hand()
    leases.end(outcome_of(hand.take(), FAILED))
    assert execution(run).state == "FAILED"
    assert states(run)["on_failure"] == "SCHEDULED"
    assert Hand().take().spec.name == "on_failure"
    assert Hand().take() is None


def test_whoever_ends_a_run_and_takes_nothing_tells_that_a_hook_is_ready():
    submit(step("a"), **both())
    hand = Hand()
    taken = hand.take()
    outcome = outcome_of(taken, FAILED)
    assert turns.turn(hand.taker, [outcome], taken.plan, want=0) == ([], [], True)


def test_the_hook_of_a_failure_begins_after_the_last_try():
    _, run = submit(step("a", retry={"limit": 1, "delay": 0}, **both()))
    hand = Hand()
    again = hand.end(hand.take(), FAILED)
    assert (again.spec.name, hook_names(run)) == ("a", set())
    assert hand.end(again, FAILED).spec.name == "a.on_failure"


def test_what_was_skipped_canceled_or_never_started_has_no_hook():
    adapter, run = submit(
        step("skipped", when="false", **both()),
        step("bad"),
        step("behind", "bad", **both()),
        step("stopped", **both()),
        failure_policy="continue",
    )
    hand, other = Hand(), Hand()
    bad, stopped = hand.take(), other.take()
    hand.end(bad, FAILED)
    adapter.cancel_task(run, "stopped", -1)
    other.end(stopped, CANCELED, reason="canceled", stopped=True)
    assert execution(run).state == "FAILED"
    assert hook_names(run) == set()


def test_a_canceled_run_has_no_hook_of_its_own():
    adapter, run = submit(step("a"), **both())
    adapter.cancel(run)
    assert execution(run).state == "CANCELED"
    assert hook_names(run) == set()


def test_a_step_whose_templates_fail_before_it_starts_has_failed_and_so_has_its_run():
    _, run = submit(
        step("a"), step("b", "a", **{"with": {"x": "${steps.a.result.no}"}}, **both()), **both()
    )
    hand = Hand()
    taken = hand.end(hand.take(), result={})
    names = [taken.spec.name, hand.end(taken).spec.name]
    assert sorted(names) == ["b.on_failure", "on_failure"]


def test_a_mapped_step_has_one_hook_after_all_its_items():
    _, run = submit(
        step("a", for_each=[1, 2, 3], **{"with": {"n": "${item}"}}, **both()),
    )
    hand = Hand()
    taken, order = hand.take(), []
    while taken is not None:
        order.append((taken.spec.name, taken.map_index, taken.inputs))
        taken = hand.end(taken, result=taken.inputs)
    assert [name for name, _, _ in order] == ["a", "a", "a", "a.on_success"]
    assert order[-1] == ("a.on_success", -1, {"of": "a"})


def test_a_hook_of_an_empty_list_follows_at_once():
    _, run = submit(step("a", for_each=[], **both()))
    assert states(run) == {"a": "COMPLETED", "a.on_success": "SCHEDULED"}
    assert execution(run).state == "COMPLETED"


def test_a_repeated_step_has_one_hook_after_its_last_pass():
    _, run = submit(step("a", repeat={"max": 3}, **both()))
    assert run_all() == ["a", "a", "a", "a.on_success"]


def test_a_hook_sees_what_ended_and_any_steps_result():
    told = {
        "what": "${ended.name}: ${ended.state}",
        "error": "${ended.error}",
        "result": "${ended.result}",
        "a": "${steps.a.result.n}",
        "later": "${steps.c.result.n}",
        "k": "${params.k}",
        "attempt": "${run.attempt}",
    }
    _, run = submit(
        step("a", **{"with": {"n": 1}}),
        step("b", "a", on_failure=hook(**{"with": told}), retry=0),
        step("c", **{"with": {"n": 3}}, needs=["b"]),
        parameters={"k": {"default": 21}},
        run_parameters={"k": 22},
        on_failure=hook(**{"with": told}),
    )
    run_all({"b": FAILED})
    seen = {"error": "It went wrong.", "result": None, "a": 1, "later": None, "k": 22, "attempt": 1}
    assert step_row(run, "b.on_failure").inputs == {"what": "b: FAILED", **seen}
    assert step_row(run, "on_failure").inputs == {
        "what": "Test: FAILED",
        **seen,
        "error": "b: It went wrong.",
    }


def test_a_hook_of_a_good_end_sees_the_result():
    _, run = submit(
        step("a", **{"with": {"n": 1}}, on_success=hook(**{"with": {"n": "${ended.result.n}"}})),
        outputs={"sum": "${steps.a.result.n}"},
        on_success=hook(**{"with": {"sum": "${ended.result.sum}", "error": "${ended.error}"}}),
    )
    run_all()
    assert step_row(run, "a.on_success").inputs == {"n": 1}
    assert step_row(run, "on_success").inputs == {"sum": 1, "error": ""}


def test_a_hook_whose_templates_give_nothing_fails_by_itself():
    _, run = submit(step("a", on_success=hook(**{"with": {"x": "${ended.result.no}"}})))
    assert run_all() == ["a"]
    row = step_row(run, "a.on_success")
    assert (row.state, row.reason, row.started_at) == ("FAILED", "template", None)
    assert execution(run).state == "COMPLETED"


def test_a_hook_has_its_secrets_after_the_run_has_ended_and_shows_none():
    adapter = make_adapter()
    told = hook(**{"with": {"token": "${secrets.token}"}})
    spec = replace(
        make_spec(workflow(step("a"), on_success=told)), secrets={"token": "hush-hush-hush"}
    )
    adapter.submit(spec)
    hand = Hand()
    taken = hand.end(hand.take())
    assert execution(spec.external_id).state == "COMPLETED"
    assert taken.inputs == {"token": "hush-hush-hush"}
    assert "hush" not in str(step_row(spec.external_id, "on_success").inputs)
    hand.end(taken)
    assert execution(spec.external_id).secrets == ""


def test_the_end_and_its_hook_are_written_together_or_not_at_all(monkeypatch):
    """As for a process that dies just before the commit."""
    _, run = submit(step("a", **both()), **both())
    hand = Hand()
    taken = hand.take()
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        hand.end(taken)
        assert len(hook_names(run)) == 2
        raise ZeroDivisionError
    assert states(run) == {"a": "RUNNING"}
    hand.end(taken)
    assert hook_names(run) == {"a.on_success", "on_success"}


def test_a_report_told_twice_begins_a_hook_once():
    _, run = submit(step("a", **both()), step("b"))
    hand = Hand()
    taken = hand.take()
    assert hand.report(taken, stay=False)[0]
    assert not hand.report(taken, stay=False)[0]
    with locked(taken.plan.id) as held:
        hooks.after_step(held, "a", TaskState.COMPLETED)
    assert Step.objects.filter(name="a.on_success").count() == 1


def test_a_hook_is_told_as_one():
    adapter, run = submit(step("a"), on_success=hook())
    hand = Hand()
    hand.end(hand.take())
    kinds = {task.task: task.kind for task in observing.find(run).tasks}
    assert kinds == {"a": "task", "on_success": "hook"}
    assert [task.name for task in adapter.read("steps: []", "workflowhub").tasks] == []


@pytest.mark.django_db(transaction=True)
def test_an_ended_execution_is_told_in_full_once_and_then_only_what_its_hooks_do(settings):
    settings.WORKFLOWHUB_WORKER_LOST_AFTER = 3600  # nobody hears the hand's heart beat
    adapter, run = submit(step("a"), step("b"), on_success=hook())
    *_, last = adapter.observe(None, ())
    hand = Hand()
    taken = hand.end(hand.end(hand.take()))
    *pages, last = adapter.observe(last.cursor, ())
    (snapshot,) = (snapshot for page in pages for snapshot in page.snapshots)
    assert snapshot.state == "COMPLETED"
    assert {task.task for task in snapshot.tasks} == {"a", "b", "on_success"}
    hand.end(taken)
    *pages, last = adapter.observe(last.cursor, ())
    (snapshot,) = (snapshot for page in pages for snapshot in page.snapshots)
    assert (snapshot.state, snapshot.raw_state) == (None, "")
    assert [(task.task, task.state) for task in snapshot.tasks] == [("on_success", "COMPLETED")]
    *pages, last = adapter.observe(last.cursor, (run,))
    assert [len(page.snapshots) for page in pages] == [1]
    assert pages[0].snapshots[0].state == "COMPLETED"


def test_the_documented_example_runs_its_hooks():
    text = next(text for text in EXAMPLES if "title: Tell somebody" in text)
    adapter = make_adapter()
    good, bad = make_spec(text, parameters={"seconds": 0.1}), make_spec(text, parameters={})
    adapter.submit(good)
    assert run_all() == ["pause", "report", "on_success"]
    assert step_row(good.external_id, "on_success").inputs == {"text": "Test gave 0.1"}
    adapter.submit(bad)
    run_all({"pause": FAILED})
    told = step_row(bad.external_id, "pause.on_failure").inputs["body"]
    assert told == {"step": "pause", "error": "It went wrong.", "run": 7}
