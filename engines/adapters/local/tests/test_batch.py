"""What a child and its parent share about steps that were taken together."""

import os
import stat
from uuid import uuid4

import pytest
from django.db import DataError, OperationalError

from engines.adapters.local.worker import child
from engines.adapters.local.worker.batch import (
    LONG_SECONDS,
    MOST,
    SHORT_SECONDS,
    Size,
    Waiting,
)
from engines.adapters.local.worker.board import make_board
from engines.dag import leases, spool
from engines.dag.held import Taker
from engines.dag.leases import register
from engines.dag.models import Step, StepTry, Worker
from engines.dag.outcome import Outcome
from engines.dag.spool import Ended
from engines.dag.turns import turn
from engines.states import TaskState
from tests.engines.dag.driving import (
    Hand,
    execution,
    lose_workers,
    outcome_of,
    states,
    step,
    step_row,
    submit,
)

NOTHING = child.Done()
TRIES = [(1, 10), (2, 20), (3, 30)]


@pytest.fixture
def waiting():
    made = Waiting()
    yield made
    made.close()


def test_each_try_is_given_out_once(waiting):
    assert waiting.next() is None
    assert waiting.withdraw() == []
    waiting.put(TRIES)
    assert waiting.next() == TRIES[0]
    assert waiting.withdraw() == TRIES[1:]
    assert waiting.next() is None
    waiting.put([(number, 1) for number in range(MOST)])
    assert len(waiting.withdraw()) == MOST


def ends(*seconds, state=TaskState.COMPLETED):
    return [
        Outcome(
            execution_id=1, step_id=1, token=1, name="a", map_index=-1, state=state, seconds=each
        )
        for each in seconds
    ]


def test_more_and_more_are_taken_while_they_are_short():
    size = Size()
    assert size.want == 1
    wanted = []
    for _ in range(6):
        size.learn(ends(SHORT_SECONDS / 2))
        wanted.append(size.want)
    assert wanted == [2, 4, 8, 16, 16, 16]
    size.learn(ends(SHORT_SECONDS * 2, SHORT_SECONDS * 2))
    assert size.want == 16, "not short enough for more, and not long"
    size.learn(ends(0.0, 0.0, LONG_SECONDS * 1.1))
    assert size.want == 1


def test_after_a_failure_one_is_taken_at_a_time():
    size = Size()
    size.learn(ends(0.0))
    size.learn(ends(0.0, state=TaskState.FAILED))
    assert size.want == 1


@pytest.fixture
def home(settings, tmp_path):
    settings.WORKFLOWHUB_HOME = tmp_path
    return tmp_path


@pytest.fixture
def path(home):
    return spool.file_of(uuid4(), 0)


@pytest.fixture
def ended(path):
    made = Ended(path)
    yield made
    made.close()


def test_outcomes_are_read_as_they_were_kept(path, ended):
    kept = ends(0.5, 1.5)
    ended.forget()
    assert list(spool.read(path)) == []
    for outcome in kept:
        ended.keep(outcome)
    assert list(spool.read(path)) == kept
    ended.forget()
    assert list(spool.read(path)) == []
    ended.keep(kept[1])
    assert list(spool.read(path)) == kept[1:]


def test_half_a_line_is_no_outcome_and_rubbish_harms_nobody(path, ended):
    ended.keep(ends(0.5)[0])
    with path.open("ab") as file:
        file.write(b'{"rubbish": 1}\n[]\nnull\n{"execution_id": 1, "st')
    assert list(spool.read(path)) == ends(0.5)


def test_a_disk_that_fails_stops_nobody(home):
    (home / "spool").write_text("no folder")
    ended = Ended(spool.folder() / "x.batch")
    ended.keep(ends(0.5)[0])
    ended.forget()
    ended.close()


def test_the_files_are_nobody_elses_business(path, ended):
    ended.keep(ends(0.5)[0])
    spool.keep(ends(0.5)[0])
    for file in (path, *spool.singles()):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(spool.folder().stat().st_mode) == 0o700


