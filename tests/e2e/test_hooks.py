"""Hooks with the real worker and sync loop: they run once after the end, and outlive a worker."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from django.core.management import call_command

from engines.states import RunState, TaskState
from runs import actions, logs
from runs.models import RunEvent, TaskRun, WorkflowRun
from runs.policy import Actor
from tests.e2e.processes import command, eventually, kill, kill_only
from tests.factories import make_engine

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]


def says(words, *, then="true"):
    """A hook that adds a line to the trace."""
    argv = ["sh", "-c", f'echo "$1" >> "$0"; echo told; {then}', "${params.trace}", words]
    return {"handler": "shell", "with": {"argv": argv}}


DOCUMENT = {
    "title": "hooked",
    "parameters": {"trace": {"type": "string"}},
    "failure_policy": "continue",
    "steps": [
        {
            "name": "good",
            "handler": "sleep",
            "with": {"seconds": 0},
            "on_success": says("${ended.name} is ${ended.state}"),
            "on_failure": says("never"),
        },
        {
            "name": "bad",
            "handler": "shell",
            "with": {"argv": ["sh", "-c", "echo broken >&2; exit 3"]},
            "on_success": says("never"),
            "on_failure": says("${ended.name}: ${ended.error}", then="exit 1")
            | {"retry": {"limit": 1, "delay": 0}},
        },
    ],
    "on_success": says("never"),
    "on_failure": says(
        "${ended.name} is ${ended.state}", then='until [ -e "$0.go" ]; do sleep 0.1; done'
    )
    | {"timeout": 90},
}


@pytest.fixture
def hub(database_url):
    """Starts a command of the hub: `hub("worker", …)`."""
    with ExitStack() as stack:
        yield lambda *words: stack.enter_context(command(*words, database_url=database_url))


@pytest.fixture
def run(database_url, tmp_path):
    make_engine("local", name="local")
    workflow, _ = actions.post_workflow(Actor(), definition=DOCUMENT)
    return actions.start_run(Actor(), workflow, parameters={"trace": str(tmp_path / "trace")})


def lines(run):
    path = Path(run.parameters["trace"])
    return path.read_text().splitlines() if path.exists() else []


def hooks(run):
    rows = TaskRun.objects.filter(run=run, kind=TaskRun.Kind.HOOK)
    return dict(rows.values_list("name", "state"))


def let_go(run):
    """The hook of the run's end may end."""
    Path(f"{run.parameters['trace']}.go").touch()


def ended(run):
    return WorkflowRun.objects.get(pk=run.pk).final


def hooks_ended(run):
    return len(hooks(run)) == 3 and set(hooks(run).values()) <= {
        TaskState.COMPLETED,
        TaskState.FAILED,
    }


def test_each_end_runs_its_hook_once_and_the_run_is_as_it_ended(hub, run):
    hub("sync", "--watch")
    hub("worker", "--concurrency", "2")
    eventually(lambda: ended(run), what="the run has ended")
    first = WorkflowRun.objects.values("state", "error", "ended_at", "result").get(pk=run.pk)
    assert hooks(run)["on_failure"] in {TaskState.SCHEDULED, TaskState.RUNNING}
    let_go(run)
    eventually(lambda: hooks_ended(run), what="its hooks have ended")
    assert hooks(run) == {
        "good.on_success": TaskState.COMPLETED,
        "bad.on_failure": TaskState.FAILED,
        "on_failure": TaskState.COMPLETED,
    }
    error = TaskRun.objects.get(run=run, name="bad").error
    assert sorted(lines(run)) == sorted(
        ["good is COMPLETED", *2 * [f"bad: {error}"], "hooked is FAILED"]
    )
    assert WorkflowRun.objects.values(*first).get(pk=run.pk) == first
    assert (first["state"], first["error"]) == (RunState.FAILED, f"bad: {error}")
    hook = TaskRun.objects.get(run=run, name="bad.on_failure")
    assert list(hook.tries.values_list("try_number", "state")) == [(1, "FAILED"), (2, "FAILED")]
    for one in TaskRun.objects.filter(run=run, kind=TaskRun.Kind.HOOK):
        assert "told" in {line.text for line in logs.stream(one.tries.last())}
    ends = RunEvent.objects.filter(run=run, task_run=None, new=RunState.FAILED)
    assert ends.count() == 1
    call_command("fsck")


def test_a_hook_outlives_its_worker_and_the_sync_loop(hub, run):
    sync = hub("sync", "--watch")
    worker = hub("worker", "--concurrency", "1")
    eventually(lambda: "hooked is FAILED" in lines(run), what="the hook of the ended run runs")
    eventually(lambda: ended(run), what="the run has ended")
    kill_only(worker)
    kill(sync)
    hub("worker", "--concurrency", "1")
    hub("sync", "--watch")
    eventually(lambda: lines(run).count("hooked is FAILED") == 2, what="another worker has it")
    let_go(run)
    eventually(lambda: hooks_ended(run), seconds=60, what="its hooks have ended")
    hook = TaskRun.objects.get(run=run, name="on_failure")
    assert (hook.state, hook.try_number, hook.attempt) == (TaskState.COMPLETED, 2, 1)
    assert lines(run).count("hooked is FAILED") == 2  # each try of the one hook
    assert WorkflowRun.objects.get(pk=run.pk).state == RunState.FAILED
    call_command("fsck")
