"""The files that steps leave: found again, limited, and looked at while a step runs."""

import re
import sys
import time

import pytest

from engines.adapters.local.worker import watcher
from engines.adapters.local.worker.board import StopCode, make_board
from engines.adapters.local.worker.crew import Death, Place
from engines.adapters.local.worker.parent import explain
from engines.adapters.local.worker.running import stopped_values
from engines.adapters.local.worker.watcher import Watcher
from engines.base import RetrySpec, RunNotFound
from engines.dag import artifacts
from engines.dag.context import step_folder
from engines.dag.models import Step
from engines.states import TaskState
from tests.engines.dag.driving import (
    Hand,
    make_adapter,
    make_spec,
    python,
    step,
    step_row,
    submit,
    workflow,
)
from tests.engines.dag.workers import wait_for_end

pytestmark = pytest.mark.django_db

ITEMS = [1, 2, 3]


@pytest.fixture(autouse=True)
def small(settings, tmp_path):
    settings.WORKFLOWHUB_ARTIFACTS_MAX_BYTES = 1000
    settings.WORKFLOWHUB_ARTIFACTS_MAX_FILES = 10
    work = {**settings.STORAGES["work"], "OPTIONS": {"location": tmp_path / "work"}}
    settings.STORAGES = {**settings.STORAGES, "work": work}


def leave(external_id, name, map_index=-1, **files):
    folder = step_folder(external_id, name, map_index)
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        (folder / file).write_text(text)
    return folder


def paths(adapter, run, name, map_index=-1):
    return [file.path for file in adapter.artifacts(run, name, map_index).files]


def read(adapter, run, name, path, map_index=-1):
    with adapter.open_artifact(run, name, map_index, path) as file:
        return file.read().decode()


def test_a_step_that_has_written_nothing_has_no_files():
    adapter, run = submit(step("a"))
    assert adapter.artifacts(run, "a", -1) == artifacts.Artifacts()


def test_files_of_a_step_are_listed_and_opened():
    adapter, run = submit(step("a"), step("b"))
    leave(run, "a", report="text", **{"table.csv": "1,2"})
    leave(run, "b", other="")
    assert paths(adapter, run, "a") == ["report", "table.csv"]
    assert read(adapter, run, "a", "table.csv") == "1,2"
    for path in ("other", "../b/other", "nothing"):
        with pytest.raises(RunNotFound):
            adapter.open_artifact(run, "a", -1, path)


def test_a_step_or_run_that_is_not_there_is_not_found():
    adapter, run = submit(step("a"))
    for external, name, index in ((run, "b", -1), (run, "a", 0), ("wh-none-1", "a", -1)):
        with pytest.raises(RunNotFound):
            adapter.artifacts(external, name, index)


def test_a_mapped_step_has_the_files_of_its_items_under_their_index():
    adapter, run = submit(step("m", for_each=ITEMS))
    Hand().run_all()
    leave(run, "m", 0, x="zero")
    leave(run, "m", 2, x="two", y="")
    assert paths(adapter, run, "m") == ["0/x", "2/x", "2/y"]
    assert paths(adapter, run, "m", 2) == ["x", "y"]
    assert read(adapter, run, "m", "2/x") == "two"
    for path in ("x", "1/x", "02/x", "9/x", "2/../0/x", "2"):
        with pytest.raises(RunNotFound):
            adapter.open_artifact(run, "m", -1, path)


def test_a_long_list_of_items_is_cut_and_says_so(monkeypatch):
    monkeypatch.setattr(artifacts, "LISTED", 3)
    adapter, run = submit(step("m", for_each=ITEMS))
    Hand().run_all()
    for index in range(3):
        leave(run, "m", index, x="", y="")
    found = adapter.artifacts(run, "m", -1)
    assert ([file.path for file in found.files], found.complete) == (["0/x", "0/y", "1/x"], False)


def test_what_a_retry_keeps_still_has_its_files():
    adapter = make_adapter()
    definition = workflow(step("good"), step("bad"), step("m", for_each=ITEMS))
    first = make_spec(definition)
    adapter.submit(first)
    leave(first.external_id, "good", made="by attempt 1")
    leave(first.external_id, "bad", half="by attempt 1")
    leave(first.external_id, "m", 1, x="kept")
    leave(first.external_id, "m", 2, x="again")
    Hand().run_all({"bad": TaskState.FAILED})
    ids = [first.external_id]
    for attempt in (2, 3):
        again = make_spec(definition, uuid=first.uuid, attempt=attempt)
        tasks = (("bad", -1), ("m", 2))
        adapter.retry(again, RetrySpec(previous_external_id=ids[-1], tasks=tasks))
        ids.append(again.external_id)
        leave(again.external_id, "m", 2, x=f"by attempt {attempt}")
        Hand().run_all({"bad": TaskState.FAILED})
    last = ids[-1]
    assert read(adapter, last, "good", "made") == "by attempt 1"
    assert paths(adapter, last, "bad") == []
    assert paths(adapter, last, "m") == ["1/x", "2/x"]
    assert read(adapter, last, "m", "1/x") == "kept"
    assert read(adapter, last, "m", "2/x") == "by attempt 3"
    assert read(adapter, last, "m", "x", 1) == "kept"
    assert read(adapter, ids[0], "m", "2/x") == "again"
    assert paths(adapter, ids[0], "bad") == ["half"]


