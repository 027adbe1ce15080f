"""What can be done to a run: each on a page of its own that says exactly what will happen, and that
works without JavaScript (with it the page opens as a dialog)."""

from collections.abc import Iterable
from typing import Any

from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from runs import actions
from runs.errors import Conflict, Invalid
from runs.labels import labels_of
from runs.models import TaskRun, WorkflowRun
from runs.policy import Action
from runs.states import FINAL_RUN_STATES, RetryMode, RunState, TaskState
from runs.web.access import actor, do, expected_version, find, safe_next, why_not
from runs.web.forms import labels_text, read_labels
from runs.web.offers import run_offers

RETRY_MODES = {
    RetryMode.FAILED: "What failed, was canceled or was held up by it",
    RetryMode.ALL: "Everything",
    RetryMode.TASK: "Chosen tasks",
}


@require_http_methods(["GET", "POST"])
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Asks for the run's end."""
    run = _run(request, pk)
    if request.method == "POST":
        return do(
            request,
            lambda: actions.cancel_run(
                actor(request), run, expected_version=expected_version(request, run)
            ),
            then=safe_next(request, reverse("run", args=[pk])),
            done=f"Run {pk} is being canceled.",
        )
    tasks = run.task_runs.tasks().filter(state__in=[TaskState.RUNNING, TaskState.RETRYING])
    hooks = run.task_runs.open_hooks()
    return _confirm(
        request,
        run,
        title=f"Cancel run {run.pk} of {run.workflow}?",
        lines=[
            "Its engine is asked to stop it; results of tasks that have ended are kept.",
            *_listed("Running now", tasks.order_by("id")[:21]),
            *_listed("Hooks that have begun go on", hooks.order_by("id")[:21]),
        ],
        button="Cancel the run",
        danger=True,
        offer="cancel",
    )


@require_http_methods(["GET", "POST"])
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """A further attempt; the page shows which tasks will run again (`?mode=failed|all|task&task=…&
    downstream=1`)."""
    run = _run(request, pk)
    asked = request.POST if request.method == "POST" else request.GET
    mode, tasks, downstream = _read_retry(asked, run)
    if request.method == "POST":
        return do(
            request,
            lambda: actions.retry_run(
                actor(request),
                run,
                mode=mode,
                tasks=tasks,
                downstream=downstream,
                expected_version=expected_version(request, run),
            ),
            then=safe_next(request, reverse("run", args=[pk])),
            done=f"Run {pk} is being retried.",
        )
    problem = ""
    again: list[Any] = []
    try:
        again = actions.plan_retry(run, mode=mode, tasks=tasks, downstream=downstream)
    except Invalid as error:
        problem = " ".join(error.errors.values()) if tasks else ""
    offers = run_offers(request, run)
    known = list(run.task_runs.tasks().order_by("id"))
    asked_for = set(tasks)
    for task in known:
        task.asked = (task.name, task.map_index) in asked_for  # type: ignore[attr-defined]
    chosen = {(task.name, task.map_index) for task in again}
    flag = {RetryMode.ALL: "retry", RetryMode.FAILED: "retry_failed"}.get(mode, "retry_task")
    context = {
        "run": run,
        "mode": mode,
        "modes": [
            (one.value, label, offers[name].reason)
            for (one, label), name in zip(
                RETRY_MODES.items(), ("retry_failed", "retry", "retry_task"), strict=True
            )
        ],
        "downstream": downstream,
        "again": again,
        "kept": [task for task in known if (task.name, task.map_index) not in chosen],
        "tasks": known,
        "problem": problem,
        "reason": offers[flag].reason or actions.in_the_way(run, mode, again),
    }
    return render(request, "web/retry.html", context)


@require_http_methods(["GET", "POST"])
def restart(request: HttpRequest, pk: int) -> HttpResponse:
    """The whole run anew under the same id."""
    run = _run(request, pk)
    if request.method == "POST":
        return do(
            request,
            lambda: actions.restart_run(
                actor(request), run, expected_version=expected_version(request, run)
            ),
            then=reverse("run", args=[pk]),
            done=f"Run {pk} is being restarted.",
        )
    number = run.task_runs.tasks().count()
    reason = actions.in_the_way(run, RetryMode.RESTART, ())
    first = "" if run.final or reason else "It is active: it is stopped first and seen ended. "
    return _confirm(
        request,
        run,
        title=f"Restart run {run.pk} of {run.workflow}?",
        lines=[
            f"{first}All {number} tasks run again under the same number, as attempt "
            f"{run.attempt + 1}. The logs of the attempts before it are kept."
        ],
        button="Restart the run",
        offer="restart",
        reason=reason,
    )


