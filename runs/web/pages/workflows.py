"""The list of workflows, by title."""

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from engines.selectors import SelectorError
from runs.models import Task, Workflow, WorkflowRun
from runs.policy import Action
from runs.web.access import seen, why_not
from runs.web.paging import cut

STRIP = 15  # last runs shown for each title
VERSIONS = 20  # of each title, that the strip looks at


@require_GET
def workflows(request: HttpRequest) -> HttpResponse:
    """The newest version of each title, with how its last runs went."""
    archived = request.GET.get("archived") == "1"
    words = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    labels = request.GET.get("labels", "").strip()[:1000]
    error = ""
    found = seen(request, Workflow.objects.filter(latest=True, archived_at__isnull=not archived))
    if words:
        found = found.filter(title__icontains=words)
    try:
        found = found.for_selector(labels)
    except SelectorError as problem:
        error = str(problem)
    page = cut(request, found.for_list())
    tasks = Task.objects.filter(workflow__in=page.rows).order_by().values_list("workflow")
    totals: dict[int, int] = dict(tasks.annotate(Count("pk")))
    strips = _strips(request, [workflow.title for workflow in page.rows])
    return render(
        request,
        "web/workflows.html",
        {
            "page": page,
            "rows": [
                (workflow, strips.get(workflow.title, []), totals.get(workflow.pk, 0))
                for workflow in page.rows
            ],
            "q": words,
            "labels": labels,
            "labels_error": error,
            "archived": archived,
            "post_reason": why_not(request, Action.POST_WORKFLOW),
            "start_reason": why_not(request, Action.START_RUN),
        },
    )


def _strips(request: HttpRequest, titles: list[str]) -> dict[str, list[WorkflowRun]]:
    """Title -> its last runs, oldest first; two queries, each title read from its index."""
    versions: dict[str, list[int]] = {}
    pairs = Workflow.objects.filter(title__in=titles).order_by("-version")
    for key, title in pairs.values_list("pk", "title"):
        versions.setdefault(title, []).append(key)
    if not versions:
        return {}
    runs = seen(request, WorkflowRun.objects.all()).order_by()
    parts = [
        runs.filter(
            pk__in=WorkflowRun.objects.filter(workflow__in=keys[:VERSIONS])
            .order_by("-pk")
            .values("pk")[:STRIP]
        ).only("pk", "state", "wanted", "workflow", "started_at", "ended_at")
        for keys in versions.values()
    ]
    title_of = {key: title for title, keys in versions.items() for key in keys}
    strips: dict[str, list[WorkflowRun]] = {}
    for run in sorted(parts[0].union(*parts[1:], all=True), key=lambda run: run.pk):
        strips.setdefault(title_of[run.workflow_id], []).append(run)
    return strips
