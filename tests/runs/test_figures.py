"""What is kept when attempts end: how many did how, and how long they took."""

import math
from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from engines.clock import database_now
from runs import actions, figures, moves
from runs.models import HourlyRollup, RunAttempt, WorkflowPace, WorkflowRun
from runs.policy import Actor
from runs.states import Cause, RunState
from tests.factories import make_engine, make_run, make_workflow

BY = moves.RECONCILER
AT = datetime(2026, 3, 1, 10, 59, 30, tzinfo=UTC)


def ending(
    run: WorkflowRun, state: RunState = RunState.COMPLETED, *, now: datetime = AT
) -> moves.RunChange:
    return moves.RunChange(run).move(state, Cause.OBSERVE, BY, now=now)


def running(
    workflow: object = None, *, seconds: float = 60, now: datetime = AT, **kw: object
) -> WorkflowRun:
    began = now - timedelta(seconds=seconds)
    workflow = workflow or make_workflow(engine=make_engine())
    return make_run(workflow, state=RunState.RUNNING, started_at=began, **kw)  # type: ignore[arg-type]


@pytest.mark.parametrize("seconds", [0.011, 0.5, 1, 7.3, 3600, 86_400 * 29])
def test_a_percentile_is_at_most_9_percent_off(seconds: float) -> None:
    found = figures.percentile([[figures.bucket_of(seconds), 3]], 0.5)
    assert abs(math.log(found / seconds)) <= math.log(1.091)


def test_the_first_and_the_last_bucket_hold_what_is_beyond() -> None:
    assert figures.bucket_of(-1) == figures.bucket_of(0) == figures.bucket_of(0.01) == 0
    assert figures.bucket_of(0.0101) == 1
    assert figures.bucket_of(86_400 * 30) == figures.bucket_of(86_400 * 3000) == figures.LAST


def test_a_percentile_is_where_that_share_was_done() -> None:
    buckets = [[30, 1], [0, 94], [60, 5]]
    middle = [figures.percentile([[bucket, 1]], 0.5) for bucket in (0, 30, 60)]
    assert figures.percentile(buckets, 0.5) == middle[0]
    assert figures.percentile(buckets, 0.95) == middle[1]
    assert figures.percentile(buckets, 0.96) == middle[2]
    assert figures.percentile([], 0.5) == 0


@pytest.mark.django_db
def test_ends_are_counted_by_hour_workflow_and_engine() -> None:
    workflow, other = make_workflow(engine=make_engine()), make_workflow(engine=make_engine())
    later = AT + timedelta(minutes=1)
    moves.apply(
        [
            ending(running(workflow)),
            ending(running(workflow), RunState.FAILED),
            ending(running(workflow), RunState.CANCELED),
            ending(running(other)),
            ending(running(workflow), now=later),
        ]
    )
    moves.apply_one(ending(running(workflow, seconds=10)))
    rows = {(row.hour, row.workflow): row for row in HourlyRollup.objects.all()}
    assert len(rows) == 3
    row = rows[AT.replace(minute=0, second=0), workflow.title]
    assert (row.completed, row.failed, row.canceled, row.seconds) == (2, 1, 1, 70)
    assert row.engine == workflow.engine.name  # type: ignore[union-attr]
    assert row.durations == [[figures.bucket_of(10), 1], [figures.bucket_of(60), 1]]
    assert rows[later.replace(second=0), workflow.title].completed == 1


@pytest.mark.django_db
def test_a_run_without_an_engine_is_counted_too() -> None:
    run = make_run(make_workflow(), engine=None)
    moves.apply_one(ending(run, RunState.FAILED))
    row = HourlyRollup.objects.get()
    assert (row.engine, row.failed, row.durations) == ("", 1, [])
    assert not WorkflowPace.objects.exists()


@pytest.mark.django_db
def test_each_attempt_is_counted() -> None:
    run = running()
    moves.apply_one(ending(run, RunState.FAILED))
    attempt = moves.queue_attempt(run, mode="all", tasks=[], by=BY, parameters={})
    attempt.save()
    change = moves.RunChange(run)
    moves.begin_attempt(change, attempt, [], BY, cause=Cause.RETRY, now=AT, in_place=False)
    assert HourlyRollup.objects.get().failed == 1
    later = AT + timedelta(seconds=1)
    change.move(RunState.FAILED, Cause.REJECT, BY, now=later)  # in the same change
    assert moves.apply_one(change)
    assert HourlyRollup.objects.get().failed == 2


