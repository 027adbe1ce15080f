"""Logs of tasks and runs: by offset, by words, as plain text."""

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import storages

from engines.logfile import format_line
from runs.models import TaskRun, TaskTry
from tests.api.conftest import Caller
from tests.factories import make_run


def make_try(task: TaskRun, lines: list[str], **kw: object) -> TaskTry:
    text = "".join(format_line(line, "out") for line in lines)
    name = storages["logs"].save(f"api/{task.pk}.log", ContentFile(text.encode()))
    fields = {"attempt": 1, "try_number": 1, "state": "COMPLETED", "log_complete": True} | kw
    return TaskTry.objects.create(task_run=task, log=name, **fields)


def test_a_log_is_read_from_an_offset_on(api: Caller) -> None:
    task = make_run(state="RUNNING").task_runs.first()
    make_try(task, ["one", "two", "three"])
    first = api.get(f"task-runs/{task.pk}/logs?limit=2").json()
    assert [(line["n"], line["text"]) for line in first["lines"]] == [(1, "one"), (2, "two")]
    assert first["complete"] is False
    rest = api.get(f"task-runs/{task.pk}/logs?offset={first['next_offset']}").json()
    assert [(line["n"], line["text"]) for line in rest["lines"]] == [(3, "three")]
    assert rest["complete"] is True


def test_a_log_is_searched_in_any_case(api: Caller) -> None:
    task = make_run(state="RUNNING").task_runs.first()
    make_try(task, ["one", "an Error", "two", "error again"])
    found = api.get(f"task-runs/{task.pk}/logs?q=ERROR").json()
    assert [line["n"] for line in found["lines"]] == [2, 4]
    one = api.get(f"task-runs/{task.pk}/logs?q=ERROR&limit=1").json()
    assert [line["n"] for line in one["lines"]] == [2]
    more = api.get(f"task-runs/{task.pk}/logs?q=ERROR&offset={one['next_offset']}").json()
    assert [line["n"] for line in more["lines"]] == [4]


def test_a_log_is_plain_text_for_who_asks_so(api: Caller) -> None:
    task = make_run(state="RUNNING").task_runs.first()
    make_try(task, ["<b>one</b>", "two"])
    answer = api.get(f"task-runs/{task.pk}/logs", headers={"accept": "text/plain"})
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["X-Content-Type-Options"] == "nosniff"
    text = answer.getvalue().decode()
    assert [line.split(" ", 2)[2] for line in text.splitlines()] == ["<b>one</b>", "two"]
    file = api.get(f"task-runs/{task.pk}/logs?download=true")
    assert file["Content-Disposition"] == f'attachment; filename="task-run-{task.pk}-1-1.log"'
    assert file.getvalue().decode() == text


def test_the_newest_try_is_shown_and_older_ones_on_request(api: Caller) -> None:
    task = make_run(state="RUNNING").task_runs.first()
    make_try(task, ["old"])
    make_try(task, ["new"], try_number=2)
    assert api.get(f"task-runs/{task.pk}/logs").json()["lines"][0]["text"] == "new"
    assert api.get(f"task-runs/{task.pk}/logs?try=1").json()["lines"][0]["text"] == "old"
    tries = api.get(f"task-runs/{task.pk}/tries").json()["results"]
    assert [row["try_number"] for row in tries] == [1, 2]


def test_a_task_that_has_not_begun_has_an_empty_log(api: Caller) -> None:
    task = make_run().task_runs.first()
    answer = api.get(f"task-runs/{task.pk}/logs")
    assert answer.json() == {"lines": [], "next_offset": 0, "complete": False}


def test_one_request_opens_only_so_many_tries_and_the_next_goes_on(
    api: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runs.api.resources.logs.MOST_TRIES", 2)
    task = make_run(state="RUNNING").task_runs.first()
    for number in range(1, 6):
        make_try(task, ["line"] if number == 4 else [], try_number=number)
    url, pages = f"workflow-runs/{task.run_id}/logs", []
    cursor = ""
    while cursor is not None:
        body = api.get(f"{url}?cursor={cursor}" if cursor else url).json()
        pages.append([line["try_number"] for line in body["lines"]])
        cursor = body["next"]
    assert pages == [[], [4], []]


def test_a_runs_log_is_that_of_its_tasks_one_after_the_other(api: Caller) -> None:
    run = make_run(state="RUNNING")
    for task in run.task_runs.all():
        make_try(task, [f"{task.name} {number}" for number in range(3)])
    texts, url = [], f"workflow-runs/{run.pk}/logs?limit=2"
    cursor = ""
    while True:
        answer = api.get(url + cursor).json()
        texts += [(line["task"], line["text"]) for line in answer["lines"]]
        if answer["next"] is None:
            break
        cursor = f"&cursor={answer['next']}"
    assert texts == [(name, f"{name} {n}") for name in ("extract", "load") for n in range(3)]


def test_a_wrong_offset_is_named(api: Caller) -> None:
    task = make_run().task_runs.first()
    for query in ("offset=-1", "offset=x", "limit=0", "try=0", "download=1"):
        answer = api.get(f"task-runs/{task.pk}/logs?{query}")
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["field"] == query.split("=")[0]
