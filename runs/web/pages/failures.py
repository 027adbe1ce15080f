"""The error pages, in the look of the rest."""

import sys

from django.contrib.auth.decorators import login_not_required
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render


def forbidden(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """403, with the reason where there is one."""
    return _page(request, 403, "You may not do this", str(exception or ""))


def not_found(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """404: what doesn't exist and what may not be seen look the same."""
    said = exception.args[0] if exception and exception.args else ""
    detail = said if isinstance(said, str) else ""
    return _page(request, 404, "There is nothing here", detail)


def bad_request(request: HttpRequest, exception: Exception | None = None) -> HttpResponse:
    """400."""
    return _page(request, 400, "This request makes no sense to the hub", "")


def broken(request: HttpRequest) -> HttpResponse:
    """500; 503 where the database can't be reached, which ends by itself. Asks the database nothing:
    the page stands alone."""
    error = sys.exc_info()[1]
    if isinstance(error, (OperationalError, InterfaceError)):
        response = render(None, "web/broken.html", {"status": 503}, status=503)
        response["Retry-After"] = "5"
        return response
    return render(None, "web/broken.html", {"status": 500}, status=500)


@login_not_required
def forged(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form without a fresh token (CSRF)."""
    return _page(
        request,
        403,
        "This form is out of date",
        "You logged in or out since the page was opened, or cookies are blocked. "
        "Go back, load the page again and send the form once more.",
    )


def _page(request: HttpRequest, status: int, title: str, detail: str) -> HttpResponse:
    return render(
        request,
        "web/failure.html",
        {"status": status, "title": title, "detail": detail},
        status=status,
    )
