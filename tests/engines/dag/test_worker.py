"""Real worker processes on the test database."""

import itertools
import os
import signal
from pathlib import Path

import pytest

from engines.dag.models import StepTry, Worker
from tests.engines.dag.driving import execution, python, states, step, step_row, submit
from tests.engines.dag.workers import is_alive, wait_for, wait_for_end, wait_for_worker
from tests.faults.pausing import go_on, pause

pytestmark = pytest.mark.django_db(transaction=True)


def shell(name, *argv, needs=(), **more):
    return step(name, *needs, handler="shell", **more, **{"with": {"argv": list(argv)}})


def test_a_chain_passes_results_along_and_ends(start_worker):
    start_worker("--concurrency", "2")
    wait_for_worker()
    _, run = submit(
        python("a", "add", arguments={"left": 1, "right": 2}),
        python("b", "add", arguments={"left": "${steps.a.result}", "right": 10}),
        outputs={"sum": "${steps.b.result}"},
    )
    ended = wait_for_end(run)
    assert ended.state == "COMPLETED"
    assert ended.result == {"sum": 13}


def test_steps_that_need_nothing_of_each_other_run_at_once(start_worker, tmp_path):
    path = tmp_path / "marks"
    start_worker("--concurrency", "2")
    marks = [python(f"m{n}", "mark", arguments={"path": str(path), "seconds": 0.6}) for n in (1, 2)]
    _, run = submit(*marks, python("last", "noop", "m1", "m2"))
    wait_for_end(run)
    words = [line.split()[0] for line in path.read_text().splitlines()]
    assert words == ["start", "start", "end", "end"]


def test_no_more_steps_run_at_once_than_the_workflow_allows(start_worker, tmp_path):
    path = tmp_path / "marks"
    start_worker("--concurrency", "4")
    marks = [
        python(f"m{n}", "mark", arguments={"path": str(path), "seconds": 0.1}) for n in range(6)
    ]
    _, run = submit(*marks, max_parallel=2)
    wait_for_end(run)
    changes = (1 if line.startswith("start") else -1 for line in path.read_text().splitlines())
    assert max(itertools.accumulate(changes)) <= 2


@pytest.mark.faults
def test_a_drained_worker_leaves_nothing_ready_and_signs_off(start_worker):
    _, run = submit(*(python(f"s{n}", "noop") for n in range(20)))
    worker = start_worker("--concurrency", "2", "--drain")
    assert worker.process.wait(20) == 0
    assert set(states(run).values()) == {"COMPLETED"}
    assert not Worker.objects.filter(ended_at=None).exists()


@pytest.mark.faults
def test_a_failure_is_tried_again_until_it_works(start_worker):
    start_worker("--concurrency", "1")
    _, run = submit(
        python("flaky", "fail_until", arguments={"times": 2}, retry={"limit": 3, "delay": "0.1s"})
    )
    assert wait_for_end(run).state == "COMPLETED"
    assert step_row(run, "flaky").result == 3
    tries = StepTry.objects.filter(step__name="flaky").values_list("try_number", "state", "error")
    assert list(tries) == [
        (1, "FAILED", "ValueError: Failure 1."),
        (2, "FAILED", "ValueError: Failure 2."),
    ]


def test_a_failure_for_good_is_not_tried_again(start_worker):
    start_worker("--concurrency", "1")
    _, run = submit(python("bad", "fail_for_good", retry=5))
    ended = wait_for_end(run)
    assert (ended.state, ended.error) == ("FAILED", "bad: Nothing can be done.")
    assert step_row(run, "bad").try_number == 1


def test_a_step_over_its_time_limit_is_stopped(start_worker):
    start_worker("--concurrency", "1")
    _, run = submit(step("slow", handler="sleep", timeout=0.5, **{"with": {"seconds": 60}}))
    assert wait_for_end(run).state == "FAILED"
    slow = step_row(run, "slow")
    assert slow.reason == "timeout"
    assert slow.error == "The step took longer than its limit of 0.5 s."
    assert 0.4 < (slow.ended_at - slow.started_at).total_seconds() < 3


@pytest.mark.faults
def test_a_run_over_its_time_limit_is_stopped(start_worker):
    start_worker("--concurrency", "1")
    _, run = submit(
        step("slow", handler="sleep", **{"with": {"seconds": 60}}),
        python("later", "noop", "slow"),
        timeout=0.5,
    )
    ended = wait_for_end(run)
    assert (ended.state, ended.reason) == ("FAILED", "timeout")
    assert states(run) == {"slow": "FAILED", "later": "CANCELED"}
    assert step_row(run, "slow").reason == "timeout"