# Limits


def test_within_its_limits_a_folder_stays_as_it_is():
    folder = leave("wh-u-1", "a", x="x" * 1000)
    assert artifacts.excess(("wh-u-1", "a")) == ""
    assert artifacts.settle(("wh-u-1", "a")) == ""
    assert (folder / "x").exists()
    assert artifacts.settle(("wh-u-1", "none")) == ""


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"small": "x", "big": "x" * 1000}, "more than 1,000 bytes.*largest file being big with 1,000"),
        ({f"f{n}": "" for n in range(11)}, "more than 10 files and folders"),
    ],
)  # fmt: skip
def test_beyond_them_it_is_emptied_at_the_end_with_the_reason(files, said):
    folder = leave("wh-u-1", "a", **files)
    assert artifacts.excess(("wh-u-1", "a"))
    assert len(list(folder.iterdir())) == len(files), "Looking changes nothing."
    text = artifacts.settle(("wh-u-1", "a"))
    assert re.search(said, text)
    assert "WORKFLOWHUB_ARTIFACTS_MAX_" in text
    assert list(folder.iterdir()) == []


def test_folders_nested_too_deep_are_beyond_the_limits(settings):
    settings.WORKFLOWHUB_ARTIFACTS_MAX_FILES = 1000
    folder = leave("wh-u-1", "a")
    folder.joinpath(*["d"] * 40).mkdir(parents=True)
    assert "nested" in artifacts.settle(("wh-u-1", "a"))
    assert list(folder.iterdir()) == []


def test_a_step_that_is_out_of_room_fails_for_good():
    values = stopped_values(StopCode.ARTIFACTS, None)
    assert (values["state"], values["reason"], values["permanent"]) == ("FAILED", "artifacts", True)
    death = Death("child", -9, StopCode.ARTIFACTS, 1)
    assert explain(death, draining=False)[::2] == ("artifacts", True)


# While a step runs


@pytest.fixture
def place(monkeypatch):
    """A place whose child runs the step `a`, and its run."""
    monkeypatch.setattr(watcher, "FIRST_SECONDS", 0)
    monkeypatch.setattr(watcher, "EVERY_SECONDS", 0)
    monkeypatch.setattr(watcher, "SHARE", float("inf"))
    _, run = submit(step("a"))
    taken = Hand().take()
    (slot,) = make_board(1)
    slot.begin(taken.step_id, taken.token, 0)
    return Place(0, slot, pid=1), run


def test_a_running_step_is_looked_at_and_named_when_it_holds_too_much(place):
    one, run = place
    look = Watcher()
    assert list(look.too_full([one])) == [], "It has only been seen to run."
    assert list(look.too_full([one])) == []
    leave(run, "a", big="x" * 2000)
    assert list(look.too_full([one])) == [one]
    one.slot.end()
    assert list(look.too_full([one])) == []


def test_short_steps_cost_nothing(place, monkeypatch, django_assert_num_queries):
    monkeypatch.setattr(watcher, "FIRST_SECONDS", 60)
    one, run = place
    leave(run, "a", big="x" * 2000)
    look = Watcher()
    with django_assert_num_queries(0):
        assert [list(look.too_full([one])) for _ in range(3)] == [[], [], []]


def test_a_folder_that_takes_long_is_looked_at_less_often(place, monkeypatch):
    monkeypatch.setattr(watcher, "SHARE", 0.05)
    looks = []
    monkeypatch.setattr(artifacts, "excess", lambda names: looks.append(time.sleep(0.02)) or "")
    one, _ = place
    look = Watcher()
    until = time.monotonic() + 0.3
    while time.monotonic() < until:
        list(look.too_full([one]))
    assert len(looks) == 1, "0.02 s of work is followed by 0.4 s of rest."


