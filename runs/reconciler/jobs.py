"""What operators asked of engines: test the connection, sync now, import. Pages poll the rows."""

import logging
from typing import Any

from django.db import transaction

from engines.base import EngineAdapter, EngineError
from engines.clock import database_now
from engines.config import ConfigError
from engines.connect import connect_with
from engines.faults import crash_point
from engines.models import Engine, EngineJob
from engines.registry import UnknownKind
from runs import leases
from runs.reconciler import health
from runs.reconciler.calls import Calls
from runs.reconciler.hold import Hold

logger = logging.getLogger("workflowhub.sync")

OPEN = (EngineJob.State.WAITING, EngineJob.State.RUNNING)
FIELDS = {"state", "result", "message", "ended_at"}


def do_jobs(engine: Engine, calls: Calls) -> bool:
    """Does what was asked of this engine; True where everything is to be looked at now. A test is
    made even while the breaker is open: a person wants to know."""
    full = False
    for job in EngineJob.objects.filter(engine=engine, state__in=OPEN).order_by("id"):
        if job.action == EngineJob.Action.TEST:
            _test(job, engine, calls)
        elif job.action == EngineJob.Action.SYNC:
            full = True
            _end(job, calls.hold.fence, EngineJob.State.DONE, "Every run is looked at now.")
        else:
            answer = engine.can(job.action)
            why = answer if isinstance(answer, str) else "This hub can't import yet."
            _end(job, calls.hold.fence, EngineJob.State.FAILED, why)
    return full


def test_unsaved(hold: Hold) -> bool:
    """Tests settings that are not saved yet; False where nobody asked."""
    jobs = list(EngineJob.objects.filter(engine=None, state__in=OPEN).order_by("id"))
    for job in jobs:
        hold.check()
        probe = Engine(name="new-engine", kind=job.kind, config=job.config)
        probe.encrypted_secrets = job.encrypted_secrets
        try:
            adapter = connect_with(job.kind, {**probe.config, **probe.secrets})
        except (ConfigError, UnknownKind) as error:
            _end(job, hold.fence, EngineJob.State.FAILED, str(error))
            continue
        state, message, result = _ask(adapter)
        _end(job, hold.fence, state, message, result)
    return bool(jobs)


def _test(job: EngineJob, engine: Engine, calls: Calls) -> None:
    failures = calls.breaker.failures
    try:
        answer = calls.ask("health", calls.adapter.health)
    except EngineError as error:
        state = health.note_error(engine, error)
        result = {"ok": False, "health": state.value}
        _end(job, calls.hold.fence, EngineJob.State.FAILED, str(error), result)
        return
    if calls.breaker.failures <= failures:
        calls.breaker.close()
    health.note_answer(engine, calls.adapter, answer)
    ended = EngineJob.State.DONE if answer.ok else EngineJob.State.FAILED
    _end(job, calls.hold.fence, ended, answer.message, health.describe(answer))


def _ask(adapter: EngineAdapter) -> tuple[EngineJob.State, str, dict[str, Any]]:
    try:
        answer = adapter.health()
    except EngineError as error:
        return EngineJob.State.FAILED, str(error), {"ok": False}
    except Exception as error:  # noqa: BLE001 - an adapter's bug must not stop the other tests
        logger.exception("The test of a connection broke")
        return EngineJob.State.FAILED, f"The test broke: {type(error).__name__}.", {"ok": False}
    state = EngineJob.State.DONE if answer.ok else EngineJob.State.FAILED
    return state, answer.message, health.describe(answer)


def _end(
    job: EngineJob,
    fence: leases.Fence,
    state: EngineJob.State,
    message: str,
    result: dict[str, Any] | None = None,
) -> None:
    job.state, job.message, job.result = state, message[:2000], result or {}
    job.ended_at = database_now()
    with transaction.atomic():
        leases.check(fence)
        job.encrypted_secrets = ""  # a test of unsaved settings leaves none behind
        job.save(update_fields=[*FIELDS, "encrypted_secrets"])
        crash_point("job.writing")
    crash_point("job.written")
