"""Hooks on the pages: marked as such, followed beyond the run's end, and counted for nothing."""

from datetime import timedelta

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from runs.models import TaskRun, WorkflowRun
from runs.states import RunState, TaskState
from tests.factories import make_engine, make_run, make_workflow
from tests.web.conftest import write_log


@pytest.fixture
def run(db: None) -> WorkflowRun:
    """b failed and its hook with it; the run's own hook goes on."""
    start = timezone.now() - timedelta(minutes=2)
    made = make_run(
        make_workflow({"a": [], "b": ["a"], "c": ["a"]}),
        engine=make_engine(),
        state=RunState.FAILED,
        started_at=start,
        ended_at=start + timedelta(minutes=1),
        error="b: It broke.",
        error_task="b",
        task_states={"a": "COMPLETED", "b": "FAILED", "c": "COMPLETED"},
    )
    made.task_runs.update(started_at=start, ended_at=start + timedelta(seconds=50))
    for name, state, error in (
        ("b.on_failure", TaskState.FAILED, "The hook broke."),
        ("on_failure", TaskState.RUNNING, ""),
    ):
        TaskRun.objects.create(
            run=made,
            name=name,
            kind=TaskRun.Kind.HOOK,
            state=state,
            error=error,
            started_at=start + timedelta(seconds=55),
            ended_at=start + timedelta(seconds=58) if error else None,
            result={"sent": error},
        )
    return made


def hook(run: WorkflowRun, name: str = "on_failure") -> TaskRun:
    return run.task_runs.get(name=name)


def page(client: Client, run: WorkflowRun, query: str = "") -> str:
    return str(client.get(f"{reverse('run', args=[run.pk])}?{query}").content.decode())


def test_hooks_stand_behind_the_tasks_and_are_marked(admin: Client, run: WorkflowRun) -> None:
    response = admin.get(reverse("run", args=[run.pk]))
    assert [task.name for task in response.context["tasks"]] == [
        *("a", "b", "c"),
        *("b.on_failure", "on_failure"),
    ]
    html = response.content.decode()
    assert html.count("<span>hook</span>") == 2
    assert "once after the end of b," in html and "once after the end of the run," in html
    assert '>Tasks<span class="count">3</span>' in html
    assert response.context["counts"] == [("COMPLETED", 2), ("FAILED", 1)]


def test_a_failed_hook_is_not_the_cause(admin: Client, run: WorkflowRun) -> None:
    WorkflowRun.objects.update(error_task="")
    TaskRun.objects.filter(name="b").update(ended_at=timezone.now())
    assert admin.get(reverse("run", args=[run.pk])).context["root"].name == "b"


def test_the_page_of_an_ended_run_polls_until_its_hooks_have_ended(
    admin: Client, run: WorkflowRun
) -> None:
    assert 'hx-trigger="every 1s"' in page(admin, run)
    line = admin.get(reverse("run", args=[run.pk])).context["line"]
    assert line.length >= timedelta(minutes=2)
    TaskRun.objects.filter(pk=hook(run).pk).update(
        state=TaskState.COMPLETED, ended_at=run.ended_at + timedelta(seconds=10)
    )
    assert "hx-trigger" not in page(admin, run)
    line = admin.get(reverse("run", args=[run.pk])).context["line"]
    assert line.length == timedelta(seconds=70)


def test_a_hook_of_an_attempt_before_says_so(admin: Client, run: WorkflowRun) -> None:
    assert "attempt 1 " not in page(admin, run)
    WorkflowRun.objects.update(attempt=2)
    assert page(admin, run).count("attempt 1 ") == 2


def test_the_graph_hangs_hooks_on_what_they_follow(admin: Client, run: WorkflowRun) -> None:
    response = admin.get(f"{reverse('run', args=[run.pk])}?tab=graph")
    picture = response.context["picture"]
    edges = {(curve.source, curve.target) for curve in picture.curves}
    assert edges == {
        *(("a", "b"), ("a", "c")),
        ("b", "b.on_failure"),
        *(("b", "on_failure"), ("c", "on_failure")),
    }
    nodes = {node.name: (node.label, node.note, node.hook) for node in picture.nodes}
    assert nodes["b.on_failure"] == nodes["on_failure"] == ("on_failure", "hook", True)
    assert not nodes["b"][2]
    html = response.content.decode()
    assert html.count('<path class="hook"') == 3
    assert html.count('class="node hook ') == 2


@pytest.fixture
def called(run: WorkflowRun) -> WorkflowRun:
    """The same, with names for people of a task and of its hook."""
    run.workflow.hooks = [
        {"name": "b.on_failure", "display_name": "Tell <all>", "type": "http"},
        {"name": "on_failure", "display_name": "", "type": "input"},
    ]
    run.workflow.save()
    run.workflow.tasks.filter(name="b").update(display_name="Break it")
    return run


