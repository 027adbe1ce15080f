"""Idempotency-Key: the same POST twice has one effect and one answer.

The answer is stored in the transaction of what it answers, for 24 hours. While the first one is under
way a second is told to wait: at once within a process, and between processes by an advisory lock on
PostgreSQL and by the writer's lock on SQLite.
"""

import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from django.db import IntegrityError, connection, transaction
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from engines.clock import database_now
from engines.faults import crash_point
from engines.secrets import decrypt, encrypt
from runs.api.errors import Problem
from runs.models import IdempotencyKey

KEPT = timedelta(hours=24)
LONGEST = 255
KEPT_HEADERS = ("ETag", "Location")

_in_flight: set[tuple[int, str]] = set()
_guard = threading.Lock()


def answer_once(request: Request, call: Callable[[], Response], *, secret: bool) -> Response:
    """The answer of `call`, or the one stored under the request's key. `secret`: it holds something
    that may only be stored encrypted. Refusals are not stored: the same key may try again."""
    key = request.META.get("HTTP_IDEMPOTENCY_KEY")
    if key is None:
        return call()
    if not key or len(key) > LONGEST or not key.isprintable():
        text = f"An Idempotency-Key has 1 to {LONGEST} printable characters."
        raise Problem(400, "invalid", text, errors={"Idempotency-Key": text})
    user: int = request.user.pk  # type: ignore[assignment]
    digest = _digest(request)
    with _alone(user, key):
        found = _stored(user, key)
        if found:
            return _replay(found, digest, secret)
        try:
            with transaction.atomic():
                _lock(user, key)
                row = IdempotencyKey.objects.create(user_id=user, key=key, request_digest=digest)
                response = call()
                _keep(row, response, secret)
                crash_point("reply.writing")
            crash_point("reply.written")
            return response
        except IntegrityError:
            # Another process was quicker, or the call itself failed: then there is no row.
            found = _stored(user, key)
            if not found:
                raise
            return _replay(found, digest, secret)


@contextmanager
def _alone(user: int, key: str) -> Iterator[None]:
    with _guard:
        if (user, key) in _in_flight:
            raise _busy()
        _in_flight.add((user, key))
    try:
        yield
    finally:
        with _guard:
            _in_flight.discard((user, key))


def _lock(user: int, key: str) -> None:
    if connection.vendor != "postgresql":
        return
    number = int.from_bytes(
        hashlib.sha256(f"{user}:{key}".encode()).digest()[:8], "big", signed=True
    )
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        if not cursor.fetchone()[0]:
            raise _busy()


def _busy() -> Problem:
    text = "The first request with this Idempotency-Key is still under way."
    return Problem(409, "in-flight", text, headers={"Retry-After": "1"})


def _stored(user: int, key: str) -> IdempotencyKey | None:
    found = IdempotencyKey.objects.filter(user_id=user, key=key).first()
    if found and found.created_at < database_now() - KEPT:
        found.delete()
        return None
    return found


def _digest(request: Request) -> str:
    # A token of the same user gets no answer that was given to another, or to a session.
    caller = getattr(request.auth, "pk", None)
    what = [request.method, request.get_full_path(), request.data, caller]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _keep(row: IdempotencyKey, response: Response, secret: bool) -> None:
    body: Any = json.loads(JSONRenderer().render(response.data)) if response.data else None
    row.body = {"encrypted": encrypt(json.dumps(body))} if secret else body
    row.status = response.status_code
    row.headers = {name: response[name] for name in KEPT_HEADERS if response.has_header(name)}
    row.save(update_fields=["status", "body", "headers"])


def _replay(row: IdempotencyKey, digest: str, secret: bool) -> Response:
    if row.request_digest != digest:
        text = "This Idempotency-Key was used for another request. Use a new one for each."
        raise Problem(422, "key-reused", text, errors={"Idempotency-Key": text})
    body = row.body
    if secret and body is not None:
        body = json.loads(decrypt(body["encrypted"]))
    headers = {**row.headers, "Idempotent-Replay": "true"}
    return Response(body, status=row.status or 200, headers=headers)
