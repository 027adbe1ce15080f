"""Logs of ended tries whose engine says that more is to come."""

import errno
import os
import time
from datetime import timedelta
from pathlib import Path

import pytest
from django.core.files.storage import FileSystemStorage, storages

from engines.base import EngineUnavailable, LogChunk, LogLine, RunNotFound
from engines.clock import database_now
from engines.models import Engine
from engines.states import HealthState, RunState
from runs import logs
from runs.models import TaskTry, WorkflowRun
from runs.reconciler import archive
from tests.adapters.remote.adapter import Adapter
from tests.faults.chance import chance, scaled

SOLO = [{"name": "a"}]


class Logs:
    """What the engine says of its logs. `text`: a character is a line; `offsets` asked for."""

    def __init__(self):
        self.text = {}
        self.complete = set()
        self.errors = {}
        self.offsets = {}

    def read(self, adapter, external_id, task, map_index, try_number, offset):
        self.offsets.setdefault(external_id, []).append(offset)
        if external_id in self.errors and offset:
            raise self.errors[external_id]
        # Two lines at a time, as engines do with a long log.
        some = self.text.get(external_id, "")[offset : offset + 2]
        end = offset + len(some)
        done = external_id in self.complete and end == len(self.text[external_id])
        lines = [
            LogLine(n=offset + n, time=None, stream="stdout", text=letter)
            for n, letter in enumerate(some, 1)
        ]
        return LogChunk(lines=tuple(lines), next_offset=end, complete=done)


@pytest.fixture
def said(monkeypatch):
    logs = Logs()

    def read(self, *args):
        return logs.read(self, *args)

    monkeypatch.setattr(Adapter, "logs", read)
    return logs


@pytest.fixture
def ended(hub, sweep_of, monkeypatch):
    """A sweep, and so many runs of one task that have ended; no log was asked for yet."""

    def make(number):
        runs = [hub.start(SOLO) for _ in range(number)]
        sweep = sweep_of(hub)
        with monkeypatch.context() as patch:
            patch.setattr(archive, "store_some", lambda *args: 0)
            sweep.tick(full=True)
            hub.fake.engine.finish()
            sweep.tick(full=True)
        return sweep, runs

    return make


def make_due(sweep):
    for part in sweep.logs.parts.values():
        part.due = time.monotonic()


def pause_long(monkeypatch):
    monkeypatch.setattr(archive, "PAUSE", 1000.0)
    monkeypatch.setattr(archive, "LONGEST_PAUSE", 1000.0)


def stored(run):
    row = TaskTry.objects.get(task_run__run=run)
    if not row.log_complete:
        return None
    with storages["logs"].open(row.log) as file:
        return file.read().decode().replace("\n", "")


def test_fault_30_an_unfinished_log_is_read_on_from_where_it_ended_and_stored_whole(said, ended):
    sweep, [run] = ended(1)
    name = run.external_id
    said.text[name] = "abc"
    sweep.tick()
    assert said.offsets[name] == [0, 2, 3] and stored(run) is None
    said.text[name] = "abcde"
    make_due(sweep)
    sweep.tick()
    assert said.offsets[name][3:] == [3, 5] and stored(run) is None
    said.complete.add(name)
    make_due(sweep)
    sweep.tick()
    assert said.offsets[name][5:] == [5] and stored(run) == "abcde"
    assert not sweep.logs.parts


def test_an_unfinished_log_is_asked_for_later_and_later(said, ended):
    sweep, [run] = ended(1)
    sweep.tick()
    [part] = sweep.logs.parts.values()
    part.due += 60
    sweep.tick()
    assert len(said.offsets[run.external_id]) == 1
    pauses = []
    for _ in range(12):
        make_due(sweep)
        began = time.monotonic()
        sweep.tick()
        pauses.append(part.due - began)
    assert len(said.offsets[run.external_id]) == 13
    assert pauses[0] < 3 and 5 < pauses[-1] < archive.LONGEST_PAUSE + 3


def test_unfinished_logs_do_not_hold_up_those_behind_them(said, ended, monkeypatch):
    monkeypatch.setattr(archive, "AT_ONCE", 2)
    pause_long(monkeypatch)
    sweep, runs = ended(7)
    for run in runs[4:]:
        said.text[run.external_id] = "x"
        said.complete.add(run.external_id)
    for _ in range(4):
        sweep.tick()
    assert [stored(run) for run in runs] == [None] * 4 + ["x"] * 3
    assert [said.offsets[run.external_id] for run in runs] == [[0]] * 7


def test_after_a_while_what_there_is_is_stored(said, ended):
    sweep, [run] = ended(1)
    said.text[run.external_id] = "ab"
    sweep.tick()
    TaskTry.objects.update(ended_at=database_now() - archive.PATIENCE - timedelta(seconds=1))
    make_due(sweep)
    sweep.tick()
    assert stored(run) == "ab"


