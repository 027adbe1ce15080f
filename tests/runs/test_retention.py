"""What cleanup deletes, and what it never does."""

import os
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import CommandError, call_command

from engines.clock import database_now
from engines.dag.context import step_folder
from engines.models import EngineJob
from runs import actions, moves, retention
from runs.models import (
    Acknowledgement,
    AuditEntry,
    HourlyRollup,
    IdempotencyKey,
    RunAttempt,
    RunEvent,
    TaskTry,
    Workflow,
    WorkflowPace,
    WorkflowRun,
)
from runs.policy import Actor
from runs.retention import Limits, clean_up
from runs.states import Cause, RunState
from tests.factories import make_engine, make_run, make_user, make_workflow

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


def days_ago(days):
    return database_now() - days * DAY


def ended(days, workflow=None, **kw):
    return make_run(workflow, state="COMPLETED", ended_at=days_ago(days), **kw)


def with_log(run, name):
    stored = storages["logs"].save(name, ContentFile("line\n"))
    task = run.task_runs.first()
    return TaskTry.objects.create(
        task_run=task, attempt=1, try_number=1, state="COMPLETED", log=stored, log_complete=True
    )


def test_old_finished_runs_go_with_everything_that_hangs_on_them():
    old, young = ended(100), ended(10)
    active = make_run(state="RUNNING")
    row = with_log(old, f"{old.external_id}/a/1.log")
    files = [step_folder(run.external_id, "extract", -1) for run in (old, young)]
    for folder in files:
        folder.mkdir(parents=True)
    report = clean_up(Limits(finished=90 * DAY))
    assert report.counts == {"runs": 1}
    assert set(WorkflowRun.objects.values_list("pk", flat=True)) == {young.pk, active.pk}
    for model in (RunEvent, RunAttempt):
        assert not model.objects.filter(run_id=old.pk).exists()
    assert not storages["logs"].exists(row.log)
    assert not Path(storages["logs"].path(old.external_id)).exists()
    assert [folder.parent.exists() for folder in files] == [False, True]


def test_a_dry_run_counts_and_deletes_nothing():
    ended(100)
    report = clean_up(Limits(finished=90 * DAY, archived=DAY, logs=DAY), dry_run=True)
    assert report.counts["runs"] == 1
    assert WorkflowRun.objects.count() == 1


def test_a_run_whose_retry_has_begun_or_waits_stays():
    begun = ended(100)
    actions.retry_run(Actor(), begun, mode="all")
    waiting = ended(100)
    RunAttempt.objects.create(run=waiting, number=2)
    clean_up(Limits(finished=90 * DAY))
    assert WorkflowRun.objects.count() == 2


@pytest.fixture
def meanwhile(monkeypatch):
    """Lets something happen between the choice of runs and their deletion."""

    def patch(happens):
        def some_batches(rows, batch, delete):
            def late(model, keys):
                happens()
                return delete(model, keys)

            return in_batches(rows, batch, late)

        monkeypatch.setattr(retention, "_in_batches", some_batches)

    in_batches = retention._in_batches
    return patch


@pytest.mark.parametrize("ends", [False, True])
@pytest.mark.parametrize("folder", ["", "archive/0/"])
def test_a_run_that_was_retried_meanwhile_keeps_its_logs(meanwhile, folder, ends):
    retried, old = ended(100), ended(100)
    kept, gone = (
        with_log(run, f"{folder or run.external_id}/{run.pk}.log").log for run in (retried, old)
    )

    def happens():
        actions.retry_run(Actor(), retried, mode="all")
        if ends:
            states = WorkflowRun.objects.filter(pk=retried.pk)
            states.update(state="COMPLETED", ended_at=database_now())

    meanwhile(happens)
    assert clean_up(Limits(finished=90 * DAY)).counts == {"runs": 1}
    assert WorkflowRun.objects.get() == retried
    assert [storages["logs"].exists(log) for log in (kept, gone)] == [True, False]


def test_batches_delete_all_of_it():
    workflow = make_workflow()
    for _ in range(7):
        ended(100, workflow)
    assert clean_up(Limits(finished=DAY), batch=2).counts == {"runs": 7}
    assert not WorkflowRun.objects.exists()


def test_a_rerun_outlives_the_run_that_it_repeats():
    old = ended(100)
    new = make_run(previous=old)
    clean_up(Limits(finished=DAY))
    assert WorkflowRun.objects.get(pk=new.pk).previous is None


def test_logs_go_before_their_runs():
    run = ended(40)
    row = with_log(run, "archive/0/x.log")
    assert clean_up(Limits(logs=30 * DAY)).counts == {"logs": 1}
    stored = row.log
    row.refresh_from_db()
    assert (row.log, row.log_complete) == ("", True)
    assert not storages["logs"].exists(stored)
    assert WorkflowRun.objects.filter(pk=run.pk).exists()


