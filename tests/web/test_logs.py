"""The log viewer."""

import pytest
from django.test import Client
from django.urls import reverse

from runs.models import TaskRun, TaskTry, WorkflowRun
from runs.states import TaskState
from tests.factories import make_engine, make_run, make_workflow
from tests.web.conftest import write_log

HOSTILE = (
    "<script>alert(1)</script> \x1b[31m<img src=x onerror=alert(1)>\x1b[0m \x1b]8;;javascript:x\x07"
)


@pytest.fixture
def task(failed_run: WorkflowRun) -> TaskRun:
    return failed_run.task_runs.get(name="transform")


def url(task: TaskRun, query: str = "", name: str = "logs") -> str:
    return f"{reverse(name, args=[task.run_id])}?task={task.pk}&{query}"


def test_it_opens_at_the_failed_task(admin: Client, task: TaskRun) -> None:
    write_log(task, ["first", "second"])
    html = admin.get(reverse("logs", args=[task.run_id])).content.decode()
    assert 'id="L2"' in html
    assert "second" in html
    assert 'href="#L1"' in html


def test_a_long_log_opens_at_its_end(admin: Client, task: TaskRun) -> None:
    write_log(task, [f"line {n}" for n in range(1, 5001)])
    response = admin.get(url(task))
    html = response.content.decode()
    assert 'id="L5000"' in html
    assert 'id="L4001"' in html
    assert 'id="L4000"' not in html
    assert "4000 lines before these" in html
    assert html.count('class="chunk"') == 2
    first = admin.get(url(task, "from=0")).content.decode()
    assert 'id="L1"' in first
    assert "Further lines" in first


def test_search_is_done_here_and_keeps_line_numbers(admin: Client, task: TaskRun) -> None:
    write_log(task, ["alpha", "Beta one", "gamma", "beta two"])
    html = admin.get(url(task, "q=BETA")).content.decode()
    assert 'id="L2"' in html
    assert 'id="L4"' in html
    assert "alpha" not in html
    assert "2 lines with" in html


def test_hostile_lines_stay_text(admin: Client, task: TaskRun) -> None:
    write_log(task, [HOSTILE])
    for address in (url(task), url(task, "q=script"), reverse("run", args=[task.run_id])):
        html = admin.get(address).content.decode()
        assert "<script>alert" not in html
        assert "<img" not in html
        assert "javascript:x" not in html
        assert "&lt;script&gt;" in html


def test_raw_is_text_that_no_browser_interprets(admin: Client, task: TaskRun) -> None:
    write_log(task, [HOSTILE, "end"])
    response = admin.get(url(task, name="raw_log"))
    assert response["Content-Type"] == "text/plain; charset=utf-8"
    assert response["X-Content-Type-Options"] == "nosniff"
    assert b"stdout end\n" in b"".join(response.streaming_content)
    download = admin.get(url(task, "download=1", name="raw_log"))
    assert download["Content-Disposition"].startswith("attachment;")
    b"".join(download.streaming_content)


def test_each_try_has_its_log(admin: Client, task: TaskRun) -> None:
    first = write_log(task, ["of the first try"])
    TaskRun.objects.filter(pk=task.pk).update(try_number=2)
    task.refresh_from_db()
    write_log(task, ["of the second try"])
    assert "of the second try" in admin.get(url(task)).content.decode()
    assert "of the first try" in admin.get(url(task, f"try={first.pk}")).content.decode()


def test_a_live_log_is_appended_by_offset(admin: Client) -> None:
    run = make_run(
        make_workflow({"a": []}),
        engine=make_engine(),
        state="RUNNING",
        task_states={"a": "RUNNING"},
    )
    task = run.task_runs.get()
    task_try = write_log(task, ["one", "two"], state=TaskState.RUNNING, log_complete=False)
    response = admin.get(url(task))
    assert "waiting for more" in response.content.decode()
    offset = response.context["excerpt"].offset
    tail = f"try={task_try.pk}&tail=1&from={offset}"
    assert admin.get(url(task, tail)).status_code == 204
    part = admin.get(url(task, f"try={task_try.pk}&tail=1&from=0")).content.decode()
    assert part.lstrip().startswith('<div class="chunk"')
    assert f"from={offset}" in part
    TaskTry.objects.filter(pk=task_try.pk).update(state=TaskState.COMPLETED, log_complete=True)
    assert "hx-trigger" not in admin.get(url(task, tail)).content.decode()


def test_without_a_try_it_says_so(admin: Client, task: TaskRun) -> None:
    assert "has not been tried yet" in admin.get(url(task)).content.decode()
    assert admin.get(url(task, name="raw_log")).status_code == 404


@pytest.mark.parametrize(
    "query", ["task=x", "task=0", "task=99999999999999999999", "try=x", "try=999999"]
)
def test_what_is_not_there_is_not_found(admin: Client, task: TaskRun, query: str) -> None:
    if query.startswith("try"):
        query = f"task={task.pk}&{query}"
    assert admin.get(f"{reverse('logs', args=[task.run_id])}?{query}").status_code == 404


def test_a_log_that_cannot_be_read_says_why(admin: Client, task: TaskRun) -> None:
    write_log(task, ["x"])
    assert task.run.engine is not None
    task.run.engine.enabled = False
    task.run.engine.save()
    TaskTry.objects.update(log="gone.log", log_complete=False)
    assert "can&#x27;t be read now" in admin.get(url(task)).content.decode().replace(
        "can't be read", "can&#x27;t be read"
    )
