"""Runs that a restore brought back as not sent: looked for at every engine that may have taken them."""

import json
from datetime import timedelta
from uuid import uuid4

import pytest

from engines.base import EngineRejected, external_id
from engines.clock import database_now
from engines.models import Engine
from runs import actions
from runs.models import ChildRun, Restore, RunAttempt, RunEvent, WorkflowRun
from runs.policy import Actor
from runs.restored import engines_to_ask, life_of, remote_engines
from runs.states import Cause, Flag, Reason, RunState, Wanted
from tests.adapters.remote.adapter import Adapter
from tests.factories import make_engine, make_run, make_workflow
from tests.reconciler import family
from tests.reconciler.conftest import TASKS

pytestmark = pytest.mark.django_db
FORM = "remote-json"


@pytest.fixture
def two(make_hub):
    """Two engines that take the same runs."""
    return make_hub(), make_hub()


def post(title="flow"):
    """A workflow that names no engine."""
    return actions.post_workflow(
        Actor(), definition=json.dumps({"title": title, "tasks": TASKS}), form=FORM
    )[0]


def forget(run, *, at=None, **columns):
    """As a restore leaves a run that may have been sent since the backup."""
    keys = engines_to_ask(run.engine, FORM, fixed=run.pinned)
    RunAttempt.objects.filter(run=run).update(sent_at=at or database_now(), ask_first=keys)
    WorkflowRun.objects.filter(pk=run.pk).update(
        engine=keys[0], next_check_at=database_now(), reason=Reason.RESTORED, **columns
    )
    return keys


def test_its_own_engine_is_asked_first_and_again_as_the_last(two):
    one, other = two
    assert engines_to_ask(one.engine, FORM, fixed=False) == [
        one.engine.pk,
        other.engine.pk,
        one.engine.pk,
    ]
    assert engines_to_ask(None, FORM, fixed=False) == [one.engine.pk, other.engine.pk, 0]
    assert engines_to_ask(one.engine, FORM, fixed=True) == [one.engine.pk]
    assert engines_to_ask(one.engine, "workflowhub", fixed=False) == [one.engine.pk]


def test_engines_whose_memory_is_ours_are_not_asked(two):
    local = make_engine("local")
    assert engines_to_ask(local, "workflowhub", fixed=False) == []
    assert engines_to_ask(local, FORM, fixed=True) == []
    assert engines_to_ask(local, FORM, fixed=False)[-1] == local.pk
    assert local not in remote_engines()


def test_what_an_engine_took_is_adopted_and_not_sent_again(hub):
    run = hub.start()
    hub.sync()
    WorkflowRun.objects.filter(pk=run.pk).update(state=RunState.PENDING, version=1)
    RunAttempt.objects.filter(run=run).update(accepted_at=None)
    forget(run)
    hub.sync()
    run = hub.run_to_end(run)
    assert run.state == RunState.COMPLETED
    assert hub.fake.engine.starts[external_id(run.uuid, 1)] == 1
    assert RunAttempt.objects.get(run=run).ask_first == []


@pytest.mark.parametrize("submission", ["A", "B", "C"])
def test_what_nobody_took_is_sent_once_when_no_late_call_can_arrive(make_hub, settings, submission):
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE = settings.WORKFLOWHUB_ENGINE_DEADLINE = 60
    hub = make_hub(submission=submission)
    run = hub.start()
    forget(run)
    hub.sync(2)
    waits = hub.fake.engine.starts.total() == 0
    assert waits == (submission != "A")
    forget(run, at=database_now() - timedelta(seconds=71)) if waits else None
    hub.sync(3)
    assert hub.fake.engine.starts[external_id(run.uuid, 1)] == 1
    assert hub.seen(run).state in {RunState.SCHEDULED, RunState.RUNNING}
    if waits:
        event = RunEvent.objects.get(run=run, cause=Cause.RESTORE)
        assert event.detail == "No engine has it."


