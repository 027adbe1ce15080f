"""`manage.py demo_data`: a month that never was, in which everything holds; and its end without a trace."""

import io
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.urls import reverse
from django.utils import timezone

from engines.dag.models import Execution
from engines.models import Engine
from runs import actions
from runs.management.demo.stories import CLUSTER, STORIES
from runs.models import HourlyRollup, RunAttempt, TaskTry, Workflow, WorkflowPace, WorkflowRun
from runs.policy import Actor
from runs.reconciler.once import once
from runs.states import RetryMode, RunState, Wanted
from tests.factories import make_engine, make_run, make_user

pytestmark = pytest.mark.django_db(transaction=True)
FEW = 400


def demo(*words: str, **options: Any) -> str:
    said = io.StringIO()
    call_command("demo_data", *words, stdout=said, stderr=io.StringIO(), **options)
    return said.getvalue()


@pytest.fixture(autouse=True)
def local() -> None:
    make_engine("local", name="builtin")


def test_a_month_of_runs_is_told_in_which_every_invariant_holds(client: Any) -> None:
    said = demo(str(FEW))
    assert "30 days" in said
    call_command("fsck", verbosity=0)
    states = set(WorkflowRun.objects.values_list("state", flat=True))
    assert {RunState.COMPLETED, RunState.FAILED, RunState.PENDING} <= states
    assert FEW * 0.7 < WorkflowRun.objects.count() < FEW * 1.3
    assert RunAttempt.objects.filter(number=2, state=RunState.COMPLETED).exists()
    kinds = WorkflowRun.objects.open_failures().by_fingerprint()
    assert len(kinds) > 1
    titles = {story.title for story in STORIES}
    assert set(WorkflowPace.objects.values_list("workflow", flat=True)) == titles
    assert HourlyRollup.objects.exists()
    written = TaskTry.objects.exclude(log="").order_by("-pk").first()
    assert written is not None
    client.force_login(make_user())
    run = written.task_run.run
    page = client.get(reverse("logs", args=[run.pk]) + f"?task={written.task_run_id}")
    assert str(written.task_run) in page.content.decode()


def test_what_failed_in_it_can_be_retried_and_keeps_what_was_done() -> None:
    demo("200")
    failed = WorkflowRun.objects.filter(state=RunState.FAILED, error_task="load").first()
    failed = (
        failed or WorkflowRun.objects.filter(state=RunState.FAILED).exclude(engine__name=CLUSTER)[0]
    )
    done = set(failed.task_runs.filter(state="COMPLETED").values_list("name", "map_index"))
    actions.retry_run(Actor(), failed, mode=RetryMode.FAILED)
    once()
    failed.refresh_from_db()
    assert (failed.state, failed.attempt, failed.last_error) == (RunState.SCHEDULED, 2, "")
    execution = Execution.objects.get(external_id=failed.external_id)
    kept = execution.steps.filter(state="COMPLETED", mapped=False).values_list("name", "map_index")
    assert set(kept) == done
    call_command("fsck", verbosity=0)


def end_all() -> None:
    """As the reconciler does with those that are canceled."""
    WorkflowRun.objects.exclude(labels__key__isnull=True).filter(ended_at=None).update(
        state=RunState.CANCELED, ended_at=timezone.now(), next_check_at=None
    )


def ended() -> set[Any]:
    return set(WorkflowRun.objects.exclude(ended_at=None).values_list("uuid", flat=True))


def test_the_same_seed_tells_the_same_month() -> None:
    demo("200", seed=7)
    first = ended()
    end_all()
    demo(remove=True)
    assert not WorkflowRun.objects.exists()
    demo("200", seed=7)
    # Where a minute has passed, a run may be over now that was not.
    assert len(first & ended()) > 0.9 * len(first)


def test_it_is_put_beside_own_runs_only_when_asked_to_and_leaves_nothing_behind() -> None:
    own = make_run()
    with pytest.raises(CommandError, match="--beside"):
        demo("200")
    demo("200", beside=True)
    with pytest.raises(CommandError, match="--remove"):
        demo("200", beside=True)
    end_all()
    assert "Removed" in demo(remove=True)
    assert list(WorkflowRun.objects.all()) == [own]
    assert list(Workflow.objects.all()) == [own.workflow]
    assert not Engine.objects.filter(name=CLUSTER).exists()
    assert not get_user_model().objects.filter(username__startswith="demo-").exists()
    assert not HourlyRollup.objects.exists()
    assert not WorkflowPace.objects.exists()


def test_what_goes_on_is_canceled_first_and_that_is_said() -> None:
    demo("200")
    at_work = WorkflowRun.objects.active().order_by("pk")[0]
    RunAttempt.objects.filter(run=at_work).update(sent_at=timezone.now())
    WorkflowRun.objects.filter(pk=at_work.pk).update(state=RunState.RUNNING)
    assert "Still ending: 1." in demo(remove=True)
    assert WorkflowRun.objects.get().wanted == Wanted.CANCEL


@pytest.mark.parametrize("number", ["99", "x", "-1"])
def test_a_number_that_makes_no_sense_is_refused(number: str) -> None:
    with pytest.raises(CommandError, match="from 100"):
        demo(number)
    assert not WorkflowRun.objects.exists()
