"""Small worlds in which a process comes to a crash point: what has happened so far, what the process
does in which it dies, and what must be true once another has gone on."""

import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings

from engines.clock import database_now
from engines.inbound import hint
from engines.models import Engine, EngineJob
from engines.states import DeploymentState, RunState
from engines.testing.fake_http import Fault
from runs import actions
from runs.models import RunAttempt, Workflow, WorkflowRun
from runs.reconciler.once import once
from tests.api.conftest import Caller
from tests.factories import make_actor
from tests.faults.aftermath import LONG_AGO, World, time_passes
from tests.reconciler.conftest import Hub

MakeHub = Callable[..., Hub]


def submitted(make_hub: MakeHub, **options: Any) -> World:
    """Runs wait to be sent for the first time."""
    hub = make_hub(**options)
    for _ in range(3):
        hub.start()
    return World(hub=hub)


def misdated(make_hub: MakeHub) -> World:
    """They were told to wait a little, and then the clock was put back by an hour."""
    world = submitted(make_hub)
    WorkflowRun.objects.update(next_check_at=database_now() + timedelta(seconds=3660))
    return world


def watched(make_hub: MakeHub) -> World:
    """The same, for the loop."""
    world = submitted(make_hub)
    world.life = "watch"
    return world


def reply_lost(make_hub: MakeHub, **options: Any) -> World:
    """Runs were sent and taken, and no answer came."""
    return _unclear(make_hub(**options), Fault.LOSE_REPLY)


def call_lost(make_hub: MakeHub, **options: Any) -> World:
    """Runs were sent and never arrived, and nobody knows."""
    return _unclear(make_hub(**options), Fault.DROP)


def _unclear(hub: Hub, fault: Fault) -> World:
    for _ in range(2):
        hub.start()
    hub.fake.inject(fault, method="POST", times=2)
    once()
    sent = RunAttempt.objects.filter(sent_at__isnull=False, accepted_at=None)
    assert sent.count() == 2
    time_passes()
    return World(hub=hub)


def _running(hub: Hub, **options: Any) -> list[WorkflowRun]:
    runs = [hub.start(**options) for _ in range(2)]
    once()
    hub.fake.engine.advance()
    once()
    assert {hub.seen(run).state for run in runs} == {RunState.RUNNING}
    return [hub.seen(run) for run in runs]


def ended(make_hub: MakeHub, **options: Any) -> World:
    """Runs have ended at their engine, and the hub hasn't seen it."""
    hub = make_hub(**options)
    _running(hub)
    hub.fake.engine.finish()
    return World(hub=hub)


def ended_in_steps(make_hub: MakeHub) -> World:
    """The same at an engine that lists what changed."""
    return ended(make_hub, incremental=True)


def canceled(make_hub: MakeHub) -> World:
    hub = make_hub()
    for run in _running(hub):
        actions.cancel_run(hub.actor, run)
    return World(hub=hub, ends=frozenset({RunState.CANCELED}))


def canceling(make_hub: MakeHub) -> World:
    """A person's process dies while it asks for the end of a run."""
    hub = make_hub()
    run, other = _running(hub)
    return World(
        hub=hub,
        life="act",
        given={"intent": "cancel_run", "pk": run.pk},
        again=lambda: actions.cancel_run(hub.actor, hub.seen(run)),
        ends=frozenset({RunState.CANCELED, RunState.COMPLETED}),
    )


def task_canceled(make_hub: MakeHub) -> World:
    hub = make_hub()
    for run in _running(hub, tasks=[{"name": "a"}, {"name": "b"}]):
        actions.cancel_task(hub.actor, run.task_runs.get(name="a"))
    return World(hub=hub)


def retried(make_hub: MakeHub, **options: Any) -> World:
    """Runs failed, and what failed is to run again."""
    hub = make_hub(**options)
    runs = [hub.start([{"name": "a"}, {"name": "b", "needs": ["a"], "fails": 1}]) for _ in range(2)]
    once()
    hub.fake.engine.finish()
    once()
    for run in runs:
        actions.retry_run(hub.actor, hub.seen(run))
    return World(hub=hub, attempts=2)


def retried_together(make_hub: MakeHub) -> World:
    """Somebody asked for all that failed to run again."""
    hub = make_hub()
    tasks = [{"name": "a"}, {"name": "b", "needs": ["a"], "fails": 1}]
    runs = [hub.start(tasks) for _ in range(3)]
    once()
    hub.fake.engine.finish()
    once()
    assert {hub.seen(run).state for run in runs} == {RunState.FAILED}
    job = actions.ask_bulk(make_actor(), action="retry", query="state=FAILED")

    def well(run: WorkflowRun, what: str) -> None:
        job.refresh_from_db()
        assert (job.state, job.done, job.skipped) == ("done", 3, 0), what
        assert run.attempt == 2, what

    return World(hub=hub, attempts=2, well=well)


