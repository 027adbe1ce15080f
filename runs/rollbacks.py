"""What the database rolled back for no fault of the caller (a deadlock, a serialisation failure) is
tried again, up to three times with jitter. The API and every page go through here; the loop, the
workers and the background jobs try again by themselves.
"""

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import OperationalError, connection
from django.http import HttpRequest, HttpResponseBase

T = TypeVar("T")
TRIES = 4  # the first and three more
# PostgreSQL has rolled back, and the same again may succeed.
SERIALISATION_FAILURE, DEADLOCK = "40001", "40P01"


def retried(call: Callable[[], T]) -> T:
    """Calls again what was rolled back. Anything else is raised at once, and so is the last failure:
    it is answered 503."""
    for left in reversed(range(TRIES)):
        try:
            return call()
        except OperationalError as error:
            if not left or not rolled_back(error) or connection.in_atomic_block:
                raise
            time.sleep(random.uniform(0.01, 0.1))  # noqa: S311 - jitter, not a secret
    raise AssertionError("unreachable")


def rolled_back(error: OperationalError) -> bool:
    """Whether the database asks to try the transaction again."""
    # SQLite has one writer and waits for it (20 s): to wait once more would help nobody.
    state = getattr(error.__cause__, "sqlstate", None)
    return state in {SERIALISATION_FAILURE, DEADLOCK}


class RetryRolledBack:
    """Middleware, the last of all: it calls the view."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_view(
        self,
        request: HttpRequest,
        view: Callable[..., HttpResponseBase],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> HttpResponseBase:
        return retried(lambda: view(request, *args, **kwargs))
