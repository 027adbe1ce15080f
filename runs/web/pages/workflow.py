"""One workflow: how its last runs went, task by task, its versions and what changed between them, its
tasks, graph, definition and parameters."""

import re

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from runs import actions
from runs.differences import definition_diff
from runs.errors import Conflict, Invalid
from runs.grid import figures_of, grid_of
from runs.labels import labels_of
from runs.models import Workflow, WorkflowRun
from runs.named import uses_of
from runs.policy import Action
from runs.recent import newest
from runs.states import WorkflowState
from runs.web.access import actor, do, find, row_version, seen, why_not
from runs.web.bars import run_bars
from runs.web.forms import labels_text, properties_of, read_labels
from runs.web.live import show, token_of, unchanged
from runs.web.offers import run_offers
from runs.web.paging import cut
from runs.web.picture import workflow_picture

TABS = {
    "runs": "Runs",
    "grid": "Grid",
    "tasks": "Tasks",
    "definition": "Definition",
    "parameters": "Parameters",
    "versions": "Versions",
}
ROWS = 25
VERSIONS = 100
PAIR = re.compile(r"([0-9]{1,9})\.\.([0-9]{1,9})")


@require_GET
def workflow(request: HttpRequest, title: str) -> HttpResponse:
    """The page of a version (`?version=`, else the newest); `?tab=` says which part is open, `?diff=2..3`
    which two versions are compared."""
    found = version_of(request, title)
    if "old" in request.GET and "new" in request.GET:  # the form beside the versions
        asked = {"tab": "versions", "diff": f"{request.GET['old']}..{request.GET['new']}"}
        return redirect(f"{reverse('workflow', args=[title])}?{urlencode(asked)}")
    tab = request.GET.get("tab", "versions" if "diff" in request.GET else "runs")
    tab = tab if tab in TABS else "runs"
    keys = list(Workflow.objects.filter(title=title).values_list("pk", flat=True))
    page = cut(
        request,
        seen(request, WorkflowRun.objects.filter(workflow__in=keys)).for_list(),
        size=ROWS,
    )
    recent = newest(seen(request, WorkflowRun.objects.all()), title)
    shown_runs = [(run.pk, run.version) for run in [*page.rows, *recent]]
    token = token_of(found.row_version, found.state, shown_runs)
    if same := unchanged(request, token):
        return same
    edit_reason = why_not(request, Action.EDIT_WORKFLOW, found)
    context = {
        "workflow": found,
        "tab": tab,
        "tabs": TABS,
        "token": token,
        "labels": list(found.labels.all()),
        "bars": run_bars(recent),
        "figures": figures_of(recent, title),
        "page": page,
        "rows": [(run, run_offers(request, run)) for run in page.rows] if tab == "runs" else [],
        "active": found.state == WorkflowState.DEPLOYING
        or (tab in ("runs", "grid") and any(not run.final for run in [*page.rows, *recent])),
        "edit_reason": edit_reason,
        "start_reason": why_not(request, Action.START_RUN, found)
        or ("It is archived." if found.archived else "")
        or (found.state_message if found.state == WorkflowState.FAILED else ""),
        "versions": list(
            seen(request, Workflow.objects.filter(title=title))
            .select_related("engine", "created_by")
            .defer("definition", "parameters_schema")
            .order_by("-version")[:VERSIONS]
        ),
    }
    uses = uses_of(found)
    context["missing"] = [one for one in uses if one.row is None]
    context["secrets_reason"] = why_not(request, Action.MANAGE_SECRETS)
    if tab == "grid":
        context["grid"] = grid_of(recent)
    elif tab == "versions":
        context |= _diff(request, title)
    elif tab == "tasks":
        context["picture"] = workflow_picture(found)
        context["tasks"] = list(
            found.tasks.order_by("position").prefetch_related("upstream")[:1000]
        )
    elif tab == "parameters":
        context["parameters"] = parameter_rows(found)
        context["uses"] = uses
    return show(request, "web/workflow.html", context)


@require_http_methods(["GET", "POST"])
def edit_workflow(request: HttpRequest, title: str) -> HttpResponse:
    """Labels of one version; pause and limits of the runs of all."""
    found = version_of(request, title)
    errors: dict[str, str] = {}
    posted = {
        "labels": labels_text(labels_of(found)),
        "paused": found.paused,
        "max_active_runs": found.max_active_runs or "",
        "run_timeout": actions.spelled_length(found.run_timeout),
    }
    if request.method == "POST":
        posted = {
            "labels": request.POST.get("labels", ""),
            "paused": "paused" in request.POST,
            "max_active_runs": request.POST.get("max_active_runs", "").strip(),
            "run_timeout": request.POST.get("run_timeout", "").strip(),
        }
        most = str(posted["max_active_runs"])
        if most and not (most.isdecimal() and 0 < int(most[:9]) < 1_000_000):
            errors["max_active_runs"] = "A whole number from 1 on, or nothing for no limit."
        else:
            try:
                actions.edit_workflow(
                    actor(request),
                    found,
                    labels=read_labels(str(posted["labels"])),
                    paused=bool(posted["paused"]),
                    max_active_runs=int(most) if most else None,
                    run_timeout=actions.read_length(str(posted["run_timeout"])),
                    expected_version=row_version(request),
                )
            except Invalid as error:
                errors = {name.partition("[")[0]: text for name, text in error.errors.items()}
            except Conflict as error:
                errors = {"": str(error)}
            else:
                return redirect(workflow_url(found))
    return render(
        request,
        "web/edit_workflow.html",
        {
            "workflow": found,
            "posted": posted,
            "errors": errors,
            "back": workflow_url(found),
            "reason": why_not(request, Action.EDIT_WORKFLOW, found),
        },
        status=400 if errors else 200,
    )