def test_fault_30_what_is_too_much_to_be_kept_is_read_anew_and_not_doubled(
    said, ended, monkeypatch
):
    monkeypatch.setattr(archive, "KEPT_BYTES", 1)
    sweep, [run] = ended(1)
    said.text[run.external_id] = "abc"
    sweep.tick()
    said.complete.add(run.external_id)
    make_due(sweep)
    sweep.tick()
    assert said.offsets[run.external_id] == [0, 2, 3, 0, 2]
    assert stored(run) == "abc"


def test_a_log_no_longer_than_allowed_is_stored(said, ended, settings):
    settings.WORKFLOWHUB_LOG_MAX_BYTES = 4  # a line is a letter and its end
    sweep, [run] = ended(1)
    said.text[run.external_id] = "abcdef"
    sweep.tick()
    assert stored(run) == "ab"


def test_fault_30_a_log_that_the_engine_cannot_give_now_lets_the_next_one_come_first(
    said, ended, monkeypatch
):
    pause_long(monkeypatch)
    sweep, [bad, good] = ended(2)
    for run in (bad, good):
        said.text[run.external_id] = "abcd"
        said.complete.add(run.external_id)
    said.errors[bad.external_id] = EngineUnavailable("not now")
    sweep.tick()
    assert stored(good) is None
    sweep.tick()
    assert stored(good) == "abcd"
    del said.errors[bad.external_id]
    make_due(sweep)
    sweep.tick()
    assert stored(bad) == "abcd"
    assert said.offsets[bad.external_id] == [0, 2, 2]  # what it gave is not asked for again


def test_what_was_read_of_a_log_is_stored_though_its_run_is_gone_from_the_engine(said, ended):
    sweep, [run] = ended(1)
    said.text[run.external_id] = "ab"
    sweep.tick()
    said.errors[run.external_id] = RunNotFound("gone")
    TaskTry.objects.update(ended_at=database_now() - archive.PATIENCE - timedelta(seconds=1))
    make_due(sweep)
    sweep.tick()
    assert stored(run) == "ab"


def test_a_try_that_is_deleted_meanwhile_is_forgotten(said, ended):
    sweep, [run] = ended(1)
    sweep.tick()
    assert sweep.logs.parts
    TaskTry.objects.all().delete()
    sweep.tick()
    assert not sweep.logs.parts


def test_fault_30_another_process_begins_anew(said, ended, hub):
    sweep, [run] = ended(1)
    said.text[run.external_id] = "abc"
    sweep.tick()
    sweep.hold.release()
    said.complete.add(run.external_id)
    hub.sync()
    assert stored(run) == "abc"


def test_fault_30_a_log_for_which_the_disk_has_no_room_is_stored_later(said, ended, monkeypatch):
    sweep, [run] = ended(1)
    said.text[run.external_id] = "abc"
    said.complete.add(run.external_id)
    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "_save", no_room)
        sweep.tick()
        make_due(sweep)
        sweep.tick()
    engine, run = Engine.objects.get(), WorkflowRun.objects.get()
    assert (engine.failures, engine.health) == (0, HealthState.HEALTHY)
    assert (run.state, stored(run)) == (RunState.COMPLETED, None)
    make_due(sweep)
    sweep.tick()
    assert stored(run) == "abc"


def no_room(storage, name, content):
    path = Path(storage.path(name))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"a")  # a part of it
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_fault_30_answers_that_are_lost_doubled_or_late_leave_each_line_once(
    said, ended, monkeypatch
):
    rng = chance("answers")
    sweep, [run] = ended(1)
    name = run.external_id
    said.text[name] = "".join(rng.choice("abcdefgh") for _ in range(scaled(60)))
    said.complete.add(name)
    given = []

    def unreliable(self, *asked):
        fault = rng.random()
        if fault < 0.2:
            raise EngineUnavailable("lost on its way")
        if fault < 0.5 and given:
            return rng.choice(given)  # the answer to an earlier question
        given.append(said.read(self, *asked))
        return given[-1]

    monkeypatch.setattr(Adapter, "logs", unreliable)
    for _ in range(scaled(500)):
        sweep.tick()
        make_due(sweep)
        if rng.random() < 0.02:
            # Another process goes on, which has asked nothing yet.
            sweep.logs, given[:] = archive.Memory(), []
        if stored(run) is not None:
            break
    assert stored(run) == said.text[name]


def test_fault_30_lines_that_the_engine_leaves_out_are_told_to_be_missing(said, ended, monkeypatch):
    def gappy(self, external_id, task, map_index, try_number, offset):
        number = {0: 1, 10: 2, 20: 5}[offset]
        line = LogLine(n=number, time=None, stream="stdout", text=f"line {number}")
        return LogChunk(lines=(line,), next_offset=offset + 10, complete=offset == 20)

    monkeypatch.setattr(Adapter, "logs", gappy)
    sweep, [run] = ended(1)
    sweep.tick()
    lines = logs.read(TaskTry.objects.get()).lines
    assert [(line.stream, line.text) for line in lines] == [
        ("stdout", "line 1"),
        ("stdout", "line 2"),
        ("hub", "2 lines of the log got lost here."),
        ("stdout", "line 5"),
    ]
