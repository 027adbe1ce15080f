"""The log of a try: the stored file first, else the engine's live tail."""

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from engines.base import LogChunk, RunNotFound
from engines.testing.fake_http import FakeHttpEngine, Fault
from runs import live, logs
from runs.models import RunAttempt, TaskTry
from tests.factories import make_engine, make_run, make_workflow

LINES = "2026-01-02T03:04:05.000000Z out one\n2026-01-02T03:04:06.000000Z err two\nbare\n"


@pytest.fixture
def fake():
    with FakeHttpEngine(hang=8) as fake:
        yield fake


def make_try(engine=None, **kw):
    run = make_run(make_workflow({"a": []}), state="RUNNING")
    run.engine = engine or make_engine()
    run.save()
    return TaskTry.objects.create(
        task_run=run.task_runs.get(), attempt=1, try_number=1, **({"state": "RUNNING"} | kw)
    )


def store(text=LINES):
    return storages["logs"].save("archive/test.log", ContentFile(text.encode()))


@pytest.mark.django_db
def test_a_stored_log_is_read_without_asking_the_engine(fake):
    row = make_try(make_engine("remote", config={"url": fake.url}), log=store(), state="COMPLETED")
    chunk = logs.read(row)
    assert [(line.n, line.stream, line.text) for line in chunk.lines] == [
        (1, "stdout", "one"),
        (2, "stderr", "two"),
        (3, "stdout", "bare"),
    ]
    assert chunk.complete and not fake.requests


@pytest.mark.django_db
def test_reading_goes_on_from_an_offset():
    row = make_try(log=store(), state="COMPLETED")
    first = logs.read(row, limit=1)
    assert not first.complete
    rest = logs.read(row, offset=first.next_offset)
    assert [line.n for line in rest.lines] == [2, 3] and rest.complete


@pytest.mark.django_db
def test_a_log_that_is_being_written_is_not_complete():
    chunk = logs.read(make_try(log=store("2026-01-02T03:04:05.000000Z out one\nhalf a li")))
    assert [line.text for line in chunk.lines] == ["one"] and not chunk.complete


@pytest.mark.django_db
def test_a_log_that_is_not_stored_comes_from_the_engine(fake):
    engine = make_engine("remote", config={"url": fake.url})
    row = make_try(engine)
    attempt = RunAttempt.objects.get(run=row.task_run.run)
    fake.engine.submit(attempt.external_id, {"tasks": [{"name": "a"}]})
    fake.engine.advance()
    chunk = logs.read(row)
    assert chunk.lines and not chunk.complete


@pytest.mark.django_db
def test_an_earlier_attempts_log_is_asked_for_by_its_own_id(monkeypatch):
    row = make_try(make_engine("remote", config={"url": "http://127.0.0.1:1"}))
    run = row.task_run.run
    RunAttempt.objects.create(run=run, number=2, external_id="the-second")
    run.external_id, run.attempt = "the-second", 2
    run.save()
    asked = []

    class Adapter:
        submission = None

        def logs(self, external_id, *rest):
            asked.append(external_id)
            return LogChunk(lines=(), next_offset=0, complete=True)

    monkeypatch.setattr(logs, "connect", lambda engine: Adapter())
    logs.read(row)
    assert asked == [RunAttempt.objects.get(run=run, number=1).external_id]


@pytest.mark.django_db
def test_an_error_is_never_given_as_text_of_the_log(fake):
    row = make_try(make_engine("remote", config={"url": fake.url}))
    fake.down = True
    with pytest.raises(logs.LogsUnavailable, match="can't give the log"):
        logs.read(row)


@pytest.mark.django_db
def test_a_hung_engine_is_given_up_after_the_deadline(fake, monkeypatch):
    monkeypatch.setattr(live, "DEADLINE", 0.2)
    fake.inject(Fault.HANG, times=5)
    with pytest.raises(logs.LogsUnavailable, match="took longer than"):
        logs.read(make_try(make_engine("remote", config={"url": fake.url})))


@pytest.mark.django_db
def test_a_run_that_the_engine_has_no_more_has_an_empty_log(monkeypatch):
    class Adapter:
        submission = None

        def logs(self, *_):
            raise RunNotFound("gone")

    monkeypatch.setattr(logs, "connect", lambda engine: Adapter())
    row = make_try(make_engine("remote", config={"url": "http://127.0.0.1:1"}), state="FAILED")
    assert logs.read(row) == LogChunk(lines=(), next_offset=0, complete=True)


@pytest.mark.django_db
def test_a_disabled_engine_is_not_asked():
    row = make_try(make_engine("remote", config={"url": "http://127.0.0.1:1"}, enabled=False))
    with pytest.raises(logs.LogsUnavailable, match="disabled"):
        logs.read(row)


@pytest.mark.django_db
def test_search_finds_lines_in_any_case_up_to_a_limit():
    row = make_try(log=store("x Needle\ny\nz nEEdle\nneedle\n"), state="COMPLETED")
    assert [line.n for line in logs.search(row, "needle", limit=2)] == [1, 3]


@pytest.mark.django_db
def test_streaming_gives_every_line_of_a_long_log():
    row = make_try(log=store("line\n" * 5000), state="COMPLETED")
    assert sum(1 for _ in logs.stream(row)) == 5000
