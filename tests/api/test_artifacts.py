"""Files of tasks through the API: listed, and handed out as downloads whatever they are."""

from pathlib import Path
from typing import Any

import pytest

from engines.dag.context import step_folder
from runs.models import TaskRun
from tests.adapters.remote.definition import FORMAT
from tests.api.conftest import Caller
from tests.factories import make_engine, make_run, make_workflow
from tests.runs.test_artifacts import execution_of

CONTENT = bytes(range(256)) * 10


@pytest.fixture
def task(db: None, settings: Any, tmp_path: Path) -> TaskRun:
    """A task that left nothing yet."""
    alias = {**settings.STORAGES["work"], "OPTIONS": {"location": tmp_path / "work"}}
    settings.STORAGES = {**settings.STORAGES, "work": alias}
    run = make_run(make_workflow({"a": []}), engine=make_engine(), state="RUNNING")
    execution_of(run)
    return run.task_runs.get()


def leave(task: TaskRun, path: str = "data.bin", content: bytes = CONTENT) -> str:
    """Its URL."""
    file = step_folder(task.run.external_id, "a", -1) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return f"task-runs/{task.pk}/artifacts/{path}"


def body(answer: Any) -> bytes:
    return b"".join(answer.streaming_content)


def test_files_are_listed_with_where_they_are_handed_out(api: Caller, task: TaskRun) -> None:
    empty = {"files": [], "complete": True, "left_out": 0}
    assert api.get(f"task-runs/{task.pk}/artifacts").json() == empty
    leave(task, "sub folder/100 %.csv", b"1,2")
    said = api.get(f"task-runs/{task.pk}/artifacts").json()
    (file,) = said["files"]
    assert (file["path"], file["size"]) == ("sub folder/100 %.csv", 3)
    assert file["modified_at"].endswith("Z")
    assert file["url"].endswith(f"/api/v1/task-runs/{task.pk}/artifacts/sub%20folder/100%20%25.csv")
    assert body(api.client.get(file["url"])) == b"1,2"


def test_a_file_is_a_download_whatever_it_is(api: Caller, task: TaskRun) -> None:
    answer = api.get(leave(task, "deep/data.bin"))
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/octet-stream"
    assert answer["Content-Disposition"] == 'attachment; filename="data.bin"'
    assert answer["Content-Length"] == str(len(CONTENT))
    assert answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert answer["Last-Modified"]
    assert body(answer) == CONTENT


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.CSV", "text/csv; charset=utf-8"),
        ("plot.png", "image/png"),
        ("log.txt", "text/plain; charset=utf-8"),
        ("page.html", "application/octet-stream"),
        ("page.xhtml", "application/octet-stream"),
        ("plot.svg", "application/octet-stream"),
        ("code.js", "application/octet-stream"),
        ("data.xml", "application/octet-stream"),
        ("none", "application/octet-stream"),
        ("hidden/.csv", "application/octet-stream"),
    ],
)
def test_no_file_is_called_something_that_browsers_run(
    api: Caller, task: TaskRun, name: str, kind: str
) -> None:
    answer = api.get(leave(task, name, b"<script>alert(1)</script>"))
    assert answer["Content-Type"] == kind
    assert answer["Content-Disposition"].startswith("attachment; filename=")
    answer.close()


@pytest.mark.parametrize("name", ['quo"te;x=.txt', "ünï.txt", "semi;colon", "%2e%2e", "a\\b"])
def test_a_strange_name_stays_one_name(api: Caller, task: TaskRun, name: str) -> None:
    leave(task, name, b"x")
    (file,) = api.get(f"task-runs/{task.pk}/artifacts").json()["files"]
    assert file["path"] == name
    answer = api.client.get(file["url"])
    assert body(answer) == b"x"
    assert "\n" not in answer["Content-Disposition"]


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=2000-", 2000, 2560),
        ("bytes=-60", 2500, 2560),
        ("bytes=2550-9999999", 2550, 2560),
        ("bytes=-999999", 0, 2560),
    ],
)
def test_a_piece_is_given(api: Caller, task: TaskRun, asked: str, begin: int, end: int) -> None:
    answer = api.get(leave(task), headers={"range": asked})
    assert body(answer) == CONTENT[begin:end]
    assert answer["Content-Length"] == str(end - begin)
    if (begin, end) != (0, len(CONTENT)):
        assert answer.status_code == 206
        assert answer["Content-Range"] == f"bytes {begin}-{end - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("asked", ["bytes=2560-", "bytes=9-3", "bytes=-0", "bytes=-"])
