"""?refresh=: wait until the reconciler has looked, without holding a connection."""

import threading
import time
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from runs.api import waiting
from runs.models import WorkflowRun
from runs.policy import Actor
from tests.api.conftest import Caller
from tests.factories import make_run


def look_after(seconds: float, pk: int, **found: Any) -> threading.Thread:
    """Somebody who looks at the run a little later, as the reconciler does."""

    def look() -> None:
        time.sleep(seconds)
        WorkflowRun.objects.filter(pk=pk).update(next_check_at=None, **found)
        connection.close()

    thread = threading.Thread(target=look)
    thread.start()
    return thread


@pytest.mark.django_db(transaction=True)
def test_it_makes_the_run_due_and_waits_for_the_look() -> None:
    api = Caller()
    run = make_run(state="RUNNING")
    assert run.next_check_at is None
    thread = look_after(0.4, run.pk, state="COMPLETED", version=9, observed_at=timezone.now())
    began = time.monotonic()
    body = api.get(f"workflow-runs/{run.pk}?refresh=5").json()
    took = time.monotonic() - began
    thread.join()
    assert (body["state"], body["version"]) == ("COMPLETED", 9)
    assert 0.3 < took < 3


@pytest.mark.django_db(transaction=True)
def test_a_waiter_holds_no_connection_and_the_asker_ends_with_the_last() -> None:
    run = make_run(state="RUNNING")
    open_while_waiting = []
    real = threading.Event.wait

    def spy(event: threading.Event, timeout: float | None = None) -> bool:
        if timeout == 0.5:
            open_while_waiting.append(connection.connection is not None)
        return real(event, timeout)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Event, "wait", spy)
        assert waiting.wait_for_look(Actor(), run, 0.5) is False
    assert open_while_waiting == [False]
    for _ in range(100):
        if "refresh" not in {thread.name for thread in threading.enumerate()}:
            break
        time.sleep(0.05)
    assert "refresh" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.django_db(transaction=True)
def test_one_too_many_is_answered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "MOST_WAITERS", 1)
    run, api = make_run(state="RUNNING"), Caller()
    first = threading.Thread(
        target=lambda: (waiting.wait_for_look(Actor(), run, 2), connection.close())
    )
    first.start()
    while not waiting._waiters:
        time.sleep(0.01)
    began = time.monotonic()
    answer = api.get(f"workflow-runs/{run.pk}?refresh=5")
    assert answer.status_code == 200
    assert time.monotonic() - began < 1
    WorkflowRun.objects.update(next_check_at=None)
    first.join()


def test_a_run_that_has_ended_is_not_waited_for(api: Caller) -> None:
    run = make_run(state="COMPLETED")
    began = time.monotonic()
    assert api.get(f"workflow-runs/{run.pk}?refresh=5").status_code == 200
    assert time.monotonic() - began < 1
    run.refresh_from_db()
    assert run.next_check_at is None


def test_a_look_changes_no_version_and_a_held_run_stays_undisturbed(api: Caller) -> None:
    held = make_run(hold=True)
    api.get(f"workflow-runs/{held.pk}?refresh=0.01")
    fresh = WorkflowRun.objects.get(pk=held.pk)
    assert (fresh.version, fresh.next_check_at) == (held.version, None)


@pytest.mark.parametrize("value", ["6", "-1", "x", "nan", "inf"])
def test_a_wrong_time_is_named(api: Caller, value: str) -> None:
    answer = api.get(f"workflow-runs/{make_run().pk}?refresh={value}")
    assert answer.json()["errors"][0]["field"] == "refresh"
