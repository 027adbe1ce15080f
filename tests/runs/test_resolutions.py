"""Which failures still need somebody."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from engines.clock import database_now
from runs import actions, moves
from runs.models import WorkflowRun
from runs.policy import Actor
from runs.states import Cause, RunState
from tests.factories import make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db
BY = moves.RECONCILER


@pytest.fixture
def failed() -> WorkflowRun:
    return end(make_run(make_workflow(engine=make_engine())), RunState.FAILED)


def end(run: WorkflowRun, state: RunState) -> WorkflowRun:
    run = WorkflowRun.objects.select_related("workflow", "engine").get(pk=run.pk)
    change = moves.RunChange(run).move(state, Cause.OBSERVE, BY, now=database_now())
    assert moves.apply_one(change)
    return run


def rerun(run: WorkflowRun) -> WorkflowRun:
    return actions.rerun(Actor(), run)


def begin_again(run: WorkflowRun) -> WorkflowRun:
    """Retried in place, and begun."""
    attempt = moves.queue_attempt(run, mode="all", tasks=[], by=BY, parameters={})
    attempt.save()
    change = moves.RunChange(run)
    moves.begin_attempt(
        change, attempt, [], BY, cause=Cause.RETRY, now=database_now(), in_place=False
    )
    assert moves.apply_one(change)
    return run


def open_now() -> set[int]:
    return set(WorkflowRun.objects.open_failures().values_list("pk", flat=True))


def settled_by(run: WorkflowRun) -> int | None:
    return WorkflowRun.objects.get(pk=run.pk).resolved_by_id


def test_a_failure_stays_while_its_rerun_is_under_way_and_leaves_when_that_completes(
    failed: WorkflowRun,
) -> None:
    again = rerun(failed)
    assert open_now() == {failed.pk}
    (group,) = WorkflowRun.objects.open_failures().by_fingerprint()
    assert (group["number"], group["under_way"]) == (1, 1)
    version = WorkflowRun.objects.get(pk=failed.pk).version
    end(again, RunState.COMPLETED)
    assert open_now() == set()
    assert settled_by(failed) == again.pk
    assert WorkflowRun.objects.get(pk=failed.pk).version == version + 1


def test_a_rerun_that_fails_too_stands_for_both_until_the_next_completes(
    failed: WorkflowRun,
) -> None:
    second = end(rerun(failed), RunState.FAILED)
    assert open_now() == {second.pk}
    third = rerun(second)
    assert open_now() == {second.pk}
    end(third, RunState.COMPLETED)
    assert open_now() == set()
    assert settled_by(failed) == settled_by(second) == third.pk


def test_a_canceled_rerun_settles_nothing_and_is_no_failure(failed: WorkflowRun) -> None:
    second = end(rerun(failed), RunState.CANCELED)
    assert open_now() == {failed.pk}
    (group,) = WorkflowRun.objects.open_failures().by_fingerprint()
    assert group["under_way"] == 0
    third = end(rerun(second), RunState.COMPLETED)
    assert settled_by(failed) == third.pk
    assert settled_by(second) is None


def test_a_retry_in_place_takes_it_out_and_its_failure_brings_it_back(failed: WorkflowRun) -> None:
    begin_again(failed)
    assert open_now() == set()
    end(failed, RunState.FAILED)
    assert open_now() == {failed.pk}


def test_a_retry_in_place_of_a_settled_failure_is_a_failure_of_its_own(failed: WorkflowRun) -> None:
    stale = WorkflowRun.objects.get(pk=failed.pk)
    end(rerun(failed), RunState.COMPLETED)
    # It was read before its rerun completed, but for its version.
    stale.version += 1
    assert stale.resolved_by_id is None
    begin_again(stale)
    assert settled_by(failed) is None
    end(failed, RunState.FAILED)
    assert open_now() == {failed.pk}


def test_what_is_under_way_again_is_not_settled_by_an_older_rerun(failed: WorkflowRun) -> None:
    again = rerun(failed)
    begin_again(failed)
    end(again, RunState.COMPLETED)
    assert settled_by(failed) is None


def test_a_run_that_settled_a_failure_and_is_said_to_have_failed_opens_it_again(
    failed: WorkflowRun,
) -> None:
    again = end(rerun(failed), RunState.COMPLETED)
    actions.mark_run(Actor(), again, RunState.FAILED, note="Its result is wrong.")
    assert settled_by(failed) is None
    assert open_now() == {again.pk}
    again.refresh_from_db()
    actions.mark_run(Actor(), again, RunState.COMPLETED, note="It was right.")
    assert settled_by(failed) == again.pk
    assert open_now() == set()


def test_a_run_that_settled_a_failure_and_is_run_anew_settles_it_again(failed: WorkflowRun) -> None:
    again = end(rerun(failed), RunState.COMPLETED)
    begin_again(again)
    assert settled_by(failed) is None
    assert open_now() == {failed.pk}
    end(again, RunState.COMPLETED)
    assert settled_by(failed) == again.pk


def test_many_reruns_are_settled_by_few_statements() -> None:
    workflow = make_workflow(engine=make_engine())
    costs = []
    for number in (1, 1, 20):  # the first makes the rows of counters and figures
        runs = [end(make_run(workflow), RunState.FAILED) for _ in range(number)]
        changes = [
            moves.RunChange(rerun(run)).move(
                RunState.COMPLETED, Cause.OBSERVE, BY, now=database_now()
            )
            for run in runs
        ]
        with CaptureQueriesContext(connection) as asked:
            moves.apply(changes)
        costs.append(len(asked))
        assert all(settled_by(run) for run in runs)
    assert costs[1] == costs[2]


def test_a_loop_of_reruns_ends(failed: WorkflowRun) -> None:
    """No way leads there, but a database may hold anything."""
    second = end(rerun(failed), RunState.FAILED)
    WorkflowRun.objects.filter(pk=failed.pk).update(previous=second)
    third = end(rerun(second), RunState.COMPLETED)
    assert settled_by(failed) == settled_by(second) == third.pk
