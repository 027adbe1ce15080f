"""What people ask of hooks, and what cleaning up and checking make of them."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.core.management import call_command

from engines.base import EngineUnavailable
from engines.clock import database_now
from engines.dag.models import Execution
from engines.states import TaskState
from runs import actions, fsck
from runs.errors import Conflict, Invalid
from runs.models import TaskRun, WorkflowRun
from runs.policy import Actor
from runs.reconciler.once import once
from runs.retention import Limits, clean_up
from runs.states import RetryMode, RunState
from tests.engines.dag.driving import step, step_row
from tests.reconciler.hooked import HOOK, LONG_AGO, HookedHub, as_it_ended, row, seen

pytestmark = pytest.mark.django_db
FAILED, CANCELED = TaskState.FAILED, TaskState.CANCELED


@pytest.fixture
def hub(db, settings):
    settings.WORKFLOWHUB_WORKER_LOST_AFTER = 3600  # nobody hears the hand's heart beat
    return HookedHub()


def test_what_failed_is_retried_without_hooks_and_no_hook_by_itself(hub):
    run, taken = hub.ended_with_hook()
    hub.hand.end(taken, FAILED)
    once()
    with pytest.raises(Conflict, match="Nothing in this run failed"):
        actions.retry_run(Actor(), seen(run))
    with pytest.raises(Invalid, match="on_success is a hook: it begins anew"):
        actions.retry_run(Actor(), seen(run), mode=RetryMode.TASK, tasks=[("on_success", -1)])
    again = actions.plan_retry(seen(run), mode=RetryMode.ALL)
    assert [task.name for task in again] == ["a"]


def test_a_hook_can_be_canceled_after_the_end(hub):
    run, taken = hub.ended_with_hook()
    before = as_it_ended(run)
    with pytest.raises(Conflict, match="has ended already"):
        actions.cancel_run(Actor(), seen(run))
    with pytest.raises(Conflict, match="The task has ended already"):
        actions.cancel_task(Actor(), row(run, "a"))
    actions.cancel_task(Actor(), row(run))
    once()
    assert step_row(run.external_id, "on_success").stop == "canceled"
    assert seen(run).next_check_at is None
    hub.hand.end(taken, CANCELED, reason="canceled", stopped=True)
    once()
    assert row(run).state == CANCELED
    assert as_it_ended(run) == before
    with pytest.raises(Conflict, match="The hook has ended already"):
        actions.cancel_task(Actor(), row(run))


def test_a_hook_of_an_attempt_before_is_canceled_there(hub):
    run, _ = hub.ended_with_hook(FAILED)
    first = run.external_id
    actions.retry_run(Actor(), run)
    once()
    actions.cancel_task(Actor(), row(run, "on_failure"))
    once()
    assert step_row(first, "on_failure").stop == "canceled"


def test_a_hooks_cancel_waits_for_an_engine_that_is_away(hub, monkeypatch):
    run, _ = hub.ended_with_hook()
    actions.cancel_task(Actor(), row(run))

    def away(*_):
        raise EngineUnavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr("engines.adapters.local.adapter.Adapter.cancel_task", away)
        once()
    assert seen(run).next_check_at > database_now()
    assert (seen(run).failures, seen(run).flags, seen(run).in_hand) == (0, {}, False)
    WorkflowRun.objects.update(next_check_at=LONG_AGO)
    type(hub.engine).objects.update(failures=0, breaker_until=None)
    once()
    assert step_row(run.external_id, "on_success").stop == "canceled"


def test_marking_an_active_run_ends_the_watch_of_its_hooks(hub):
    run = hub.start(step("a", on_success=HOOK), step("b", "a"), on_success=HOOK)
    hook = hub.hand.end(hub.hand.take())
    once()
    actions.mark_run(Actor(), seen(run), RunState.FAILED, note="It hangs.")
    assert row(run, "a.on_success").state == FAILED
    hub.hand.end(hub.hand.end(hook))
    once()
    assert row(run, "a.on_success").state == FAILED
    assert not TaskRun.objects.filter(run=run, name="on_success").exists()


def test_marking_an_ended_run_leaves_its_hook_to_be_followed(hub):
    run, taken = hub.ended_with_hook()
    actions.mark_run(Actor(), seen(run), RunState.FAILED, note="Its result is wrong.")
    hub.hand.end(taken)
    once()
    assert (seen(run).state, row(run).state) == (RunState.FAILED, TaskState.COMPLETED)


def test_cleanup_keeps_a_run_with_its_logs_until_its_hooks_have_ended(hub):
    run, taken = hub.ended_with_hook()
    WorkflowRun.objects.update(ended_at=LONG_AGO)
    files = storages["logs"]
    logs = [
        files.save(f"{folder}/1.log", ContentFile("line\n"))
        for folder in (f"{run.external_id}/a", f"archive/0/{run.pk}")
    ]
    for number, log in enumerate(logs, start=2):
        row(run, "a").tries.create(attempt=1, try_number=number, state=FAILED, log=log)
    limits = Limits(finished=timedelta(days=1))
    assert clean_up(limits).counts == {"runs": 0}
    assert Execution.objects.filter(external_id=run.external_id).exists()
    assert [files.exists(log) for log in logs] == [True, True]
    hub.hand.end(taken)
    assert clean_up(limits).counts == {"runs": 1}
    assert not Execution.objects.exists()
    assert [files.exists(log) for log in logs] == [False, False]


def test_fsck_finds_hooks_that_nobody_will_ever_end(hub):
    run, _ = hub.ended_with_hook()
    other = hub.start(step("a"))
    TaskRun.objects.update(updated_at=LONG_AGO)
    assert [broken.check.code for broken in fsck.run_checks()] == []
    Execution.objects.exclude(external_id=other.external_id).delete()
    before = as_it_ended(run)
    (broken,) = fsck.run_checks()
    assert broken.check.code == "I4d"
    assert f"hook on_success of run {run.pk}" in broken.examples[0]
    call_command("fsck", "--fix", stdout=StringIO())
    assert (row(run).state, row(run).reason) == (FAILED, "lost")
    assert as_it_ended(run) == before
    assert [broken.check.code for broken in fsck.run_checks()] == []