def test_what_a_full_disk_cuts_off_spoils_no_other_outcome(path, ended, monkeypatch):
    write = os.write
    monkeypatch.setattr(os, "write", lambda handle, data: write(handle, data[:20]))
    ended.keep(ends(0.1)[0])
    monkeypatch.setattr(os, "write", write)
    ended.keep(ends(0.5)[0])
    assert list(spool.read(path)) == ends(0.5)


@pytest.fixture
def taker():
    return Taker(register(1).pk, "here:1/0")


@pytest.fixture
def made_child(taker, ended, waiting):
    reader, writer = os.pipe()
    yield child.Child(taker, make_board(1)[0], reader, writer, waiting, ended)
    os.close(reader)
    os.close(writer)


class Runs:
    """Stands in for a Runner: `at` is called with the place of each step that runs."""

    def __init__(self, at=lambda place: None, fails=-1):
        self.names = []
        self.at = at
        self.fails = fails

    def run(self, taken):
        self.at(len(self.names))
        self.names.append(taken.spec.name)
        failed = len(self.names) == self.fails + 1
        return outcome_of(taken, TaskState.FAILED if failed else TaskState.COMPLETED)


@pytest.mark.django_db
def test_a_child_runs_what_it_took_one_after_the_other(made_child, path):
    _, run = submit(*(step(f"s{number}") for number in range(6)))
    made_child.size.want = 3
    taken = made_child.turn(NOTHING, None, stay=True)
    kept = []
    runs = Runs(lambda place: kept.append(len(list(spool.read(path)))))
    done = made_child.run(runs, taken)
    assert (runs.names, kept) == (["s0", "s1", "s2"], [0, 1, 2])
    made_child.size.want = 1
    (taken,) = made_child.turn(done, taken[0].plan, stay=True)
    assert taken.spec.name == "s3"
    assert list(spool.read(path)) == []
    assert list(states(run).values()).count("COMPLETED") == 3


@pytest.mark.django_db
def test_a_child_begins_nothing_that_its_parent_has_given_back(made_child, waiting):
    submit(*(step(f"s{number}") for number in range(6)))
    made_child.size.want = 3
    taken = made_child.turn(NOTHING, None, stay=True)
    withdrawn = []
    runs = Runs(lambda place: place == 1 and withdrawn.extend(waiting.withdraw()))
    done = made_child.run(runs, taken)
    assert runs.names == ["s0", "s1"]
    assert withdrawn == [(taken[2].step_id, taken[2].token)]
    assert (len(done.outcomes), list(done.unbegun)) == (2, [])


@pytest.mark.django_db
@pytest.mark.parametrize("policy", ["continue", "cancel", "drain"])
def test_nothing_begins_behind_a_failure_that_may_keep_it_from_starting(made_child, policy):
    _, run = submit(*(step(f"s{number}") for number in range(6)), failure_policy=policy)
    made_child.size.want = 3
    taken = made_child.turn(NOTHING, None, stay=True)
    runs = Runs(fails=1)
    done = made_child.run(runs, taken)
    assert runs.names == ["s0", "s1"]
    assert list(done.unbegun) == [(taken[2].step_id, taken[2].token)]
    made_child.size.want = 0
    made_child.turn(done, taken[0].plan, stay=True)
    row = step_row(run, "s2")
    ready = ("SCHEDULED", None, 1)
    assert (row.state, row.started_at, row.try_number) == (
        ready if policy == "continue" else (row.state, None, 1)
    )
    assert row.state != "RUNNING"
    assert step_row(run, "s1").state == "FAILED"


@pytest.mark.django_db
def test_a_child_of_which_everything_was_taken_goes_on(made_child, waiting, monkeypatch):
    submit(*(step(f"s{number}") for number in range(6)))
    taken = made_child.turn(NOTHING, None, stay=True)
    put = waiting.put
    monkeypatch.setattr(waiting, "put", lambda tries: (put(tries), waiting.withdraw()))
    assert made_child.run(Runs(), taken) == NOTHING._replace(outcomes=[])


