"""A workflow `outer` whose step asks for a run of the workflow `inner`, and what tests of that do."""

import json
import uuid

import pytest

from engines.models import Engine
from runs import actions
from runs.models import TaskRun, WorkflowRun
from runs.policy import Actor
from runs.reconciler.hold import take
from runs.reconciler.once import lease_name
from runs.reconciler.sweep import EngineSweep
from runs.states import TaskState
from tests.engines.dag.driving import Hand
from tests.factories import make_engine

HUB = Actor()


def ask(workflow="inner", **more):
    step = {key: more.pop(key) for key in ("for_each", "retry", "timeout") if key in more}
    return {"name": "ask", "handler": "workflow", "with": {"workflow": workflow, **more}, **step}


def post(title, *steps, **more):
    definition = {"title": title, "steps": list(steps), **more}
    engine = Engine.objects.get(kind="local")
    return actions.post_workflow(HUB, definition=json.dumps(definition), engine=engine)[0]


def fresh(run):
    return WorkflowRun.objects.get(pk=run.pk)


def children_of(run):
    return list(WorkflowRun.objects.filter(parent_task_run__run=run).order_by("pk"))


def task_of(run, name="ask", index=-1):
    return TaskRun.objects.get(run=run, name=name, map_index=index)


def sync(times=1):
    """The ticks of the built-in engine; `once` also does those of the router and of other engines."""
    engine = Engine.objects.get(kind="local")
    for _ in range(times):
        sweep = EngineSweep(engine.pk, take(lease_name(engine.pk), uuid.uuid4()))
        try:
            sweep.tick(full=True)
        finally:
            sweep.hold.release()


def started(workflow, **options):
    """A run whose child has been started and sent to its engine."""
    run = actions.start_run(options.pop("actor", HUB), workflow, **options)
    sync(2)
    return fresh(run)


def work(end=TaskState.COMPLETED):
    """A worker runs whatever is ready; the hub sees it."""
    Hand().run_all({"work": end})


@pytest.fixture
def local(db, settings):
    settings.WORKFLOWHUB_LEASE = 60  # nobody renews it in these tests
    return make_engine("local")


@pytest.fixture
def inner(local):
    """A workflow of one step that a worker has to run."""
    return post(
        "inner",
        {"name": "work", "handler": "output", "with": {"n": "${params.n}"}},
        parameters={"n": {"type": "integer", "default": 1}},
    )


@pytest.fixture
def outer(inner):
    return post("outer", ask(parameters={"n": 5}, labels={"kind": "part"}))
