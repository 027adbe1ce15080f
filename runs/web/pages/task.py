"""One task run: its tries with their logs, inputs, result, neighbours, how the same task went in other
runs, and what can be done."""

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods

from engines.base import Artifacts, EngineError, RunNotFound
from runs import actions, artifacts
from runs.downloads import attachment
from runs.models import TaskRun, WorkflowRun
from runs.recent import same_task
from runs.states import FINAL_TASK_STATES, TaskState
from runs.web.access import actor, do, find, seen
from runs.web.bars import task_bars
from runs.web.family import children_of, children_version
from runs.web.live import show, token_of, unchanged
from runs.web.logview import excerpt
from runs.web.offers import task_offers

EVENTS = 100
NEIGHBOURS = 50


@require_GET
def task(request: HttpRequest, pk: int, task_pk: int) -> HttpResponse:
    """The page of a task run."""
    run, found = _task(request, pk, task_pk)
    token = token_of(run.version, children_version(found))
    if same := unchanged(request, token):
        return same
    tries = list(found.tries.order_by("-attempt", "-try_number")[:100])
    before, after = _neighbours(run, found)
    return show(
        request,
        "web/task.html",
        {
            "run": run,
            "task": found,
            "token": token,
            "final": found.state in FINAL_TASK_STATES or (run.final and not found.is_hook),
            "offers": task_offers(request, run, found),
            "tries": tries,
            "before": before,
            "after": after,
            "hooks": _hooks(run, found),
            "events": list(found.events.order_by("-seq")[:EVENTS]),
            "excerpt": excerpt(found, found.error),
            **_files(found),
            "bars": task_bars(same_task(seen(request, WorkflowRun.objects.all()), found), found),
            "children": children_of(request, found)[:NEIGHBOURS],
            "same": list(
                run.task_runs.filter(name=found.name)
                .exclude(pk=found.pk)
                .order_by("map_index")[:NEIGHBOURS]
            )
            if found.map_index >= 0
            else [],
        },
    )


@require_GET
def download(request: HttpRequest, pk: int, task_pk: int, path: str) -> HttpResponseBase:
    """One of the files that the task left."""
    _, found = _task(request, pk, task_pk)
    try:
        file = artifacts.open_file(found, path)
    except RunNotFound:
        raise Http404("The task has no such file.") from None
    except EngineError as error:
        context = {"status": 503, "title": "The file can't be read now", "detail": str(error)}
        return render(request, "web/failure.html", context, status=503)
    return attachment(file, path, range_header=request.headers.get("Range", ""))


@require_http_methods(["GET", "POST"])
def cancel_task(request: HttpRequest, pk: int, task_pk: int) -> HttpResponse:
    """Asks the engine to stop this one task."""
    run, found = _task(request, pk, task_pk)
    back = reverse("task", args=[pk, task_pk])
    if request.method == "POST":
        return do(
            request,
            lambda: actions.cancel_task(actor(request), found),
            then=back,
            done=f"{found} is being canceled.",
        )
    kind = found.get_kind_display().lower()
    what_follows = "Tasks that need it will not run."
    if found.is_hook:
        what_follows = "Nothing else about the run changes."
    return render(
        request,
        "web/confirm.html",
        {
            "run": run,
            "title": f"Cancel the {kind} {found} of run {run.pk}?",
            "lines": [f"The engine is asked to stop it. {what_follows}"],
            "button": f"Cancel the {kind}",
            "danger": True,
            "back": back,
            "reason": task_offers(request, run, found)["cancel"].reason,
        },
    )


@require_http_methods(["GET", "POST"])
def mark_task(request: HttpRequest, pk: int, task_pk: int) -> HttpResponse:
    """A person says how the task ended."""
    run, found = _task(request, pk, task_pk)
    back = reverse("task", args=[pk, task_pk])
    errors: dict[str, str] = {}
    if request.method == "POST":
        state = request.POST.get("state", "")
        if state not in FINAL_TASK_STATES:
            errors["state"] = "Choose how it ended."
        elif not request.POST.get("note", "").strip():
            errors["note"] = "Say why: the note is kept in the run's history."
        else:
            return do(
                request,
                lambda: actions.mark_task(
                    actor(request), found, TaskState(state), note=request.POST["note"]
                ),
                then=back,
                done=f"{found} is marked as {TaskState(state).label.lower()}.",
            )
    return render(
        request,
        "web/mark.html",
        {
            "run": run,
            "title": f"Mark the {found.get_kind_display().lower()} {found} of run {run.pk}",
            "back": back,
            "states": [(state, TaskState(state).label) for state in sorted(FINAL_TASK_STATES)],
            "errors": errors,
            "posted": request.POST,
            "reason": task_offers(request, run, found)["mark"].reason,
            "engine_note": "The engine isn't told, and the run's own state is left to it.",
        },
        status=400 if errors else 200,
    )


def _task(request: HttpRequest, pk: int, task_pk: int) -> tuple[WorkflowRun, TaskRun]:
    run = find(request, WorkflowRun.objects.select_related("workflow", "engine"), pk=pk)
    task = get_object_or_404(TaskRun.objects.select_related("task"), pk=task_pk, run=run)
    task.run = run
    return run, task


def _files(found: TaskRun) -> dict[str, object]:
    """What the task left, or why that can't be told."""
    try:
        return {"artifacts": artifacts.files(found), "no_files": ""}
    except EngineError as error:
        return {"artifacts": Artifacts(), "no_files": str(error)}


def _neighbours(run: WorkflowRun, found: TaskRun) -> tuple[list[TaskRun], list[TaskRun]]:
    """The task runs that this one needs, or as a hook follows, and those that need it."""
    if found.is_hook:
        owner = run.task_runs.tasks().filter(name=found.hook_of, map_index=-1)
        return list(owner), []
    if found.task is None:
        return [], []
    runs = run.task_runs.order_by("task__position", "map_index")
    before = runs.filter(task__in=found.task.upstream.all())[:NEIGHBOURS]
    after = runs.filter(task__in=found.task.downstream.all())[:NEIGHBOURS]
    return list(before), list(after)


def _hooks(run: WorkflowRun, found: TaskRun) -> list[TaskRun]:
    """Those that began with this one's end."""
    if found.is_hook or found.map_index >= 0:
        return []
    hooks = run.task_runs.filter(kind=TaskRun.Kind.HOOK, name__startswith=f"{found.name}.")
    return [hook for hook in hooks.order_by("pk") if hook.hook_of == found.name]