@pytest.mark.django_db
@pytest.mark.parametrize("noticed", ["recovered", "retired", "replayed"])
def test_what_a_worker_has_left_is_recorded_before_its_steps_are_taken_away(home, noticed):
    _, run = submit(*(step(f"s{number}") for number in range(6)))
    hand = Hand()
    taken = hand.take_together(3)
    path = spool.file_of(hand.worker.pk, 0)
    ended = Ended(path)
    for each in taken[:2]:
        ended.keep(outcome_of(each))
    ended.close()
    assert leases.replay() == 0, "it may live, and record them itself"
    assert path.exists()
    if noticed == "recovered":
        lose_workers()
    elif noticed == "retired":
        leases.retire(hand.worker.pk)
    else:
        Worker.objects.update(ended_at=hand.worker.started_at)
        assert leases.replay() == 2
        assert states(run)["s2"] == "RUNNING", "this is for others"
        leases.recover()
    assert not path.exists()
    found = states(run)
    assert [found[f"s{number}"] for number in range(3)] == ["COMPLETED", "COMPLETED", "SCHEDULED"]
    assert [row.step.name for row in StepTry.objects.all()] == ["s2"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("away", [False, True])
def test_a_result_that_the_database_refuses_fails_only_its_own_step(made_child, monkeypatch, away):
    """Also where the database goes away while each is recorded by itself."""
    _, run = submit(*(step(f"s{number}") for number in range(6)), failure_policy="continue")
    made_child.size.want = 3
    taken = made_child.turn(NOTHING, None, stay=True)
    done = child.Done([outcome_of(each, result=each.spec.name) for each in taken])

    def strict(taker, outcomes, *arguments, **options):
        if len(outcomes) == 1 and lost:
            lost.clear()
            raise OperationalError("The server is gone.")
        if any(outcome.result == '"s1"' for outcome in outcomes):
            raise DataError("invalid byte sequence")
        return turn(taker, outcomes, *arguments, **options)

    lost = [1] if away else []

    monkeypatch.setattr(child, "turn", strict)
    taken = made_child.turn(done, taken[0].plan, stay=True)
    assert [each.spec.name for each in taken] == ["s3", "s4"]
    found = states(run)
    assert [found[f"s{number}"] for number in range(3)] == ["COMPLETED", "FAILED", "COMPLETED"]
    assert "invalid byte sequence" in step_row(run, "s1").error
    assert execution(run).state == "RUNNING"
    assert not StepTry.objects.exists()
    assert spool.singles() == []


@pytest.mark.django_db(transaction=True)
def test_one_that_the_database_refuses_holds_no_other_up_where_the_child_is_gone(monkeypatch):
    _, run = submit(*(step(f"s{number}") for number in range(6)), failure_policy="continue")
    outcomes = [outcome_of(each, result=each.spec.name) for each in Hand().take_together(3)]
    finish = leases.finish

    def strict(held, outcome):
        if outcome.result == '"s1"':
            raise DataError("invalid byte sequence")
        return finish(held, outcome)

    monkeypatch.setattr(leases, "finish", strict)
    assert leases.end_all(outcomes) == 3
    assert "DataError: invalid byte sequence" in step_row(run, "s1").error
    found = states(run)
    assert [found[f"s{number}"] for number in range(3)] == ["COMPLETED", "FAILED", "COMPLETED"]


@pytest.mark.django_db
def test_one_that_is_asked_to_stop_while_it_is_given_back_ends(monkeypatch):
    _, run = submit(*(step(f"s{number}") for number in range(6)))
    hand = Hand()
    taken = hand.take_together(3)
    give_back = leases.statements.give_back

    def asked_meanwhile(*values):
        Step.objects.filter(name="s1").update(stop="canceled")
        return give_back(*values)

    monkeypatch.setattr(leases.statements, "give_back", asked_meanwhile)
    leases.give_back(hand.worker.pk, [(each.step_id, each.token) for each in taken[1:]])
    assert (states(run)["s1"], states(run)["s2"]) == ("CANCELED", "SCHEDULED")


@pytest.mark.django_db
def test_only_the_tries_that_are_known_are_kept_where_an_answer_got_lost(taker):
    _, run = submit(step("a"), step("b"), max_parallel=2)
    (taken,) = turn(taker).taken
    Step.objects.filter(pk=taken.step_id).update(token=taken.token + 2)  # taken anew, unheard
    assert leases.hand_back(taker, [outcome_of(taken)]) == 1
    assert states(run)["a"] == "SCHEDULED"
