"""What Ctrl-K suggests for some words: a run, workflows, engines, saved views, pages and deeds."""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlencode

from django.db.models import Case, CharField, F, IntegerField, Value, When
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from engines.models import Engine
from runs import actions
from runs.models import SavedView, Workflow, WorkflowRun
from runs.policy import Action
from runs.states import RunState, shown_state
from runs.web.access import actor, seen, why_not
from runs.web.tabs import view_address

MOST = 12
WORKFLOWS, RUNS_OF, ENGINES, VIEWS = 5, 3, 3, 3
REACH = 5000  # workflows, the last posted, whose titles are looked through
START = "run "


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """`hint`: what it is, or why the visitor can't do it."""

    icon: str
    text: str
    url: str
    hint: str = ""


@require_GET
def suggestions(request: HttpRequest) -> HttpResponse:
    """The options of a list, at most MOST; three statements, whatever there is."""
    words = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    found = list(_found(request, words))
    if words:
        everywhere = f"{reverse('runs')}?{urlencode({'q': words})}"
        search = Suggestion(icon="search", text=f"Search runs for “{words}”", url=everywhere)
        found = [*found[: MOST - 1], search]
    return render(request, "web/_suggestions.html", {"suggestions": found[:MOST]})


def _found(request: HttpRequest, words: str) -> Iterator[Suggestion]:
    """What fits best comes first."""
    if not words:
        yield from _places(request)
        return
    number = words.lstrip("#")
    if number.isdecimal() and len(number) < 15:
        yield from _run(request, int(number))
    if words.lower().startswith(START):
        yield from _workflows(request, words[len(START) :].strip(), start_first=True)
        return
    plain = words.casefold()
    fitting = [one for one in _places(request) if plain in one.text.casefold()]
    begun = [one for one in fitting if one.text.casefold().startswith(plain)]
    yield from begun
    yield from _workflows(request, words)
    yield from _engines_and_views(request, words)
    yield from (one for one in fitting if one not in begun)


def _places(request: HttpRequest) -> Iterator[Suggestion]:
    """Pages and deeds that are always there."""
    runs = reverse("runs")
    pages = [
        ("monitor", "Overview", reverse("overview")),
        ("list", "Runs", runs),
        ("circle-x", "Failed runs", f"{runs}?state={RunState.FAILED}"),
        ("play", "Active runs", f"{runs}?state=active"),
        ("workflow", "Workflows", reverse("workflows")),
        ("server", "Engines", reverse("engines")),
        ("zap", "Insights", reverse("insights")),
        ("key-round", "Secrets and variables", reverse("secrets")),
        ("history", "Jobs for many runs", reverse("bulk_jobs")),
        ("settings", "Settings", reverse("account")),
    ]
    for icon, text, url in pages:
        yield Suggestion(icon=icon, text=text, url=url, hint="Page")
    if not why_not(request, Action.AUDIT):
        yield Suggestion(icon="file-text", text="Audit log", url=reverse("audit"), hint="Page")
    deeds = [
        ("New workflow", "new_workflow", Action.POST_WORKFLOW),
        ("New engine", "new_engine", Action.MANAGE_ENGINES),
    ]
    for text, name, action in deeds:
        hint = why_not(request, action)
        yield Suggestion(icon="plus", text=text, url=reverse(name), hint=hint)


def _run(request: HttpRequest, number: int) -> Iterator[Suggestion]:
    runs = seen(request, WorkflowRun.objects.filter(pk=number)).select_related("workflow")
    for run in runs.only("state", "wanted", "workflow__title"):
        yield Suggestion(
            icon="play",
            text=f"#{run.pk} {run.workflow.title}",
            url=reverse("run", args=[run.pk]),
            hint=f"Run, {shown_state(run.state, run.wanted).lower()}",
        )


def _workflows(
    request: HttpRequest, words: str, *, start_first: bool = False
) -> Iterator[Suggestion]:
    """By a part of their titles, those that begin with it first; then the best of them to start."""
    current = Workflow.objects.current().filter(latest=True)
    newest = current.order_by("-pk").values("pk")[:REACH]
    fit = Case(
        When(title__iexact=words, then=0),
        When(title__istartswith=words, then=1),
        default=2,
        output_field=IntegerField(),
    )
    found = seen(request, Workflow.objects.filter(pk__in=newest, title__icontains=words))
    ordered = found.order_by(fit, "title").values_list("title", flat=True)
    titles = list(ordered[:WORKFLOWS])
    pages = [
        Suggestion(
            icon="workflow", text=title, url=reverse("workflow", args=[title]), hint="Workflow"
        )
        for title in titles
    ]
    reason = why_not(request, Action.START_RUN)
    starts = [
        Suggestion(
            icon="play", text=f"Run {title}", url=reverse("start_run", args=[title]), hint=reason
        )
        for title in titles[: WORKFLOWS if start_first else RUNS_OF]
    ]
    yield from [*starts, *pages] if start_first else [*pages, *starts]


def _engines_and_views(request: HttpRequest, words: str) -> Iterator[Suggestion]:
    """One statement for both: there are few of either."""
    engines = seen(request, Engine.objects.filter(name__icontains=words)).order_by("name")
    views = actions.views_of(actor(request)).filter(name__icontains=words)
    some_engines = Engine.objects.filter(pk__in=engines.values("pk")[:ENGINES])
    some_views = SavedView.objects.filter(pk__in=views.values("pk")[:VIEWS])
    of_engines = some_engines.annotate(of=Value("engine", CharField()), says=Value("", CharField()))
    of_views = some_views.annotate(of=Value("view", CharField()), says=F("query"))
    columns = ("of", "name", "pk", "says")
    rows = of_engines.order_by().values_list(*columns)
    for of, name, key, query in rows.union(of_views.order_by().values_list(*columns)).order_by(
        *columns[:2]
    ):
        if of == "engine":
            url = reverse("engine", args=[key])
            yield Suggestion(icon="server", text=name, url=url, hint="Engine")
        else:
            url = view_address(SavedView(pk=key, query=query))
            yield Suggestion(icon="list", text=name, url=url, hint="View of runs")