def test_a_cancelled_run_stops_at_once(start_worker):
    start_worker("--concurrency", "1")
    adapter, run = submit(
        step("slow", handler="sleep", **{"with": {"seconds": 60}}), python("later", "noop", "slow")
    )
    wait_for(lambda: states(run)["slow"] == "RUNNING")
    adapter.cancel(run)
    ended = wait_for_end(run, 5)
    assert (ended.state, ended.reason) == ("CANCELED", "canceled")
    assert set(states(run).values()) == {"CANCELED"}


@pytest.mark.faults
def test_one_cancelled_task_stops_and_the_other_branch_goes_on(start_worker):
    start_worker("--concurrency", "2")
    adapter, run = submit(
        step("slow", handler="sleep", **{"with": {"seconds": 60}}),
        python("behind", "noop", "slow"),
        step("short", handler="sleep", **{"with": {"seconds": 1}}),
        python("after", "noop", "short"),
    )
    wait_for(lambda: states(run)["slow"] == "RUNNING")
    adapter.cancel_task(run, "slow", -1)
    wait_for_end(run)
    assert states(run) == {
        "slow": "CANCELED",
        "behind": "UPSTREAM_FAILED",
        "short": "COMPLETED",
        "after": "COMPLETED",
    }


@pytest.mark.faults
def test_fault_25_a_step_that_ignores_sigterm_is_killed_with_what_it_started(
    start_worker, tmp_path
):
    start_worker("--concurrency", "1")
    path = tmp_path / "pid"
    adapter, run = submit(
        python("stubborn", "stubborn", arguments={"path": str(path)}), python("b", "noop")
    )
    wait_for(lambda: path.exists() and path.read_text())
    adapter.cancel(run)
    assert wait_for_end(run, 8).state == "CANCELED"
    assert not is_alive(int(path.read_text()))


def test_fault_25_a_shell_step_is_stopped_with_all_its_processes(start_worker, tmp_path):
    start_worker("--concurrency", "1")
    path = tmp_path / "pids"
    script = (
        f"trap '' TERM; sleep 300 & echo $! >> {path}; setsid sleep 300 & echo $! >> {path}; wait"
    )
    adapter, run = submit(shell("forks", "sh", "-c", script))
    wait_for(lambda: path.exists() and len(path.read_text().split()) == 2)
    adapter.cancel(run)
    assert wait_for_end(run, 8).state == "CANCELED"
    assert not any(is_alive(int(pid)) for pid in path.read_text().split())


@pytest.mark.faults
def test_fault_25_the_kill_of_a_step_that_did_not_stop_spares_the_next_one(start_worker):
    start_worker("--concurrency", "1", WORKFLOWHUB_KILL_GRACE="0.5")
    _, run = submit(
        shell("stubborn", "sh", "-c", "trap '' TERM; while true; do sleep 0.1; done", timeout=0.3),
        step("next", handler="sleep", **{"with": {"seconds": 1.5}}),
        failure_policy="continue",
    )
    wait_for_end(run)
    assert states(run) == {"stubborn": "FAILED", "next": "COMPLETED"}
    assert step_row(run, "next").losses == 0


@pytest.mark.faults
def test_fault_25_what_a_step_leaves_running_ends_with_it(start_worker, tmp_path):
    start_worker("--concurrency", "1")
    path = tmp_path / "pid"
    _, run = submit(python("forks", "fork_and_return", arguments={"path": str(path)}))
    assert wait_for_end(run).state == "COMPLETED"
    assert not is_alive(int(path.read_text()))


@pytest.mark.faults
def test_fault_24_the_kill_of_a_child_is_survived(start_worker, tmp_path):
    path = tmp_path / "marks"
    start_worker("--concurrency", "1")
    _, run = submit(python("long", "mark", arguments={"path": str(path), "seconds": 1.0}))
    wait_for(lambda: path.exists() and path.read_text())

    os.kill(int(path.read_text().split()[1]), signal.SIGKILL)
    assert wait_for_end(run).state == "COMPLETED"
    assert path.read_text().count("end") == 1
    long = step_row(run, "long")
    assert (long.try_number, long.losses) == (2, 1)


@pytest.mark.faults
def test_fault_24_a_step_that_kills_its_process_every_time_fails_in_the_end(start_worker):
    start_worker("--concurrency", "1")
    _, run = submit(python("killer", "die"), python("other", "noop"), failure_policy="continue")
    assert wait_for_end(run, 25).state == "FAILED"
    killer = step_row(run, "killer")
    assert (killer.state, killer.reason, killer.try_number) == ("FAILED", "killed", 4)
    assert states(run)["other"] == "COMPLETED"


