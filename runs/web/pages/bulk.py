"""One deed for many runs: the page that says exactly what will happen, and the jobs that came of it."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from engines.clock import database_now
from runs import actions
from runs.actions.bulk import OPEN, RIGHTS
from runs.actions.selection import MOST_KEYS, Selection
from runs.errors import ActionError, Denied, Invalid
from runs.models import BulkJob, Heartbeat
from runs.states import RetryMode
from runs.web.access import actor, do, safe_next, why_not
from runs.web.forms import read_labels
from runs.web.live import show, token_of, unchanged
from runs.web.once import new_token, once
from runs.web.paging import cut

MODES = {
    RetryMode.FAILED: "What failed, was canceled or was held up by it",
    RetryMode.ALL: "Everything",
}
SAID = {
    BulkJob.Action.RETRY: "A further attempt of each begins; one that is active is stopped first.",
    BulkJob.Action.CANCEL: "Their engines are asked to stop them; what has ended keeps its results.",
    BulkJob.Action.LABEL: "Their other labels stay as they are.",
    BulkJob.Action.DELETE: "They are gone for good, with their tasks, logs, files and histories. "
    "Only what has ended is deleted.",
}
FITTING = {
    BulkJob.Action.RETRY: "have something in them that didn't succeed",
    BulkJob.Action.CANCEL: "are active",
    BulkJob.Action.DELETE: "have ended",
}
# Deeds that are named with the number of runs that they can be done to.
NONE = {
    BulkJob.Action.CANCEL: "None of them is active.",
    BulkJob.Action.DELETE: "None of them has ended.",
}
SILENT = timedelta(seconds=max(30.0, 3 * settings.WORKFLOWHUB_POLL))
MOST_LINKED = 100  # runs that are named in an address


@require_http_methods(["GET", "POST"])
def bulk_confirm(request: HttpRequest) -> HttpResponse:
    """`?action=…` with `query=…`, `keys=…` or `everything=1`; a POST of it makes the job. `mode`, `set`
    and `remove` fill in the options."""
    action = request.GET.get("action", "")
    if action not in BulkJob.Action.values:
        raise Http404("Nothing of that kind can be done to many runs.")
    deed = BulkJob.Action(action)
    form = _form_of(request)
    errors: list[str] = []
    if request.method == "POST":
        try:
            return redirect(once(request, lambda: _ask(request, deed, form)))
        except Denied:
            raise
        except Invalid as error:
            errors = list(error.errors.values())
        except ActionError as error:
            errors = [str(error)]
    preview = None
    reason = why_not(request, RIGHTS[deed])
    if not reason:
        try:
            preview = actions.preview_bulk(actor(request), action=deed, **_asked(request.GET))
        except Invalid as error:
            errors = errors or list(error.errors.values())
    number = 0
    if preview:
        number = preview.fits if deed in NONE else preview.total
        reason = preview.refusal or (NONE.get(deed, "") if not number else "")
    context = {
        "deed": deed,
        "preview": preview,
        "number": number,
        "form": form,
        "errors": errors,
        "modes": MODES.items(),
        "said": SAID[deed],
        "fitting": FITTING.get(deed, ""),
        "once": new_token(),
        "danger": deed in NONE,
        "reason": reason,
        "back": _runs_url(preview.selection) if preview else reverse("runs"),
    }
    return render(request, "web/bulk_confirm.html", context, status=400 if errors else 200)


@require_GET
def bulk_jobs(request: HttpRequest) -> HttpResponse:
    """The visitor's own, administrators' all; the newest first."""
    page = cut(request, _jobs(request))
    token = token_of([(job.pk, job.version) for job in page.rows])
    if same := unchanged(request, token):
        return same
    active = any(job.state in OPEN for job in page.rows)
    return show(request, "web/bulk_jobs.html", {"page": page, "token": token, "active": active})


@require_GET
def bulk_job(request: HttpRequest, pk: int) -> HttpResponse:
    """How far one is, and why runs were left out."""
    job = _job(request, pk)
    is_open = job.state in OPEN
    silent = is_open and _nobody_works()
    token = token_of(job.version, silent)
    if same := unchanged(request, token):
        return same
    selection = _selection(job)
    handled = job.done + job.skipped
    context = {
        "job": job,
        "open": is_open,
        "silent": silent,
        "token": token,
        "selection": selection,
        "left": max(0, job.total - handled),
        "widths": [round(100 * part / max(job.total, 1), 2) for part in (job.done, handled)],
        "reasons": sorted(job.reasons.items(), key=lambda item: (-item[1], item[0])),
        "runs_url": _runs_url(selection),
        "linked": MOST_LINKED if len(selection.keys or ()) > MOST_LINKED else 0,
        "undo": "" if is_open else _undo_url(job),
        "mode": MODES.get(job.options.get("mode", "")),
    }
    return show(request, "web/bulk_job.html", context)


@require_POST
def cancel_bulk(request: HttpRequest, pk: int) -> HttpResponse:
    job = _job(request, pk)
    return do(
        request,
        lambda: actions.cancel_bulk(actor(request), job),
        then=safe_next(request, reverse("bulk_job", args=[pk])),
    )


def _ask(request: HttpRequest, deed: BulkJob.Action, form: Mapping[str, str]) -> str:
    options: dict[str, Any] = {}
    if deed == BulkJob.Action.RETRY:
        options = {"mode": form["mode"]}
    elif deed == BulkJob.Action.LABEL:
        removed = [line.strip() for line in form["remove"].replace(",", "\n").splitlines()]
        options = {"set": read_labels(form["set"]), "remove": [key for key in removed if key]}
    job = actions.ask_bulk(
        actor(request),
        action=deed,
        options=options,
        newest=_whole(request.POST.get("newest", "")),
        expected=_whole(request.POST.get("expected", "")),
        **_asked(request.GET),
    )
    return reverse("bulk_job", args=[job.pk])


def _asked(given: QueryDict) -> dict[str, Any]:
    """Which runs the address means; what is ticked goes before the filter."""
    words = [word for text in given.getlist("keys") for word in text.split(",")][: MOST_KEYS + 1]
    if words or not ("query" in given or "everything" in given):
        keys = [_whole(word) for word in words]
        if None in keys:
            raise Invalid({"runs": "A run is named by its number."})
        return {"keys": keys}
    return {"query": given.get("query", ""), "everything": given.get("everything") == "1"}


def _form_of(request: HttpRequest) -> dict[str, str]:
    """What the form's controls show: what was sent, or what the address fills in."""
    if request.method == "POST":
        return {name: request.POST.get(name, "") for name in ("mode", "set", "remove")}
    mode = request.GET.get("mode", "")
    return {
        "mode": mode if mode in MODES else RetryMode.FAILED.value,
        "set": "\n".join(request.GET.getlist("set")),
        "remove": "\n".join(request.GET.getlist("remove")),
    }


