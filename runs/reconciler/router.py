"""The tick of what belongs to no engine that could be asked: runs without one, and runs whose engine
is disabled. It also puts right what a change of the clock has left. No engine is called here."""

import logging
from collections.abc import Collection

from django.conf import settings
from django.db import DatabaseError, InterfaceError, transaction
from django.db.models import Q

from engines.clock import database_now
from engines.faults import crash_point
from engines.registry import UnknownKind, adapter_class
from runs import leases, moves
from runs.labels import labels_by_run
from runs.models import Workflow, WorkflowRun
from runs.querysets import RunQuerySet
from runs.reconciler import children, outcomes, plan
from runs.reconciler.facts import Case, read_cases
from runs.reconciler.handle import BATCH
from runs.reconciler.hold import Hold
from runs.reconciler.seen import limits, seen_of
from runs.reconciler.settle import settle_case
from runs.reconciler.sweep import Tick
from runs.reconciler.writing import write
from runs.routing import takers
from runs.states import Wanted, WorkflowState
from runs.wakeups import wake_reconciler

logger = logging.getLogger("workflowhub.sync")

OURS = Q(engine=None) | Q(engine__enabled=False)
OUR_CHILDREN = Q(parent__engine=None) | Q(parent__engine__enabled=False)


class Router:
    """The ticks of the router in this process, as long as `hold` is ours."""

    def __init__(self, hold: Hold) -> None:
        self.hold = hold

    def tick(self, *, only: Collection[int] | None = None) -> Tick:
        """Raises LeaseLost and the database's errors."""
        self.hold.check()
        due = self._due()
        if only is not None:
            due = due.filter(pk__in=only)
        ids = list(due.due(database_now()).values_list("pk", flat=True)[:BATCH])
        if ids:
            self._route(ids)
        if only is None:
            self._free_definitions()
            self._put_right()
            children.call_off(OUR_CHILDREN, self.hold.fence)
        first = self._due().filter(next_check_at__isnull=False).order_by("next_check_at")
        at = first.values_list("next_check_at", flat=True).first()
        wait = settings.WORKFLOWHUB_POLL
        if at is not None:
            wait = min(wait, max(0.0, (at - database_now()).total_seconds()))
        return Tick(wait=wait, handled=len(ids))

    @staticmethod
    def _due() -> RunQuerySet:
        return WorkflowRun.objects.filter(OURS)

    def _route(self, ids: list[int]) -> None:
        now = database_now()
        labels = labels_by_run(ids)
        engines = takers()
        changes: list[moves.RunChange] = []
        for case in read_cases(ids).values():
            try:
                steps = plan.plan(
                    Wanted(case.run.wanted), seen_of(case, _engine_seen(case)), now, limits()
                )
                change = settle_case(
                    case, steps, now, labels=labels.get(case.run.pk, {}), takers=engines
                )
                changes.append(change.set(in_hand=False))
            except (leases.LeaseLost, DatabaseError, InterfaceError):
                raise
            except Exception as error:  # noqa: BLE001 - one run's trouble stops no other
                logger.exception("Run %s can't be routed", case.run.pk)
                changes.append(outcomes.Failed(error=error)(case, now))
        crash_point("route.writing")
        write(changes, self.hold.fence)
        crash_point("route.written")

    def _free_definitions(self) -> None:
        """A version that is pinned to no engine needs no deployment; one whose engine is disabled
        waits for it."""
        due = Workflow.objects.filter(engine=None).due(database_now())
        if not due.exists():
            return
        with transaction.atomic():
            leases.check(self.hold.fence)
            Workflow.objects.filter(pk__in=list(due.values_list("pk", flat=True)[:BATCH])).update(
                state=WorkflowState.READY, state_message="", next_check_at=None
            )
            crash_point("free.writing")
        crash_point("free.written")

    def _put_right(self) -> None:
        """Whatever is to be looked at later than it may be, of any engine, is due."""
        now = database_now()
        for waiting in (WorkflowRun.objects.misdated(now), Workflow.objects.misdated(now)):
            if not waiting.exists():
                continue
            logger.warning("The database's clock was put back: what waits for too long is due")
            with transaction.atomic():
                leases.check(self.hold.fence)
                waiting.update(next_check_at=now)
                wake_reconciler()
                crash_point("misdated.writing")
            crash_point("misdated.written")


def _engine_seen(case: Case) -> plan.EngineSeen | None:
    engine = case.run.engine
    if engine is None:
        return None
    try:
        adapter = adapter_class(engine.kind)
    except UnknownKind:
        return None
    return plan.EngineSeen(
        submission=adapter.submission,
        enabled=engine.enabled,
        accepts_runs=engine.accepts_runs,
        in_place=adapter.retries_in_place,
        can_cancel=False,
    )
