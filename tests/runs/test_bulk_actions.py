"""Asking for one deed for many runs: what is counted, what is refused, what is kept."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.http import QueryDict
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from runs import actions
from runs.actions import bulk
from runs.errors import ActionError, Conflict, Denied, Invalid
from runs.models import AuditEntry, BulkJob, WorkflowRun
from runs.policy import Actor
from runs.states import RunState, Wanted
from tests.factories import make_actor, make_run, make_workflow

pytestmark = pytest.mark.django_db

FAILED = "state=FAILED"


def failed(number: int = 3, **kw: Any) -> list[WorkflowRun]:
    workflow = make_workflow()
    return [make_run(workflow, state=RunState.FAILED, **kw) for _ in range(number)]


def test_the_preview_counts_exactly_what_fits_and_what_the_deed_can_be_done_to() -> None:
    runs = failed(12)
    completed = make_run(runs[0].workflow, state=RunState.COMPLETED)
    held = make_run(runs[0].workflow, hold=True)
    found = actions.preview_bulk(make_actor(), action="retry", everything=True)
    assert (found.total, found.fits, found.newest) == (14, 12, held.pk)
    assert [run.pk for run in found.first] == [held.pk, completed.pk, *_keys(runs)[:8]]
    again = actions.preview_bulk(
        make_actor(), action="retry", everything=True, options={"mode": "all"}
    )
    assert again.fits == 13
    for action, fits in (("cancel", 1), ("delete", 13)):
        assert actions.preview_bulk(make_actor(), action=action, everything=True).fits == fits


def _keys(runs: list[WorkflowRun]) -> list[int]:
    return sorted((run.pk for run in runs), reverse=True)


def test_the_preview_takes_one_statement_to_count_and_one_for_the_first() -> None:
    failed(12)
    actor = make_actor()
    assert actor.role
    with CaptureQueriesContext(connection) as asked:
        actions.preview_bulk(actor, action="retry", query=FAILED)
    assert len(asked) == 2


def test_a_job_is_kept_with_its_filter_its_newest_run_and_the_askers_role() -> None:
    runs = failed()
    actor = make_actor("operator")
    job = actions.ask_bulk(actor, action="retry", query="?v=1&state=FAILED&after=9&q=")
    assert (job.query, job.total, job.newest) == (FAILED, 3, runs[-1].pk)
    assert (job.role, job.face, job.options) == ("operator", "api", {"mode": "failed"})
    entry = AuditEntry.objects.get(action="bulk_retry")
    assert (entry.object_id, entry.detail["runs"]) == (str(job.pk), 3)


def test_a_time_before_now_is_fixed_when_the_job_is_asked_for() -> None:
    failed()
    job = actions.ask_bulk(make_actor(), action="retry", query="since=24h&state=FAILED")
    since = datetime.fromisoformat(QueryDict(job.query)["since"])
    assert abs(timezone.now() - since - timedelta(hours=24)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"query": "state=BROKEN"}, "BROKEN is no state of a run."),
        ({"query": "labels=a%3D%3D%3D"}, "query:"),
        ({"query": "since=tomorrow"}, "is no time"),
        ({"query": "stat=FAILED"}, "stat is no part of a filter."),
        ({"query": "state=FAILED&stat=x"}, "stat is no part of a filter."),
        ({"query": ""}, "No filter is given."),
        ({"query": "state=&q="}, "No filter is given."),
        ({"query": "state=,"}, "leaves no run out"),
        ({"query": f"workflow={'x' * 201}"}, "only the first 200 characters"),
        ({"query": "q=" + "%E2%82%AC" * 200 + "&error=" + "%E2%82%AC" * 200}, "at most 2000"),
        ({"query": FAILED, "everything": True}, "not both"),
        ({"query": FAILED, "keys": [1]}, "not both"),
        ({"keys": []}, "tick some first"),
        ({"keys": list(range(1, 1002))}, "at most 1000 runs"),
    ],
)
def test_a_filter_with_mistakes_is_refused_and_never_widened(
    asked: dict[str, Any], said: str
) -> None:
    failed()
    with pytest.raises(Invalid) as told:
        actions.ask_bulk(make_actor(), action="retry", **asked)
    assert said in str(told.value)
    assert not BulkJob.objects.exists()


@pytest.mark.parametrize(
    ("action", "options", "field"),
    [
        ("explode", {}, "action"),
        ("retry", {"mode": "task"}, "options.mode"),
        ("retry", {"mode": ["all"]}, "options.mode"),
        ("cancel", {"mode": "all"}, "options.mode"),
        ("label", {}, "options"),
        ("label", {"set": {"a b": "c"}}, "labels[0]"),
        ("label", {"set": {"a": "c"}, "remove": ["a"]}, "options.remove"),
        ("label", {"remove": "a"}, "options.remove"),
        ("label", {"remove": [1]}, "options.remove"),
        ("label", {"remove": ["a b"]}, "labels[0]"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    action: str, options: dict[str, Any], field: str
) -> None:
    failed()
    with pytest.raises(Invalid) as told:
        actions.ask_bulk(make_actor(), action=action, query=FAILED, options=options)
    assert field in told.value.errors


def test_no_job_is_made_for_no_run_nor_for_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    failed(3)
    with pytest.raises(Conflict, match="No run that you may see fits"):
        actions.ask_bulk(make_actor(), action="retry", query="state=CANCELED")
    monkeypatch.setattr(bulk, "MOST", 2)
    with pytest.raises(Conflict, match=r"More than 2 runs fit.*Narrow the filter"):
        actions.ask_bulk(make_actor(), action="retry", query=FAILED)
    assert not BulkJob.objects.exists()


def test_a_job_for_more_runs_than_were_confirmed_is_refused() -> None:
    runs = failed(3)
    with pytest.raises(Conflict, match="for 2 runs a moment ago and would be for 3 now"):
        actions.ask_bulk(make_actor(), action="retry", query=FAILED, expected=2)
    seen = actions.ask_bulk(
        make_actor(), action="retry", query=FAILED, expected=2, newest=runs[1].pk
    )
    assert (seen.total, seen.newest) == (2, runs[1].pk)


@pytest.mark.parametrize(
    ("role", "may"),
    [
        ("viewer", set()),
        ("operator", {"retry", "cancel", "label"}),
        ("editor", {"retry", "cancel", "label"}),
        ("administrator", {"retry", "cancel", "label", "delete"}),
    ],
)
def test_a_deed_for_many_takes_the_right_of_that_for_one(role: str, may: set[str]) -> None:
    failed()
    for action in BulkJob.Action.values:
        options = {"remove": ["a"]} if action == "label" else {}
        asked = {"action": action, "query": FAILED, "options": options}
        if action in may:
            assert actions.ask_bulk(make_actor(role), **asked).total == 3
        else:
            with pytest.raises(Denied):
                actions.ask_bulk(make_actor(role), **asked)


def test_the_hub_itself_asks_for_no_job() -> None:
    failed()
    with pytest.raises(Denied, match="somebody's rights"):
        actions.ask_bulk(Actor(), action="retry", query=FAILED)


def test_a_job_is_canceled_by_who_asked_for_it_or_by_an_administrator_and_once() -> None:
    failed()
    asker = make_actor("operator")
    job = actions.ask_bulk(asker, action="retry", query=FAILED)
    with pytest.raises(Denied):
        actions.cancel_bulk(make_actor("operator"), job)
    for actor in (asker, make_actor()):
        assert actions.cancel_bulk(actor, job).state == BulkJob.State.CANCELED
    assert AuditEntry.objects.filter(action="cancel", object_kind="bulkjob").count() == 1
    BulkJob.objects.update(state=BulkJob.State.DONE)
    with pytest.raises(ActionError, match="has ended already"):
        actions.cancel_bulk(asker, job)


def test_everybody_sees_their_own_jobs_and_administrators_all() -> None:
    failed()
    mine, other = make_actor("operator"), make_actor("operator")
    job = actions.ask_bulk(mine, action="retry", query=FAILED)
    assert list(actions.bulk_jobs(mine)) == [job]
    assert list(actions.bulk_jobs(other)) == []
    assert list(actions.bulk_jobs(make_actor())) == [job]


def test_only_a_run_that_has_ended_is_deleted_and_only_by_administrators() -> None:
    run, active = failed(1)[0], make_run()
    with pytest.raises(Denied):
        actions.delete_run(make_actor("editor"), run)
    with pytest.raises(Conflict, match="It is active"):
        actions.delete_run(make_actor(), active)
    actions.delete_run(make_actor(), run)
    assert list(WorkflowRun.objects.all()) == [active]
    assert AuditEntry.objects.get(action="delete").object_id == str(run.pk)


def test_a_run_that_a_further_attempt_waits_for_is_not_deleted() -> None:
    run = failed(1)[0]
    run.attempts.create(number=2, external_id="wh-next-2")
    with pytest.raises(Conflict, match="it runs again"):
        actions.delete_run(make_actor(), run)
    assert WorkflowRun.objects.get().wanted == Wanted.RUN
