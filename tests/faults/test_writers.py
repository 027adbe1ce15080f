"""SQLite has one writer at a time: many processes write at once, and none of them hears of it."""

from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from engines.states import RunState
from runs import actions
from runs.models import RunEvent, WorkflowRun
from runs.policy import Actor
from tests.e2e.processes import eventually
from tests.factories import make_engine
from tests.faults.chance import scaled
from tests.faults.nursery import Nursery

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

STEP = {"handler": "sleep", "with": {"seconds": 0}}
DOCUMENT = {
    "title": "pair",
    "steps": [{"name": "a", **STEP}, {"name": "b", "needs": ["a"], **STEP}],
}


def test_fault_09_eight_writers_at_once_wait_for_each_other_without_an_error(
    nursery: Nursery, tmp_path: Path, record_property: Any
) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("Only SQLite has one writer at a time.")
    output = nursery._output
    before = output.stat().st_size
    make_engine("local", name="local")
    workflow, _ = actions.post_workflow(Actor(), definition=DOCUMENT)
    others = [nursery.fork("watch"), *(nursery.fork("worker", drain=False) for _ in range(2))]
    number = scaled(15)
    starters = [
        nursery.fork(
            "start_runs", workflow=workflow.pk, number=number, slowest=str(tmp_path / str(at))
        )
        for at in range(5)
    ]
    codes = [starter.wait(200) for starter in starters]
    assert codes == [0] * len(starters), nursery.said()
    slowest = max(float(path.read_text()) for path in tmp_path.iterdir())
    record_property("figure", f"SQLite under eight writers: the slowest start took {slowest:.2f} s")
    runs = WorkflowRun.objects.all()
    assert runs.count() == number * len(starters)
    eventually(
        lambda: runs.filter(state=RunState.COMPLETED).count() == runs.count(),
        seconds=120,
        what="every run has ended",
    )
    ends = RunEvent.objects.filter(new=RunState.COMPLETED, task_run=None)
    assert ends.count() == runs.count()
    said = output.read_text()[before:]
    assert not [word for word in ("locked", "reached", "waits for") if word in said], said
    for other in others:
        assert other.nursery.reap(other.pid) is None, nursery.said()
    call_command("fsck", verbosity=0)
