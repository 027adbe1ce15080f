"""A result that can't be recorded because the database is down isn't lost."""

import os

import pytest
from django.db import DataError, OperationalError

from engines.adapters.local.worker import batch, child
from engines.adapters.local.worker.board import make_board
from engines.dag import spool
from engines.dag.held import Taker
from engines.dag.leases import register, replay
from engines.dag.models import Step, StepTry
from engines.dag.outcome import Outcome, Stop
from engines.dag.turns import turn
from engines.states import TaskState
from tests.engines.dag.driving import execution, states, step, submit
from tests.faults.answers import lose_next_answer

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def own_home(settings, tmp_path):
    settings.WORKFLOWHUB_HOME = tmp_path
    return tmp_path


@pytest.fixture
def taker():
    return Taker(register(1).pk, "here:1/0")


@pytest.fixture
def made_child(taker, own_home):
    reader, writer = os.pipe()
    waiting, ended = batch.Waiting(), spool.Ended(own_home / "spool" / "one.batch")
    yield child.Child(taker, make_board(1)[0], reader, writer, waiting, ended)
    waiting.close()
    os.close(reader)
    os.close(writer)


def outcome_of(taken, result='"kept"'):
    return Outcome(
        execution_id=taken.plan.id,
        step_id=taken.step_id,
        token=taken.token,
        name=taken.spec.name,
        map_index=-1,
        state=TaskState.COMPLETED,
        result=result,
    )


def files(home):
    folder = home / "spool"
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_fault_26_a_child_goes_on_trying_with_the_result_on_disk(
    own_home, taker, made_child, monkeypatch
):
    _, run = submit(step("a"))
    (taken,) = turn(taker).taken
    seen = []

    def flaky(*arguments, **options):
        if len(seen) < 3:
            seen.append(files(own_home))
            raise OperationalError("The server is gone.")
        return turn(*arguments, **options)

    monkeypatch.setattr(child, "turn", flaky)
    assert made_child.turn(child.Done([outcome_of(taken)]), taken.plan, stay=True) == []
    name = f"{taken.step_id}-{taken.token}.json"
    assert seen == [[], [name], [name]]
    assert files(own_home) == []
    assert execution(run).state == "COMPLETED"


def test_fault_26_a_later_worker_records_what_an_earlier_one_spooled(own_home, taker):
    _, run = submit(step("a"), step("b", "a"))
    spool.keep(outcome_of(turn(taker).taken[0]))
    assert states(run)["a"] == "RUNNING"
    assert replay() == 1
    assert states(run) == {"a": "COMPLETED", "b": "SCHEDULED"}
    assert Step.objects.get(name="a").result == "kept"
    assert files(own_home) == []
    assert replay() == 0


def test_fault_26_a_spooled_result_that_came_too_late_is_void(own_home, taker):
    _, run = submit(step("a"))
    (taken,) = turn(taker).taken
    spool.keep(outcome_of(taken))
    Step.objects.update(token=taken.token + 1)
    assert replay() == 0
    assert states(run)["a"] == "RUNNING"
    assert files(own_home) == []


def test_fault_07_a_step_whose_taking_was_committed_though_the_answer_got_lost_is_given_back(
    taker, made_child, monkeypatch
):
    _, run = submit(step("a"), step("b", "a"))
    lose_next_answer(monkeypatch)
    (taken,) = made_child.turn(child.Done(), None, stay=True)
    assert (taken.spec.name, taken.try_number) == ("a", 2)
    assert StepTry.objects.get().reason == Stop.DRAIN
    lose_next_answer(monkeypatch)
    (taken,) = made_child.turn(child.Done([outcome_of(taken)]), taken.plan, stay=True)
    assert taken.spec.name == "b"
    assert states(run) == {"a": "COMPLETED", "b": "RUNNING"}
    assert Step.objects.get(name="a").result == "kept"
    assert Step.objects.get(name="b").losses == 0
    assert Step.objects.filter(state=TaskState.RUNNING).count() == 1


def test_rubbish_in_the_spool_is_left_alone(own_home):
    (own_home / "spool").mkdir()
    (own_home / "spool" / "1-1.json").write_text("{")
    assert replay() == 0


def test_a_result_that_the_database_refuses_fails_the_step(taker, made_child, monkeypatch):
    _, run = submit(step("a"))
    (taken,) = turn(taker).taken

    def strict(taker, outcomes, *arguments, **options):
        if any(outcome.result == '"kept"' for outcome in outcomes):
            raise DataError("invalid byte sequence")
        return turn(taker, outcomes, *arguments, **options)

    monkeypatch.setattr(child, "turn", strict)
    made_child.turn(child.Done([outcome_of(taken)]), taken.plan, stay=True)
    assert execution(run).state == "FAILED"
    assert Step.objects.get(name="a").error == (
        "The result can't be kept: DataError: invalid byte sequence"
    )
