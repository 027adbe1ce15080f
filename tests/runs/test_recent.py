"""The last runs of a workflow, its last success, failures like one of them."""

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from runs import recent
from runs.models import WorkflowRun
from runs.states import RunState
from tests.factories import make_run, make_workflow

pytestmark = pytest.mark.django_db
RUNS = WorkflowRun.objects


def test_the_newest_runs_of_all_versions_come_oldest_first() -> None:
    one = make_workflow(title="etl", version=1, latest=False)
    two = make_workflow(title="etl", version=2)
    mine = [make_run(workflow).pk for workflow in (one, two, one)]
    make_run()  # another workflow's
    assert [run.pk for run in recent.newest(RUNS.all(), "etl")] == mine
    assert [run.pk for run in recent.newest(RUNS.all(), "etl", 2)] == mine[1:]
    assert recent.newest(RUNS.all(), "nothing like it") == []


def test_the_last_success_is_the_newest_one_before_the_run_whatever_its_version() -> None:
    one = make_workflow(title="etl", version=1, latest=False)
    two = make_workflow(title="etl", version=2)
    make_run(two, state=RunState.COMPLETED)
    last = make_run(one, state=RunState.COMPLETED)
    make_run(two, state=RunState.CANCELED)
    make_run(state=RunState.COMPLETED)  # another workflow's
    failed = make_run(two, state=RunState.FAILED)
    make_run(two, state=RunState.COMPLETED)  # after it
    assert recent.last_success(RUNS.all(), failed) == last
    assert recent.last_success(RUNS.none(), failed) is None


def test_a_success_too_far_back_is_not_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = make_workflow()
    success = make_run(workflow, state=RunState.COMPLETED)
    runs = [make_run(workflow, state=RunState.FAILED) for _ in range(3)]
    monkeypatch.setattr(recent, "REACH", 3)
    assert recent.last_success(RUNS.all(), runs[2]) == success
    monkeypatch.setattr(recent, "REACH", 2)
    assert recent.last_success(RUNS.all(), runs[2]) is None


def test_what_is_read_has_no_definition_and_no_result() -> None:
    workflow = make_workflow()
    make_run(workflow, state=RunState.COMPLETED, result={"big": 1})
    failed = make_run(workflow, state=RunState.FAILED)
    with CaptureQueriesContext(connection) as asked:
        before = recent.last_success(RUNS.all(), failed)
    assert before and {"result", "source"} <= before.get_deferred_fields()
    assert "definition" in before.workflow.get_deferred_fields()
    assert len(asked) == 3  # versions, the run, its labels


def test_other_open_failures_of_its_kind_are_counted() -> None:
    kind: dict[str, Any] = {"state": RunState.FAILED, "fingerprint": "f" * 64}
    times = [timezone.now() for _ in range(3)]
    runs = [make_run(ended_at=time, **kind) for time in times]
    make_run(state=RunState.FAILED, fingerprint="e" * 64)
    mended = make_run(**kind)
    better = make_run(previous=mended, state=RunState.COMPLETED)
    WorkflowRun.objects.filter(pk=mended.pk).update(resolved_by=better)
    found = recent.similar(RUNS.all(), runs[2])
    assert (found.number, found.first_at, found.last_at) == (2, times[0], times[1])


def test_a_failure_without_a_fingerprint_has_no_others(
    django_assert_num_queries: Any,
) -> None:
    make_run(state=RunState.FAILED)
    run = make_run(state=RunState.FAILED)
    with django_assert_num_queries(0):
        assert recent.similar(RUNS.all(), run).number == 0


def test_the_same_task_is_found_in_the_last_runs() -> None:
    one = make_workflow({"a": []}, title="etl", version=1, latest=False)
    two = make_workflow({"a": [], "b": []}, title="etl", version=2)
    runs = [make_run(one), make_run(two), make_run(two)]
    task = runs[1].task_runs.get(name="b")
    pairs = recent.same_task(RUNS.all(), task)
    assert [(run.pk, found.name if found else None) for run, found in pairs] == [
        (runs[0].pk, None),
        (runs[1].pk, "b"),
        (runs[2].pk, "b"),
    ]
