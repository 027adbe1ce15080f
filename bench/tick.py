"""One tick of the reconciler over 10,000 active runs of 10 tasks each, at an engine behind HTTP.

`python -m bench.tick NAME` measures in the database of DATABASE_URL and prints JSON; `measure` starts
that as a process, so that the memory which is told is the reconciler's alone.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from bench.figures import Figure
from bench.hub import ROOT, database, environment, manage

RUNS, TASKS = 10_000, 10
CHANGES = (0, 100, RUNS)


def measure(kind: str) -> Iterator[Figure]:
    with database(kind) as url, tempfile.TemporaryDirectory(prefix="workflowhub-bench-") as home:
        env = environment(
            home,
            url,
            WORKFLOWHUB_ADAPTER_PACKAGES="tests.adapters",
            WORKFLOWHUB_HTTP_ALLOW="127.0.0.0/8",
            WORKFLOWHUB_LOG_LEVEL="WARNING",
        )
        manage("migrate", "--verbosity", "0", env=env)
        said = subprocess.run(
            [sys.executable, "-m", "bench.tick", kind],
            cwd=ROOT,
            env=env,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        )
    for line in said.stdout.splitlines():
        yield Figure(**json.loads(line))


class Counted:
    """Statements and the rows that they wrote, of one connection."""

    def __init__(self) -> None:
        self.statements = self.written = 0

    def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        self.statements += 1
        result = execute(sql, params, many, context)
        verb = sql.lstrip(" (").split(None, 1)[0].upper()
        if verb in ("INSERT", "UPDATE", "DELETE") or (verb == "WITH" and "UPDATE " in sql):
            self.written += max(context["cursor"].rowcount, 0)
        return result


def main(on: str) -> None:
    import django

    django.setup()
    from bench.fake import Fake

    for incremental in (False, True):
        with Fake() as fake:
            for figure in _measure(fake, on, incremental=incremental):
                print(json.dumps(asdict(figure)), flush=True)


def _measure(fake: Any, on: str, *, incremental: bool) -> Iterator[Figure]:
    from django.db import connection

    sweep = _sweep(fake.url, incremental=incremental)
    _settle(fake, sweep)
    for changed in CHANGES:
        fake.ask("advance", changed)
        fake.ask("requests")
        counted = Counted()
        before = _peak(reset=True)
        began = time.perf_counter()
        with connection.execute_wrapper(counted):
            sweep.hold.renew()
            sweep.tick(full=not incremental)
        seconds = time.perf_counter() - began
        listing = "the engine lists changes" if incremental else "every run is asked for"
        work = f"tick over {RUNS:,} runs × {TASKS} tasks, {changed:,} changed; {listing}"
        for measure, value in (
            ("seconds", seconds),
            ("HTTP calls", fake.ask("requests")),
            ("SQL statements", counted.statements),
            ("rows written", counted.written),
            ("memory beyond the idle loop's, MiB", max(_peak() - before, 0.0)),
        ):
            yield Figure(work=work, measure=measure, on=on, value=value)
    sweep.hold.release()


def _sweep(url: str, *, incremental: bool) -> Any:
    """Of a new engine that has RUNS runs to send."""
    from engines.models import Engine
    from runs import actions
    from runs.policy import Actor
    from runs.reconciler.hold import take
    from runs.reconciler.once import lease_name
    from runs.reconciler.sweep import EngineSweep
    from tests.faults.crowd import make_crowd

    engine = Engine.objects.create(
        name=f"fake-{incremental}",
        kind="remote",
        config={"url": url, "submission": "A", "in_place": False, "incremental": incremental},
    )
    tasks = [{"name": f"t{n}", "needs": [f"t{n - 1}"] if n else []} for n in range(TASKS)]
    definition = json.dumps({"title": f"bench-{incremental}", "tasks": tasks})
    workflow, _ = actions.post_workflow(Actor(), definition=definition, engine=engine)
    make_crowd(actions.start_run(Actor(), workflow), RUNS - 1)
    hold = take(lease_name(engine.pk), uuid.uuid4())
    assert hold is not None
    return EngineSweep(engine.pk, hold)


def _settle(fake: Any, sweep: Any) -> None:
    """Until every run was sent and is seen to run, and nothing is left to do."""
    from runs.models import RunAttempt, WorkflowRun
    from runs.states import RunState

    own = WorkflowRun.objects.filter(engine_id=sweep.engine_id)
    while RunAttempt.objects.filter(run__engine_id=sweep.engine_id, sent_at=None).exists():
        sweep.hold.renew()
        sweep.tick()
    fake.ask("advance", RUNS)
    while own.exclude(state=RunState.RUNNING).exists():
        sweep.hold.renew()
        sweep.tick(full=True)
    assert own.count() == RUNS
    for _ in range(3):
        sweep.hold.renew()
        sweep.tick(full=True)


def _peak(*, reset: bool = False) -> float:
    """MiB of memory that this process has had at the most, since it was reset (Linux)."""
    try:
        if reset:
            with open("/proc/self/clear_refs", "w") as file:
                file.write("5")
        with open("/proc/self/status") as file:
            line = next(line for line in file if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    assert os.environ["DATABASE_URL"]
    main(sys.argv[1])
