"""Every refusal as RFC 9457 problem details: `type, title, status, detail, instance, errors`.

`errors` is a list of {field, detail}; a definition's problems carry line and path besides. A conflict
carries `current`: the object as it is now.
"""

from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from django.core.exceptions import PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404
from django.http.multipartparser import MultiPartParserError
from rest_framework import exceptions
from rest_framework.response import Response

from engines.base import EngineError, EngineUnavailable, RunNotFound
from runs.api.permissions import actor_of
from runs.errors import ActionError, Conflict, Denied, Invalid, Stale
from runs.models import WorkflowRun
from runs.policy import Actor

MEDIA_TYPE = "application/problem+json"
MAX_ERRORS = 100
UNAVAILABLE_AFTER = 2  # seconds a client should wait before it tries again


class Problem(Exception):
    """A refusal of the API's own, with headers where it needs some."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        errors: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.errors = dict(errors or {})
        self.headers = dict(headers or {})


class Missing(Problem):
    """No such object, or none that the caller may see: the answer is the same."""

    def __init__(self, what: str) -> None:
        super().__init__(404, "not-found", f"There is no such {what}, or you may not see it.")


def problem_response(error: Exception, context: Mapping[str, Any]) -> Response | None:
    """DRF's exception handler. None for a programming error, which Django reports."""
    found = _problem(error)
    if found is None:
        return None
    status, kind, detail, errors, headers = found
    request = context.get("request")
    extra = _current(error.current, request) if isinstance(error, Conflict) else {}
    body: dict[str, Any] = {
        "type": f"urn:workflowhub:problem:{kind}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "instance": request.path if request else "",
        "errors": errors[:MAX_ERRORS],
        **extra,
    }
    return Response(body, status=status, headers=headers, content_type=MEDIA_TYPE)


Found = tuple[int, str, str, list[dict[str, Any]], dict[str, str]]


def _problem(error: Exception) -> Found | None:
    if isinstance(error, Problem):
        return error.status, error.kind, str(error), listed(error.errors), error.headers
    if isinstance(error, ActionError):
        return _refused(error)
    if isinstance(error, EngineError):
        return _engine(error)
    if isinstance(error, exceptions.APIException):
        return _framework(error)
    if isinstance(error, (OperationalError, InterfaceError)):
        # Perhaps it was done, and only the database's answer got lost.
        text = (
            "The database can't be reached or is too busy. Try again: with the same "
            "Idempotency-Key nothing is done twice."
        )
        return 503, "unavailable", text, [], {"Retry-After": str(UNAVAILABLE_AFTER)}
    if isinstance(error, IntegrityError):
        text = (
            "Somebody wrote the same, or took away what it needs, at the same moment. Look again."
        )
        return 409, "conflict", text, [], {}
    if isinstance(error, DataError):
        text = "A value doesn't fit into its column of the database. Nothing was changed."
        return 400, "invalid", text, [], {}
    if isinstance(error, Http404):
        return 404, "not-found", "There is nothing here, or you may not see it.", [], {}
    if isinstance(error, PermissionDenied):
        return 403, "denied", str(error) or "You may not do this.", [], {}
    if isinstance(error, RequestDataTooBig):
        return 413, "too-large", "The body is too large.", [], {}
    if isinstance(error, (SuspiciousOperation, MultiPartParserError)):
        return 400, "invalid", "The request can't be read.", [], {}
    return None


def _refused(error: ActionError) -> Found | None:
    if isinstance(error, Invalid):
        errors = listed(error.errors)
        if error.problems:
            errors = [
                {"field": "definition", "detail": p.message, "line": p.line, "path": p.path}
                for p in error.problems
            ]
        return 400, "invalid", str(error), errors, {}
    if isinstance(error, Denied):
        return 403, "denied", str(error), [], {}
    if isinstance(error, Conflict):
        status, kind = (412, "stale") if isinstance(error, Stale) else (409, "conflict")
        return status, kind, str(error), [], {}
    return None


def _engine(error: EngineError) -> Found:
    """A live log is the one thing that asks an engine while a caller waits."""
    if isinstance(error, EngineUnavailable):
        headers = {"Retry-After": str(int(error.retry_after or UNAVAILABLE_AFTER) + 1)}
        return 503, "engine-unavailable", str(error), [], headers
    if isinstance(error, RunNotFound):
        return 404, "not-found", str(error), [], {}
    return 409, "engine-refused", str(error), [], {}


# What an object is as it is now, for the one who lost a race: model -> how that reader sees it. The
# shapes fill it in.
CURRENT: dict[type, Callable[[Any, Actor], dict[str, Any]]] = {}


def _current(obj: Any, request: Any) -> dict[str, Any]:
    if isinstance(obj, WorkflowRun):
        obj = WorkflowRun.objects.for_list().get(pk=obj.pk)
    show = CURRENT.get(type(obj))
    return {"current": show(obj, actor_of(request))} if show else {}


def _framework(error: exceptions.APIException) -> Found:
    headers: dict[str, str] = {}
    if (challenge := getattr(error, "auth_header", None)) is not None:
        headers["WWW-Authenticate"] = challenge
    if (wait := getattr(error, "wait", None)) is not None:
        headers["Retry-After"] = str(int(wait) + 1)
    if isinstance(error, exceptions.ValidationError):
        errors = list(_flat(error.detail))
        text = " ".join(f"{item['field']}: {item['detail']}" for item in errors[:5])
        return 400, "invalid", text, errors, headers
    kinds = {
        401: "not-logged-in",
        403: "denied",
        404: "not-found",
        405: "method-not-allowed",
        406: "not-acceptable",
        413: "too-large",
        415: "unsupported-media-type",
        429: "too-many-requests",
    }
    kind = kinds.get(error.status_code, "invalid")
    detail = str(error.detail)
    if isinstance(error, exceptions.UnsupportedMediaType):
        detail += " Send JSON, with the header Content-Type: application/json."
    return error.status_code, kind, detail, [], headers


def listed(errors: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"field": name, "detail": text} for name, text in errors.items()]


def _flat(detail: Any, path: str = "") -> Iterator[dict[str, Any]]:
    """A serializer's nested errors as {field: path like labels[0].key, detail}."""
    if isinstance(detail, Mapping):
        for name, item in detail.items():
            if name == "non_field_errors":
                yield from _flat(item, path)
            elif isinstance(name, int):
                yield from _flat(item, f"{path}[{name}]")
            else:
                yield from _flat(item, f"{path}.{name}" if path else str(name))
    elif isinstance(detail, (list, tuple)):
        for at, item in enumerate(detail):
            nested = isinstance(item, (Mapping, list, tuple))
            yield from _flat(item, f"{path}[{at}]" if nested else path)
    else:
        yield {"field": path, "detail": str(detail)}