def test_a_piece_that_is_not_there_is_refused(api: Caller, task: TaskRun, asked: str) -> None:
    answer = api.get(leave(task), headers={"range": asked})
    assert answer.status_code == 416
    assert answer["Content-Range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize("asked", ["lines=1-2", "bytes=0-1,5-6", "bytes=a-b", "bytes 1-2", "x" * 9])
def test_a_range_that_we_do_not_know_is_not_obeyed(api: Caller, task: TaskRun, asked: str) -> None:
    answer = api.get(leave(task), headers={"range": asked})
    assert answer.status_code == 200
    assert body(answer) == CONTENT


def test_an_empty_file_is_a_download_too(api: Caller, task: TaskRun) -> None:
    answer = api.get(leave(task, "empty", b""))
    assert (answer.status_code, answer["Content-Length"], body(answer)) == (200, "0", b"")


def test_head_tells_of_a_file_without_reading_it(api: Caller, task: TaskRun) -> None:
    answer = api.client.head(f"/api/v1/{leave(task)}")
    assert answer["Content-Length"] == str(len(CONTENT))
    answer.close()


def test_whatever_a_caller_accepts_it_gets_the_file(api: Caller, task: TaskRun) -> None:
    for accept in ("image/png", "application/json", "text/html,*/*;q=0.8", "x/y"):
        assert body(api.get(leave(task), headers={"accept": accept})) == CONTENT


def test_a_file_that_is_not_there_is_a_problem_in_json(api: Caller, task: TaskRun) -> None:
    for path in ("none", "a/b", "..%2f..%2fsecret_key", "%2fetc/passwd", "a%00b", "."):
        answer = api.get(f"task-runs/{task.pk}/artifacts/{path}", headers={"accept": "image/png"})
        assert answer.status_code == 404, path
        assert answer["Content-Type"] == "application/problem+json"


def test_an_engine_that_keeps_no_files_is_a_conflict_with_the_reason(api: Caller) -> None:
    engine = make_engine("remote", config={"url": "http://127.0.0.1:1"})
    run = make_run(make_workflow(format=FORMAT), engine=engine, state="RUNNING")
    task = run.task_runs.first()
    for path in ("artifacts", "artifacts/x"):
        answer = api.get(f"task-runs/{task.pk}/{path}")
        assert answer.status_code == 409
        assert "no such call" in answer.json()["detail"]


def test_an_earlier_attempt_can_be_asked_for(api: Caller, task: TaskRun) -> None:
    leave(task)
    task.run.attempts.create(number=2, external_id=f"wh-{task.run.uuid}-2")
    TaskRun.objects.filter(pk=task.pk).update(attempt=2)
    assert api.get(f"task-runs/{task.pk}/artifacts").json()["files"] == []
    (file,) = api.get(f"task-runs/{task.pk}/artifacts?attempt=1").json()["files"]
    assert body(api.client.get(file["url"])) == CONTENT
    for attempt in ("0", "x", "-1", str(2**31)):
        answer = api.get(f"task-runs/{task.pk}/artifacts?attempt={attempt}")
        assert answer.status_code == 400


def test_a_large_file_is_read_piece_by_piece(api: Caller, task: TaskRun, tmp_path: Path) -> None:
    leave(task)
    with (step_folder(task.run.external_id, "a", -1) / "data.bin").open("r+b") as file:
        file.truncate(10**9)
    answer = api.get(f"task-runs/{task.pk}/artifacts/data.bin")
    assert answer["Content-Length"] == str(10**9)
    pieces = iter(answer.streaming_content)
    assert len(next(pieces)) == 65_536
    answer.close()
