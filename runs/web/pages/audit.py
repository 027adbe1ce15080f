"""The audit log: who did what to which object, for those who may read it."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from django.db.models import CharField, F, PositiveIntegerField, QuerySet, Value
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_GET

from engines.models import Engine
from runs import actions
from runs.keyset import in_steps
from runs.models import AuditEntry, BulkJob, Secret, Variable, Workflow, WorkflowRun
from runs.policy import Action, require
from runs.runfilter import moment
from runs.web.access import actor, seen
from runs.web.paging import Slice, cut

LONGEST = {
    "actor": 200,
    "action": 50,
    "object_kind": 50,
    "object_id": 100,
    "since": 40,
    "until": 40,
}
COLUMNS = {
    "actor": "actor_name",
    "action": "action",
    "face": "face",
    "object_kind": "object_kind",
    "object_id": "object_id",
}
# Kind of an object -> its word, and the name of its page where it has one.
KINDS: dict[str, tuple[str, str]] = {
    "workflowrun": ("Run", "run"),
    "workflow": ("Workflow", "workflow"),
    "engine": ("Engine", "engine"),
    "secret": ("Secret", "edit_secret"),
    "variable": ("Variable", "edit_variable"),
    "bulkjob": ("Job for many runs", "bulk_job"),
    "savedview": ("View", "edit_view"),
    "taskrun": ("Task run", ""),
    "acknowledgement": ("Acknowledgement", ""),
    "apitoken": ("API token", ""),
    "preference": ("Settings", ""),
    "hub": ("The hub", ""),
}
# An entry's time is when its transaction began, and its number is given later in it.
LATE = timedelta(hours=1)


@require_GET
def audit(request: HttpRequest) -> HttpResponse:
    """By who, what, which object, through which face and when; the newest first."""
    require(actor(request), Action.AUDIT)
    asked = {
        name: request.GET.get(name, "").replace("\x00", "").strip()[:most]
        for name, most in LONGEST.items()
    }
    face = request.GET.get("face", "")
    asked["face"] = face if face in AuditEntry.Face.values else ""
    times = {name: moment(asked[name]) for name in ("since", "until")}
    page = cut(request, _narrowed(asked, times))
    if times["since"] and page.reach:
        page = _to_its_end(page, times["since"])
    places = _places(request, page.rows)
    context = {
        "page": page,
        "asked": asked,
        "any": any(asked.values()),
        "errors": {name: asked[name] for name, when in times.items() if asked[name] and not when},
        "faces": AuditEntry.Face.choices,
        "kinds": [(kind, word) for kind, (word, _) in KINDS.items()],
        "known": asked["object_kind"] in KINDS,
        "spans": [("since", "Since"), ("until", "Until")],
        "rows": [
            (row, word_of(row.object_kind), places.get((row.object_kind, row.object_id), ""))
            for row in page.rows
        ],
    }
    return render(request, "web/audit.html", context)


def _narrowed(
    asked: dict[str, str], times: dict[str, datetime | None]
) -> QuerySet[AuditEntry, AuditEntry]:
    """What fits. An index leads to the entries of one object; all others are looked through in steps."""
    wanted: dict[str, Any] = {
        column: asked[name] for name, column in COLUMNS.items() if asked[name]
    }
    for name, lookup in (("since", "at__gte"), ("until", "at__lt")):
        if times[name]:
            wanted[lookup] = times[name]
    rows = AuditEntry.objects.filter(**wanted)
    return in_steps(rows) if wanted and not {"object_kind", "object_id"} <= wanted.keys() else rows


def _to_its_end(page: Slice, since: datetime) -> Slice:
    """Where the entries behind the page are older than what was asked for, it is the last one."""
    behind = AuditEntry.objects.filter(pk__lt=page.older).order_by("-pk")
    at = behind.values_list("at", flat=True).first()
    return replace(page, older=None, reach=0) if at is None or at < since - LATE else page


def word_of(kind: str) -> str:
    return KINDS[kind][0] if kind in KINDS else kind


def _places(request: HttpRequest, rows: list[AuditEntry]) -> dict[tuple[str, str], str]:
    """(kind, id) -> the page of the object, where it is still there for the visitor; one statement."""
    sources: dict[str, QuerySet[Any]] = {
        "workflowrun": WorkflowRun.objects.all(),
        "workflow": Workflow.objects.all(),
        "engine": Engine.objects.all(),
        "secret": Secret.objects.all(),
        "variable": Variable.objects.all(),
        "bulkjob": BulkJob.objects.all(),
        "savedview": actions.views_of(actor(request)),
    }
    keys: dict[str, set[int]] = {}
    for row in rows:
        number = row.object_id
        if row.object_kind in sources and number.isdecimal() and len(number) < 19:
            keys.setdefault(row.object_kind, set()).add(int(number))
    parts = []
    for kind, wanted in keys.items():
        titled = kind == "workflow"
        found = seen(request, sources[kind].filter(pk__in=wanted)).order_by()
        found = found.annotate(
            of=Value(kind, CharField()),
            called=F("title") if titled else Value("", CharField()),
            which=F("version") if titled else Value(0, PositiveIntegerField()),
        )
        parts.append(found.values_list("of", "pk", "called", "which"))
    if not parts:
        return {}
    answers = parts[0].union(*parts[1:], all=True) if parts[1:] else parts[0]
    return {(kind, str(key)): _page_of(kind, key, *more) for kind, key, *more in answers}


def _page_of(kind: str, key: int, title: str, version: int) -> str:
    if kind == "workflow":
        return f"{reverse(kind, args=[title])}?version={version}"
    return reverse(KINDS[kind][1], args=[key])
