"""fsck --fix looks again after it has mended: what is still there is told, and is its exit code."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from engines.clock import database_now
from runs import actions, fsck, moves
from runs.errors import Conflict
from runs.invariants.check import Check
from runs.models import ChildRun, TaskRun, WorkflowRun
from runs.policy import Actor
from tests.factories import make_run

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(days=1)


def fix():
    """(what it prints, the error it ends with or nothing)."""
    out = StringIO()
    try:
        call_command("fsck", "--fix", stdout=out)
    except CommandError as error:
        return out.getvalue(), str(error)
    return out.getvalue(), ""


def check(mend, broken):
    return Check(
        code="X1",
        holds="It holds.",
        remedy="Run fsck --fix: it mends it.",
        find=lambda: (f"thing {thing}" for thing in broken),
        mend=mend,
    )


def test_what_could_not_be_mended_is_broken_still(monkeypatch):
    things = [*"abcdefgh"]
    monkeypatch.setattr(fsck, "CHECKS", (check(lambda: 0, things),))
    (found,) = fsck.run_checks(fix=True)
    assert (found.number, found.mended, found.left) == (8, 0, 8)
    out, error = fix()
    assert "invariants are broken" in error
    assert "Mended: 0.\n    Still there: 8.\n    thing a" in out
    assert "What to do: " in out
    assert "Every invariant holds" not in out


def test_what_was_mended_in_part_is_broken_still(monkeypatch):
    things = [*"abcdefgh"]

    def mend():
        del things[1:]
        return 7

    monkeypatch.setattr(fsck, "CHECKS", (check(mend, things),))
    out, error = fix()
    assert error
    assert "Mended: 7.\n    Still there: 1.\n    thing a\n" in out


def test_what_was_mended_is_broken_no_more(monkeypatch):
    things = [*"abcdefgh"]
    monkeypatch.setattr(fsck, "CHECKS", (check(things.clear, things),))
    out, error = fix()
    assert error == ""
    assert "Still there" not in out
    assert "Every invariant holds." in out


def test_open_tasks_that_somebody_else_changes_meanwhile_are_still_there(monkeypatch):
    run = make_run()
    actions.cancel_run(Actor(), run)
    TaskRun.objects.filter(run=run, name="load").update(state="RUNNING")
    monkeypatch.setattr(moves, "apply_one", lambda change: False)
    out, error = fix()
    assert "invariants are broken" in error
    assert "I4b: 1 break this" in out
    assert "Still there: 1." in out


def test_a_run_for_nobody_that_can_not_be_canceled_is_still_there(monkeypatch):
    parent = make_run()
    task = TaskRun.objects.get(run=parent, name="load")
    child = actions.start_run(Actor(), parent.workflow, parent_task_run=task)
    ChildRun.objects.create(
        key="k", parent=parent, external_id=parent.external_id, task="load", child=child
    )
    actions.cancel_run(Actor(), parent)
    WorkflowRun.objects.filter(pk=parent.pk).update(ended_at=database_now() - LONG_AGO)

    def refuse(*args, **kwargs):
        raise Conflict("Somebody was first.")

    monkeypatch.setattr(actions, "stop_run", refuse)
    out, error = fix()
    assert "invariants are broken" in error
    assert "I2e: 1 break this" in out
    assert "Mended: 0." in out