def test_a_step_that_ends_its_process_fails(start_worker):
    start_worker("--concurrency", "1")
    _, run = submit(python("leaver", "leave", arguments={"code": 3}))
    assert wait_for_end(run).state == "FAILED"
    leaver = step_row(run, "leaver")
    assert leaver.reason == "crashed"
    assert leaver.error == "The step ended its process with exit code 3."


@pytest.mark.faults
def test_fault_24_the_kill_of_a_worker_is_survived_and_each_step_ends_once(start_worker, tmp_path):
    path = tmp_path / "marks"
    first = start_worker("--concurrency", "2")
    marks = [
        python(f"m{n}", "mark", arguments={"path": str(path), "seconds": 0.8}) for n in range(4)
    ]
    _, run = submit(*marks, python("last", "noop", *(f"m{n}" for n in range(4))))
    wait_for(lambda: path.exists() and path.read_text().count("start") == 2)
    left = first.children()
    first.kill()
    start_worker("--concurrency", "2")
    assert wait_for_end(run, 20).state == "COMPLETED"
    assert set(states(run).values()) == {"COMPLETED"}
    assert path.read_text().count("end") == 4
    assert not any(is_alive(pid) for pid in left)
    assert set(StepTry.objects.values_list("state", "reason")) == {("FAILED", "lost")}


@pytest.mark.faults
def test_fault_25_programs_of_a_killed_worker_are_ended_by_the_next(start_worker, tmp_path):
    path = tmp_path / "pids"
    first = start_worker("--concurrency", "1")
    script = f"sleep 300 & echo $! > {path}; wait"
    adapter, run = submit(shell("forks", "sh", "-c", script))
    wait_for(lambda: path.exists() and path.read_text())
    old = int(path.read_text())
    first.kill()
    start_worker("--concurrency", "1")
    wait_for(lambda: not is_alive(old), what="the end of the old program")
    adapter.cancel(run)
    wait_for_end(run)


@pytest.mark.faults
def test_fault_24_a_lost_worker_is_found_without_any_other_worker(start_worker):
    worker = start_worker("--concurrency", "1")
    adapter, run = submit(step("slow", handler="sleep", **{"with": {"seconds": 60}}))
    wait_for(lambda: states(run)["slow"] == "RUNNING")
    worker.kill()
    wait_for(lambda: list(adapter.observe(None, [run])) and states(run)["slow"] == "SCHEDULED")
    adapter.cancel(run)
    assert execution(run).state == "CANCELED"


@pytest.mark.faults
def test_fault_34_a_worker_that_is_told_to_end_lets_its_steps_finish(start_worker):
    worker = start_worker("--concurrency", "1")
    _, run = submit(
        step("short", handler="sleep", **{"with": {"seconds": 1}}), python("b", "noop", "short")
    )
    wait_for(lambda: states(run)["short"] == "RUNNING")
    assert worker.stop() == 0
    assert states(run) == {"short": "COMPLETED", "b": "SCHEDULED"}
    assert not Worker.objects.filter(ended_at=None).exists()


@pytest.mark.faults
def test_fault_34_steps_that_do_not_finish_in_time_go_back_into_the_queue(start_worker):
    worker = start_worker("--concurrency", "1", "--grace", "0.5")
    _, run = submit(step("slow", handler="sleep", **{"with": {"seconds": 60}}))
    wait_for(lambda: states(run)["slow"] == "RUNNING")
    assert worker.stop() == 0
    slow = step_row(run, "slow")
    assert (slow.state, slow.try_number, slow.losses) == ("SCHEDULED", 2, 0)


@pytest.mark.faults
def test_fault_24_25_a_frozen_worker_loses_its_steps_and_starts_anew(start_worker, tmp_path):
    path = tmp_path / "marks"
    workers = [start_worker("--concurrency", "1") for _ in range(2)]
    wait_for(lambda: Worker.objects.count() == 2)
    _, run = submit(python("long", "mark", arguments={"path": str(path), "seconds": 5.0}))
    wait_for(lambda: path.exists() and path.read_text())
    holder = step_row(run, "long").worker.pid
    (frozen,) = (worker for worker in workers if worker.pid == holder)
    pause(frozen.pid)
    wait_for(lambda: path.read_text().count("start") == 2)
    go_on(frozen.pid)
    assert wait_for_end(run).state == "COMPLETED"
    # The try of the frozen worker was ended before the other began.
    assert path.read_text().count("end") == 1
    wait_for(lambda: Worker.objects.filter(ended_at=None).count() == 2)