def test_what_a_dead_child_left_is_emptied_if_it_is_too_much():
    _, run = submit(step("a"))
    hand = Hand()
    taken = hand.take()
    folder = leave(run, "a", big="x" * 2000)
    assert Watcher.settle(register_other(), taken.step_id) == ""
    assert "big" in Watcher.settle(hand.worker.pk, taken.step_id)
    assert list(folder.iterdir()) == []
    hand.end(taken)
    leave(run, "a", big="x" * 2000)
    assert Watcher.settle(hand.worker.pk, taken.step_id) == "", "It isn't that worker's any more."


def register_other():
    return Hand().worker.pk


def test_work_that_may_go_on_keeps_its_folders():
    _, run = submit(step("a"), step("b", "a"))
    assert artifacts.in_use([run, "wh-other-1"]) == {run}
    Hand().run_all()
    assert artifacts.in_use([run]) == set()


def test_a_hook_that_waits_keeps_its_runs_folders():
    _, run = submit(step("a"))
    Hand().run_all()
    Step.objects.filter(execution__external_id=run).update(state=TaskState.PENDING, kind="hook")
    assert artifacts.in_use([run]) == {run}


# With real workers


@pytest.mark.django_db(transaction=True)
class TestWithAWorker:
    ROOM = {
        "WORKFLOWHUB_ARTIFACTS_MAX_BYTES": "2000000",
        "WORKFLOWHUB_ARTIFACTS_MAX_FILES": "50",
    }

    @pytest.fixture(autouse=True)
    def same_folder(self, settings, tmp_path):
        self.ROOM = {**self.ROOM, "WORKFLOWHUB_WORK_DIR": str(tmp_path / "work")}

    def shell(self, name, script, **more):
        return step(name, handler="shell", **more, **{"with": {"argv": ["sh", "-c", script]}})

    def test_a_try_that_leaves_too_much_fails_for_good_and_others_keep_their_files(
        self, start_worker
    ):
        start_worker("--concurrency", "1", **self.ROOM)
        adapter, run = submit(
            self.shell("fine", "echo 1 > x; mkdir d; echo 2 > d/y"),
            self.shell(
                "again",
                "echo $WORKFLOWHUB_TRY >> tries; test $WORKFLOWHUB_TRY = 2",
                retry={"limit": 1, "delay": "0.1s"},
            ),
            self.shell("big", "head -c 2000001 /dev/zero > x; echo done", retry=3),
            self.shell("many", "for n in $(seq 60); do : > f$n; done", retry=3),
            self.shell("gone", 'd=$PWD; cd /; rm -r "$d"; ln -s /etc "$d"'),
            failure_policy="continue",
        )
        ended = wait_for_end(run)
        assert ended.state == "FAILED"
        for name in ("big", "many"):
            row = step_row(run, name)
            assert (row.state, row.reason, row.try_number) == ("FAILED", "artifacts", 1)
            assert "WORKFLOWHUB_ARTIFACTS_MAX_" in row.error
            assert paths(adapter, run, name) == []
        assert paths(adapter, run, "fine") == ["d/y", "x"]
        assert read(adapter, run, "again", "tries") == "1\n2\n"
        assert step_row(run, "gone").state == "COMPLETED"
        assert paths(adapter, run, "gone") == []
        with pytest.raises(RunNotFound):
            adapter.open_artifact(run, "gone", -1, "passwd")

    @pytest.mark.faults
    def test_a_flood_is_stopped_long_before_the_step_ends(self, start_worker):
        start_worker("--concurrency", "1", **self.ROOM)
        _, run = submit(self.shell("flood", "head -c 3000000 /dev/zero > x; sleep 60", retry=3))
        wait_for_end(run, 15)
        row = step_row(run, "flood")
        assert (row.state, row.reason, row.try_number) == ("FAILED", "artifacts", 1)
        assert (row.ended_at - row.started_at).total_seconds() < 8
        assert list(step_folder(run, "flood", -1).iterdir()) == []

    @pytest.mark.faults
    def test_a_flood_that_is_deaf_is_killed(self, start_worker):
        start_worker("--concurrency", "1", **self.ROOM)
        script = (
            "import signal, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "open('x', 'wb').write(bytes(3_000_000))\n"
            "time.sleep(60)"
        )
        argv = [sys.executable, "-c", script]
        _, run = submit(
            step("deaf", handler="shell", retry=3, **{"with": {"argv": argv}}),
            python("stubborn", "hoard", arguments={"size": 3_000_000}, retry=3),
            failure_policy="continue",
        )
        wait_for_end(run, 30)
        for name in ("deaf", "stubborn"):
            row = step_row(run, name)
            assert (row.state, row.reason, row.try_number) == ("FAILED", "artifacts", 1), row.error
            assert list(step_folder(run, name, -1).iterdir()) == []
