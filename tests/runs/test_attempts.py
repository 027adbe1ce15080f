"""Cancel, retry, restart and mark, as intents: what they leave in the database."""

import pytest

from runs import actions
from runs.errors import Conflict, Denied, Invalid, Stale
from runs.models import AuditEntry, RunAttempt, RunEvent, WorkflowRun
from runs.states import Flag, Reason, RetryMode, RunState, TaskState, Wanted
from tests.factories import make_actor, make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db

CHAIN = {"a": [], "b": ["a"], "c": ["b"]}


def failed_run():
    return make_run(
        make_workflow(CHAIN),
        engine=make_engine(),
        state=RunState.FAILED,
        task_states={
            "a": TaskState.COMPLETED,
            "b": TaskState.FAILED,
            "c": TaskState.UPSTREAM_FAILED,
        },
    )


def states(run):
    return dict(run.task_runs.values_list("name", "state"))


def test_a_run_that_no_engine_has_is_canceled_at_once():
    run = actions.cancel_run(make_actor("operator"), make_run())
    run = WorkflowRun.objects.get(pk=run.pk)
    assert (run.state, run.next_check_at) == (RunState.CANCELED, None)
    assert set(states(run).values()) == {TaskState.CANCELED}
    assert RunAttempt.objects.get(run=run).state == RunState.CANCELED


def test_a_held_run_can_be_canceled():
    run = actions.cancel_run(make_actor(), make_run(hold=True))
    assert run.state == RunState.CANCELED


def test_cancel_of_a_running_run_is_an_intent_and_twice_is_once():
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    actions.cancel_run(make_actor(), run)
    run = WorkflowRun.objects.get(pk=run.pk)
    assert (run.state, run.wanted) == (RunState.RUNNING, Wanted.CANCEL)
    assert run.next_check_at and run.cancel_requested_at
    events = RunEvent.objects.filter(run=run).count()
    actions.cancel_run(make_actor(), run)
    assert RunEvent.objects.filter(run=run).count() == events


def test_an_ended_run_is_not_canceled():
    with pytest.raises(Conflict, match="ended"):
        actions.cancel_run(make_actor(), make_run(state=RunState.COMPLETED))


def test_two_operators_at_once_have_one_winner():
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    stale = WorkflowRun.objects.get(pk=run.pk)
    actions.cancel_run(make_actor(), run)
    with pytest.raises(Conflict) as caught:
        actions.retry_run(make_actor(), stale, mode=RetryMode.ALL)
    assert caught.value.current.wanted == Wanted.CANCEL
    assert RunAttempt.objects.filter(run=run).count() == 1


def test_an_older_version_is_stale():
    with pytest.raises(Stale):
        actions.cancel_run(make_actor(), make_run(), expected_version=99)


def test_retry_failed_keeps_what_is_done():
    run = failed_run()
    plan = actions.plan_retry(run, mode=RetryMode.FAILED)
    assert [task.name for task in plan] == ["b", "c"]
    actions.retry_run(make_actor("operator"), run)
    run = WorkflowRun.objects.get(pk=run.pk)
    assert (run.state, run.attempt, run.external_id) == (RunState.PENDING, 2, f"wh-{run.uuid}-2")
    assert states(run) == {
        "a": TaskState.COMPLETED,
        "b": TaskState.PENDING,
        "c": TaskState.PENDING,
    }
    attempt = RunAttempt.objects.get(run=run, number=2)
    assert attempt.tasks == [["b", -1], ["c", -1]]
    assert attempt.begun_at and attempt.sent_at is None and run.next_check_at
    seqs = list(RunEvent.objects.filter(run=run).values_list("seq", flat=True))
    assert seqs == list(range(1, len(seqs) + 1)) and run.last_seq == seqs[-1]


def test_a_second_retry_before_the_engine_took_the_first_changes_nothing():
    run = failed_run()
    actions.retry_run(make_actor(), run)
    actions.retry_run(make_actor(), WorkflowRun.objects.get(pk=run.pk))
    assert RunAttempt.objects.filter(run=run).count() == 2


@pytest.mark.parametrize("flag", [Flag.QUARANTINED, Flag.SUBMIT_UNKNOWN])
def test_a_run_that_was_set_aside_before_an_engine_took_it_is_retried(flag):
    run = make_run(engine=make_engine(), flags={flag.value: "why"}, next_check_at=None)
    if flag == Flag.SUBMIT_UNKNOWN:
        RunAttempt.objects.filter(run=run).update(sent_at=run.created_at)
    actions.retry_run(make_actor(), run)
    run = WorkflowRun.objects.get(pk=run.pk)
    assert (run.attempt, run.state, run.flags) == (2, RunState.PENDING, {})
    assert run.external_id == f"wh-{run.uuid}-2" and run.next_check_at
    first, second = RunAttempt.objects.filter(run=run)
    assert (first.state, first.ended_at is None) == (RunState.CANCELED, False)
    assert second.begun_at and second.sent_at is None


