"""Fills a hub with a month of runs that never were, and takes them out again."""

import random
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import models, transaction

from engines.clock import database_now
from engines.dag.models import Execution, Step
from engines.logfile import format_line
from engines.models import Engine
from engines.registry import adapter_class
from runs import figures
from runs.actions import post_workflow
from runs.changes import RunChange
from runs.labels import label_rows
from runs.management.demo import kept
from runs.management.demo.inserts import insert, next_keys
from runs.management.demo.past import PastRun, Stage, Told
from runs.management.demo.stories import BUILT_IN, CLUSTER, LABEL, STORIES, Story
from runs.models import (
    Acknowledgement,
    HourlyRollup,
    RunAttempt,
    RunEvent,
    RunLabel,
    TaskRun,
    TaskTry,
    Workflow,
    WorkflowPace,
    WorkflowRun,
)
from runs.models.access import Role
from runs.policy import Actor, give_role
from runs.retention import delete_run_rows, ended_runs
from runs.states import RunState

DAYS = 30
AT_ONCE = 500  # runs of a transaction
LOGS_OF = timedelta(hours=18)  # those of older runs are gone, but where they failed
LOGGED_FAILURES = timedelta(days=7)
Say = Callable[[int, int], None]


def fill(number: int, *, seed: int, say: Say) -> int:
    """About so many runs of the last DAYS days; how many. `say`: (made, of about how many)."""
    rng = random.Random(seed)  # noqa: S311
    now = database_now()
    stages = [_stage(story) for story in STORIES]
    usual = sum(timedelta(days=DAYS) / story.every for story in STORIES)
    plan = iter(_moments(stages, number / usual, now, rng))
    made = 0
    while some := list(islice(plan, AT_ONCE)):
        with transaction.atomic():
            past = [run for at, stage in some for run in _past(stage, at, now, rng)]
            _insert([one.told for one in past])
            _keep_failed(past)
            made += len(past)
        for one in past:
            _write_logs(one.told)
        say(made, number)
    return made


def clear(say: Say) -> int:
    """Deletes the runs, workflows and users of the demonstration; how many runs. What goes on is left."""
    demo = WorkflowRun.objects.filter(labels__in=label_rows(LABEL))
    total, gone = demo.count(), 0
    ended = ended_runs().filter(pk__in=demo.values("pk"))
    while keys := list(ended.order_by("pk").values_list("pk", flat=True)[:AT_ONCE]):
        with transaction.atomic():
            rest = delete_run_rows(ended_runs(), keys)
        rest.delete_files()
        if not rest.keys:
            break
        gone += len(rest.keys)
        say(gone, total)
    titles = [story.title for story in STORIES]
    Workflow.objects.filter(title__in=titles, runs=None, labels__in=label_rows(LABEL)).delete()
    for model in (HourlyRollup, WorkflowPace, Acknowledgement):
        model.objects.filter(workflow__in=titles).delete()
    Engine.objects.filter(name=CLUSTER, runs=None, workflows=None).delete()
    for user in get_user_model().objects.filter(username__in={story.by for story in STORIES}):
        if not user.has_usable_password():
            user.delete()
    return gone


def _stage(story: Story) -> Stage:
    user, new = get_user_model().objects.get_or_create(username=story.by)
    if new:
        user.set_unusable_password()
        user.save()
        give_role(user, Role.OPERATOR)
    workflow, _ = post_workflow(Actor(), definition=story.definition())
    return Stage(
        story=story,
        workflow=workflow,
        engine=engine_of(story.engine),
        tasks={task.name: task for task in workflow.tasks.all()},
        labels=tuple(label_rows({**LABEL, **story.labels})),
        user_id=user.pk,
    )


def engine_of(name: str) -> Engine:
    """The hub's own; the cluster is switched off, so that what is meant for it waits for a person."""
    if name == BUILT_IN and (found := Engine.objects.filter(kind="local").order_by("pk").first()):
        return found
    more: dict[str, Any] = {"capabilities": adapter_class("local").capability_table()}
    if name == CLUSTER:
        more |= {"enabled": False, "selector": "gpu=true", "priority": 200}
    return Engine.objects.get_or_create(name=name, defaults={"kind": "local", **more})[0]