def test_a_hook_is_called_as_its_definition_says(admin: Client, called: WorkflowRun) -> None:
    html = page(admin, called)
    assert html.count("Tell &lt;all&gt;") == html.count("Break it") == 1
    assert html.index(">b <") < html.index("Break it") < html.index(">b.on_failure <")
    assert html.index(">b.on_failure <") < html.index("Tell &lt;") < html.index(">on_failure <")
    for name, shown in (("b.on_failure", 1), ("on_failure", 0), ("b", 0)):
        url = reverse("task", args=[called.pk, hook(called, name).pk])
        assert admin.get(url).content.decode().count("Tell &lt;all&gt;") == shown
    picture = admin.get(f"{reverse('run', args=[called.pk])}?tab=graph").context["picture"]
    labels = {node.name: node.label for node in picture.nodes}
    assert (labels["b"], labels["b.on_failure"]) == ("Break it", "Tell <all>")
    assert labels["on_failure"] == "on_failure"


def test_a_task_is_called_so_once_however_many_items_it_has(
    admin: Client, called: WorkflowRun
) -> None:
    for index in range(2):
        TaskRun.objects.create(
            run=called, task=called.workflow.tasks.get(name="b"), name="b", map_index=index
        )
    assert page(admin, called).count("Break it") == 1


def test_results_are_those_of_the_tasks(admin: Client, run: WorkflowRun) -> None:
    assert list(admin.get(f"{reverse('run', args=[run.pk])}?tab=results").context["results"]) == []


def test_a_hooks_page_says_what_it_follows_and_a_tasks_page_its_hooks(
    admin: Client, run: WorkflowRun
) -> None:
    html = admin.get(reverse("task", args=[run.pk, hook(run).pk])).content.decode()
    assert "<span>hook</span>" in html
    assert "<dt>Follows</dt><dd>the run's end</dd>" in html
    assert "Needed by" not in html
    html = admin.get(reverse("task", args=[run.pk, hook(run, "b.on_failure").pk])).content.decode()
    assert html.index("<dt>Follows</dt>") < html.index(">b</a>")
    html = admin.get(reverse("task", args=[run.pk, hook(run, "b").pk])).content.decode()
    assert html.index("<dt>Hooks</dt>") < html.index(">b.on_failure</a>")
    assert (
        "<dt>Hooks</dt>"
        not in admin.get(reverse("task", args=[run.pk, hook(run, "a").pk])).content.decode()
    )


def test_a_running_hooks_page_polls_and_an_ended_tasks_rests(
    admin: Client, run: WorkflowRun
) -> None:
    assert "hx-trigger" in admin.get(reverse("task", args=[run.pk, hook(run).pk])).content.decode()
    ended = hook(run, "b.on_failure")
    assert "hx-trigger" not in admin.get(reverse("task", args=[run.pk, ended.pk])).content.decode()


def test_a_hook_is_canceled_from_its_page_and_not_retried(
    operator: Client, run: WorkflowRun
) -> None:
    html = operator.get(reverse("task", args=[run.pk, hook(run).pk])).content.decode()
    assert "A hook can&#x27;t be retried by itself" in html
    url = reverse("cancel_task", args=[run.pk, hook(run).pk])
    asked = operator.get(url).content.decode()
    assert "Cancel the hook on_failure of run" in asked
    assert "Nothing else about the run changes." in asked
    assert operator.post(url).status_code == 302
    assert hook(run).wanted == "CANCEL"
    refused = operator.post(reverse("cancel_task", args=[run.pk, hook(run, "c").pk]), follow=True)
    assert "The task has ended already." in refused.content.decode()


def test_a_viewer_cancels_no_hook(viewer: Client, run: WorkflowRun) -> None:
    assert viewer.post(reverse("cancel_task", args=[run.pk, hook(run).pk])).status_code == 403
    assert hook(run).wanted == "RUN"


def test_the_page_that_cancels_a_run_names_the_hooks_that_go_on(
    operator: Client, run: WorkflowRun
) -> None:
    WorkflowRun.objects.update(state=RunState.RUNNING, ended_at=None)
    html = operator.get(reverse("cancel_run", args=[run.pk])).content.decode()
    assert "Hooks that have begun go on: on_failure." in html
    assert "Running now" not in html


def test_a_retry_lists_no_hooks(operator: Client, run: WorkflowRun) -> None:
    response = operator.get(f"{reverse('retry_run', args=[run.pk])}?mode=task&task={hook(run).pk}")
    assert [task.name for task in response.context["tasks"]] == ["a", "b", "c"]
    assert response.context["again"] == []


def test_the_log_page_opens_with_the_task_that_failed(admin: Client, run: WorkflowRun) -> None:
    write_log(hook(run, "b"), ["the task breaks"])
    write_log(hook(run, "b.on_failure"), ["the hook breaks"])
    TaskRun.objects.filter(name="b").update(ended_at=timezone.now())
    html = admin.get(reverse("logs", args=[run.pk])).content.decode()
    assert "the task breaks" in html
    html = admin.get(
        f"{reverse('logs', args=[run.pk])}?task={hook(run, 'b.on_failure').pk}"
    ).content.decode()
    assert "the hook breaks" in html
