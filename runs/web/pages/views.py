"""Saved views of the list of runs: a filter under a name, as a tab above the list."""

from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from runs import actions
from runs.errors import ActionError, Denied, Invalid
from runs.models import SavedView
from runs.runfilter import query_of, read_filter, text_of
from runs.web.access import actor, do, row_version
from runs.web.chips import address
from runs.web.tabs import view_address, why_not_change


@require_http_methods(["GET", "POST"])
def new_view(request: HttpRequest) -> HttpResponse:
    """The filter of the URL under a name."""
    return _form(request, None)


@require_http_methods(["GET", "POST"])
def edit_view(request: HttpRequest, pk: int) -> HttpResponse:
    """Another name, another filter (`?query=` fills it in), shared or not."""
    return _form(request, get_object_or_404(actions.views_of(actor(request)), pk=pk))


@require_http_methods(["GET", "POST"])
def delete_view(request: HttpRequest, pk: int) -> HttpResponse:
    view = get_object_or_404(actions.views_of(actor(request)), pk=pk)
    if request.method == "POST":
        return do(
            request,
            lambda: actions.delete_view(
                actor(request), view, expected_version=row_version(request)
            ),
            then=f"{reverse('runs')}?view=all",
            done=f"The view {view.name} is deleted.",
        )
    others = " It is shared: the others lose it too." if view.shared else ""
    return render(
        request,
        "web/confirm.html",
        {
            "title": f"Delete the view {view.name}?",
            "lines": [f"No run is deleted, only this one view.{others}"],
            "button": "Delete the view",
            "danger": True,
            "reason": why_not_change(request, view),
            "hidden": [("version", view.version)],
            "back": f"{reverse('runs')}?view=all",
        },
    )


@require_POST
def set_default_view(request: HttpRequest) -> HttpResponse:
    """What the list opens with; an empty `view` for all runs."""
    chosen = request.POST.get("view", "")
    key = int(chosen) if chosen.isascii() and chosen.isdecimal() and len(chosen) < 18 else 0
    view = actions.views_of(actor(request)).filter(pk=key).first()
    return do(
        request,
        lambda: actions.set_preferences(actor(request), default_view=key),
        then=view_address(view) if view else f"{reverse('runs')}?view=all",
        done=f"The list opens with {view.name if view else 'all runs'} from now on.",
    )


def _form(request: HttpRequest, view: SavedView | None) -> HttpResponse:
    asked = read_filter(request.GET)
    stored = QueryDict(view.query if view else "")
    posted = {
        "name": view.name if view else "",
        "text": text_of(asked if asked.any or view is None else read_filter(stored)),
        "shared": bool(view and view.shared),
        "default": False,
    }
    errors: dict[str, str] = {}
    if request.method == "POST":
        posted = {
            "name": request.POST.get("name", ""),
            "text": request.POST.get("text", ""),
            "shared": "shared" in request.POST,
            "default": "default" in request.POST,
        }
        try:
            return _save(request, view, posted)
        except Invalid as error:
            errors = error.errors
        except Denied:
            raise
        except ActionError as error:
            errors = {"name": str(error)}
    return render(
        request,
        "web/view_form.html",
        {
            "saved": view,
            "posted": posted,
            "errors": errors,
            "reason": why_not_change(request, view) if view else "",
            "back": view_address(view) if view else address(asked),
        },
        status=400 if errors else 200,
    )


def _save(request: HttpRequest, view: SavedView | None, posted: dict[str, Any]) -> HttpResponse:
    """Raises runs.errors with nothing done; mistakes of the filter are explained as the list does."""
    written = QueryDict(mutable=True)
    written["query"] = posted["text"]
    chosen = read_filter(written)
    if chosen.errors:
        raise Invalid({"text": " ".join(chosen.errors.values())})
    news = {"name": posted["name"], "query": query_of(chosen), "shared": posted["shared"]}
    who = actor(request)
    with transaction.atomic():
        if view is None:
            saved = actions.save_view(who, **news)
        else:
            saved = actions.change_view(who, view, expected_version=row_version(request), **news)
        if posted["default"]:
            actions.set_preferences(who, default_view=saved.pk)
    messages.success(request, f"The view {saved.name} is saved.")
    return redirect(view_address(saved))