@require_http_methods(["GET", "POST"])
def archive(request: HttpRequest, title: str) -> HttpResponse:
    """Archives one version, or takes it back."""
    found = version_of(request, title)
    to_archive = not found.archived
    if request.method == "POST":
        # The form says which way it goes, so that doing it twice changes nothing.
        wanted = request.POST.get("archived") == "1"
        return do(
            request,
            lambda: actions.edit_workflow(actor(request), found, archived=wanted),
            then=workflow_url(found),
            done=f"{found} is {'archived' if wanted else 'back'}.",
        )
    lines = (
        [
            "It can't be started any more and leaves the list; its runs and their logs stay.",
            "Runs under way go on.",
        ]
        if to_archive
        else ["It can be started again."]
    )
    return render(
        request,
        "web/confirm.html",
        {
            "title": f"Archive {found}?" if to_archive else f"Take {found} back?",
            "lines": lines,
            "button": "Archive" if to_archive else "Take it back",
            "danger": to_archive,
            "back": workflow_url(found),
            "hidden": [("archived", "1" if to_archive else "0"), ("version", found.row_version)],
            "reason": why_not(request, Action.EDIT_WORKFLOW, found),
        },
    )


@require_POST
def pause(request: HttpRequest, title: str) -> HttpResponse:
    """Pauses the workflow in all its versions, or lets its runs go on."""
    found = version_of(request, title)
    # The form says which way it goes, so that doing it twice changes nothing.
    wanted = request.POST.get("paused") == "1"
    return do(
        request,
        lambda: actions.edit_workflow(actor(request), found, paused=wanted),
        then=workflow_url(found),
        done=f"{found.title} is paused: runs that are started wait, of whatever version."
        if wanted
        else f"{found.title} goes on: what has waited starts now.",
    )


@require_POST
def redeploy(request: HttpRequest, title: str) -> HttpResponse:
    """Sends the definition to its engine again."""
    found = version_of(request, title)
    return do(
        request,
        lambda: actions.redeploy_workflow(actor(request), found),
        then=workflow_url(found),
        done=f"{found} is being deployed again.",
    )


def _diff(request: HttpRequest, title: str) -> dict[str, object]:
    """The two versions that the URL names and their difference; a mistake in it is told."""
    asked = request.GET.get("diff", "")
    if not asked:
        return {}
    pair = PAIR.fullmatch(asked)
    if pair is None:
        return {"diff_error": "Two versions are compared as in diff=2..3."}
    old, new = int(pair[1]), int(pair[2])
    rows = seen(request, Workflow.objects.filter(title=title, version__in=[old, new]))
    known = {one.version: one for one in rows.select_related("engine")}
    if missing := sorted({old, new} - known.keys()):
        return {"diff_error": f"There is no version {missing[0]} of {title}."}
    return {
        "old": known[old],
        "new": known[new],
        "diff": definition_diff(known[old].definition, known[new].definition),
    }


def version_of(request: HttpRequest, title: str) -> Workflow:
    """The version that the URL or the form asks for, else the newest; Http404."""
    number = request.GET.get("version", "")
    rows = Workflow.objects.select_related("engine", "created_by").filter(title=title)
    if not number:
        return find(request, rows, latest=True)
    if not number.isdecimal() or len(number) > 9:
        raise Http404("A version is a whole number.")
    return find(request, rows, version=int(number))


def workflow_url(found: Workflow) -> str:
    """The page of this very version."""
    url = reverse("workflow", args=[found.title])
    return url if found.latest else f"{url}?{urlencode({'version': found.version})}"


def parameter_rows(found: Workflow) -> list[dict[str, object]]:
    """Name, type, default, description and whether it is needed, for a table."""
    needed = found.parameters_schema.get("required") or []
    return [
        {
            "name": name,
            "type": sub.get("type", "any"),
            "enum": sub.get("enum"),
            "has_default": "default" in sub,
            "default": sub.get("default"),
            "description": sub.get("description") or sub.get("title") or "",
            "required": name in needed and "default" not in sub,
        }
        for name, sub in properties_of(found.parameters_schema).items()
    ]