def _whole(text: str) -> int | None:
    plain = text.isascii() and text.isdecimal() and len(text) < 19
    return int(text) if plain else None


def _jobs(request: HttpRequest) -> QuerySet[BulkJob]:
    return actions.bulk_jobs(actor(request))


def _job(request: HttpRequest, pk: int) -> BulkJob:
    job = _jobs(request).filter(pk=pk).first()
    if job is None:
        raise Http404("There is no such job.")
    return job


def _nobody_works() -> bool:
    beat = Heartbeat.objects.filter(name="sync").values_list("at", flat=True).first()
    return beat is None or database_now() - beat > SILENT


def _selection(job: BulkJob) -> Selection:
    return Selection(query=job.query, keys=None if job.keys is None else tuple(job.keys))


def _runs_url(selection: Selection) -> str:
    query = selection.query
    if selection.keys is not None:
        query = urlencode({"id": ",".join(map(str, selection.keys[:MOST_LINKED]))}, safe=",")
    return f"{reverse('runs')}?{query or 'view=all'}"


def _undo_url(job: BulkJob) -> str:
    """Where the change of labels is asked for the other way round. Values that were overwritten or
    removed aren't known any more: whoever asks fills them in."""
    if job.action != BulkJob.Action.LABEL or len(job.keys or ()) > MOST_LINKED:
        return ""
    which: list[tuple[str, str]] = [("keys", str(key)) for key in job.keys or ()]
    if not which:
        which = [("query", job.query)] if job.query else [("everything", "1")]
    back = [("remove", key) for key in job.options["set"]]
    back += [("set", f"{key}=") for key in job.options["remove"]]
    return f"{reverse('bulk_confirm')}?{urlencode([('action', 'label'), *which, *back])}"
