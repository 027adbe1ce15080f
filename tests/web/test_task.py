"""The page of one task run."""

from pathlib import Path
from typing import Any

from django.test import Client
from django.urls import reverse

from engines.dag.context import step_folder
from runs.models import TaskRun, WorkflowRun
from runs.states import RunState, TaskState, Wanted
from tests.factories import make_engine, make_run, make_workflow
from tests.runs.test_artifacts import execution_of
from tests.web.conftest import write_log


def running_task() -> TaskRun:
    run = make_run(
        make_workflow({"a": [], "b": ["a"]}),
        engine=make_engine(),
        state=RunState.RUNNING,
        task_states={"a": "RUNNING"},
    )
    return run.task_runs.get(name="a")


def url(name: str, task: TaskRun) -> str:
    return reverse(name, args=[task.run_id, task.pk])


def test_it_shows_tries_log_inputs_result_and_neighbours(
    admin: Client, failed_run: WorkflowRun
) -> None:
    task = failed_run.task_runs.get(name="transform")
    TaskRun.objects.filter(pk=task.pk).update(inputs={"rows": 12}, error="KeyError: 'minus'")
    write_log(task, ["it begins", "KeyError: 'minus'"], error="KeyError: 'minus'")
    html = admin.get(url("task", task)).content.decode()
    assert "it begins" in html
    assert "&quot;rows&quot;: 12" in html
    assert "try 1" in html
    before, after = html.index(">extract</a>"), html.index(">load</a>")
    assert html.index("<dt>Needs</dt>") < before < html.index("<dt>Needed by</dt>") < after


def test_a_task_of_another_run_is_not_found(admin: Client, failed_run: WorkflowRun) -> None:
    other = running_task()
    assert admin.get(reverse("task", args=[failed_run.pk, other.pk])).status_code == 404


def test_it_polls_while_it_runs(admin: Client) -> None:
    task = running_task()
    response = admin.get(url("task", task))
    assert 'hx-trigger="every 1s"' in response.content.decode()
    again = f"{url('task', task)}?v={response.context['token']}"
    assert admin.get(again, headers={"HX-Request": "true"}).status_code == 204


def test_one_task_is_canceled_once(operator: Client) -> None:
    task = running_task()
    assert "Cancel the task a of run" in operator.get(url("cancel_task", task)).content.decode()
    for _ in range(2):
        operator.post(url("cancel_task", task))
    task.refresh_from_db()
    assert task.wanted == Wanted.CANCEL
    assert task.events.filter(cause="cancel").count() == 1
    html = operator.get(url("task", task)).content.decode()
    assert "Canceling" in html


def test_cancel_that_the_engine_cannot_do_is_disabled_with_the_reason(operator: Client) -> None:
    task = running_task()
    engine = task.run.engine
    assert engine is not None
    engine.capabilities["cancel_task"] = "It stops whole runs only."
    engine.save()
    assert "It stops whole runs only." in operator.get(url("task", task)).content.decode()
    response = operator.post(url("cancel_task", task), follow=True)
    assert "It stops whole runs only." in response.content.decode()
    task.refresh_from_db()
    assert task.wanted == Wanted.RUN


def test_mark_keeps_who_said_why(operator: Client) -> None:
    task = running_task()
    assert operator.post(url("mark_task", task), {"state": "SKIPPED"}).status_code == 400
    operator.post(url("mark_task", task), {"state": "SKIPPED", "note": "Not needed today."})
    task.refresh_from_db()
    assert (task.state, task.marked) == (TaskState.SKIPPED, True)
    assert task.events.get(cause="mark").detail == "Not needed today."


