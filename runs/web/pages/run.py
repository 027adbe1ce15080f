"""One run: why it failed first, then its tasks, graph, parameters, events, results, raw."""

from collections import Counter
from collections.abc import Mapping, Sequence

from django.db.models import Count, F, prefetch_related_objects
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from runs.differences import differences
from runs.engine_page import engine_page
from runs.failure import background, failed_tasks, root_of
from runs.models import RunAttempt, TaskRun, WorkflowRun
from runs.recent import last_success
from runs.standstill import without_a_turn
from runs.states import FINAL_TASK_STATES, Reason, TaskState
from runs.web.access import find, seen
from runs.web.curl import start_again
from runs.web.family import asker, children_by_task, repeated, why_called_off
from runs.web.live import show, token_of, unchanged
from runs.web.logview import excerpt
from runs.web.offers import run_offers
from runs.web.picture import run_picture
from runs.web.timeline import timeline

TABS = {
    "tasks": "Tasks",
    "graph": "Graph",
    "parameters": "Parameters",
    "results": "Results",
    "events": "Events",
    "raw": "Raw",
}
EVENTS = 200
RESULTS = 1000
TASKS = 250  # on one page


@require_GET
def run(request: HttpRequest, pk: int) -> HttpResponse:
    """The run's page; `?tab=` says which of its parts is open, `?show=<state>&skip=<number>` which of its
    tasks are listed, `?with=previous|success` what its parameters are compared with."""
    tab = request.GET.get("tab", "tasks")
    tab = tab if tab in TABS else "tasks"
    found = find(
        request,
        WorkflowRun.objects.select_related(
            "workflow", "engine", "created_by", "parent_task_run"
        ).defer("parent_task_run__inputs", "parent_task_run__result"),
        pk=pk,
    )
    token = token_of(found.version, found.workflow.row_version, tab)
    if same := unchanged(request, token):
        return same
    prefetch_related_objects([found], "labels")
    show_state, skip = _listed(request) if tab == "tasks" else ("", 0)
    tasks = _tasks(found, show_state, skip)
    now = timezone.now()
    attempts = list(RunAttempt.objects.filter(run=found).order_by("-number")[:50])
    previous = repeated(request, found)
    queued = attempts[0] if attempts and attempts[0].number > found.attempt else None
    more = len(tasks) > TASKS
    part = bool(more or skip or show_state)
    counts, goes_on = _count_all(found) if part else _counts(tasks)
    root = root_of(found, failed_tasks(found) if part else tasks)
    context = {
        "run": found,
        "token": token,
        "tab": tab,
        "tabs": TABS,
        "offers": run_offers(request, found),
        "labels": list(found.labels.all()),
        "attempts": [one for one in attempts if one is not queued],
        "queued": queued,
        "tasks": tasks[:TASKS],
        "number": sum(number for _, number in counts),
        "going": not found.final or goes_on,
        "show_state": show_state,
        "skip": skip,
        "back": max(skip - TASKS, 0),
        "ahead": skip + TASKS if more else 0,
        "counts": counts,
        "root": root,
        "children": children_by_task(request, found) if tab == "tasks" else {},
        "asker": asker(request, found),
        "engine_page": engine_page(found),
        "called_off": why_called_off(found),
        "no_turn": found.reason == Reason.QUEUED and found.pk in without_a_turn(),
        "rerun_of": previous,
        "rerun_of_this": seen(request, WorkflowRun.objects.filter(previous=found)).last(),
    }
    visible_runs = seen(request, WorkflowRun.objects.all())
    before = None
    if root or found.error:
        context["excerpt"] = excerpt(root, root.error or found.error if root else "")
        context["background"] = story = background(found, visible_runs)
        before = story.before
    elif tab == "parameters":
        before = last_success(visible_runs, found)
    context["before"] = before
    if tab == "tasks":
        context["line"] = timeline(found, tasks, now)
    elif tab == "graph":
        context["picture"] = run_picture(found, _all(found) if part else tasks)
    elif tab == "results":
        results = found.task_runs.tasks().filter(result__isnull=False).order_by("pk")
        context["results"] = list(results[:RESULTS])
    elif tab == "parameters":
        context |= _compared(found, previous, before, request.GET.get("with", ""))
    elif tab == "raw":
        context["curl"] = start_again(request.build_absolute_uri(reverse("api-runs")), found)
    elif tab == "events":
        events = found.events.select_related("task_run").order_by("-seq")
        context["events"] = list(events[:EVENTS])
        context["more_events"] = found.last_seq > EVENTS
    return show(request, "web/run.html", context)


def _compared(
    found: WorkflowRun, previous: WorkflowRun | None, success: WorkflowRun | None, word: str
) -> dict[str, object]:
    """What the parameters can be compared with, and how they differ from what was chosen, which is the
    run that this one repeats where there is one."""
    choices = {
        name: (run, text)
        for name, run, text in (
            ("previous", previous, "the run that it repeats"),
            ("success", success, "the last success before it"),
        )
        if run
    }
    chosen = word if word in choices else next(iter(choices), "")
    if not chosen:
        return {"choices": choices}
    other = choices[chosen][0]
    return {
        "choices": choices,
        "chosen": chosen,
        "other": other,
        "parameter_changes": differences(other.parameters, found.parameters),
    }


def _listed(request: HttpRequest) -> tuple[str, int]:
    """The state of the tasks to list, empty for all, and how many of them come before the page."""
    state, skip = request.GET.get("show", ""), request.GET.get("skip", "")
    plain = skip.isascii() and skip.isdecimal() and len(skip) < 8
    return state if state in TaskState.values else "", int(skip) if plain else 0


def _tasks(found: WorkflowRun, state: str, skip: int) -> list[TaskRun]:
    rows = TaskRun.objects.filter(run=found)
    return list(
        (rows.filter(state=state) if state else rows)
        .select_related("task")
        .defer("result", "inputs")
        .order_by("-kind", F("task__position").asc(nulls_last=True), "name", "map_index")[
            skip : skip + TASKS + 1
        ]
    )


def _goes_on(kind: str, state: str) -> bool:
    """A hook that may still change when its run has ended."""
    return kind == TaskRun.Kind.HOOK and state not in FINAL_TASK_STATES


Counts = list[tuple[str, int]]
"""(state, how many) in the order of a task's life, those there are."""


def _counts(tasks: Sequence[TaskRun]) -> tuple[Counts, bool]:
    """Of the tasks, without hooks; and whether a hook goes on."""
    found = Counter((task.kind, task.state) for task in tasks)
    return _in_order(found), any(_goes_on(*one) for one in found)


def _count_all(run: WorkflowRun) -> tuple[Counts, bool]:
    """The same of a run with more tasks than are read."""
    rows = run.task_runs.order_by().values_list("kind", "state").annotate(number=Count("pk"))
    found = {(kind, state): number for kind, state, number in rows}
    return _in_order(found), any(_goes_on(*one) for one in found)


def _in_order(found: Mapping[tuple[str, str], int]) -> Counts:
    pairs = ((state, found.get((TaskRun.Kind.TASK, state), 0)) for state in TaskState.values)
    return [(state, number) for state, number in pairs if number]


def _all(run: WorkflowRun) -> list[TaskRun]:
    """Every task of the run, as far as its picture shows it."""
    return list(TaskRun.objects.filter(run=run).only("run", "kind", "name", "map_index", "state"))
