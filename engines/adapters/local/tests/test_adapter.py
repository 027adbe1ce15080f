"""What the built-in engine tells beyond the contract."""

import threading

import pytest
from django.db import connection, transaction

from engines.base import EngineRejected, RetrySpec
from engines.dag import turns
from engines.dag.held import locked
from engines.dag.logs import append
from engines.dag.models import Document, Execution, Step
from engines.dag.outcome import Outcome
from engines.states import RunState, TaskState
from tests.engines.dag.driving import Hand, make_adapter, make_spec, step, submit, workflow

pytestmark = pytest.mark.django_db(transaction=True)


def cursor_of(adapter):
    return [page.cursor for page in adapter.observe(None, ())][-1]


def changes(adapter, cursor):
    return {
        snapshot.external_id: {str(task.task): task.state for task in snapshot.tasks}
        for page in adapter.observe(cursor, ())
        for snapshot in page.snapshots
    }


def test_only_changed_steps_are_told_until_the_run_has_ended():
    adapter, run = submit(step("a"), step("b", "a"), step("c", "b"))
    hand = Hand()
    cursor = cursor_of(adapter)
    taken = hand.take()
    assert changes(adapter, cursor) == {run: {"a": TaskState.RUNNING}}
    cursor = cursor_of(adapter)
    taken = hand.end(taken)
    assert changes(adapter, cursor) == {run: {"a": TaskState.COMPLETED, "b": TaskState.RUNNING}}
    taken = hand.end(taken)
    cursor = cursor_of(adapter)
    hand.end(taken)
    assert changes(adapter, cursor) == {run: dict.fromkeys("abc", TaskState.COMPLETED)}
    assert changes(adapter, cursor_of(adapter)) == {}


def test_a_transaction_that_commits_late_is_not_missed():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite lets one transaction write at a time: none commits late.")
    adapter, run = submit(step("a"))
    execution_id = Execution.objects.get(external_id=run).pk
    written, go_on = threading.Event(), threading.Event()

    def write_slowly():
        hand = Hand()
        with transaction.atomic():
            turns.turn(hand.taker)
            written.set()
            go_on.wait(10)
        connection.close()

    thread = threading.Thread(target=write_slowly)
    thread.start()
    assert written.wait(10)
    # Another transaction begins later and commits first.
    submit(step("other"))
    cursor = cursor_of(adapter)
    assert changes(adapter, cursor) == {}
    go_on.set()
    thread.join()
    assert changes(adapter, cursor) == {run: {"a": TaskState.RUNNING}}
    assert Step.objects.get(execution_id=execution_id).state == "RUNNING"


def test_the_cursor_of_another_engine_tells_nothing_of_this_one():
    adapter, _ = submit(step("a"))
    other, run = submit(step("a"))
    cursor = cursor_of(adapter)
    Hand().run_all()
    assert changes(other, cursor).keys() == {run}


def test_a_definition_that_can_not_be_run_is_rejected():
    adapter = make_adapter()
    with pytest.raises(EngineRejected, match="line 1: .*cycle"):
        adapter.submit(make_spec(workflow(step("a", "b"), step("b", "a"))))
    assert not Execution.objects.exists()


def test_a_definition_is_kept_once_however_many_runs_it_has():
    adapter = make_adapter()
    for _ in range(3):
        adapter.submit(make_spec(workflow(step("a"))))
    assert Document.objects.count() == 1


def test_the_log_of_a_kept_step_is_where_the_earlier_attempt_wrote_it():
    adapter = make_adapter()
    spec = make_spec(workflow(step("a"), step("b", "a")))
    adapter.submit(spec)
    hand = Hand()
    taken = hand.take()
    append(taken.log, b"2026-01-01T00:00:00.000000Z out first\n")
    hand.end(hand.end(taken, log=taken.log), TaskState.FAILED)
    again = make_spec(spec.workflow.definition, uuid=spec.uuid, attempt=2)
    adapter.retry(again, RetrySpec(previous_external_id=spec.external_id, tasks=(("b", -1),)))
    lines = adapter.logs(again.external_id, "a", -1, 1, 0).lines
    assert [line.text for line in lines] == ["first"]
    with pytest.raises(EngineRejected, match="had no try 5"):
        adapter.logs(again.external_id, "a", -1, 5, 0)


def test_two_submits_at_once_start_one_run():
    adapter = make_adapter()
    spec = make_spec(workflow(step("a"), step("b")))
    barrier = threading.Barrier(4)
    found = []

    def send():
        barrier.wait()
        try:
            found.append(adapter.submit(spec).external_id)
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [spec.external_id] * 4
    assert Step.objects.count() == 2


def test_an_outcome_for_a_run_that_is_gone_is_void():
    _, run = submit(step("a"))
    hand = Hand()
    taken = hand.take()
    Execution.objects.all().delete()
    late = Outcome(
        execution_id=taken.plan.id,
        step_id=taken.step_id,
        token=taken.token,
        name="a",
        map_index=-1,
        state=TaskState.COMPLETED,
        result="1",
    )
    assert turns.turn(hand.taker, [late], taken.plan) == ([late], [], False)
    with locked(taken.plan.id) as held:
        assert held is None


def test_the_snapshot_of_a_final_run_has_its_result_and_times():
    adapter, run = submit(step("a", **{"with": {"x": 1}}), outputs={"x": "${steps.a.result.x}"})
    Hand().run_all()
    snapshot = adapter.find(run)
    assert snapshot.state == RunState.COMPLETED
    assert snapshot.result == {"x": 1}
    assert snapshot.started_at <= snapshot.tasks[0].started_at <= snapshot.ended_at
    assert snapshot.tasks[0].worker == "hand:1"
