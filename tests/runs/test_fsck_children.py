"""fsck on runs inside runs: each break is planted, found, and mended where it may be."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from engines.clock import database_now
from runs import actions, fsck, moves
from runs.models import ChildRun, TaskRun, WorkflowRun
from runs.policy import Actor
from runs.states import Cause, RunState
from tests.factories import make_run

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(days=1)


def codes():
    return [broken.check.code for broken in fsck.run_checks()]


def end(run, state=RunState.CANCELED, ago=LONG_AGO):
    """Ends a run with its history, so long ago."""
    change = moves.RunChange(run)
    change.move(state, Cause.CANCEL, moves.RECONCILER, now=database_now())
    moves.close_tasks(change, run.task_runs.all(), state, moves.RECONCILER, now=database_now())
    assert moves.apply_one(change)
    WorkflowRun.objects.filter(pk=run.pk).update(ended_at=database_now() - ago)


@pytest.fixture
def row():
    """An open request: run 1 waits for run 2."""
    parent = make_run()
    task = TaskRun.objects.get(run=parent, name="load")
    child = actions.start_run(Actor(), parent.workflow, parent_task_run=task)
    return ChildRun.objects.create(
        key="k", parent=parent, external_id=parent.external_id, task="load", child=child
    )


def test_a_request_that_is_waited_for_breaks_nothing(row):
    assert codes() == []
    end(row.child, ago=timedelta(0))
    assert codes() == []


def test_a_step_that_nobody_told_of_its_run_s_end_is_found(row):
    end(row.child, RunState.FAILED)
    (broken,) = fsck.run_checks()
    assert broken.check.code == "I2d"
    assert broken.examples == (
        f"step load of run {row.parent_id} asked for a run (run {row.child_id}): nobody told it of "
        "the end",
    )
    ChildRun.objects.update(answered_at=database_now())
    assert codes() == []


def test_a_step_whose_run_was_deleted_is_found(row):
    ChildRun.objects.update(created_at=database_now() - LONG_AGO)
    assert codes() == []
    WorkflowRun.objects.filter(pk=row.child_id).delete()
    assert codes() == ["I2d"]


@pytest.mark.parametrize("waits", [True, False])
def test_a_run_that_goes_on_for_nobody_is_found_and_canceled(row, waits):
    ChildRun.objects.update(waits=waits)
    end(row.parent)
    assert codes() == ["I2e"]
    call_command("fsck", "--fix", stdout=StringIO())
    assert codes() == []
    row.child.refresh_from_db()
    assert row.child.final == waits
    row.refresh_from_db()
    assert row.answered_at is not None