def _moments(
    stages: list[Stage], density: float, now: datetime, rng: random.Random
) -> list[tuple[datetime, Stage]]:
    """When which run was started, in the order of time."""
    began = now - timedelta(days=DAYS)
    found = []
    for stage in stages:
        every = stage.story.every / density
        longest = sum(step.seconds for step in stage.story.steps) * stage.story.slower * 2.5
        at = began + every * rng.random()
        while at < now - timedelta(seconds=longest):
            found.append((at, stage))
            jitter = 1 if stage.story.scheduled else rng.lognormvariate(0, 0.5)
            at += every * jitter
    return sorted(found, key=lambda moment: moment[0])


def _past(stage: Stage, at: datetime, now: datetime, rng: random.Random) -> Iterator[PastRun]:
    """A run, and the one that a person started in its place when it had failed."""
    age = now - at
    days = age / timedelta(days=1)
    flaw = None
    for one in stage.story.flaws:
        if one.days[0] >= days >= one.days[1] and rng.random() < one.share:
            flaw = one
    late = 1 - days / DAYS
    first = PastRun(stage, at, late, rng)
    first.play(flaw, keep_log=age < (LOGGED_FAILURES if flaw else LOGS_OF))
    yield first
    if flaw is None or first.run.state != RunState.FAILED or rng.random() >= flaw.rerun:
        return
    later = PastRun(stage, first.now + timedelta(minutes=rng.uniform(5, 90)), late, rng)
    later.run.previous = first.run
    later.play(None, keep_log=age < LOGS_OF)
    if later.run.state == RunState.COMPLETED and later.now < now:
        first.run.resolved_by = later.run
        yield later


def _insert(told: list[Told]) -> None:
    runs = [run for one in told for run in one.runs]
    _number(WorkflowRun, runs)
    tasks = [task for one in told for task in one.tasks]
    for one in told:
        rows: list[Any] = [*one.labels, *one.attempts, *one.tasks, *one.events]
        for row in rows:
            row.run = row.run  # it learns the run's key
    for run in runs:
        run.previous, run.resolved_by = run.previous, run.resolved_by
    # The rerun that settled a failure comes after it, in the same statement: keys are checked at its end.
    insert(WorkflowRun, runs)
    _insert_numbered(RunLabel, [row for one in told for row in one.labels])
    _insert_numbered(RunAttempt, [row for one in told for row in one.attempts])
    _insert_numbered(TaskRun, tasks)
    for one in told:
        for row in one.tries:
            row.task_run = row.task_run
        for event in one.events:
            event.task_run = event.task_run
    _insert_numbered(TaskTry, [row for one in told for row in one.tries])
    _insert_numbered(RunEvent, [row for one in told for row in one.events])
    figures.record([_end_of(row) for one in told for row in one.attempts], database_now())


def _end_of(attempt: RunAttempt) -> RunChange:
    """As the reconciler saw it end."""
    run = attempt.run
    before = WorkflowRun(
        workflow=run.workflow, engine=run.engine, state=RunState.RUNNING, attempt=attempt.number
    )
    began = attempt.accepted_at
    return RunChange(
        before, {"state": attempt.state, "started_at": began, "ended_at": attempt.ended_at}
    )


def _keep_failed(past: list[PastRun]) -> None:
    """The executions of runs that somebody may want to retry."""
    failed = [one for one in past if one.run.state == RunState.FAILED]
    documents = {id(one.stage): kept.document_of(one.stage) for one in failed}
    executions = [kept.execution_of(one, documents[id(one.stage)]) for one in failed]
    _insert_numbered(Execution, executions)
    pairs = zip(failed, executions, strict=True)
    _insert_numbered(Step, [row for one, of in pairs for row in kept.steps_of(one, of)])


def _number(model: type[models.Model], rows: list[Any]) -> None:
    for row, key in zip(rows, next_keys(model, len(rows)), strict=True):
        row.pk = key


def _insert_numbered(model: type[models.Model], rows: list[Any]) -> None:
    _number(model, rows)
    insert(model, rows)


def _write_logs(told: Told) -> None:
    for path, lines in told.logs.items():
        text = "".join(format_line(line, stream, at) for at, stream, line in lines)
        storages["logs"].save(path, ContentFile(text.encode()))