def test_a_restart_with_other_parameters_is_never_passed_over():
    workflow = make_workflow(parameters_schema={"properties": {"x": {"type": "integer"}}})
    run = make_run(workflow, parameters={"x": 1})
    actions.restart_run(make_actor(), run, parameters={"x": 2})
    run = WorkflowRun.objects.get(pk=run.pk)
    assert (run.attempt, run.parameters) == (2, {"x": 2})


def test_a_retry_after_a_cancel_that_is_on_its_way_waits_for_its_end():
    run = make_run(engine=make_engine())
    RunAttempt.objects.filter(run=run).update(sent_at=run.created_at)
    actions.cancel_run(make_actor(), run)
    actions.retry_run(make_actor(), WorkflowRun.objects.get(pk=run.pk), mode=RetryMode.ALL)
    assert RunAttempt.objects.get(run=run, number=2).begun_at is None


def test_a_retry_that_differs_from_the_one_that_waits_is_refused():
    run = make_run(engine=make_engine(), state=RunState.RUNNING, parameters={"x": 1})
    actions.restart_run(make_actor(), run)
    run = WorkflowRun.objects.get(pk=run.pk)
    actions.restart_run(make_actor(), run)
    with pytest.raises(Conflict, match=r"restart, with other parameters.* waits already"):
        actions.restart_run(make_actor(), run, parameters={"x": 2})
    assert RunAttempt.objects.filter(run=run).count() == 2


def test_other_parameters_take_the_place_of_what_is_on_its_way_unless_tasks_got_lost():
    run = failed_run()
    task = {"mode": RetryMode.TASK, "parameters": {"x": 1}}
    actions.retry_run(make_actor(), run, mode=RetryMode.TASK, tasks=[("a", None)])
    run = WorkflowRun.objects.get(pk=run.pk)
    with pytest.raises(Conflict, match=r"chosen tasks: a, with other parameters.* on its way"):
        actions.retry_run(make_actor(), run, tasks=[("b", None)], **task)
    actions.retry_run(make_actor(), run, tasks=[("a", None)], **task)
    tasks = list(RunAttempt.objects.filter(run=run).values_list("tasks", flat=True))
    assert tasks == [[], [["a", -1]], [["a", -1]]]
    actions.restart_run(make_actor(), WorkflowRun.objects.get(pk=run.pk), parameters={"x": 2})
    assert RunAttempt.objects.latest("number").mode == RetryMode.RESTART


def test_what_failed_and_isnt_in_the_retry_on_its_way_is_not_passed_over():
    run = failed_run()
    actions.retry_run(make_actor(), run)
    task = run.task_runs.get(name="a")
    actions.mark_task(make_actor(), task, TaskState.FAILED, note="Its result is wrong.")
    with pytest.raises(Conflict, match=r"\(what failed\).* on its way"):
        actions.retry_run(make_actor(), WorkflowRun.objects.get(pk=run.pk))


def test_what_failed_while_a_retry_of_that_waits_is_in_it():
    run = make_run(
        make_workflow(CHAIN),
        engine=make_engine(),
        state=RunState.RUNNING,
        task_states={"a": TaskState.COMPLETED, "b": TaskState.RUNNING},
    )
    actions.retry_run(make_actor(), run)
    run.task_runs.filter(name="b").update(state=TaskState.COMPLETED)
    run.task_runs.create(name="c", map_index=0)
    actions.retry_run(make_actor(), WorkflowRun.objects.get(pk=run.pk))
    assert RunAttempt.objects.get(run=run, number=2).tasks == [["b", -1], ["c", -1]]


def test_of_many_chosen_tasks_a_few_are_named_and_the_others_counted():
    names = [f"t{number}" for number in range(8)]
    run = make_run(make_workflow({name: [] for name in names}), engine=make_engine())
    run.task_runs.update(map_index=4)
    WorkflowRun.objects.update(state=RunState.FAILED)
    run = WorkflowRun.objects.get(pk=run.pk)
    tasks = [(name, 4) for name in names]
    actions.retry_run(make_actor(), run, mode=RetryMode.TASK, tasks=tasks)
    with pytest.raises(Conflict, match=r"t0\[4\], .*t4\[4\] and 3 more\)"):
        actions.retry_run(make_actor(), WorkflowRun.objects.get(pk=run.pk), mode=RetryMode.ALL)


