"""Hints of engines: taken, told, and taken away once."""

import threading

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from engines.inbound import CHANNEL, Hint, drain, hint
from engines.models import Engine


@pytest.fixture
def engine(db: None) -> Engine:
    return Engine.objects.create(name="air", kind="remote")


def test_hints_are_drained_once(engine: Engine) -> None:
    hint(engine.pk, "wh-1-1")
    hint(engine.pk, "wh-2-1")
    assert sorted(drain(engine.pk)) == ["wh-1-1", "wh-2-1"]
    assert drain(engine.pk) == []


def test_the_same_hint_again_adds_nothing(engine: Engine) -> None:
    for _ in range(3):
        hint(engine.pk, "wh-1-1")
    assert drain(engine.pk) == ["wh-1-1"]


def test_each_engine_has_its_own(engine: Engine) -> None:
    other = Engine.objects.create(name="other", kind="remote")
    hint(other.pk, "wh-1-1")
    assert drain(engine.pk) == []
    assert drain(other.pk) == ["wh-1-1"]


def test_draining_is_one_statement(engine: Engine) -> None:
    hint(engine.pk, "wh-1-1")
    with CaptureQueriesContext(connection) as queries:
        drain(engine.pk)
    assert len(queries) == 1


@pytest.mark.parametrize("external_id", ["x" * 251, "a\x00b"])
def test_an_id_that_cant_be_ours_is_dropped(engine: Engine, external_id: str) -> None:
    hint(engine.pk, external_id)
    assert not Hint.objects.exists()


def test_a_hint_goes_with_its_engine(engine: Engine) -> None:
    hint(engine.pk, "wh-1-1")
    engine.delete()
    assert not Hint.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_two_that_drain_at_once_share_the_hints(transactional_db: None) -> None:
    engine = Engine.objects.create(name="air", kind="remote")
    for number in range(50):
        hint(engine.pk, f"wh-{number}-1")
    taken: list[str] = []

    def work() -> None:
        try:
            taken.extend(drain(engine.pk))
        finally:
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 50
    assert len(set(taken)) == 50


@pytest.mark.django_db(transaction=True)
def test_postgresql_tells_of_a_hint_when_it_commits(transactional_db: None) -> None:
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no NOTIFY: the loop polls.")
    engine = Engine.objects.create(name="air", kind="remote")
    listener = connection.copy()
    try:
        with listener.cursor() as cursor:
            cursor.execute(f"LISTEN {CHANNEL}")
        with transaction.atomic():
            hint(engine.pk, "wh-1-1")
            assert list(listener.connection.notifies(timeout=0.2, stop_after=1)) == []
        told = list(listener.connection.notifies(timeout=5, stop_after=1))
        assert [(each.channel, each.payload) for each in told] == [(CHANNEL, str(engine.pk))]
    finally:
        listener.close()
