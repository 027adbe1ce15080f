"""Trigger rules in a further attempt of an execution."""

import pytest

from engines.base import RetrySpec
from engines.states import TaskState
from tests.engines.dag.driving import (
    Hand,
    execution,
    make_adapter,
    make_spec,
    states,
    step,
    workflow,
)

pytestmark = pytest.mark.django_db

FAILED = TaskState.FAILED


def all_done(name, *needs, **more):
    return step(name, *needs, trigger="all_done", **more)


def one_failed(name, *needs, **more):
    return step(name, *needs, trigger="one_failed", **more)


def start(*steps, **more):
    adapter = make_adapter()
    spec = make_spec(workflow(*steps, **more))
    adapter.submit(spec)
    return adapter, spec


def retry(adapter, spec, *tasks, attempt=2):
    again = make_spec(spec.workflow.definition, uuid=spec.uuid, attempt=attempt)
    previous = make_spec(spec.workflow.definition, uuid=spec.uuid, attempt=attempt - 1)
    adapter.retry(again, RetrySpec(previous_external_id=previous.external_id, tasks=tuple(tasks)))
    return again.external_id


def test_a_retry_with_what_is_behind_it_decides_the_rules_anew():
    adapter, spec = start(step("a"), one_failed("alarm", "a"), all_done("clean", "a"))
    assert Hand().run_all({"a": FAILED}) == ["a", "alarm", "clean"]
    run = retry(adapter, spec, ("a", -1), ("alarm", -1), ("clean", -1))
    assert Hand().run_all() == ["a", "clean"]
    assert states(run) == {"a": "COMPLETED", "alarm": "SKIPPED", "clean": "COMPLETED"}
    assert execution(run).state == "COMPLETED"


def test_a_handler_of_failures_that_runs_again_alone_sees_the_kept_failure():
    adapter, spec = start(step("a"), step("b"), one_failed("alarm", "a", "b"),
                          failure_policy="continue")  # fmt: skip
    Hand().run_all({"a": FAILED, "alarm": FAILED})
    run = retry(adapter, spec, ("alarm", -1), ("b", -1))
    assert Hand().run_all() == ["b", "alarm"]
    assert states(run)["alarm"] == "COMPLETED"


def test_under_drain_a_failure_that_was_kept_from_an_earlier_attempt_does_not_count():
    adapter, spec = start(step("a"), step("b", "a"), step("c"), step("d", "c"),
                          all_done("clean", "a", "c"), failure_policy="drain")  # fmt: skip
    Hand().run_all({"a": FAILED})
    run = retry(adapter, spec, ("c", -1), ("d", -1), ("clean", -1))
    assert states(run)["a"] == "FAILED"
    assert Hand().run_all({"c": FAILED}) == ["c", "clean"]
    assert states(run)["d"] == "UPSTREAM_FAILED"
