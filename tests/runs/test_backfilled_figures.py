"""Migration 0005 makes of what is there what would have been kept as it ended."""

import importlib
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.apps import apps
from django.db import connection

from engines.clock import database_now
from runs import actions, moves
from runs.models import HourlyRollup, RunAttempt, WorkflowPace, WorkflowRun
from runs.policy import Actor
from runs.states import Cause, RunState
from tests.factories import make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db
migration = importlib.import_module("runs.migrations.0005_backfill_figures")


def backfill() -> None:
    migration.backfill(apps, SimpleNamespace(connection=connection))


def end(run: WorkflowRun, state: RunState, *, seconds: float = 0, ago: float = 0) -> WorkflowRun:
    now = database_now() - timedelta(hours=ago)
    began = now - timedelta(seconds=seconds)
    WorkflowRun.objects.filter(pk=run.pk).update(started_at=began)
    run = WorkflowRun.objects.select_related("workflow", "engine").get(pk=run.pk)
    assert moves.apply_one(
        moves.RunChange(run).move(state, Cause.OBSERVE, moves.RECONCILER, now=now)
    )
    return run


def history() -> None:
    """Of two workflows: durations, a retry, a rerun of a rerun, a mark, one without an engine."""
    for workflow in (make_workflow(engine=make_engine()) for _ in range(2)):
        for seconds in (0, 0.4, 3, 3.1, 80, 5000, 3_000_000):
            end(make_run(workflow), RunState.COMPLETED, seconds=seconds, ago=seconds % 3)
        end(make_run(workflow), RunState.CANCELED, ago=30)
        failed = end(make_run(workflow), RunState.FAILED, seconds=2, ago=5)
        second = end(actions.rerun(Actor(), failed), RunState.FAILED, ago=4)
        end(actions.rerun(Actor(), second), RunState.COMPLETED, seconds=1, ago=3)
        retried = end(make_run(workflow), RunState.FAILED, ago=9)
        attempt = moves.queue_attempt(
            retried, mode="all", tasks=[], by=moves.RECONCILER, parameters={}
        )
        attempt.save()
        change = moves.RunChange(retried)
        moves.begin_attempt(
            change, attempt, [], moves.RECONCILER, cause=Cause.RETRY, now=database_now(),
            in_place=False,
        )  # fmt: skip
        assert moves.apply_one(change)
        end(retried, RunState.COMPLETED, seconds=7)
        marked = end(make_run(workflow), RunState.FAILED, seconds=50, ago=2)
        actions.mark_run(Actor(), marked, RunState.COMPLETED, note="It did.")
    end(make_run(make_workflow(), engine=None), RunState.FAILED)


def kept() -> dict[str, Any]:
    columns = ("hour", "workflow", "engine", "completed", "failed", "canceled", "durations")
    rows = HourlyRollup.objects.exclude(completed=0, failed=0, canceled=0)
    return {
        "rollups": sorted(rows.values_list(*columns), key=str),
        "seconds": [round(row.seconds, 2) for row in rows.order_by("hour", "workflow", "engine")],
        "paces": sorted(WorkflowPace.objects.values_list("workflow", "durations", "p50", "p95")),
        "resolved": dict(WorkflowRun.objects.values_list("pk", "resolved_by")),
    }


@pytest.mark.parametrize(("piece", "held"), [(20_000, 20_000), (3, 2)])
def test_what_ended_before_counts_as_if_it_had_been_kept(
    monkeypatch: pytest.MonkeyPatch, piece: int, held: int
) -> None:
    monkeypatch.setattr(migration, "PIECE", piece)
    monkeypatch.setattr(migration, "HELD", held)
    history()
    before = kept()
    assert len(before["paces"]) == 2 and any(before["resolved"].values())
    WorkflowRun.objects.update(resolved_by=None)
    backfill()
    assert kept() == before
    backfill()  # begun anew after a kill
    assert kept() == before


def test_figures_of_what_ended_long_ago_are_not_made_but_its_pace_is_known() -> None:
    run = end(make_run(make_workflow(engine=make_engine())), RunState.COMPLETED, seconds=20)
    long_ago = database_now() - timedelta(days=401)
    RunAttempt.objects.filter(run=run).update(ended_at=long_ago)
    backfill()
    assert not HourlyRollup.objects.exists()
    assert WorkflowPace.objects.get().p50 == pytest.approx(20, rel=0.1)


def test_an_empty_hub_has_nothing_to_count() -> None:
    backfill()
    assert not HourlyRollup.objects.exists() and not WorkflowPace.objects.exists()