def test_it_lists_the_files_that_the_task_left_and_hands_them_out(
    admin: Client, settings: Any, tmp_path: Path
) -> None:
    alias = {**settings.STORAGES["work"], "OPTIONS": {"location": tmp_path}}
    settings.STORAGES = {**settings.STORAGES, "work": alias}
    task = running_task()
    execution_of(task.run)
    assert "It has written none yet." in admin.get(url("task", task)).content.decode()
    folder = step_folder(task.run.external_id, "a", -1) / "out"
    folder.mkdir(parents=True)
    for number in range(101):
        (folder / f"{number:03}.html").write_text("<b>x</b>")
    (folder / "link").symlink_to("/etc/passwd")
    html = admin.get(url("task", task)).content.decode()
    assert "out/000.html" in html
    assert "8\xa0bytes" in html
    assert "out/100.html" not in html
    assert "The first 100 are shown. The API lists 101." in html
    assert "1 more is not shown" in html
    assert len(html) < 150_000
    answer = admin.get(reverse("artifact", args=[task.run_id, task.pk, "out/000.html"]))
    assert b"".join(answer.streaming_content) == b"<b>x</b>"
    assert answer["Content-Disposition"] == 'attachment; filename="000.html"'
    missing = admin.get(reverse("artifact", args=[task.run_id, task.pk, "out/link"]))
    assert missing.status_code == 404


def test_an_engine_that_keeps_no_files_says_so_on_the_page(admin: Client) -> None:
    task = running_task()
    engine = task.run.engine
    assert engine is not None
    engine.capabilities["artifacts"] = "It burns them."
    engine.save()
    assert "It burns them." in admin.get(url("task", task)).content.decode()
    answer = admin.get(reverse("artifact", args=[task.run_id, task.pk, "x"]))
    assert answer.status_code == 503
    assert "It burns them." in answer.content.decode()


def test_why_a_task_did_not_run_is_said_in_words(admin: Client) -> None:
    run = make_run(
        make_workflow({"a": [], "b": ["a"], "c": []}),
        engine=make_engine(),
        state=RunState.FAILED,
        task_states={"a": "SKIPPED", "b": "UPSTREAM_FAILED", "c": "SKIPPED"},
    )
    reasons = {"a": "when", "b": "after c", "c": "an engine's own"}
    for name, reason in reasons.items():
        run.task_runs.filter(name=name).update(reason=reason)
    html = admin.get(reverse("run", args=[run.pk])).content.decode()
    assert "Its condition didn&#x27;t hold" in html
    assert "Not started because of c" in html
    assert "an engine&#x27;s own" in html
    assert "1 upstream failed" in html
    task = run.task_runs.get(name="a")
    assert "Its condition didn&#x27;t hold" in admin.get(url("task", task)).content.decode()


def test_the_same_task_in_the_last_runs_is_a_strip(admin: Client) -> None:
    workflow = make_workflow({"a": [], "b": ["a"]}, title="etl")
    runs = [make_run(workflow, task_states={"a": state}) for state in ("COMPLETED", "FAILED")]
    runs.append(make_run(make_workflow({"b": []}, title="etl", version=2, latest=False)))
    task = runs[1].task_runs.get(name="a")
    html = admin.get(url("task", task)).content.decode()
    strip = html[html.index('class="bars"') : html.index("</ol>")]
    assert "The last 3 runs of etl" in html
    assert strip.index(f"Run {runs[0].pk}: completed") < strip.index(f"Run {runs[1].pk}: failed")
    assert url("task", runs[0].task_runs.get(name="a")) in strip
    assert 'aria-current="true"' in strip
    assert f"Run {runs[2].pk}: had no such task" in strip


def test_runs_that_may_not_be_seen_are_no_part_of_the_strip(admin: Client, settings: Any) -> None:
    workflow = make_workflow({"a": []})
    hidden, run = make_run(workflow, note="hidden"), make_run(workflow)
    settings.WORKFLOWHUB_PERMISSION_FACTORY = "tests.web.test_task.HidesSome"
    html = admin.get(url("task", run.task_runs.get())).content.decode()
    assert "The last 1 run of" in html
    assert f"Run {hidden.pk}" not in html


class HidesSome:
    """A permission factory that hides the runs whose note says so."""

    def allow(self, user: Any, action: str, obj: Any) -> bool:
        return True

    def visible(self, user: Any, queryset: Any) -> Any:
        return queryset.exclude(note="hidden") if queryset.model is WorkflowRun else queryset
