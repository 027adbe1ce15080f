"""What one turn of a worker costs: the statements between a step's end and the start of the next one,
and where the worker has to wait for the database."""

import pytest
from django.db import connection

from engines.dag import lookups, sql, statements, values
from tests.engines.dag.driving import Hand, step, submit

pytestmark = pytest.mark.django_db

WAITS = "waits"


@pytest.fixture
def sent(monkeypatch):
    """The first two words of each statement as it is sent, and WAITS for an answer called for."""
    found = []

    def ask(text, values=(), real=sql.ask):
        fetch = real(text, values)
        found.append(" ".join(text.split()[:2]))
        return lambda: (found.append(WAITS), fetch())[1]

    def change(text, values=(), real=sql.change):
        found.append(" ".join(text.split()[:2]))
        real(text, values)

    for module in (sql, statements, lookups):
        monkeypatch.setattr(module, "ask", ask)
    for module in (sql, statements):
        monkeypatch.setattr(module, "change", change)
    for module in (lookups, values):
        monkeypatch.setattr(module, "run", lambda text, values=(): ask(text, values)())
    return found


@pytest.mark.parametrize("more", [{}, {"trigger": "all_done"}])
def test_a_step_that_ends_well_costs_one_round_trip_and_the_start_of_the_next(sent, more):
    submit(step("a"), step("b", "a"), step("c", "b", **more))
    hand = Hand()
    taken = hand.end(hand.take())
    sent.clear()
    assert hand.end(taken).spec.name == "c"
    together = ["SELECT external_id,", "UPDATE dag_step", "UPDATE dag_step", "WITH own"]
    if connection.vendor == "postgresql":
        assert sent == [*together, WAITS, WAITS, WAITS, "UPDATE dag_step"]
    else:  # where nobody waits for an answer
        assert [word for word in sent if word != WAITS] == [
            "INSERT INTO",
            *together,
            "UPDATE dag_step",
        ]


def test_an_item_that_ends_well_costs_the_same_and_its_value(sent):
    submit(step("each", for_each=[1, 2, 3]))
    hand = Hand()
    taken = hand.end(hand.take())
    sent.clear()
    assert hand.end(taken).map_index == 2
    clock = connection.vendor != "postgresql"
    assert len([word for word in sent if word != WAITS]) == 6 + clock
    if connection.vendor == "postgresql":
        assert "WITH own" in sent[: sent.index(WAITS)]


@pytest.mark.parametrize("count", [2, 8])
def test_steps_taken_together_cost_as_much_as_one(sent, count):
    submit(step("each", for_each=list(range(60))), max_parallel=32)
    hand = Hand()
    hand.end(hand.take())
    taken = hand.take_together(count)
    assert len(taken) == count
    sent.clear()
    assert len(hand.end_together(taken, want=count)) == count
    if connection.vendor == "postgresql":
        assert len([word for word in sent if word != WAITS]) == 6


def test_another_pass_costs_no_more_than_five_statements_more(sent):
    submit(step("again", repeat=5))
    hand = Hand()
    taken = hand.end(hand.take())
    sent.clear()
    assert hand.end(taken).map_index == 2
    assert len([word for word in sent if word != WAITS]) <= 11
