"""The log viewer: one try's lines, rendered here in pieces of 500, with numbers that can be linked
to. Log text is the least trusted text of all: it is escaped like any other, and never swapped by
htmx as anything but text."""

from collections.abc import Iterator
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_GET

from runs.models import TaskRun, TaskTry, WorkflowRun
from runs.states import FINAL_TASK_STATES, TaskState
from runs.web import logview
from runs.web.access import find

SHOWN = 1000  # lines, unless the URL says where to begin
FOUND = 500
TASKS = 1000


@require_GET
def logs(request: HttpRequest, pk: int) -> HttpResponse:
    """`?task=<task run>&try=<try's key>&q=<words>&from=<byte offset>`; without a task that of the
    first failed task, else of the one that runs. With `tail=1` only what follows `from`."""
    run = _run(request, pk)
    task, task_try = _chosen(request, run)
    words = request.GET.get("q", "").replace("\x00", "")[:200]
    begin = _offset(request.GET.get("from", ""))
    if task_try is None:
        excerpt = None
    elif request.GET.get("tail") == "1":
        return _tail(request, run, task_try, begin or 0)
    elif words:
        excerpt = logview.grep(task_try, words, FOUND)
    elif begin is not None:
        excerpt = logview.from_offset(task_try, begin, SHOWN, task_try.error)
    else:
        excerpt = logview.last_lines(task_try, SHOWN, task_try.error)
    tasks = run.task_runs.order_by("-kind", "task__position", "name", "map_index")[:TASKS]
    context = {
        "run": run,
        "task": task,
        "try": task_try,
        "tries": list(task.tries.order_by("-attempt", "-try_number")) if task else [],
        "tasks": list(tasks.only("pk", "name", "map_index", "state", "run_id")),
        "q": words,
        "excerpt": excerpt,
        "chunks": _chunks(excerpt.lines) if excerpt else [],
        "live": bool(excerpt and not excerpt.complete and not words and _live(task_try)),
        "most": FOUND,
    }
    return render(request, "web/logs.html", context)


@require_GET
def raw(request: HttpRequest, pk: int) -> HttpResponseBase:
    """The whole log as text, streamed; with `download=1` as a file."""
    run = _run(request, pk)
    task, task_try = _chosen(request, run)
    if task is None or task_try is None:
        raise Http404("This task has no log.")
    response = StreamingHttpResponse(
        logview.as_text(task_try), content_type="text/plain; charset=utf-8"
    )
    response["X-Content-Type-Options"] = "nosniff"
    kind = "attachment" if request.GET.get("download") == "1" else "inline"
    name = f"run-{run.pk}-task-{task.pk}-attempt-{task_try.attempt}-try-{task_try.try_number}.log"
    response["Content-Disposition"] = f'{kind}; filename="{name}"'
    return response


def _tail(request: HttpRequest, run: WorkflowRun, task_try: TaskTry, begin: int) -> HttpResponse:
    """The lines after `begin`, to be appended; 204 where there are none and more will come."""
    excerpt = logview.from_offset(task_try, begin, logview.CHUNK)
    live = _live(task_try) and not excerpt.complete
    if not excerpt.lines and live:
        return HttpResponse(status=204)
    return render(
        request,
        "web/logs.html#tail",
        {
            "run": run,
            "task": task_try.task_run,
            "try": task_try,
            "excerpt": excerpt,
            "chunks": _chunks(excerpt.lines),
            "live": live,
        },
    )


def _run(request: HttpRequest, pk: int) -> WorkflowRun:
    return find(request, WorkflowRun.objects.select_related("workflow", "engine"), pk=pk)


def _chosen(request: HttpRequest, run: WorkflowRun) -> tuple[TaskRun | None, TaskTry | None]:
    tasks = TaskRun.objects.filter(run=run)
    key, try_key = request.GET.get("task", ""), request.GET.get("try", "")
    if key:
        if not key.isdecimal() or len(key) > 17:
            raise Http404("There is no such task.")
        task: TaskRun | None = get_object_or_404(tasks, pk=int(key))
    else:
        failed = tasks.tasks().filter(state=TaskState.FAILED).order_by("ended_at")
        running = tasks.tasks().filter(state=TaskState.RUNNING).order_by("pk")
        task = failed.first() or running.first() or tasks.filter(tries__isnull=False).first()
    if task is None:
        return None, None
    if not try_key:
        return task, logview.last_try(task)
    if not try_key.isdecimal() or len(try_key) > 17:
        raise Http404("There is no such try.")
    tries = TaskTry.objects.select_related("task_run__run__engine")
    return task, get_object_or_404(tries, pk=int(try_key), task_run=task)


def _live(task_try: TaskTry | None) -> bool:
    return bool(task_try and task_try.state not in FINAL_TASK_STATES and not task_try.log_complete)


def _chunks(lines: list[Any]) -> Iterator[list[Any]]:
    for at in range(0, len(lines), logview.CHUNK):
        yield lines[at : at + logview.CHUNK]


def _offset(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 16 else None
