"""Definitions are reconciled like runs: a version is deploying until its engine says ready or failed,
its runs wait until then, and an archived version is taken away again."""

import logging
from datetime import timedelta

from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import F

from engines.base import EngineRejected, EngineUnavailable
from engines.clock import database_now
from engines.faults import crash_point
from engines.models import Engine
from runs import leases
from runs.models import Workflow, WorkflowRun
from runs.reconciler.backoff import full_jitter
from runs.reconciler.calls import Calls
from runs.reconciler.specs import workflow_spec
from runs.states import Reason, WorkflowState
from runs.wakeups import wake_reconciler

logger = logging.getLogger("workflowhub.sync")

BATCH = 50
LOOK_AGAIN = 2.0  # seconds while the engine says "deploying"
GIVE_UP = 20  # errors in a row
SENT = "Sent to the engine, which is still working on it."


def do_due(engine: Engine, calls: Calls) -> None:
    """Deploys, looks after and takes away what is due at this engine."""
    due = Workflow.objects.filter(engine=engine).due(database_now())[:BATCH]
    for workflow in due:
        if calls.blocked:
            return
        try:
            _do(workflow, calls)
        except EngineUnavailable as error:
            _again(workflow, calls, str(error))
        except EngineRejected as error:
            if calls.refuses_us():
                _again(workflow, calls, str(error))
            else:
                _write(workflow, calls, state=WorkflowState.FAILED, state_message=str(error))
        except (leases.LeaseLost, DatabaseError, InterfaceError):
            raise
        except Exception as error:  # noqa: BLE001 - one definition's trouble stops no other
            logger.exception("Workflow %s can't be deployed", workflow.pk)
            _again(workflow, calls, engine.words_of(error))


def _do(workflow: Workflow, calls: Calls) -> None:
    spec = workflow_spec(workflow)
    if workflow.archived:
        if WorkflowRun.objects.active().filter(workflow=workflow).exists():
            _later(workflow, calls, "Its last runs still need it.")
            return
        calls.ask("undeploy", lambda: calls.adapter.undeploy(spec))
        _write(workflow, calls, state=WorkflowState.DRAFT, state_message="")
        return
    if workflow.state == WorkflowState.DEPLOYING and workflow.state_message == SENT:
        answer = calls.ask("deployment", lambda: calls.adapter.deployment(spec))
    else:
        answer = calls.ask("deploy", lambda: calls.adapter.deploy(spec))
    if answer.state == WorkflowState.DEPLOYING:
        _later(workflow, calls, SENT)
    else:
        _write(workflow, calls, state=answer.state, state_message=answer.message[:2000])


def _later(workflow: Workflow, calls: Calls, text: str) -> None:
    looks = min(workflow.check_failures + 1, 10)
    wait = timedelta(seconds=LOOK_AGAIN * looks)
    _write(
        workflow,
        calls,
        next_check_at=database_now() + wait,
        check_failures=looks,
        state_message=text,
    )


def _again(workflow: Workflow, calls: Calls, text: str) -> None:
    failures = workflow.check_failures + 1
    if failures >= GIVE_UP and not workflow.archived:
        _write(workflow, calls, state=WorkflowState.FAILED, state_message=text[:2000])
        return
    _write(
        workflow,
        calls,
        next_check_at=database_now() + timedelta(seconds=full_jitter(failures)),
        check_failures=failures,
        state_message=text[:2000],
    )


def _write(workflow: Workflow, calls: Calls, **fields: object) -> None:
    """Where nobody edited the version meanwhile; its waiting runs are due when it is ready."""
    fields.setdefault("next_check_at", None)
    if fields["next_check_at"] is None:
        fields["check_failures"] = 0
    with transaction.atomic():
        leases.check(calls.hold.fence)
        written = Workflow.objects.filter(pk=workflow.pk, row_version=workflow.row_version).update(
            **fields, row_version=F("row_version") + 1
        )
        if written and fields.get("state") == WorkflowState.READY:
            waiting = WorkflowRun.objects.active().filter(
                workflow=workflow, reason=Reason.DEPLOYING
            )
            waiting.update(next_check_at=database_now())
            wake_reconciler()
        crash_point("definition.writing")
    crash_point("definition.written")
