"""Runs inside runs with the real loop and real workers, which are killed meanwhile."""

import json
import random
import time

import pytest

from runs import actions
from runs.models import ChildRun, WorkflowRun
from runs.policy import Actor
from runs.states import RunState
from tests.e2e.processes import command, eventually, kill
from tests.factories import make_engine

pytestmark = [pytest.mark.faults, pytest.mark.django_db(transaction=True)]
QUICK = {"WORKFLOWHUB_LEASE": "1", "WORKFLOWHUB_AUTO_RESUME": "true"}


def post(title, steps, **more):
    definition = {"title": title, "steps": steps, **more}
    return actions.post_workflow(Actor(), definition=json.dumps(definition))[0]


def test_children_run_to_their_end_once_each_though_the_loop_and_the_worker_are_killed(
    database_url,
):
    make_engine("local")
    post(
        "inner",
        [
            {"name": "wait", "handler": "sleep", "with": {"seconds": 0.2}},
            {"name": "out", "handler": "output", "needs": "wait", "with": {"n": "${params.n}"}},
        ],
        parameters={"n": {"type": "integer"}},
    )
    middle = {"workflow": "inner", "parameters": {"n": "${params.n}"}}
    post(
        "middle",
        [{"name": "ask", "handler": "workflow", "with": middle}],
        parameters={"n": {"type": "integer"}},
        outputs={"n": "${steps.ask.result.result.n}"},
    )
    ask = {"workflow": "middle", "parameters": {"n": "${item}"}}
    outer = post(
        "outer",
        [{"name": "ask", "handler": "workflow", "for_each": [0, 1, 2, 3, 4], "with": ask}],
        outputs={"all": "${steps.ask.result}"},
        max_parallel=2,
    )
    run = actions.start_run(Actor(), outer)
    for number in (2, 5, 8, None):
        with (
            command("sync", "--watch", database_url=database_url, **QUICK) as sync,
            command("worker", "--concurrency", "2", database_url=database_url, **QUICK) as worker,
        ):
            if number is None:
                ended = WorkflowRun.objects.filter(pk=run.pk, ended_at__isnull=False)
                eventually(ended.exists, seconds=60, what="the end")
            else:
                enough = WorkflowRun.objects.order_by("pk")[number - 1 :]
                eventually(enough.exists, seconds=60, what=f"{number} runs")
                time.sleep(random.uniform(0, 0.3))
            kill(sync)
            kill(worker)
    run.refresh_from_db()
    assert (run.state, run.error) == (RunState.COMPLETED, "")
    assert [one["result"]["n"] for one in run.result["all"]] == [0, 1, 2, 3, 4]
    assert WorkflowRun.objects.count() == 1 + 5 + 5
    assert not WorkflowRun.objects.exclude(state=RunState.COMPLETED).exists()
    assert ChildRun.objects.filter(answered_at__isnull=False).count() == 10
    assert sorted(ChildRun.objects.values_list("depth", flat=True)) == [1] * 5 + [2] * 5


def test_neither_a_request_nor_an_answer_waits_for_the_next_poll(database_url):
    make_engine("local")
    post("inner", [{"name": "out", "handler": "output"}])
    step = {"handler": "workflow", "with": {"workflow": "inner"}}
    outer = post("outer", [{"name": "a", **step}, {"name": "b", "needs": "a", **step}])
    slow = {"WORKFLOWHUB_POLL": "60", "WORKFLOWHUB_ACTIVE_POLL": "60"}
    with (
        command("sync", "--watch", database_url=database_url, **slow),
        command("worker", "--concurrency", "1", database_url=database_url),
    ):
        for seconds in (60, 20):  # the first one waits for the processes, too
            run = actions.start_run(Actor(), outer)
            ended = WorkflowRun.objects.filter(pk=run.pk, ended_at__isnull=False)
            eventually(ended.exists, seconds=seconds, what="the end")
    run.refresh_from_db()
    assert run.state == RunState.COMPLETED