def test_it_is_found_at_another_engine_that_may_have_taken_it(two, settings):
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE = 0
    one, other = two
    run = actions.start_run(Actor(), post())
    assert run.engine == one.engine
    other.fake.engine.submit(run.external_id, {"tasks": TASKS})
    forget(run)
    for _ in range(4):
        one.sync()
    run = one.seen(run)
    assert run.engine == other.engine
    assert run.state in {RunState.SCHEDULED, RunState.RUNNING}
    assert one.fake.engine.starts == {}


def test_a_run_without_an_engine_is_routed_when_nobody_has_it(two, settings):
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE = 0
    one, other = two
    run = actions.start_run(Actor(), post())
    WorkflowRun.objects.filter(pk=run.pk).update(engine=None)
    run = one.seen(run)
    assert forget(run)[-1] == 0
    for _ in range(6):
        one.sync()
    assert one.fake.engine.starts.total() + other.fake.engine.starts.total() == 1
    assert one.fake.engine.starts[run.external_id] == 1


def test_an_engine_that_is_down_is_waited_for(two, settings):
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE = 0
    one, other = two
    run = actions.start_run(Actor(), post())
    other.fake.down = True
    forget(run)
    for _ in range(4):
        one.make_due()
        one.sync()
    assert one.fake.engine.starts == {}
    assert one.seen(run).engine == other.engine
    Engine.objects.filter(pk=other.engine.pk).update(enabled=False)
    for _ in range(4):
        one.make_due()
        one.sync()
    assert one.fake.engine.starts[run.external_id] == 1, "One that is disabled isn't asked."


def test_the_last_engine_is_waited_for_also_where_it_is_disabled(hub):
    run = hub.start()
    forget(run)
    Engine.objects.update(enabled=False)
    hub.sync(2)
    run = hub.seen(run)
    assert (run.state, run.reason) == (RunState.PENDING, Reason.ENGINE_OFF)
    assert run.next_check_at is not None


def test_where_it_can_not_be_looked_up_a_person_decides(hub, monkeypatch):
    def refuse(adapter, external_id):
        raise EngineRejected("Ids have no hyphens here.")

    run = hub.start()
    forget(run)
    monkeypatch.setattr(Adapter, "find", refuse)
    hub.sync(2)
    assert Flag.SUBMIT_UNKNOWN in hub.seen(run).flags
    monkeypatch.undo()
    hub.make_due()
    hub.sync(2)
    assert hub.fake.engine.starts == {}


def test_a_held_run_that_was_started_meanwhile_is_held_no_more(hub):
    run = hub.start(hold=True)
    hub.fake.engine.submit(run.external_id, {"tasks": TASKS})
    forget(run)
    hub.sync(2)
    run = hub.seen(run)
    assert run.wanted == Wanted.RUN
    assert run.state in {RunState.SCHEDULED, RunState.RUNNING}


def test_a_held_run_that_nobody_started_stays_held(hub):
    run = hub.start(hold=True)
    forget(run)
    hub.sync(2)
    run = hub.seen(run)
    assert (run.wanted, run.reason, run.next_check_at) == (Wanted.HOLD, Reason.HELD, None)
    actions.start_held_run(Actor(), run)
    hub.sync(2)
    assert hub.fake.engine.starts[run.external_id] == 1


@pytest.mark.parametrize("taken", [True, False])
def test_a_cancel_reaches_the_run_wherever_it_is(two, settings, taken):
    settings.WORKFLOWHUB_SUBMIT_QUARANTINE = 0
    one, other = two
    run = actions.start_run(Actor(), post())
    if taken:
        other.fake.engine.submit(run.external_id, {"tasks": TASKS})
    forget(run)
    actions.cancel_run(Actor(), one.seen(run))
    assert one.seen(run).state == RunState.PENDING
    for _ in range(6):
        one.make_due()
        one.sync()
    assert one.seen(run).state == RunState.CANCELED
    assert one.fake.engine.starts == {}
    if taken:
        assert other.fake.engine.runs[run.external_id].state == "stopped"


# Ids


