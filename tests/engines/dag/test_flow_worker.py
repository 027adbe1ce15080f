"""Trigger rules, passes and mapped steps with real workers."""

import re
from pathlib import Path

import pytest
import yaml
from django.conf import settings

from engines.dag.formats import parse
from engines.parameters import clean_parameters
from tests.engines.dag.driving import (
    execution,
    make_adapter,
    make_spec,
    python,
    states,
    step,
    step_row,
    submit,
)
from tests.engines.dag.workers import wait_for, wait_for_end

pytestmark = pytest.mark.django_db(transaction=True)
TEXT = (Path(settings.BASE_DIR) / "docs/workflow_format.md").read_text()


def documented(title, **parameters):
    """The execution's external id of the example of this title."""
    found = re.findall(r"^```yaml\n(.*?)^```$", TEXT, re.M | re.S)
    text = next(text for text in found if yaml.safe_load(text).get("title") == title)
    schema = parse(text, "workflowhub").graph.parameters_schema
    spec = make_spec(text, parameters=clean_parameters(schema, parameters))
    make_adapter().submit(spec)
    return spec.external_id


def test_a_workflow_with_all_three_runs_to_its_end(start_worker, tmp_path):
    start_worker("--concurrency", "2")
    marks = tmp_path / "marks"
    _, run = submit(
        step("list", **{"with": {"items": [{"n": 1}, {"n": 20}, {"n": 300}]}}),
        python(
            "each",
            "add",
            arguments={"left": "${item.n}", "right": "${index}"},
            for_each="${steps.list.result.items}",
        ),
        python(
            "grow",
            "add",
            arguments={"left": "${steps.each.result[0]}", "right": "${index}"},
            repeat={"until": "${result} >= ${steps.each.result[0]} and ${index} == 2", "delay": 0.1},
        ),
        python("bad", "fail", "grow", when="${steps.grow.result} == 3", retry=0),
        step("never", "bad"),
        step("alarm", "bad", trigger="one_failed", **{"with": {"after": "${steps.bad.result}"}}),
        python("clean", "mark", "never", "alarm", trigger="all_done", arguments={"path": str(marks)}),
        step("end", "clean", **{"with": {"sums": "${steps.each.result}"}}),
        outputs={"sums": "${steps.end.result.sums}"},
    )  # fmt: skip
    ended = wait_for_end(run)
    assert states(run) == {
        "list": "COMPLETED",
        "each": "COMPLETED",
        **{f"each[{n}]": "COMPLETED" for n in range(3)},
        "grow": "COMPLETED",
        **{f"grow[{n}]": "COMPLETED" for n in range(3)},
        "bad": "FAILED",
        "never": "UPSTREAM_FAILED",
        "alarm": "COMPLETED",
        "clean": "COMPLETED",
        "end": "COMPLETED",
    }
    assert (ended.state, ended.error) == ("FAILED", "bad: ValueError: It went wrong.")
    assert step_row(run, "end").result == {"sums": [1, 21, 302]}
    assert len(marks.read_text().splitlines()) == 2


def test_the_documented_examples_run(start_worker):
    start_worker("--concurrency", "2")
    asked = documented("Ask until it is done", goal=2)
    cleared = documented("Clear up in any case")
    assert wait_for_end(asked).result == {"last": {"pass": 2, "before": 1}}
    assert wait_for_end(cleared).state == "COMPLETED"
    assert states(cleared)["alarm"] == "SKIPPED"


@pytest.mark.faults
def test_the_documented_example_clears_up_after_a_failure(start_worker):
    start_worker("--concurrency", "1")
    run = documented("Clear up in any case", seconds=30)
    assert wait_for_end(run).state == "FAILED"
    found = states(run)
    assert [found[name] for name in ("work", "alarm", "clear", "report")] == [
        "FAILED", "COMPLETED", "COMPLETED", "COMPLETED",
    ]  # fmt: skip


@pytest.mark.faults
def test_fault_24_the_kill_of_a_worker_between_two_passes_loses_and_doubles_none(
    start_worker, tmp_path
):
    marks = tmp_path / "marks"
    first = start_worker("--concurrency", "1")
    _, run = submit(
        python("poll", "mark", arguments={"path": str(marks)}, repeat={"max": 3, "delay": 2})
    )
    wait_for(lambda: states(run).get("poll[1]") == "PENDING")
    first.kill()
    assert states(run)["poll[0]"] == "COMPLETED"
    start_worker("--concurrency", "1")
    assert wait_for_end(run).state == "COMPLETED"
    assert states(run) == dict.fromkeys(["poll", "poll[0]", "poll[1]", "poll[2]"], "COMPLETED")
    assert len(marks.read_text().splitlines()) == 6


@pytest.mark.faults
def test_fault_24_the_kill_of_a_worker_within_a_pass_costs_that_pass_a_try(start_worker, tmp_path):
    marks = tmp_path / "marks"
    first = start_worker("--concurrency", "1", WORKFLOWHUB_AUTO_RESUME="true")
    arguments = {"path": str(marks), "seconds": 1.0}
    _, run = submit(python("poll", "mark", arguments=arguments, repeat=3))
    wait_for(lambda: states(run).get("poll[1]") == "RUNNING")
    first.kill()
    start_worker("--concurrency", "1", WORKFLOWHUB_AUTO_RESUME="true")
    assert wait_for_end(run, 30).state == "COMPLETED"
    rows = {n: step_row(run, "poll", n).try_number for n in range(3)}
    assert rows == {0: 1, 1: 2, 2: 1}
    lines = marks.read_text().splitlines()
    assert len([line for line in lines if line.startswith("end")]) == 3


def test_a_cancel_stops_a_step_that_waits_for_its_next_pass(start_worker):
    start_worker("--concurrency", "1")
    adapter, run = submit(python("poll", "noop", repeat={"max": 3, "delay": 600}))
    wait_for(lambda: states(run).get("poll[1]") == "PENDING")
    adapter.cancel(run)
    assert execution(run).state == "CANCELED"
