"""One round over everything, for `sync --once` and for the minute sweep: whatever nobody else holds
is looked after, then given up again."""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from uuid import uuid4

from engines.models import Engine
from runs import leases
from runs.models import WorkflowRun
from runs.reconciler import bulk, jobs, metrics
from runs.reconciler.hold import Hold, take
from runs.reconciler.router import Router
from runs.reconciler.sweep import EngineSweep

ROUTER = "router"
PROBE = "probe"
BULK = "bulk"
BULK_SECONDS = 10.0  # of one round, so that engines aren't kept waiting
ROUNDS = 5  # one step of a run often makes the next one due


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a round did: names of the engines looked at, and of what another process looks after."""

    looked_at: list[str] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    handled: int = 0


def lease_name(engine_id: int) -> str:
    return f"engine:{engine_id}"


def once(*, engine: Engine | None = None, run: WorkflowRun | None = None) -> Summary:
    """One round: of one engine or run where given, else of all. Raises the database's errors."""
    summary = Summary()
    only = [run.pk] if run else None
    if engine is None:
        look_after_the_rest(summary, only=only)
    if run is not None:
        run = WorkflowRun.objects.select_related("engine").get(pk=run.pk)
        engines = [run.engine] if run.engine else []
    else:
        engines = [engine] if engine else list(Engine.objects.enabled().order_by("pk"))
    for one in engines:
        look_after(one, summary, only=only)
    return summary


def look_after(
    engine: Engine,
    summary: Summary,
    *,
    only: Collection[int] | None = None,
    seconds: float | None = None,
) -> None:
    """One engine's round. `seconds`: nothing new is begun after them."""

    def work(hold: Hold) -> None:
        summary.looked_at.append(engine.name)
        sweep = EngineSweep(engine.pk, hold)
        for at in range(ROUNDS):
            hold.renew()
            tick = sweep.tick(only=only, full=at == 0 and only is None)
            summary.handled += tick.handled
            if not tick.handled or tick.wait > 0:
                return

    _under_lease(lease_name(engine.pk), summary, work, shown=engine.name, seconds=seconds)
    metrics.flush()


def look_after_the_rest(
    summary: Summary, *, only: Collection[int] | None = None, seconds: float | None = None
) -> None:
    """What belongs to no engine: routing, tests of settings that are not saved yet, bulk jobs."""

    def route(hold: Hold) -> None:
        summary.handled += Router(hold).tick(only=only).handled

    _under_lease(ROUTER, summary, route, seconds=seconds)
    if only is None:
        _under_lease(PROBE, summary, jobs.test_unsaved, seconds=seconds)
        _under_lease(BULK, summary, bulk.do_all, seconds=min(seconds or BULK_SECONDS, BULK_SECONDS))


def _under_lease(
    name: str,
    summary: Summary,
    work: Callable[[Hold], object],
    *,
    shown: str = "",
    seconds: float | None = None,
) -> None:
    hold = take(name, uuid4())
    if hold is None:
        summary.busy.append(shown or name)
        return
    if seconds is not None:
        hold.end_after(seconds)
    try:
        work(hold)
    except leases.LeaseLost:
        summary.busy.append(shown or name)
    finally:
        hold.release()