def retried_in_place(make_hub: MakeHub) -> World:
    return retried(make_hub, in_place=True)


def restarted(make_hub: MakeHub) -> World:
    """Running runs are to be stopped and run anew."""
    hub = make_hub()
    for run in _running(hub):
        actions.restart_run(hub.actor, run)
    return World(hub=hub, attempts=2)


def forgotten(make_hub: MakeHub) -> World:
    """The engine has forgotten one of its runs."""
    hub = make_hub()
    run, _ = _running(hub)
    hub.fake.engine.forget(run.external_id)
    return World(hub=hub, ends=frozenset({RunState.COMPLETED, RunState.FAILED}))


def asked_for(make_hub: MakeHub) -> World:
    """Somebody wants to know now how a run is, and its engine hints at it."""
    hub = make_hub()
    run, _ = _running(hub)
    actions.ask_for_look(hub.actor, run)
    hint(hub.engine.pk, run.external_id)
    return World(hub=hub)


def unrouted(make_hub: MakeHub) -> World:
    """Runs have no engine yet."""
    hub = make_hub()
    workflow = hub.post()
    Workflow.objects.update(engine=None)
    workflow.refresh_from_db()
    Engine.objects.update(enabled=False)
    for _ in range(2):
        assert actions.start_run(hub.actor, workflow).engine is None
    Engine.objects.update(enabled=True)
    return World(hub=hub)


def freed(make_hub: MakeHub) -> World:
    """A version was pinned to an engine and is so no more, before it was deployed."""
    hub = make_hub()
    workflow = hub.post()
    Workflow.objects.update(engine=None)
    workflow.refresh_from_db()
    actions.start_run(hub.actor, workflow)
    return World(hub=hub)


def deploying(make_hub: MakeHub) -> World:
    """The engine was sent a definition and said that it is working on it."""
    world = submitted(make_hub)
    Workflow.objects.update(
        state=DeploymentState.DEPLOYING,
        state_message="Sent to the engine, which is still working on it.",
    )
    return world


def archived(make_hub: MakeHub) -> World:
    """A version is to be taken away from its engine."""
    world = ended(make_hub)
    assert world.hub is not None
    once()
    actions.edit_workflow(world.hub.actor, Workflow.objects.get(), archived=True)
    return world


def called(make_hub: MakeHub) -> World:
    """Runs have waited for their turn, and a pause is over."""
    hub = make_hub()
    workflow = actions.edit_workflow(hub.actor, hub.post(), paused=True)
    for _ in range(2):
        actions.start_run(hub.actor, workflow)
    once()
    actions.edit_workflow(hub.actor, workflow, paused=False)
    return World(hub=hub)


def tested(make_hub: MakeHub) -> World:
    """Somebody asked for a test of the connection, for a look at everything, and for a test of
    settings that are not saved."""
    hub = make_hub()
    hub.start()
    for action in (EngineJob.Action.TEST, EngineJob.Action.SYNC):
        actions.request_engine_job(hub.actor, hub.engine, action)
    actions.request_engine_test(
        hub.actor, kind="remote", config={"url": hub.fake.url, "token": "hush-hush"}
    )
    return World(hub=hub)


def posted(make_hub: MakeHub) -> World:
    """A client starts a run, gets no answer, and asks again with its key."""
    hub = make_hub()
    api = Caller()
    body = {"workflow": hub.post().pk}
    headers = {"idempotency-key": "k", "authorization": f"Bearer {api.token}"}
    file = Path(settings.WORKFLOWHUB_HOME) / "answer"
    request = {"path": "workflow-runs", "body": body, "headers": headers, "answer": str(file)}

    def again() -> None:
        for _ in range(100):
            answer = api.post("workflow-runs", body, headers={"idempotency-key": "k"})
            if answer.status_code != 409:
                break
            time.sleep(0.02)  # the database hasn't noticed yet that its client died
        assert answer.status_code == 201
        assert WorkflowRun.objects.get().pk == answer.json()["id"]
        assert not file.exists()

    return World(hub=hub, life="post", given=request, again=again)


def overdue(make_hub: MakeHub) -> World:
    """A run has gone on for longer than it may."""
    hub = make_hub()
    run, _ = _running(hub)
    WorkflowRun.objects.filter(pk=run.pk).update(deadline_at=LONG_AGO)
    return World(hub=hub, ends=frozenset({RunState.COMPLETED, RunState.FAILED}))