def test_output_of_every_kind_is_in_the_log_of_its_try(start_worker):
    start_worker("--concurrency", "1")
    adapter, run = submit(python("speaker", "speak"))
    wait_for_end(run)
    chunk = adapter.logs(run, "speaker", -1, 1, 0)
    found = {(line.stream, line.text) for line in chunk.lines}
    assert found == {
        ("stdout", "from Python"),
        ("stderr", "from C"),
        ("stdout", "from puts"),
        ("stdout", "from a program"),
        ("stderr", "from the context"),
    }
    assert chunk.complete


@pytest.mark.faults
def test_fault_25_a_flood_of_output_is_cut_and_the_step_goes_on(start_worker):
    start_worker("--concurrency", "1", WORKFLOWHUB_LOG_MAX_BYTES="20000")
    adapter, run = submit(
        python("flood", "flood", arguments={"lines": 30_000}),
        shell("yes", "sh", "-c", "yes | head -c 30000000"),
    )
    assert wait_for_end(run).state == "COMPLETED"
    for name in ("flood", "yes"):
        chunk = adapter.logs(run, name, -1, 1, 0)
        path = Path(step_row(run, name).log)
        assert chunk.next_offset <= 20_200, path
        last = adapter.logs(run, name, -1, 1, 0)
        while not last.complete:
            last = adapter.logs(run, name, -1, 1, last.next_offset)
        assert "The log ends here" in last.lines[-1].text


def test_fault_30_a_log_that_can_not_be_written_does_not_change_the_outcome(start_worker, tmp_path):
    folder = tmp_path / "logs"
    folder.write_text("no folder")
    start_worker("--concurrency", "1", WORKFLOWHUB_LOG_DIR=str(folder))
    _, run = submit(python("speaker", "speak"))
    assert wait_for_end(run).state == "COMPLETED"


def test_message_and_progress_are_seen_while_the_step_runs(start_worker):
    start_worker("--concurrency", "1")
    _, run = submit(python("teller", "report", arguments={"seconds": 2}))
    wait_for(lambda: step_row(run, "teller").message == "a quarter")
    assert step_row(run, "teller").progress == 0.25
    wait_for_end(run)
    assert step_row(run, "teller").progress == 1.0


def test_a_shell_step_gives_its_code_and_the_end_of_its_output(start_worker):
    start_worker("--concurrency", "1", SECRET_OF_THE_HUB="hidden")
    adapter, run = submit(
        shell("env", "sh", "-c", "env; pwd; echo done"),
        shell("bad", "sh", "-c", "echo wrong >&2; exit 4"),
        failure_policy="continue",
    )
    assert wait_for_end(run).error == "bad: sh ended with exit code 4: wrong"
    result = step_row(run, "env").result
    assert result["exit_code"] == 0
    assert result["stdout_tail"].endswith(f"{result['folder']}\ndone\n")
    assert "SECRET_OF_THE_HUB" not in result["stdout_tail"]
    assert "wrong" in [line.text for line in adapter.logs(run, "bad", -1, 1, 0).lines]


def test_results_that_can_not_be_kept_fail_the_step_with_a_clear_error(start_worker):
    start_worker("--concurrency", "1")
    _, run = submit(
        python("large", "large", arguments={"size": 2_000_000}),
        python("odd", "not_json"),
        failure_policy="continue",
    )
    wait_for_end(run)
    assert "the most is 1,000,000" in step_row(run, "large").error
    assert "can't be written as JSON" in step_row(run, "odd").error


def test_the_runs_own_log_tells_its_story(start_worker, settings):
    start_worker("--concurrency", "1")
    _, run = submit(python("a", "noop"), python("b", "fail", "a"))
    wait_for_end(run)
    path = Path(settings.WORKFLOWHUB_HOME) / "logs" / run / "run.log"
    wait_for(lambda: "ended" in path.read_text())
    lines = [line.split(" - ", 1)[1] for line in path.read_text().splitlines()]
    a, b = (step_row(run, name).pk for name in "ab")
    assert lines == [
        "INFO - Workflow execution started",
        f"INFO - Submitted step 'a' to handler 'python' | task_id={a}",
        "INFO - Step 'a' completed successfully | elapsed_time=00:00:00",
        f"INFO - Submitted step 'b' to handler 'python' | task_id={b}",
        "ERROR - Step 'b' failed | elapsed_time=00:00:00 error=ValueError: It went wrong.",
        "ERROR - Workflow execution ended: failed",
    ]
