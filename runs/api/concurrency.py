"""Optimistic concurrency: ETag on what is read, If-Match on what is changed."""

import re

from rest_framework.request import Request

from runs.api.errors import Problem

_TAG = re.compile(r'\s*(?:W/)?"([^"]*)"\s*(?:,|$)')


def etag(version: int) -> str:
    return f'"{version}"'


def expected_version(request: Request, current: int) -> int | None:
    """The version that If-Match asks for, for the action to compare; None when any will do.

    Raises Problem 412 where none of several tags is the current one, 400 where it is none at all.
    """
    given = request.META.get("HTTP_IF_MATCH", "").strip()
    if not given or given == "*":
        return None
    tags = _TAG.findall(given)
    if not tags:
        text = 'Send the ETag as it came, such as If-Match: "3".'
        raise Problem(400, "invalid", text, errors={"If-Match": text})
    if str(current) in tags:
        return current
    text = f"The object changed meanwhile: its version is {current} now. Look again, then decide."
    raise Problem(412, "stale", text)
