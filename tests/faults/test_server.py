"""Bodies made to hurt, sent to the web process itself: refused at once, and its memory stays as it
was."""

import http.client
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest
from django.db import connection

from tests.e2e.hubs import family, title, up
from tests.factories import make_token

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.faults]

MEGABYTE = 1_000_000
MOST_MEMORY = 20 * MEGABYTE
SECONDS = 10.0
PIECE = b"x" * 100_000


def in_pieces(size: int) -> Iterator[bytes]:
    for _ in range(size // len(PIECE)):
        yield PIECE


BODIES: dict[str, tuple[Any, dict[str, str]]] = {
    "50 MB": (in_pieces, {"content-length": str(50 * MEGABYTE)}),
    "50 MB of unsaid length": (in_pieces, {"transfer-encoding": "chunked"}),
    "10,000 levels": (b"[" * 10_000 + b"]" * 10_000, {}),
    "a million labels": (
        b'{"labels":{' + b",".join(b'"k%d":""' % n for n in range(1_000_000)) + b"}}",
        {},
    ),
    "a million small labels": (b'{"labels":[' + b"{}," * 1_000_000 + b"{}]}", {}),
}


def post(url: str, token: str, body: Any, headers: dict[str, str]) -> int | None:
    """The status; None where the server cut the connection in the midst of the body."""
    server = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json", **headers}
    chunked = "transfer-encoding" in headers
    pieces = body(50 * MEGABYTE) if callable(body) else body
    # It may answer before it was sent everything.
    with suppress(BrokenPipeError, ConnectionResetError):
        server.request("POST", "/api/v1/workflow-runs", pieces, headers, encode_chunked=chunked)
    try:
        return server.getresponse().status
    except (http.client.HTTPException, OSError):
        return None
    finally:
        server.close()


def test_fault_05_large_and_deep_bodies_cost_the_web_process_no_memory(
    database_url: str, tmp_path: Path, record_property: Any
) -> None:
    token = make_token()
    connection.close()
    with up(tmp_path, database_url, "--only", "web", "--port", "0") as hub:
        url = hub.url
        post(url, token, b"{}", {})  # what is loaded once isn't counted
        (web,) = [one for one in family(hub.process.pid) if title(one) == "workflowhub: web worker"]
        before = web.memory_info().rss
        for name, (body, headers) in BODIES.items():
            statuses = set()
            for _ in range(3):
                began = time.monotonic()
                statuses.add(post(url, token, body, headers))
                assert time.monotonic() - began < SECONDS, name
            assert statuses <= {400, 413, None}, (name, statuses)
            assert statuses != {None}, name
        grown = web.memory_info().rss - before
        assert post(url, token, b"{}", {}) == 400
        assert psutil.pid_exists(web.pid)
        assert "Starting it again" not in hub.said
    record_property("figure", f"Hostile bodies: the web process grew by {grown / MEGABYTE:.1f} MB")
    assert grown < MOST_MEMORY