@pytest.mark.django_db
def test_a_clock_that_went_back_makes_no_negative_duration() -> None:
    run = running(seconds=-3600)
    moves.apply_one(ending(run))
    row = HourlyRollup.objects.get()
    assert (row.seconds, row.durations) == (0, [[0, 1]])
    assert WorkflowPace.objects.get().p50 == pytest.approx(0.01)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("first", "then", "counts"),
    [
        (RunState.COMPLETED, RunState.FAILED, (0, 1, 0)),
        (RunState.FAILED, RunState.COMPLETED, (1, 0, 0)),
        (RunState.FAILED, RunState.CANCELED, (0, 0, 1)),
    ],
)
def test_what_is_marked_otherwise_is_counted_once(
    first: RunState, then: RunState, counts: tuple[int, ...]
) -> None:
    now = database_now()
    run = running(now=now)
    moves.apply_one(ending(run, first, now=now))
    run.refresh_from_db()
    actions.mark_run(Actor(), run, then, note="We looked.")
    rows = HourlyRollup.objects.all()
    assert (
        tuple(
            sum(getattr(row, name) for row in rows) for name in ("completed", "failed", "canceled")
        )
        == counts
    )
    assert [row.durations for row in rows if row.durations] == []
    assert sum(row.seconds for row in rows) == 0


@pytest.mark.django_db
def test_a_mark_whose_figures_are_gone_takes_nothing_back() -> None:
    run = running()
    moves.apply_one(ending(run))
    HourlyRollup.objects.all().delete()
    actions.mark_run(Actor(), run, RunState.FAILED, note="We looked.")
    row = HourlyRollup.objects.get()
    assert (row.completed, row.failed) == (0, 1)


@pytest.mark.django_db
def test_a_pace_is_learned_and_the_newest_count_most() -> None:
    workflow = make_workflow(engine=make_engine())
    moves.apply([ending(running(workflow, seconds=10)) for _ in range(3)])
    pace = WorkflowPace.objects.get(workflow=workflow.title)
    assert pace.p50 == pace.p95 == pytest.approx(10, rel=0.1)
    assert figures.paces([workflow.title, "unknown"]) == {workflow.title: (pace.p50, pace.p95)}
    old = figures.paced([], {30: 5000})
    assert sum(weight for _, weight in old) <= figures.WEIGHT
    fresh: list[list[float]] = old
    for _ in range(figures.WEIGHT):
        fresh = figures.paced(fresh, {60: 1})
    assert figures.percentile(fresh, 0.5) == figures.percentile([[60, 1]], 0.5)
    for _ in range(3000):
        fresh = figures.paced(fresh, {60: 1})
    assert [bucket for bucket, _ in fresh] == [60]  # what is that old is forgotten


@pytest.mark.django_db
def test_the_loser_of_a_race_is_not_counted() -> None:
    run = running()
    WorkflowRun.objects.filter(pk=run.pk).update(version=99)
    assert not moves.apply_one(ending(run))
    assert not HourlyRollup.objects.exists()


def about_figures(asked: CaptureQueriesContext) -> list[str]:
    names = ("runs_hourlyrollup", "runs_workflowpace")
    return [query["sql"][:100] for query in asked if any(name in query["sql"] for name in names)]


@pytest.mark.django_db
def test_many_ends_cost_as_few_statements_as_one_and_no_end_none() -> None:
    workflow = make_workflow(engine=make_engine())
    costs = []
    for number in (1, 40):
        changes = [ending(running(workflow)) for _ in range(number)]
        with CaptureQueriesContext(connection) as asked:
            moves.apply(changes)
        costs.append(about_figures(asked))
    most = 4 if connection.vendor == "postgresql" else 6  # SQLite looks first which are there
    assert len(costs[0]) == len(costs[1]) == most, costs
    with CaptureQueriesContext(connection) as asked:
        moves.apply([ending(running(workflow), RunState.FAILED)])
    assert len(about_figures(asked)) == 1
    change = moves.RunChange(make_run(workflow))
    change.move(RunState.RUNNING, Cause.OBSERVE, BY, now=AT)
    with CaptureQueriesContext(connection) as asked:
        moves.apply([change])
    assert about_figures(asked) == []
    assert RunAttempt.objects.filter(state=RunState.COMPLETED).count() == 41


@pytest.mark.django_db
def test_rows_are_locked_in_the_order_of_their_keys() -> None:
    workflows = [make_workflow(title=title, engine=make_engine()) for title in ("b", "c", "a")]
    with CaptureQueriesContext(connection) as asked:
        moves.apply([ending(running(workflow)) for workflow in workflows])
    for table in ("hourlyrollup", "workflowpace"):
        (insert,) = (
            query["sql"]
            for query in asked
            if query["sql"].startswith(f'INSERT INTO "runs_{table}"')
        )
        assert [insert.index(f"'{title}'") for title in "abc"] == sorted(
            insert.index(f"'{title}'") for title in "abc"
        )
