"""Twenty who want the same thing at the same moment: one gets it."""

import threading
from collections import Counter

import pytest
from django.db import connection

from engines.dag.held import Taker
from engines.dag.models import Step
from engines.dag.outcome import Taken
from engines.dag.turns import turn
from engines.states import TaskState
from runs.models import Lease
from tests.engines.dag.driving import register_this_process, step, submit
from tests.faults.chance import scaled
from tests.faults.nursery import Nursery

pytestmark = pytest.mark.django_db(transaction=True)
CLAIMERS = 20
GOT, TOO_LATE = 0, 3


def test_fault_28_of_twenty_threads_that_ask_at_once_one_gets_the_step() -> None:
    submit(step("only"))
    takers = [Taker(register_this_process().pk, f"claimer:{at}") for at in range(CLAIMERS)]
    start = threading.Barrier(CLAIMERS)
    taken: list[Taken | None] = []

    def claim(taker: Taker) -> None:
        start.wait(20)
        try:
            taken.extend(turn(taker).taken or [None])
        finally:
            connection.close()

    threads = [threading.Thread(target=claim, args=(taker,)) for taker in takers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(taken) == CLAIMERS
    (won,) = [one for one in taken if one is not None]
    row = Step.objects.get()
    assert (row.state, row.token, row.try_number) == (TaskState.RUNNING, won.token, 1)


@pytest.mark.faults
def test_fault_28_of_twenty_processes_that_ask_at_once_one_gets_the_step(nursery: Nursery) -> None:
    for number in range(scaled(2)):
        submit(step(f"only{number}"))
        claimers = [nursery.fork("claim_step") for _ in range(CLAIMERS)]
        codes = Counter(claimer.wait() for claimer in claimers)
        assert codes == {GOT: 1, TOO_LATE: CLAIMERS - 1}, nursery.said()
    assert set(Step.objects.values_list("state", "token")) == {(TaskState.RUNNING, 1)}


@pytest.mark.faults
def test_fault_28_of_twenty_processes_that_ask_at_once_one_gets_the_lease(nursery: Nursery) -> None:
    for number in range(scaled(2)):
        claimers = [nursery.fork("claim_lease", name=f"lease{number}") for _ in range(CLAIMERS)]
        codes = Counter(claimer.wait() for claimer in claimers)
        assert codes == {GOT: 1, TOO_LATE: CLAIMERS - 1}, nursery.said()
    assert set(Lease.objects.values_list("token", flat=True)) == {1}
