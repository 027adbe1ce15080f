"""A browser for each role, and a run that failed with a log."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.test import Client
from django.utils import timezone

from engines.logfile import format_line
from runs.models import TaskRun, TaskTry, WorkflowRun
from runs.models.access import Role
from runs.states import RunState, TaskState
from tests.factories import make_engine, make_run, make_user, make_workflow


@pytest.fixture
def browser(db: None) -> Callable[..., Client]:
    """A logged-in client of a role."""

    def make(role: Role | str | None = Role.ADMINISTRATOR) -> Client:
        client = Client()
        client.force_login(make_user(role))
        return client

    return make


@pytest.fixture
def admin(browser: Callable[..., Client]) -> Client:
    return browser(Role.ADMINISTRATOR)


@pytest.fixture
def operator(browser: Callable[..., Client]) -> Client:
    return browser(Role.OPERATOR)


@pytest.fixture
def viewer(browser: Callable[..., Client]) -> Client:
    return browser(Role.VIEWER)


@pytest.fixture
def failed_run(db: None) -> WorkflowRun:
    """extract completed, transform failed, load was held up."""
    workflow = make_workflow({"extract": [], "transform": ["extract"], "load": ["transform"]})
    return make_run(
        workflow,
        engine=make_engine(),
        state="FAILED",
        started_at=timezone.now() - timedelta(minutes=2),
        ended_at=timezone.now() - timedelta(minutes=1),
        error="KeyError: 'minus'",
        error_task="transform",
        fingerprint="f" * 16,
        task_states={
            "extract": TaskState.COMPLETED,
            "transform": TaskState.FAILED,
            "load": TaskState.UPSTREAM_FAILED,
        },
    )


@pytest.fixture
def some(db: None) -> dict[str, WorkflowRun]:
    """Four runs that differ in everything a filter looks at."""
    local, other = make_engine(name="local-1"), make_engine(name="other")
    etl, ml = make_workflow(title="etl"), make_workflow(title="ml", labels={"team": "vision"})
    runs = {
        "old": make_run(etl, engine=local, state=RunState.COMPLETED, labels={"team": "lab"}),
        "bad": make_run(etl, engine=other, state=RunState.FAILED, error="KeyError: 'x'"),
        "busy": make_run(ml, engine=local, state=RunState.RUNNING, labels={"test": ""}),
        "new": make_run(ml, engine=local, note="Look at this one"),
    }
    past = timezone.now() - timedelta(days=3)
    WorkflowRun.objects.filter(pk=runs["old"].pk).update(created_at=past)
    return runs


def write_log(task: TaskRun, lines: list[str], **kw: Any) -> TaskTry:
    """A try of the task with these lines in its archived log."""
    kw.setdefault("state", TaskState.FAILED)
    name = storages["logs"].save(
        f"tests/{task.pk}.log",
        ContentFile("".join(format_line(line, "out") for line in lines).encode()),
    )
    return TaskTry.objects.create(
        task_run=task,
        attempt=task.attempt,
        try_number=task.try_number,
        log=name,
        log_complete=kw.pop("log_complete", True),
        **kw,
    )
