"""Bulk jobs: each run once, with the rights and the refusals of the action for one run."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import storages
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from engines.clock import database_now
from runs import actions, leases, retention
from runs.errors import Conflict
from runs.labels import labels_of
from runs.models import AuditEntry, BulkJob, Lease, RunAttempt, RunEvent, WorkflowRun
from runs.policy import Actor
from runs.reconciler import bulk
from runs.reconciler.hold import Hold
from runs.reconciler.once import BULK, once
from runs.states import Cause, RunState, Wanted
from tests.factories import make_actor, make_engine, make_run
from tests.reconciler.bulk_jobs import ask, done, failed, hold
from tests.reconciler.conftest import wait_for
from tests.web.conftest import write_log

__all__ = ["hold"]
pytestmark = pytest.mark.django_db


def test_every_failed_run_is_retried_once(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 3)
    runs, other = failed(7), make_run(state=RunState.COMPLETED)
    job = ask()
    assert bulk.tick(hold).wait == 0
    assert done(job) == ("running", 3, 0)
    assert job.cursor == runs[-3].pk
    bulk.do_all(hold)
    assert done(job) == ("done", 7, 0)
    assert job.started_at and job.ended_at and job.reasons == {}
    assert set(WorkflowRun.objects.exclude(pk=other.pk).values_list("attempt", flat=True)) == {2}
    assert WorkflowRun.objects.get(pk=other.pk).attempt == 1
    assert AuditEntry.objects.filter(action="retry").count() == 7


def test_one_round_of_sync_does_what_was_asked() -> None:
    failed(4)
    job = ask(options={"mode": "all"})
    once()
    assert done(job) == ("done", 4, 0)
    assert not Lease.objects.filter(name=BULK, expires_at__gt=database_now()).exists()


def test_runs_that_came_or_failed_later_are_left_alone(hold: Hold) -> None:
    runs, running = failed(2), make_run(state=RunState.RUNNING)
    job = ask("delete")
    later = failed(1)[0]
    WorkflowRun.objects.filter(pk=running.pk).update(
        state=RunState.FAILED, ended_at=timezone.now() + timedelta(seconds=5)
    )
    # It wouldn't fit by its number alone: it is between the two that do.
    BulkJob.objects.update(newest=running.pk)
    bulk.do_all(hold)
    assert done(job) == ("done", 2, 0)
    left = set(WorkflowRun.objects.values_list("pk", flat=True))
    assert left == {running.pk, later.pk}
    assert not left & {run.pk for run in runs}


def test_what_was_ticked_is_done_and_nothing_else(hold: Hold) -> None:
    runs = failed(4)
    job = ask(keys=[runs[0].pk, runs[2].pk, runs[2].pk])
    assert job.total == 2
    bulk.do_all(hold)
    assert done(job) == ("done", 2, 0)
    attempts = [WorkflowRun.objects.get(pk=run.pk).attempt for run in runs]
    assert attempts == [2, 1, 2, 1]


def test_refusals_are_counted_by_their_reason(hold: Hold) -> None:
    failed(2)
    make_run(state=RunState.COMPLETED, task_states={"extract": "COMPLETED", "load": "COMPLETED"})
    make_run(hold=True)
    job = ask(query="", everything=True)
    bulk.do_all(hold)
    assert done(job) == ("done", 2, 2)
    assert sum(job.reasons.values()) == 2
    assert job.reasons["The run is held: start it instead."] == 1
    assert any(reason.startswith("Nothing in this run failed") for reason in job.reasons)


def test_reasons_that_differ_by_the_runs_number_only_are_one_and_there_are_not_too_many() -> None:
    assert bulk.general("Attempt 2 of run 17 waits, 170 others too.", 17) == (
        "Attempt 2 of run … waits, 170 others too."
    )
    reasons: dict[str, int] = {}
    for at in range(80):
        reasons = bulk.counted(reasons, f"reason {at}", 1)
    assert len(reasons) == bulk.MOST_REASONS
    assert reasons[bulk.OTHERS] == 80 - (bulk.MOST_REASONS - 1)


def test_a_run_that_breaks_is_told_and_keeps_no_other_from_its_turn(
    hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = failed(3)
    whole = bulk.do_to_run

    def breaks(actor: Actor, job: BulkJob, run: WorkflowRun) -> None:
        whole(actor, job, run)
        if run.pk == runs[1].pk:
            raise ZeroDivisionError

    monkeypatch.setattr(bulk, "do_to_run", breaks)
    job = ask()
    bulk.do_all(hold)
    assert done(job) == ("done", 2, 1)
    assert job.reasons == {"It broke: ZeroDivisionError.": 1}
    # What it had done before it broke is undone.
    assert [WorkflowRun.objects.get(pk=run.pk).attempt for run in runs] == [2, 1, 2]


def test_a_job_that_breaks_is_ended_and_keeps_no_other_from_its_turn(
    hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed(2)
    broken, other = ask(), ask(options={"mode": "all"})
    real = bulk.runs_of

    def runs_of(actor: Actor, job: BulkJob) -> Any:
        if job.pk == broken.pk:
            raise LookupError("of a permission factory")
        return real(actor, job)

    monkeypatch.setattr(bulk, "runs_of", runs_of)
    bulk.tick(hold)
    assert (done(broken), broken.message) == (("failed", 0, 0), "It broke: LookupError.")
    assert done(other) == ("done", 2, 0)


def test_a_run_that_began_anew_since_is_not_canceled(hold: Hold) -> None:
    runs = [make_run(state=RunState.RUNNING) for _ in range(2)]
    job = ask("cancel", query="state=RUNNING")
    again = job.created_at + timedelta(seconds=1)
    RunAttempt.objects.filter(run=runs[0]).update(begun_at=again)
    bulk.do_all(hold)
    wanted = dict(WorkflowRun.objects.values_list("pk", "wanted"))
    assert wanted == {runs[0].pk: Wanted.RUN, runs[1].pk: Wanted.CANCEL}


def test_what_does_not_fit_any_more_is_left_alone_and_said(hold: Hold) -> None:
    runs = failed(3)
    job = ask()
    WorkflowRun.objects.filter(pk=runs[1].pk).update(state=RunState.COMPLETED)
    WorkflowRun.objects.filter(pk=runs[0].pk).delete()
    bulk.do_all(hold)
    assert done(job) == ("done", 1, 2)
    assert job.reasons == {bulk.NO_MORE: 2}
    assert WorkflowRun.objects.get(pk=runs[1].pk).attempt == 1


def test_a_run_is_read_anew_when_its_turn_comes(
    hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = failed(3)
    job = ask()
    whole = bulk.do_to_run

    def somebody_was_first(actor: Actor, job: BulkJob, run: WorkflowRun) -> None:
        whole(actor, job, run)
        WorkflowRun.objects.filter(pk=runs[0].pk).update(state=RunState.COMPLETED)

    monkeypatch.setattr(bulk, "do_to_run", somebody_was_first)
    bulk.do_all(hold)
    assert done(job) == ("done", 2, 1)
    assert WorkflowRun.objects.get(pk=runs[0].pk).attempt == 1


def test_active_runs_are_canceled(hold: Hold) -> None:
    running = [make_run(engine=make_engine(), state=RunState.RUNNING) for _ in range(2)]
    ended = failed(1)[0]
    job = ask("cancel", query="", everything=True)
    bulk.do_all(hold)
    assert done(job) == ("done", 2, 1)
    assert job.reasons == {"It has ended already (failed).": 1}
    wanted = {run.pk: run.wanted for run in WorkflowRun.objects.all()}
    assert [wanted[run.pk] for run in (*running, ended)] == [Wanted.CANCEL, Wanted.CANCEL, "RUN"]


def test_labels_are_set_and_removed_and_the_others_stay(hold: Hold) -> None:
    runs = failed(2, labels={"team": "physics", "draft": "yes", "kept": "1"})
    options = {"set": {"team": "biology"}, "remove": ["draft", "unknown"]}
    job = ask("label", query="labels=draft", options=options)
    bulk.do_all(hold)
    assert done(job) == ("done", 2, 0)
    for run in runs:
        assert labels_of(run) == {"team": "biology", "kept": "1"}


def test_runs_that_have_ended_are_deleted_with_their_files(
    hold: Hold, django_capture_on_commit_callbacks: Any
) -> None:
    run = failed(1)[0]
    log = write_log(run.task_runs.get(name="load"), ["a line"]).log
    active = make_run(state=RunState.RUNNING)
    job = ask("delete", query="", everything=True)
    with django_capture_on_commit_callbacks() as callbacks:
        bulk.do_all(hold)
    # Not before it is certain that the rows are gone.
    assert storages["logs"].exists(log)
    for callback in callbacks:
        callback()
    assert not Path(storages["logs"].path(log)).exists()
    assert done(job) == ("done", 1, 1)
    assert job.reasons == {"It is active: cancel it, and delete it when it has ended.": 1}
    assert list(WorkflowRun.objects.all()) == [active]
    assert AuditEntry.objects.get(action="delete").object_id == str(run.pk)


def test_a_filter_that_is_understood_no_more_does_nothing(hold: Hold) -> None:
    failed(2)
    job = ask()
    BulkJob.objects.update(query="state=GONE")
    bulk.do_all(hold)
    assert done(job) == ("failed", 0, 0)
    assert "GONE is no state of a run" in job.message


def test_a_canceled_job_goes_no_further(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    failed(4)
    actor = make_actor("operator")
    job = ask(actor=actor)
    checks = []

    def canceled_before_the_third(_: Hold) -> None:
        checks.append(1)
        if len(checks) == 4:  # the first was the tick's
            actions.cancel_bulk(actor, BulkJob.objects.get())

    monkeypatch.setattr(Hold, "check", canceled_before_the_third)
    assert bulk.tick(hold).wait > 0
    assert done(job) == ("canceled", 2, 0)
    # The deed that was under way at that moment is undone.
    assert WorkflowRun.objects.filter(attempt=2).count() == 2


def test_who_lost_the_lease_does_nothing_more(hold: Hold) -> None:
    failed(2)
    job = ask()
    Lease.objects.filter(name=BULK).update(token=99)
    with pytest.raises(leases.LeaseLost):
        bulk.tick(hold)
    assert done(job) == ("waiting", 0, 0)
    assert not RunEvent.objects.filter(cause=Cause.RETRY).exists()


def test_jobs_go_on_side_by_side(hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "CHUNK", 2)
    runs = failed(6)
    first, second = ask("label", options={"set": {"a": "1"}}), ask(keys=[runs[0].pk])
    bulk.tick(hold)
    assert done(first) == ("running", 2, 0)
    assert done(second) == ("done", 1, 0)


def test_a_chunk_costs_little_beside_its_deeds(hold: Hold) -> None:
    failed(11)
    ask("label", options={"set": {"a": "1"}})
    with CaptureQueriesContext(connection) as asked:
        bulk.tick(hold)
    many = len(asked)
    with CaptureQueriesContext(connection) as asked, transaction.atomic():
        for run in WorkflowRun.objects.all():
            actions.edit_run(make_actor(), run, labels={"b": "2"})
    deeds = len(asked)
    assert many - deeds < 11 * 6 + 25, (many, deeds)


def test_ended_jobs_are_kept_for_a_month() -> None:
    failed(1)
    kept = [ask() for _ in range(3)]
    now = timezone.now()
    for job, days in zip(kept, (29, 31, None), strict=True):
        ended = now - timedelta(days=days) if days else None
        BulkJob.objects.filter(pk=job.pk).update(
            state="done" if days else "running", created_at=now - timedelta(days=99), ended_at=ended
        )
    assert retention.clean_up(dry_run=True).counts["bulk jobs"] == 1
    retention.clean_up()
    assert set(BulkJob.objects.all()) == {kept[0], kept[2]}


def test_a_job_that_has_ended_is_not_canceled() -> None:
    failed(1)
    job = ask()
    once()
    with pytest.raises(Conflict):
        actions.cancel_bulk(make_actor(), job)


@pytest.mark.django_db(transaction=True)
def test_the_loop_does_a_job_at_once(start_loop: Any) -> None:
    failed(3)
    start_loop()
    wait_for(lambda: Lease.objects.filter(name=BULK, expires_at__gt=database_now()).exists())
    job = ask()
    assert wait_for(lambda: done(job)[0] == "done") < 5
    assert done(job) == ("done", 3, 0)
