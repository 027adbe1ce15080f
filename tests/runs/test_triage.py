"""Late runs, and failures by hour."""

from datetime import timedelta

import pytest
from django.utils import timezone

from engines.clock import database_now
from runs import triage
from runs.models import WorkflowPace, WorkflowRun
from runs.states import RunState
from tests.factories import make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db


def pace(workflow: object, p95: float) -> None:
    WorkflowPace.objects.create(workflow=workflow.title, p50=p95 / 2, p95=p95)  # type: ignore[attr-defined]


def going(seconds: float, p95: float | None = None) -> WorkflowRun:
    workflow = make_workflow(engine=make_engine())
    if p95 is not None:
        pace(workflow, p95)
    began = database_now() - timedelta(seconds=seconds)
    return make_run(workflow, state=RunState.RUNNING, scheduled_at=began, started_at=began)


def late() -> list[int]:
    return [one.run.pk for one in triage.late(WorkflowRun.objects.all(), 100, database_now())]


@pytest.mark.parametrize(
    ("p95", "seconds", "is_late"),
    [
        (100, 190, False),
        (100, 210, True),
        (1, 20, False),  # not for less than half a minute
        (1, 40, True),
        (None, 1_000_000, False),  # nobody knows how long it takes
    ],
)
def test_a_run_is_late_that_runs_twice_as_long_as_nearly_all(
    p95: float | None, seconds: float, is_late: bool
) -> None:
    run = going(seconds, p95)
    assert late() == ([run.pk] if is_late else [])


@pytest.mark.parametrize(("minutes", "is_late"), [(9, False), (11, True)])
def test_a_run_is_late_that_its_engine_has_and_does_not_begin(minutes: int, is_late: bool) -> None:
    since = database_now() - timedelta(minutes=minutes)
    run = make_run(engine=make_engine(), state=RunState.SCHEDULED, scheduled_at=since)
    make_run(engine=make_engine())
    found = triage.late(WorkflowRun.objects.all(), 100, database_now())
    assert [(one.run.pk, one.usual) for one in found] == ([(run.pk, None)] if is_late else [])


def test_only_the_oldest_are_looked_through_and_so_many_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(triage, "REACH", 3)
    runs = [going(1000, 1) for _ in range(5)]
    assert late() == [run.pk for run in runs[:3]]
    assert len(triage.late(WorkflowRun.objects.all(), 2, database_now())) == 2


def test_failures_are_counted_by_hour_and_kind() -> None:
    now = timezone.now().replace(minute=30, second=0, microsecond=0)
    workflow, engine = make_workflow(), make_engine()
    given = {"engine": engine, "state": RunState.FAILED, "error_task": "a", "fingerprint": "f"}
    for hours in (0, 0, 1, 23, 24, 40):
        make_run(workflow, ended_at=now - timedelta(hours=hours), **given)
    failed = WorkflowRun.objects.open_failures()
    groups = list(failed.by_fingerprint())
    ((kind, counts),) = triage.by_hour(failed, groups, now).items()
    assert kind == tuple(groups[0][name] for name in triage.KIND)
    assert len(counts) == 24
    assert (counts[-1], counts[-2], counts[0], sum(counts)) == (2, 1, 1, 4)
