"""One HTTP request to one permitted address, and its answer read to the end: what engines.http
stands on.

Only engines.http imports this. It knows nothing of engines, credentials or what a status means.
"""

import json as jsonlib
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any

import certifi
import httpx
from django.conf import settings

from engines.addresses import AddressRefused, UnknownHost, permitted
from engines.base import EngineRejected, EngineUnavailable

CONNECT_SECONDS = 5.0
USER_AGENT = "WorkflowHub"


class Passing(EngineUnavailable):
    """A fault that a second try a moment later often doesn't meet: reset, refused, 5xx."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer, read to its end. Names of `headers` are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    @property
    def text(self) -> str:
        """The body; bytes that are not UTF-8 are replaced."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """The body as JSON. ValueError where it isn't JSON."""
        try:
            return jsonlib.loads(self.body)
        except RecursionError:
            raise ValueError("The JSON is nested too deeply.") from None

    @property
    def retry_after(self) -> float | None:
        """Seconds that the server asks us to wait, if it says so."""
        return parse_retry_after(self.headers.get("retry-after", ""))


def parse_retry_after(value: str) -> float | None:
    """Seconds to wait by a Retry-After header (a number of seconds or a date); None for
    nonsense.
    """
    try:
        return max(0.0, float(int(value)))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    method: str
    url: httpx.URL
    options: Mapping[str, Any] = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    deadline: float
    max_bytes: int

    @property
    def shown(self) -> str:
        return shown_url(self.url)


def send(client: httpx.Client, request: Request) -> Response:
    """The answer to a request sent to a permitted address of its host."""
    url = request.url
    if url.scheme not in {"http", "https"} or not url.host:
        raise EngineRejected(f"{request.shown}: an http or https URL is needed.")
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        addresses = permitted(url.host, port, tuple(settings.WORKFLOWHUB_HTTP_ALLOW))
    except AddressRefused as error:
        raise EngineRejected(str(error)) from None
    except UnknownHost as error:
        raise EngineUnavailable(str(error)) from None
    except ValueError as error:
        raise EngineRejected(f"WORKFLOWHUB_HTTP_ALLOW has a wrong entry: {error}") from None
    for address in addresses[:-1]:
        try:
            return _send_to(address, client, request)
        except httpx.ConnectError:
            continue  # nothing was sent: `localhost` may be ::1 for us and 127.0.0.1 for the engine
    try:
        return _send_to(addresses[-1], client, request)
    except httpx.ConnectError as error:
        refused = "refused" in str(error)
        why = "it is refused, so nothing may run there" if refused else str(error)
        raise Passing(f"No connection to {request.shown}: {why}.") from None


def _send_to(address: str, client: httpx.Client, request: Request) -> Response:
    started = time.monotonic()
    try:
        message = client.build_request(
            request.method,
            request.url.copy_with(host=address),
            headers=_with_host(request),
            timeout=httpx.Timeout(request.deadline, connect=min(CONNECT_SECONDS, request.deadline)),
            extensions={"sni_hostname": request.url.raw_host.decode("ascii")},
            **request.options,
        )
        answer = client.send(message, stream=True)
        try:
            body = bytearray()
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > request.max_bytes:
                    raise EngineRejected(
                        f"{request.shown} answered with more than {request.max_bytes:,} bytes."
                    )
                if time.monotonic() - started > request.deadline:
                    raise EngineUnavailable(_too_slow(request))
        finally:
            answer.close()
    except httpx.ConnectError:
        raise
    except httpx.TimeoutException:
        raise EngineUnavailable(_too_slow(request)) from None
    except (httpx.LocalProtocolError, UnicodeEncodeError):
        # The library's text quotes the header, which may be the one with the credentials.
        raise EngineRejected(
            f"{request.method} {request.shown}: a header or the URL holds a character that HTTP "
            "forbids. Check the token for line breaks and letters beyond ASCII."
        ) from None
    except (httpx.TransportError, httpx.DecodingError) as error:
        raise Passing(
            f"{request.method} {request.shown}: the answer broke off ({error})."
        ) from None
    return Response(
        status=answer.status_code,
        headers={name.lower(): value for name, value in answer.headers.items()},
        body=bytes(body),
    )


def _with_host(request: Request) -> dict[str, str]:
    """One Host, that of the URL: a second one could name a place that the policy hasn't seen."""
    others = {name: text for name, text in request.headers.items() if name.lower() != "host"}
    return {**others, "Host": request.url.netloc.decode("ascii")}


def open_client() -> httpx.Client:
    return httpx.Client(
        verify=_tls(),
        trust_env=False,
        follow_redirects=False,
        headers={"User-Agent": USER_AGENT},
    )


@cache
def _tls() -> ssl.SSLContext:
    """One for all: making it reads every root certificate. The system's own are trusted as well."""
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_default_certs()
    return context


def shown_url(url: httpx.URL) -> str:
    """The URL without user, query and fragment: those hold tokens."""
    return f"{url.scheme}://{url.netloc.decode('ascii')}{url.path}"


def _too_slow(request: Request) -> str:
    return f"{request.method} {request.shown} gave no whole answer within {request.deadline:g} s."
