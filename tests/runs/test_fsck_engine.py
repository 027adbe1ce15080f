"""fsck on the built-in engine's own rows: each break is planted, found, and mended where it may be."""

import signal
import subprocess
import sys
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from engines.clock import database_now
from engines.dag import processes, requests
from engines.dag.models import Execution, Step, Worker
from engines.states import RunState, TaskState
from runs import fsck
from runs.models import RunAttempt, WorkflowRun
from tests.engines.dag.driving import Hand, make_spec, states, step, workflow
from tests.factories import make_engine, make_run, make_workflow

pytestmark = pytest.mark.django_db
LONG_AGO = timedelta(days=1)


def codes():
    return [broken.check.code for broken in fsck.run_checks()]


def mend():
    call_command("fsck", "--fix", stdout=StringIO())
    return codes()


@pytest.fixture
def run():
    """A run of two steps that the built-in engine has had for a day."""
    engine = make_engine(name="local")
    run = make_run(make_workflow({"a": [], "b": ["a"]}, engine=engine), accepted=True)
    begin(engine, run.external_id, str(run.uuid))
    WorkflowRun.objects.filter(pk=run.pk).update(state=RunState.SCHEDULED)
    run.events.create(
        seq=2, old="PENDING", new="SCHEDULED", cause="submit", actor_kind="reconciler"
    )
    WorkflowRun.objects.filter(pk=run.pk).update(last_seq=2)
    return run


def begin(engine, external_id, uuid):
    spec = make_spec(workflow(step("a"), step("b", "a")), uuid=uuid)
    spec = type(spec)(
        **{name: getattr(spec, name) for name in spec.__slots__} | {"external_id": external_id}
    )
    requests.start(engine.pk, spec)
    Execution.objects.filter(external_id=external_id).update(created_at=database_now() - LONG_AGO)


def test_a_run_under_way_breaks_nothing(run):
    Hand().take()
    assert codes() == []


def test_two_live_executions_of_a_run_are_found(run):
    begin(run.engine, f"wh-{run.uuid}-2", str(run.uuid))
    assert codes() == ["I1a", "I1b"]


def test_an_execution_that_no_active_run_has_is_found_and_canceled(run):
    begin(run.engine, "wh-00000000-0000-4000-8000-000000000001-1", "stray")
    assert codes() == ["I1b"]
    # It ends, and then it is forgotten, because no run had it.
    assert mend() == []
    assert Execution.objects.count() == 1


def test_a_step_whose_worker_is_gone_is_found_and_taken_back(run):
    hand = Hand()
    taken = hand.take()
    Worker.objects.update(heartbeat_at=database_now() - LONG_AGO)
    Step.objects.filter(pk=taken.step_id).update(started_at=database_now() - LONG_AGO)
    assert codes() == ["I7a"]
    assert mend() == []
    assert states(run.external_id)["a"] == TaskState.SCHEDULED
    assert hand.report(taken)[0] is False


@pytest.mark.parametrize("began", [True, False])
def test_a_step_that_runs_nowhere_is_found_and_taken_back(run, began):
    taken = Hand().take()
    started = database_now() - LONG_AGO if began else None
    Step.objects.filter(pk=taken.step_id).update(worker=None, started_at=started)
    assert codes() == ["I7a"]
    assert mend() == []
    assert states(run.external_id)["a"] == TaskState.SCHEDULED


def test_an_execution_that_waits_for_nothing_is_found_and_goes_on(run):
    hand = Hand()
    hand.end(hand.take())
    Step.objects.filter(name="b").update(state=TaskState.PENDING, waits_for=3)
    assert codes() == ["I7b"]
    assert mend() == []
    assert hand.run_all() == ["b"]
    assert Execution.objects.get().state == RunState.COMPLETED


def test_an_execution_whose_steps_all_are_done_is_found_and_ended(run):
    Step.objects.update(state=TaskState.COMPLETED)
    assert codes() == ["I7b"]
    assert mend() == []
    assert Execution.objects.get().state == RunState.COMPLETED


def test_a_group_whose_items_all_are_done_is_found_and_ended(run):
    engine = make_engine(name="second")
    other = make_run(make_workflow({"m": []}, engine=engine), accepted=True)
    spec = make_spec(workflow(step("m", for_each=[1, 2])), uuid=str(other.uuid))
    requests.start(engine.pk, spec)
    mapped = Step.objects.filter(execution__external_id=other.external_id, map_index__gte=0)
    mapped.update(state=TaskState.COMPLETED)
    Execution.objects.filter(external_id=other.external_id).update(
        created_at=database_now() - LONG_AGO
    )
    assert "I7b" in codes()
    call_command("fsck", "--fix", "--only", "I7b", stdout=StringIO())
    assert set(states(other.external_id).values()) == {TaskState.COMPLETED}


def test_an_ended_execution_of_a_run_that_is_gone_is_found_and_forgotten(run):
    begin(run.engine, "wh-00000000-0000-4000-8000-000000000002-1", "gone")
    requests.cancel("wh-00000000-0000-4000-8000-000000000002-1")
    assert codes() == ["I8b"]
    assert mend() == []
    assert not RunAttempt.objects.filter(external_id__contains="0002-1").exists()
    assert Execution.objects.get().external_id == run.external_id


def test_a_stray_whose_step_is_being_stopped_is_mended(run):
    hand = Hand()
    begin(run.engine, "wh-00000000-0000-4000-8000-000000000003-1", "stray")
    taken = [hand.take(), hand.take()]
    assert None not in taken
    assert codes() == ["I1b"]
    assert mend() == []  # nor does the command end with 1
    assert Step.objects.get(execution__run_uuid="stray", name="a").stop == "canceled"


def test_a_slot_with_two_steps_is_found(run):
    hand = Hand()
    begin(run.engine, f"wh-{run.uuid}-2", "second")
    taken = [hand.take(), hand.take()]
    assert None not in taken
    assert "I7c" not in codes()
    Worker.objects.update(heartbeat_at=database_now())
    Step.objects.filter(worker=hand.worker).update(started_at=database_now() - LONG_AGO)
    assert "I7c" in codes()
    (broken,) = fsck.run_checks(codes=["I7c"])
    assert broken.examples == ("slot hand:1 has 2 running steps",)


def sleeper(worker):
    return subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(600)"],
        env={"PATH": "/bin", processes.MARKER: str(worker)},
        stdout=subprocess.PIPE,
    )


@pytest.mark.skipif(not processes.place(), reason="Processes are seen on Linux only.")
def test_a_process_that_outlived_its_worker_is_found_and_ended():
    worker, other = Hand().worker, Hand().worker
    with sleeper(worker.pk) as left, sleeper(other.pk) as kept, sleeper("nonsense") as odd:
        try:
            for process in (left, kept, odd):
                process.stdout.readline()
            assert codes() == []
            Worker.objects.update(place=processes.place())
            Worker.objects.filter(pk=worker.pk).update(ended_at=database_now() - LONG_AGO)
            (broken,) = fsck.run_checks()
            assert broken.check.code == "I8c"
            assert broken.examples == (
                f"process {left.pid} goes on, and its worker {worker} has ended",
            )
            Worker.objects.filter(pk=worker.pk).update(place="another machine")
            assert codes() == []
            Worker.objects.filter(pk=worker.pk).update(place=processes.place())
            assert mend() == []
            assert left.wait(30) == -signal.SIGKILL
            assert kept.poll() is None
            assert odd.poll() is None
        finally:
            for process in (left, kept, odd):
                process.kill()
