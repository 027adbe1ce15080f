"""Runs that aren't as they are wanted, and what is said of what comes next."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from engines.models import Engine
from runs import drift
from runs.drift import Drift, Why, drifting, explain
from runs.models import RunAttempt, WorkflowRun
from tests.factories import make_engine, make_run

pytestmark = pytest.mark.django_db
NOW = timezone.now()
LONG_AGO, JUST_NOW = NOW - timedelta(minutes=5), NOW - timedelta(seconds=5)
SOON = NOW + timedelta(seconds=20)


@pytest.fixture
def engine() -> Engine:
    return make_engine()


def found(engine: Engine) -> list[Drift]:
    rows = drifting(WorkflowRun.objects.all(), engine, NOW)
    return [explain(run, engine, NOW) for run in rows]


CASES: list[tuple[dict[str, Any], tuple[Why, ...], str]] = [
    (
        {"state": "RUNNING", "wanted": "CANCEL", "cancel_requested_at": LONG_AGO},
        (Why.CANCEL,),
        "Asks the engine again to stop it.",
    ),
    (
        {"state": "RUNNING", "missing_since": JUST_NOW},
        (Why.MISSING,),
        "Gives it up as lost, unless the engine knows it by then.",
    ),
    ({"state": "PENDING", "failures": 2}, (Why.ERRORS,), "Tries again."),
    ({"state": "RUNNING", "failures": 2}, (Why.ERRORS,), "Looks at it with the others."),
    ({"state": "PENDING", "next_check_at": LONG_AGO}, (Why.OVERDUE,), "Tries again."),
    (
        {"state": "PENDING", "reason": "engine_off"},
        (Why.ENGINE_OFF,),
        "Waits until its engine takes runs again.",
    ),
    (
        {"state": "PENDING", "flags": {"quarantined": "x"}},
        (Why.QUARANTINED,),
        "Nothing by itself: somebody has to decide, on its page.",
    ),
    (
        {
            "state": "RUNNING",
            "wanted": "CANCEL",
            "cancel_requested_at": LONG_AGO,
            "flags": {"stuck": "x"},
        },
        (Why.STUCK,),
        "Asks the engine again to stop it.",
    ),
]


@pytest.mark.parametrize(("fields", "why", "step"), CASES)
def test_a_run_that_is_not_as_it_is_wanted_is_found(
    engine: Engine, fields: dict[str, Any], why: tuple[Why, ...], step: str
) -> None:
    run = make_run(engine=engine, **{"next_check_at": SOON, **fields})
    (one,) = found(engine)
    assert (one.run, one.why, one.next_step) == (run, why, step)


@pytest.mark.parametrize(
    "fields",
    [
        {"state": "RUNNING"},
        {"state": "RUNNING", "wanted": "CANCEL", "cancel_requested_at": JUST_NOW},
        {"state": "PENDING", "next_check_at": JUST_NOW},
        {"state": "PENDING", "reason": "queued", "next_check_at": SOON},
        {"state": "PENDING", "wanted": "HOLD", "reason": "held", "next_check_at": None},
        {"state": "FAILED", "failures": 3, "wanted": "CANCEL", "cancel_requested_at": LONG_AGO},
    ],
)
def test_a_run_that_goes_its_way_or_has_ended_is_not(
    engine: Engine, fields: dict[str, Any]
) -> None:
    make_run(engine=engine, **fields)
    assert found(engine) == []


def test_one_that_was_sent_without_an_answer_is_found_until_the_engine_has_it(
    engine: Engine,
) -> None:
    run = make_run(engine=engine, next_check_at=SOON)
    attempts = RunAttempt.objects.filter(run=run)
    attempts.update(sent_at=JUST_NOW)
    assert found(engine) == []
    attempts.update(sent_at=LONG_AGO)
    (one,) = found(engine)
    assert (one.why, one.since, one.next_at) == ((Why.NO_ANSWER,), LONG_AGO, SOON)
    assert one.next_step == "Looks at the engine for a run with its id."
    attempts.update(accepted_at=LONG_AGO)
    assert found(engine) == []


def test_when_a_missing_run_is_given_up_is_told(engine: Engine, settings: Any) -> None:
    settings.WORKFLOWHUB_LOST_AFTER = 60
    make_run(engine=engine, state="RUNNING", missing_since=JUST_NOW)
    (one,) = found(engine)
    assert one.next_at == JUST_NOW + timedelta(seconds=60)


def test_the_earliest_of_what_is_known_is_since_when(engine: Engine) -> None:
    asked = LONG_AGO - timedelta(minutes=1)
    make_run(
        engine=engine,
        state="RUNNING",
        wanted="CANCEL",
        cancel_requested_at=asked,
        missing_since=LONG_AGO,
    )
    (one,) = found(engine)
    assert (one.why, one.since) == ((Why.CANCEL, Why.MISSING), asked)


@pytest.mark.parametrize(
    ("fields", "step"),
    [
        ({"enabled": False}, "Nothing, until its engine is enabled."),
        ({"breaker_until": SOON}, "Asks its engine again, which is left alone after errors."),
        (
            {"capabilities": {"cancel_run": "It has no such call."}},
            "Watches it to its end: its engine can't stop a run.",
        ),
    ],
)
def test_what_keeps_the_hub_from_asking_its_engine_is_told(
    fields: dict[str, Any], step: str
) -> None:
    engine = make_engine(**fields)
    make_run(engine=engine, state="RUNNING", wanted="CANCEL", cancel_requested_at=LONG_AGO)
    (one,) = found(engine)
    assert one.next_step == step
    assert one.next_at == fields.get("breaker_until")


def test_other_engines_and_what_may_not_be_seen_are_left_out(engine: Engine) -> None:
    make_run(engine=make_engine(), state="RUNNING", failures=1)
    hidden = make_run(engine=engine, state="RUNNING", failures=1)
    assert [one.run for one in found(engine)] == [hidden]
    rest = WorkflowRun.objects.exclude(pk=hidden.pk)
    assert list(drifting(rest, engine, NOW)) == []


def test_only_the_oldest_active_runs_are_looked_through(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = (make_run(engine=engine, state="RUNNING", failures=1) for _ in range(2))
    assert [one.run for one in found(engine)] == [first, second]
    monkeypatch.setattr(drift, "REACH", 1)
    assert [one.run for one in found(engine)] == [first]