@require_POST
def start(request: HttpRequest, pk: int) -> HttpResponse:
    """Starts a held run with the parameters that it has."""
    run = _run(request, pk)
    return do(
        request,
        lambda: actions.start_held_run(
            actor(request), run, expected_version=expected_version(request, run)
        ),
        then=safe_next(request, reverse("run", args=[pk])),
        done=f"Run {pk} is started.",
    )


@require_http_methods(["GET", "POST"])
def mark(request: HttpRequest, pk: int) -> HttpResponse:
    """A person says how the run ended."""
    run = _run(request, pk)
    errors: dict[str, str] = {}
    if request.method == "POST":
        state = request.POST.get("state", "")
        if state not in FINAL_RUN_STATES:
            errors["state"] = "Choose how it ended."
        elif not request.POST.get("note", "").strip():
            errors["note"] = "Say why: the note is kept in the run's history."
        else:
            return do(
                request,
                lambda: actions.mark_run(
                    actor(request),
                    run,
                    RunState(state),
                    note=request.POST["note"],
                    expected_version=expected_version(request, run),
                ),
                then=reverse("run", args=[pk]),
                done=f"Run {pk} is marked as {RunState(state).label.lower()}.",
            )
    return render(
        request,
        "web/mark.html",
        {
            "run": run,
            "title": f"Mark run {run.pk} of {run.workflow}",
            "back": reverse("run", args=[pk]),
            "states": [(state, RunState(state).label) for state in sorted(FINAL_RUN_STATES)],
            "errors": errors,
            "posted": request.POST,
            "reason": run_offers(request, run)["mark"].reason,
            "engine_note": "The engine isn't told: cancel the run first where it must stop. "
            "Later reports about this attempt are ignored.",
        },
        status=400 if errors else 200,
    )


@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """The note and the labels of a run."""
    run = _run(request, pk)
    errors: dict[str, str] = {}
    note, labels = run.note, labels_text(labels_of(run))
    if request.method == "POST":
        note, labels = request.POST.get("note", ""), request.POST.get("labels", "")
        try:
            actions.edit_run(actor(request), run, note=note, labels=read_labels(labels))
        except Invalid as error:
            errors = {name.partition("[")[0]: text for name, text in error.errors.items()}
        except Conflict as error:
            errors = {"": str(error)}
        else:
            return redirect("run", pk)
    return render(
        request,
        "web/edit_run.html",
        {
            "run": run,
            "note": note,
            "labels": labels,
            "errors": errors,
            "reason": why_not(request, Action.EDIT_RUN, run),
        },
        status=400 if errors else 200,
    )


def _run(request: HttpRequest, pk: int) -> WorkflowRun:
    return find(request, WorkflowRun.objects.select_related("workflow", "engine"), pk=pk)


def _read_retry(
    asked: QueryDict, run: WorkflowRun
) -> tuple[RetryMode, list[tuple[str, int | None]], bool]:
    """Mode, tasks (`name` or `name:index`) and whether what follows them runs too."""
    word = asked.get("mode", "failed")
    mode = RetryMode(word) if word in RETRY_MODES else RetryMode.FAILED
    keys = {str(task.pk): (task.name, task.map_index) for task in run.task_runs.tasks()}
    tasks: list[tuple[str, int | None]] = [
        keys[key] for key in asked.getlist("task") if key in keys
    ]
    return mode, tasks, "downstream" in asked


def _listed(words: str, tasks: Iterable[TaskRun]) -> list[str]:
    names = ", ".join(str(task) for task in tasks)
    return [f"{words}: {names}."] if names else []


def _confirm(
    request: HttpRequest,
    run: WorkflowRun,
    *,
    title: str,
    lines: list[str],
    button: str,
    offer: str,
    reason: str = "",
    danger: bool = False,
) -> HttpResponse:
    return render(
        request,
        "web/confirm.html",
        {
            "run": run,
            "title": title,
            "lines": lines,
            "button": button,
            "danger": danger,
            "back": reverse("run", args=[run.pk]),
            "reason": run_offers(request, run)[offer].reason or reason,
        },
    )
