"""How long a worker has been silent, as one process hears it."""

import pytest
from django.db import DatabaseError

from engines.dag import leases, silence
from engines.dag.models import Worker

pytestmark = pytest.mark.django_db


class Listener:
    """An ear, and the clock of its process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        self.ear = silence.Ear()
        monkeypatch.setattr(silence.time, "monotonic", lambda: self.now)

    def lost_after(self, *pauses: float) -> int:
        """Listens after each of these pauses; how many are lost by then."""
        for pause in pauses:
            self.now += pause
            heard = self.ear.listen()
        return sum(silent for _, silent in heard)


@pytest.fixture
def listener(monkeypatch, settings):
    settings.WORKFLOWHUB_WORKER_LOST_AFTER = 12
    leases.register(1)
    return Listener(monkeypatch)


def test_who_says_nothing_new_for_long_enough_is_silent(listener):
    assert listener.lost_after(*[1] * 12) == 0
    assert listener.lost_after(1) == 1


def test_whoever_has_just_begun_to_listen_calls_nobody_silent(listener):
    assert listener.lost_after(0) == 0


def test_a_heartbeat_ends_the_silence_also_where_it_is_of_an_earlier_time(listener):
    assert listener.lost_after(*[1] * 12) == 0
    Worker.objects.update(heartbeat_at="2020-01-01T00:00Z")
    assert listener.lost_after(*[1] * 11) == 0, "it was no earlier than the look before"
    assert listener.lost_after(1) == 1


def test_a_heartbeat_of_a_time_to_come_is_of_this_moment(listener):
    assert listener.lost_after(1) == 0
    Worker.objects.update(heartbeat_at="2999-01-01T00:00Z")
    assert listener.lost_after(*[1] * 12) == 0
    assert listener.lost_after(1) == 1


def test_fault_24_31_a_pause_in_which_nobody_listened_counts_little(listener):
    """It and the others may have been stopped together."""
    assert listener.lost_after(0, 4, 3600) == 0
    assert listener.lost_after(1) == 0


def test_fault_24_whoever_listens_seldom_hears_in_the_end_who_is_dead(listener):
    assert listener.lost_after(0, 60, 60) == 0
    assert listener.lost_after(60) == 1


def test_fault_06_who_could_not_listen_knows_nothing(listener, monkeypatch):
    assert listener.lost_after(*[1] * 12) == 0
    with monkeypatch.context() as context:

        def gone(**_):
            raise DatabaseError

        context.setattr(Worker.objects, "filter", gone)
        with pytest.raises(DatabaseError):
            listener.lost_after(1)
    assert listener.lost_after(*[1] * 12) == 0
    assert listener.lost_after(1) == 1


def test_who_has_ended_is_heard_no_more(listener):
    assert listener.lost_after(1) == 0
    leases.retire(Worker.objects.get().pk)
    assert listener.ear.listen() == []