@pytest.mark.parametrize("state", [RunState.FAILED, RunState.COMPLETED])
def test_mark_lets_a_retry_that_waits_begin_unless_the_run_has_completed(state):
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    actions.restart_run(make_actor(), run)
    run = WorkflowRun.objects.get(pk=run.pk)
    actions.mark_run(make_actor(), run, state, note="It does not stop.")
    run = WorkflowRun.objects.get(pk=run.pk)
    assert run.error == ("It does not stop." if state == RunState.FAILED else "")
    waits = RunAttempt.objects.filter(run=run, number=2).exists()
    assert (waits, run.next_check_at is not None) == (state == RunState.FAILED,) * 2
    if not waits:
        actions.retry_run(make_actor(), run, mode=RetryMode.ALL)
        assert RunAttempt.objects.get(run=run, number=2).begun_at


@pytest.mark.parametrize(("downstream", "again"), [(False, ["a"]), (True, ["a", "b", "c"])])
def test_retry_of_one_task_with_and_without_what_depends_on_it(downstream, again):
    run = failed_run()
    actions.retry_run(
        make_actor(), run, mode=RetryMode.TASK, tasks=[("a", None)], downstream=downstream
    )
    pending = [name for name, state in states(run).items() if state == TaskState.PENDING]
    assert pending == again


def test_retry_of_an_unknown_task_names_it():
    with pytest.raises(Invalid, match="zebra"):
        actions.retry_run(make_actor(), failed_run(), mode=RetryMode.TASK, tasks=[("zebra", None)])


def test_nothing_to_retry_says_so():
    run = make_run(
        engine=make_engine(),
        state=RunState.COMPLETED,
        task_states={"extract": TaskState.COMPLETED, "load": TaskState.COMPLETED},
    )
    with pytest.raises(Conflict, match="Nothing"):
        actions.retry_run(make_actor(), run)


def test_restart_of_an_active_run_stops_it_first():
    run = make_run(engine=make_engine(), state=RunState.RUNNING, parameters={"x": 1})
    actions.restart_run(make_actor(), run, parameters={"y": 2})
    run = WorkflowRun.objects.get(pk=run.pk)
    assert (run.state, run.wanted, run.attempt) == (RunState.RUNNING, Wanted.CANCEL, 1)
    queued = RunAttempt.objects.get(run=run, number=2)
    assert queued.begun_at is None and queued.parameters == {"x": 1, "y": 2}


def test_cancel_calls_off_the_restart_that_waits():
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    actions.restart_run(make_actor(), run)
    actions.cancel_run(make_actor(), WorkflowRun.objects.get(pk=run.pk))
    assert list(RunAttempt.objects.filter(run=run).values_list("number", flat=True)) == [1]


def test_what_the_engine_cannot_do_is_refused_with_its_reason():
    engine = make_engine(capabilities={"retry_failed": "It has no such call."})
    run = make_run(engine=engine, state=RunState.FAILED)
    with pytest.raises(Conflict, match="It has no such call"):
        actions.retry_run(make_actor(), run)
    actions.retry_run(make_actor(), run, mode=RetryMode.ALL)


def test_mark_ends_the_run_and_is_audited():
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    actions.mark_run(make_actor(), run, RunState.COMPLETED, note="seen by eye")
    run = WorkflowRun.objects.get(pk=run.pk)
    assert (run.state, run.marked, run.reason) == (RunState.COMPLETED, True, Reason.MARKED)
    assert AuditEntry.objects.get(action="mark").detail["note"] == "seen by eye"


def test_mark_turns_a_failure_into_a_success_but_needs_a_note():
    run = failed_run()
    with pytest.raises(Invalid, match="why"):
        actions.mark_run(make_actor(), run, RunState.COMPLETED, note=" ")
    assert actions.mark_run(make_actor(), run, RunState.COMPLETED, note="ok").state == "COMPLETED"


def test_mark_of_one_task_holds_against_later_reports():
    run = failed_run()
    task = run.task_runs.get(name="b")
    actions.mark_task(make_actor(), task, TaskState.SKIPPED, note="not needed")
    assert (task.state, task.marked) == (TaskState.SKIPPED, True)


def test_cancel_of_one_task_is_an_intent():
    run = make_run(engine=make_engine(), state=RunState.RUNNING)
    task = actions.cancel_task(make_actor(), run.task_runs.get(name="load"))
    assert task.wanted == Wanted.CANCEL
    assert WorkflowRun.objects.get(pk=run.pk).next_check_at


@pytest.mark.parametrize("act", ["cancel_run", "retry_run", "restart_run"])
def test_a_viewer_changes_nothing(act):
    run = failed_run()
    with pytest.raises(Denied):
        getattr(actions, act)(make_actor("viewer"), run)
