"""One owner at a time, by the database's clock, with a token that only rises."""

import threading
import time
import uuid
from datetime import timedelta

import pytest
from django.db import connection, transaction

from engines.clock import database_now
from runs import leases
from runs.models import Lease

pytestmark = pytest.mark.django_db


def expire(name):
    Lease.objects.filter(name=name).update(expires_at=database_now() - timedelta(seconds=1))


def test_a_lease_has_one_owner():
    first = leases.acquire("x", uuid.uuid4(), 10)
    assert first is not None and 9 < leases.held("x").left <= 10
    assert leases.acquire("x", uuid.uuid4(), 10) is None
    assert leases.acquire("y", uuid.uuid4(), 10) is not None


def test_an_expired_or_released_lease_is_taken_with_a_newer_token():
    first = leases.acquire("x", uuid.uuid4(), 10)
    expire("x")
    assert leases.held("x") is None
    second = leases.acquire("x", uuid.uuid4(), 10)
    assert second.token == first.token + 1
    leases.release(second)
    third = leases.acquire("x", uuid.uuid4(), 10)
    assert third.token == second.token + 1


def test_a_release_by_who_has_lost_it_changes_nothing():
    first = leases.acquire("x", uuid.uuid4(), 10)
    expire("x")
    leases.acquire("x", uuid.uuid4(), 10)
    leases.release(first)
    assert leases.held("x")


def test_renewal_lengthens_and_fails_once_the_lease_is_lost():
    fence = leases.acquire("x", uuid.uuid4(), 1)
    assert leases.renew(fence, 60)
    assert Lease.objects.get().expires_at > database_now() + timedelta(seconds=50)
    expire("x")
    assert not leases.renew(fence, 60), "an expired lease may be somebody else's by now"


def test_fault_11_a_stale_fence_is_told_inside_the_transaction_of_the_write():
    fence = leases.acquire("x", uuid.uuid4(), 10)
    with transaction.atomic():
        leases.check(fence)
    expire("x")
    leases.acquire("x", uuid.uuid4(), 10)
    with pytest.raises(leases.LeaseLost), transaction.atomic():
        leases.check(fence)


@pytest.mark.django_db(transaction=True)
def test_fault_28_of_twenty_who_ask_at_once_one_gets_the_lease():
    got, start = [], threading.Barrier(20)

    def ask():
        start.wait()
        try:
            got.append(leases.acquire("x", uuid.uuid4(), 10))
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 20
    assert len([fence for fence in got if fence]) == 1


@pytest.mark.django_db(transaction=True)
def test_fault_11_a_take_over_waits_for_a_write_that_has_checked_its_fence():
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time anyway.")
    fence = leases.acquire("x", uuid.uuid4(), 0.3)
    taken = []

    def take_over():
        try:
            while not taken:
                if leases.acquire("x", uuid.uuid4(), 10):
                    taken.append(time.monotonic())
                time.sleep(0.02)
        finally:
            connection.close()

    with transaction.atomic():
        leases.check(fence)
        other = threading.Thread(target=take_over)
        other.start()
        time.sleep(0.8)  # our lease is over, our transaction is not
        assert not taken
        ended = time.monotonic()
    other.join(5)
    assert taken and taken[0] >= ended
