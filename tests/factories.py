"""Plain functions that make what a test needs; every argument may be given."""

import itertools
import json
from typing import Any

from django.contrib.auth import get_user_model

from engines.models import Engine
from engines.registry import adapter_class
from engines.secrets import encrypt
from engines.states import DeploymentState
from runs import actions
from runs.labels import add_labels
from runs.models import (
    ApiToken,
    AuditEntry,
    BulkJob,
    DownstreamTask,
    RunAttempt,
    Secret,
    Task,
    TaskRun,
    Variable,
    Workflow,
    WorkflowRun,
)
from runs.models.access import Role
from runs.policy import Actor, give_role

_numbers = itertools.count(1)


def make_user(role: Role | str | None = Role.ADMINISTRATOR, **kw: Any) -> Any:
    user = get_user_model().objects.create_user(
        username=kw.pop("username", f"user{next(_numbers)}"),
        password=kw.pop("password", "pw"),
        **kw,
    )
    if role:
        give_role(user, Role(role))
    return user


def make_actor(role: Role | str = Role.ADMINISTRATOR, **kw: Any) -> Actor:
    return Actor(user=make_user(role), face=kw.pop("face", AuditEntry.Face.API), **kw)


def make_token(user: Any = None, role: Role | str | None = None, **kw: Any) -> str:
    """The plain text of a new token."""
    user = user or make_user(role or Role.ADMINISTRATOR)
    return ApiToken.issue(user=user, role=Role(role or Role.ADMINISTRATOR), **kw)[1]


def make_engine(kind: str = "local", **kw: Any) -> Engine:
    kw.setdefault("name", f"{kind}-{next(_numbers)}")
    kw.setdefault("capabilities", adapter_class(kind).capability_table())
    secrets = kw.pop("secrets", None)
    engine = Engine(kind=kind, **kw)
    if secrets:
        engine.secrets = secrets
    engine.save()
    return engine


def make_workflow(tasks: dict[str, list[str]] | None = None, **kw: Any) -> Workflow:
    """`tasks`: name -> names of what it needs. No engine reads the definition."""
    tasks = tasks if tasks is not None else {"extract": [], "load": ["extract"]}
    labels = kw.pop("labels", {})
    title = kw.setdefault("title", f"workflow-{next(_numbers)}")
    steps = [
        {"name": name, "handler": "sleep", "needs": needs, "with": {"seconds": 0}}
        for name, needs in tasks.items()
    ]
    kw.setdefault("version", 1)
    kw.setdefault("format", "workflowhub")
    kw.setdefault("definition", json.dumps({"title": title, "steps": steps}))
    kw.setdefault("content_hash", f"{next(_numbers):064x}")
    kw.setdefault("state", DeploymentState.READY)
    workflow = Workflow.objects.create(**kw)
    rows = {
        name: Task.objects.create(workflow=workflow, name=name, type="sleep", position=at)
        for at, name in enumerate(tasks)
    }
    for name, needs in tasks.items():
        for need in needs:
            DownstreamTask.objects.create(task=rows[need], downstream=rows[name])
    add_labels(workflow, labels)
    return workflow


def make_secret(name: str = "token", value: str = "plain-secret", **kw: Any) -> Secret:
    return Secret.objects.create(name=name, encrypted=encrypt(value), **kw)


def make_variable(name: str = "stage", value: str = "production", **kw: Any) -> Variable:
    return Variable.objects.create(name=name, value=value, **kw)


def make_bulk_job(**kw: Any) -> BulkJob:
    kw.setdefault("action", "retry")
    kw.setdefault("options", {"mode": "failed"} if kw["action"] == "retry" else {})
    kw.setdefault("query", "state=FAILED")
    return BulkJob.objects.create(
        **{"newest": 1, "total": 1, "role": "administrator", "face": "api", **kw}
    )


def make_run(workflow: Workflow | None = None, **kw: Any) -> WorkflowRun:
    """A run as `start_run` makes it; columns such as `state` are then set as given, with no event.
    `task_states`: task name -> state. `accepted`: the engine is known to have it."""
    actor = kw.pop("actor", None) or Actor()
    start = {
        name: kw.pop(name)
        for name in ("parameters", "labels", "engine", "hold", "uuid", "note", "previous")
        if name in kw
    }
    task_states = kw.pop("task_states", {})
    accepted = kw.pop("accepted", "state" in kw)
    run = actions.start_run(actor, workflow or make_workflow(), **start)
    if kw:
        WorkflowRun.objects.filter(pk=run.pk).update(**kw)
    if accepted:
        RunAttempt.objects.filter(run=run).update(
            sent_at=run.created_at, accepted_at=run.created_at
        )
        if "next_check_at" not in kw:
            WorkflowRun.objects.filter(pk=run.pk).update(next_check_at=None)
    for name, state in task_states.items():
        TaskRun.objects.filter(run=run, name=name).update(state=state)
    return WorkflowRun.objects.select_related("workflow", "engine").get(pk=run.pk)
