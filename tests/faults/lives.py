"""What the processes do that `nursery` forks. A test names one of these functions and its arguments,
which come as JSON."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from django.db import OperationalError
from django.test import Client
from django.utils import timezone

from engines import registry
from engines.adapters.local.worker import child
from engines.adapters.local.worker.parent import Parent
from engines.dag import callables
from engines.dag.held import Taker
from engines.dag.leases import register
from engines.dag.turns import turn
from runs import actions
from runs.leases import acquire
from runs.models import TaskRun, Workflow, WorkflowRun
from runs.policy import Actor
from runs.reconciler import handle
from runs.reconciler import once as rounds
from runs.reconciler.loop import Loop
from tests.adapters.remote.adapter import Adapter


def load() -> None:
    """What would else be imported by every child for itself."""
    registry.adapters()
    callables.load()


def once(*, changed: Iterable[str] = ()) -> None:
    """One round of the reconciler over everything. `changed`: names of what is done to it below."""
    change(changed)
    rounds.once()


def watch(*, owner: str = "", changed: Iterable[str] = ()) -> None:
    """The loop, until SIGTERM. `owner`: whose leases are its."""
    change(changed)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    loop = Loop()
    loop.owner = UUID(owner) if owner else loop.owner
    loop.watch(stop)


def worker(*, drain: bool = True, grace: float = 20.0, changed: Iterable[str] = ()) -> None:
    """A worker of the built-in engine, by default until there is nothing to do."""
    change(changed)
    Parent(1, drain=drain, grace=grace).run()


def claim_lease(name: str) -> None:
    """Ends with 0 where it got the lease, with 3 where somebody else did."""
    raise SystemExit(0 if acquire(name, uuid4(), 60) else 3)


def claim_step() -> None:
    """Ends with 0 where it got a step, with 3 where there was none for it."""
    taken = turn(Taker(register(1).pk, f"claimer:{os.getpid()}")).taken
    raise SystemExit(0 if taken else 3)


def act(intent: str, pk: int, **more: Any) -> None:
    """What a person asks of a run (of a task run, where the intent is one of a task)."""
    model = TaskRun if intent.endswith("_task") else WorkflowRun
    getattr(actions, intent)(Actor(), model._default_manager.get(pk=pk), **more)


def start_runs(workflow: int, number: int, slowest: str) -> None:
    """Starts and labels so many runs as fast as it can; says how long the slowest took, in seconds,
    in a file."""
    found, longest = Workflow.objects.get(pk=workflow), 0.0
    for at in range(number):
        began = time.monotonic()
        run = actions.start_run(Actor(), found)
        actions.edit_run(Actor(), run, labels={"at": str(at)})
        longest = max(longest, time.monotonic() - began)
    Path(slowest).write_text(f"{longest:.3f}")


def post(path: str, body: Any, headers: dict[str, str], answer: str) -> None:
    """A request of the API, its answer written into a file."""
    response = Client(raise_request_exception=False, SERVER_NAME="localhost").post(
        f"/api/v1/{path}", body, "application/json", headers=headers
    )
    told = {"status": response.status_code, "headers": dict(response.headers)}
    draft = Path(f"{answer}.part")
    draft.write_text(json.dumps(told | {"body": json.loads(response.content or b"null")}))
    draft.rename(answer)


def change(names: Iterable[str]) -> None:
    """Applies changes by name; `name:value` gives one a value."""
    for text in names:
        name, _, value = text.partition(":")
        CHANGES[name](value)


def _dies_of(pk: str) -> None:
    """The process dies when it submits or looks up this run."""
    submit, find = Adapter.submit, Adapter.find

    def die_or_submit(self: Adapter, spec: Any) -> Any:
        if spec.run_id == int(pk):
            os.kill(os.getpid(), signal.SIGKILL)
        return submit(self, spec)

    def die_or_find(self: Adapter, external_id: str) -> Any:
        if WorkflowRun.objects.filter(pk=pk, external_id=external_id).exists():
            os.kill(os.getpid(), signal.SIGKILL)
        return find(self, external_id)

    Adapter.submit, Adapter.find = die_or_submit, die_or_find  # type: ignore[method-assign]


def _clock(seconds: str) -> None:
    """This process's clock is so many seconds ahead."""
    now, ahead = timezone.now, timedelta(seconds=float(seconds))
    timezone.now = lambda: now() + ahead


def _strikes(number: str) -> None:
    """So many processes must have died with a run in hand before it is blamed."""
    handle.KILLS = int(number)


def _cut_off(_: str) -> None:
    """A worker's child can't reach the database the first time that it has a result."""
    turn, left = child.turn, [1]

    def cut_off(taker: Any, outcomes: Any = (), *given: Any, **more: Any) -> Any:
        if outcomes and left:
            left.clear()
            raise OperationalError("The server is gone.")
        return turn(taker, outcomes, *given, **more)

    child.turn = cut_off  # type: ignore[assignment]


CHANGES = {"dies_of": _dies_of, "clock": _clock, "cut_off": _cut_off, "strikes": _strikes}