def test_attempts_of_restored_runs_get_ids_that_were_never_used(hub):
    run = hub.run_to_end(hub.start())
    Restore.objects.create(at=database_now(), backup_at=database_now(), life="t3abc")
    actions.retry_run(Actor(), run, mode="all")
    run = hub.seen(run)
    assert run.external_id == f"wh-{run.uuid}-2-t3abc"
    hub.run_to_end(run)
    assert hub.fake.engine.starts[run.external_id] == 1
    young = hub.run_to_end(hub.start())
    assert life_of(young) == ""
    actions.retry_run(Actor(), young, mode="all")
    assert hub.seen(young).external_id == f"wh-{young.uuid}-2"


def test_a_retry_that_waited_keeps_the_id_that_it_may_have_begun_with(hub):
    run = hub.start()
    hub.sync()
    actions.retry_run(Actor(), hub.seen(run), mode="all")
    Restore.objects.create(at=database_now(), backup_at=database_now(), life="t3abc")
    second = external_id(run.uuid, 2)
    hub.fake.engine.submit(second, {"tasks": TASKS})
    RunAttempt.objects.filter(run=run, number=2).update(
        external_id=second, ask_first=[hub.engine.pk], sent_at=database_now()
    )
    hub.sync(2)
    hub.fake.engine.finish(run.external_id)
    for _ in range(4):
        hub.make_due()
        hub.sync()
    run = hub.seen(run)
    assert (run.attempt, run.external_id) == (2, second)
    assert run.state in {RunState.SCHEDULED, RunState.RUNNING}
    assert hub.fake.engine.starts[second] == 1


def test_the_start_of_a_run_that_a_restore_undid_may_be_repeated(hub):
    chosen = uuid4()
    workflow = hub.post()
    hub.fake.engine.submit(external_id(chosen, 1), {"tasks": TASKS})
    Restore.objects.create(at=database_now(), backup_at=database_now(), life="t3abc")
    run = actions.start_run(Actor(), workflow, uuid=chosen)
    assert (run.reason, run.external_id) == (Reason.RESTORED, external_id(chosen, 1))
    again = actions.start_run(Actor(), workflow, uuid=chosen)
    assert again.pk == run.pk
    fresh = actions.start_run(Actor(), workflow)
    hub.sync(3)
    assert hub.seen(run).state in {RunState.SCHEDULED, RunState.RUNNING}
    assert hub.fake.engine.starts[external_id(chosen, 1)] == 1
    assert hub.fake.engine.starts[fresh.external_id] == 1
    assert RunAttempt.objects.get(run=fresh).ask_first == []


def test_nobody_is_asked_where_the_last_restore_is_long_ago_or_never_was(hub):
    assert actions.start_run(Actor(), hub.post(), uuid=uuid4()).reason == ""
    past = database_now() - timedelta(days=31)
    Restore.objects.create(at=past, backup_at=past, life="t3abc")
    assert actions.start_run(Actor(), hub.post(), uuid=uuid4()).reason == ""


def test_a_run_of_the_built_in_engine_needs_no_asking(db):
    Restore.objects.create(at=database_now(), backup_at=database_now(), life="t3abc")
    run = make_run(make_workflow(), engine=make_engine("local"), uuid=uuid4())
    assert RunAttempt.objects.get(run=run).ask_first == []


def test_the_run_that_a_step_asked_for_is_found_again(make_hub, local):
    away = make_hub()
    post("far")
    run = family.started(family.post("outer", family.ask("far")))
    away.sync()
    (child,) = family.children_of(run)
    ChildRun.objects.all().delete()
    child.delete()
    Restore.objects.create(at=database_now(), backup_at=database_now(), life="t3abc")
    for _ in range(3):
        family.sync(2)
        away.sync()
    (again,) = family.children_of(run)
    assert again.uuid == child.uuid
    away.fake.engine.finish()
    away.sync()
    family.sync(2)
    assert family.fresh(run).state == RunState.COMPLETED
    assert away.fake.engine.starts == {child.external_id: 1}
