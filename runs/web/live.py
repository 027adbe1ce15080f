"""Parts of pages that keep themselves fresh: htmx asks with the token of what it shows, and gets 204
while nothing changed. The same URL without htmx is the whole page (docs/decisions/0006)."""

import hashlib
from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.cache import patch_vary_headers


def token_of(*parts: object) -> str:
    """A short token that changes when any part does."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]


def unchanged(request: HttpRequest, token: str) -> HttpResponse | None:
    """204 for a poll that shows `token` already, else None: go on and render."""
    if is_poll(request) and request.GET.get("v") == token:
        return HttpResponse(status=204)
    return None


def is_poll(request: HttpRequest) -> bool:
    """Whether only the live part is asked for; a restored history entry is the whole page."""
    return bool(request.headers.get("HX-Request")) and "v" in request.GET


def show(
    request: HttpRequest, template: str, context: Mapping[str, Any], *, part: str = "live"
) -> HttpResponse:
    """The page, or for a poll its part `part` alone."""
    name = f"{template}#{part}" if is_poll(request) else template
    response = render(request, name, dict(context))
    patch_vary_headers(response, ["HX-Request"])
    return response