def test_a_log_that_is_gone_already_is_no_error():
    row = with_log(ended(40), "archive/0/y.log")
    storages["logs"].delete(row.log)
    assert clean_up(Limits(logs=DAY)).counts == {"logs": 1}


def test_archived_versions_go_once_they_have_no_runs_but_never_the_newest_number():
    first = make_workflow(title="t", version=1, latest=False, archived_at=days_ago(50))
    busy = make_workflow(title="t", version=2, latest=False)
    make_run(busy, state="COMPLETED", ended_at=days_ago(1))
    Workflow.objects.filter(pk=busy.pk).update(archived_at=days_ago(50))
    make_workflow(title="t", version=3, archived_at=days_ago(50))
    make_workflow(title="alone", archived_at=days_ago(50))
    make_workflow(title="young", archived_at=days_ago(5))
    make_workflow(title="in use")
    assert clean_up(Limits(archived=30 * DAY)).counts == {"archived workflows": 2}
    left = set(Workflow.objects.values_list("title", "version"))
    assert left == {("t", 2), ("t", 3), ("young", 1), ("in use", 1)}
    assert not Workflow.objects.filter(pk=first.pk).exists()


def test_the_hubs_own_leftovers_go_too():
    user, engine = make_user(), make_engine()
    for hours, key in ((30, "old"), (1, "young")):
        row = IdempotencyKey.objects.create(user=user, key=key, request_digest="")
        IdempotencyKey.objects.filter(pk=row.pk).update(
            created_at=database_now() - timedelta(hours=hours)
        )
    for state in ("done", "waiting"):
        EngineJob.objects.create(engine=engine, kind="local", action="test", state=state)
    EngineJob.objects.update(created_at=days_ago(20))
    make_run()
    clean_up()
    assert list(IdempotencyKey.objects.values_list("key", flat=True)) == ["young"]
    assert list(EngineJob.objects.values_list("state", flat=True)) == ["waiting"]
    assert not AuditEntry.objects.filter(digest="").exists()


def test_figures_outlive_their_runs_and_go_when_they_are_old():
    run = make_run(engine=make_engine())
    done = moves.RunChange(run).move(
        RunState.COMPLETED, Cause.OBSERVE, moves.RECONCILER, now=days_ago(50)
    )
    assert moves.apply_one(done)
    row = HourlyRollup.objects.get()
    HourlyRollup.objects.create(hour=days_ago(401), workflow="w")
    known = {"fingerprint": "f", "newest": 1}
    for title, days in (("old", 401), ("young", 399)):
        Acknowledgement.objects.create(workflow=title, **known)
        Acknowledgement.objects.filter(workflow=title).update(at=days_ago(days))
    WorkflowPace.objects.create(workflow="gone")
    assert clean_up(Limits(finished=30 * DAY)).counts == {"runs": 1}
    assert HourlyRollup.objects.count() == 2
    clean_up()
    assert HourlyRollup.objects.get() == row
    assert Acknowledgement.objects.get().workflow == "young"
    assert WorkflowPace.objects.get().workflow == run.workflow.title


def test_folders_of_logs_without_a_run_go_and_those_of_runs_stay():
    run = make_run()
    root = Path(storages["logs"].location)
    gone = root / "wh-00000000-0000-4000-8000-000000000000-1"
    kept, young, foreign = root / run.external_id, root / f"wh-{'1' * 36}-1", root / "notes"
    for folder in (gone, kept, young, foreign):
        (folder / "a").mkdir(parents=True)
        if folder is not young:
            os.utime(folder, (1, 1))
    assert list(retention.orphan_folders(database_now())) == [gone]
    clean_up()
    assert not gone.exists() and kept.exists() and young.exists() and foreign.exists()


def test_the_command_says_what_it_did():
    ended(100)
    out = StringIO()
    call_command("cleanup", "--finished-older-than", "30", "--dry-run", stdout=out)
    assert out.getvalue() == "Would delete: 1 runs.\n"
    call_command("cleanup", "--finished-older-than", "30", stdout=StringIO())
    assert not WorkflowRun.objects.exists()


def test_the_command_without_options_goes_by_the_settings(settings):
    settings.WORKFLOWHUB_KEEP_FINISHED = 200 * DAY
    ended(100)
    call_command("cleanup", stdout=StringIO())
    assert WorkflowRun.objects.count() == 1
    settings.WORKFLOWHUB_KEEP_FINISHED = 50 * DAY
    call_command("cleanup", stdout=StringIO())
    assert WorkflowRun.objects.count() == 0


@pytest.mark.parametrize("words", [["--finished-older-than", "soon"], ["--batch", "0"]])
def test_nonsense_is_refused_with_the_option_named(words):
    with pytest.raises(CommandError, match=words[0]):
        call_command("cleanup", *words)
