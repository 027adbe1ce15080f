"""One object of every model, by model: what the admin's tests look at."""

import uuid
from typing import Any

from django.utils import timezone

from engines.dag.models import Clock, Document, Execution, Step, StepTry, Worker
from engines.inbound import Hint
from engines.models import Engine, EngineJob
from engines.states import TaskState
from runs.models import (
    Acknowledgement,
    ApiToken,
    AuditEntry,
    BulkJob,
    ChildRun,
    Counter,
    DownstreamTask,
    Heartbeat,
    HourlyRollup,
    IdempotencyKey,
    Label,
    Lease,
    Preference,
    Restore,
    RunAttempt,
    RunEvent,
    RunLabel,
    SavedView,
    Secret,
    Task,
    TaskRun,
    TaskTry,
    Variable,
    Workflow,
    WorkflowLabel,
    WorkflowPace,
    WorkflowRun,
)
from runs.models.access import Role
from tests.factories import make_engine, make_run, make_user, make_variable, make_workflow


def one_of_each() -> dict[type, tuple[Any, str]]:
    """Model -> (an object, a search term that finds it)."""
    now = timezone.now()
    engine = make_engine(name="builtin", secrets={"password": "canary-engine"})
    workflow = make_workflow(title="Nightly import", engine=engine, labels={"team": "physics"})
    run = make_run(workflow, labels={"experiment": "42"})
    task_run = run.task_runs.first()
    user = make_user(username="ada")
    token, _ = ApiToken.issue(user=user, role=Role.VIEWER)
    document = Document.objects.create(digest="d" * 64, format="workflowhub", text="title: x")
    execution = Execution.objects.create(
        engine=engine,
        document=document,
        external_id=run.external_id,
        run_uuid=str(run.uuid),
        title="Nightly import",
        max_parallel=2,
        secrets="canary-sealed",
        created_at=now,
    )
    worker = Worker.objects.create(
        id=uuid.uuid4(), host="h", pid=1, concurrency=2, started_at=now, heartbeat_at=now
    )
    step = Step.objects.create(execution=execution, name="load", position=0)
    clock = Clock.objects.first() or Clock.objects.create()
    known = Acknowledgement.objects.create(workflow="Nightly import", newest=run.pk, by="ada")
    job = BulkJob.objects.create(
        action="retry",
        query="state=FAILED",
        newest=run.pk,
        state="done",  # an open one is not restored as such
    )
    hour = HourlyRollup.objects.create(hour=now, workflow="Nightly import")
    return {
        Acknowledgement: (known, str(known.pk)),
        ApiToken: (token, "ada"),
        AuditEntry: (
            AuditEntry.objects.create(action="x", object_kind="workflow", object_id="7"),
            "workflow 7",
        ),
        BulkJob: (job, str(job.pk)),
        ChildRun: (
            ChildRun.objects.create(
                key="wh-1/ask/-1/1", parent=run, external_id="wh-1", task="load", child=run
            ),
            "wh-1/ask/-1/1",
        ),
        Clock: (clock, str(clock.pk)),
        Counter: (Counter.objects.create(name="runs_total"), "runs_total"),
        Document: (document, document.digest),
        DownstreamTask: (DownstreamTask.objects.get(), str(Task.objects.get(name="load").pk)),
        Engine: (engine, "builtin"),
        EngineJob: (
            EngineJob.objects.create(
                engine=engine, kind="local", action="test", encrypted_secrets="canary-job"
            ),
            str(engine.pk),
        ),
        Execution: (execution, execution.external_id),
        Heartbeat: (Heartbeat.objects.create(name="sync", at=now), "sync"),
        Hint: (Hint.objects.create(engine=engine, external_id="wh-1"), str(engine.pk)),
        HourlyRollup: (hour, str(hour.pk)),
        IdempotencyKey: (
            IdempotencyKey.objects.create(
                user=user, key="k", request_digest="q", body={"token": "canary-answer"}
            ),
            "ada",
        ),
        Label: (Label.objects.get(key="team"), "team=physics"),
        Lease: (Lease.objects.create(name="engine:1"), "engine:1"),
        Preference: (Preference.objects.create(user=user), "ada"),
        Restore: (Restore.objects.create(at=now, backup_at=now, life="t3xyz"), "t3xyz"),
        RunAttempt: (RunAttempt.objects.get(), str(run.pk)),
        RunEvent: (RunEvent.objects.first(), str(run.pk)),
        RunLabel: (RunLabel.objects.first(), str(run.pk)),
        SavedView: (SavedView.objects.create(user=user, name="Broken today"), "ada"),
        Secret: (Secret.objects.create(name="api_token", encrypted="canary-sealed"), "api_token"),
        Step: (step, str(execution.pk)),
        StepTry: (
            StepTry.objects.create(step=step, attempt=1, try_number=1, state=TaskState.COMPLETED),
            str(step.pk),
        ),
        Task: (Task.objects.get(name="load"), str(workflow.pk)),
        TaskRun: (task_run, str(task_run.uuid)),
        TaskTry: (
            TaskTry.objects.create(
                task_run=task_run, attempt=1, try_number=1, state=TaskState.COMPLETED
            ),
            str(task_run.pk),
        ),
        Variable: (make_variable("region"), "region"),
        Worker: (worker, str(worker.pk)),
        Workflow: (workflow, "Night"),
        WorkflowLabel: (WorkflowLabel.objects.get(), str(workflow.pk)),
        WorkflowPace: (WorkflowPace.objects.create(workflow="Nightly import"), "Nightly import"),
        WorkflowRun: (run, run.external_id),
    }
