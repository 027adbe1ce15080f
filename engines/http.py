"""The one HTTP door: every request that the hub or one of its steps sends goes through here.

`HttpDoor` is for adapters: it knows one engine, carries its credentials, and maps every fault to
one of the three errors of engines.base. `request` is for a workflow's own `http` steps: any URL,
the answer as it is. Both guarantee: a connect timeout of 5 s, a deadline for the whole answer, a
cap on its size, no redirects, no proxy or password file taken from the environment, and no
connection to an address that is not public unless WORKFLOWHUB_HTTP_ALLOW lists it. No error or repr
holds a secret.
"""

import weakref
from base64 import b64encode
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import httpx
import stamina
from django.conf import settings

from engines.base import EngineError, EngineRejected, EngineUnavailable
from engines.exchange import Passing, Request, Response, open_client, send, shown_url
from engines.secrets import redact

MAX_BYTES = 20_000_000
RETRIES = 2  # of a GET, after the first try
PASSING_STATUSES = {408, 425, 429}  # 4xx that say "later", not "no"
DETAIL_CHARACTERS = 300

Params = Mapping[str, str | int | float | bool | Sequence[str]]


class HttpDoor:
    """The way to one engine. `path` arguments are appended to `base_url`; another host is never
    called.

    `token` is sent as Bearer, `basic` is (user, password), `headers` go with every request.
    `secrets`: further values to keep out of errors; those given here are kept out anyway.
    `deadline`: seconds for one answer, at most (and by default)
    settings.WORKFLOWHUB_ENGINE_DEADLINE.
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str = "",
        basic: tuple[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        secrets: Iterable[str] = (),
        deadline: float | None = None,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._headers = dict(headers or {})
        self._secrets = {*secrets, token, *(basic[1:] if basic else ())}
        if token:
            self._headers["Authorization"] = f"Bearer {token}"
        if basic:
            login = b64encode(":".join(basic).encode()).decode()
            self._headers["Authorization"] = f"Basic {login}"
            self._secrets.add(login)
        longest = float(settings.WORKFLOWHUB_ENGINE_DEADLINE)
        self._deadline = min(deadline or longest, longest)
        self._max_bytes = max_bytes
        self._client: httpx.Client | None = None

    def __repr__(self) -> str:
        return f"<HttpDoor {redact(shown_url(_parse(self.base_url)), self._secrets)}>"

    def get(
        self,
        path: str,
        *,
        params: Params | None = None,
        not_found: type[EngineError] = EngineRejected,
    ) -> Any:
        """The JSON at `path`. See `call`."""
        return self.json("GET", path, params=params, not_found=not_found)

    def post(
        self,
        path: str,
        json: Any = None,
        *,
        params: Params | None = None,
        not_found: type[EngineError] = EngineRejected,
    ) -> Any:
        """Posts JSON; the JSON of the answer. See `call`."""
        return self.json("POST", path, params=params, json=json, not_found=not_found)

    def json(self, method: str, path: str, **options: Any) -> Any:
        """The JSON of an answer, None where it is empty; takes the options of `call`.

        EngineUnavailable for anything else, such as a proxy's page or half an answer.
        """
        response = self.call(method, path, **options)
        if not response.body.strip():
            return None
        try:
            return response.json()
        except ValueError:
            shown = redact(shown_url(_parse(self.base_url + path)), self._secrets)
            kind = response.headers.get("content-type", "").partition(";")[0] or "no content type"
            raise EngineUnavailable(
                f"{method} {shown} answered {response.status} with what is not whole JSON "
                f"({kind}, {len(response.body)} bytes). Is this the engine, or a proxy's page?"
            ) from None

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        not_found: type[EngineError] = EngineRejected,
        accept: Collection[int] = (),
    ) -> Response:
        """Sends one request; a GET that meets a passing fault is sent again, twice at most.

        `not_found`: the error that a 404 is: RunNotFound where the path names a run. `accept`:
        statuses beyond 2xx that are given back instead of raised. Raises EngineUnavailable when the
        engine can't be reached, is too slow, or answers 5xx, 408 or 429; EngineRejected for 401,
        403, any other 4xx, a redirect, and an address that the policy forbids.
        """
        request = Request(
            method=method,
            url=_parse(self.base_url + path),
            options=_options(params, json, content),
            headers={**self._headers, **(headers or {})},
            deadline=self._deadline,
            max_bytes=self._max_bytes,
        )
        for attempt in stamina.retry_context(
            on=Passing,
            attempts=1 + (RETRIES if method == "GET" else 0),
            timeout=self._deadline,
            wait_initial=0.05,
            wait_max=1.0,
            wait_jitter=0.2,
        ):
            with attempt:
                return self._once(request, not_found, accept)
        raise AssertionError("stamina gives at least one attempt")

    def close(self) -> None:
        """Closes idle connections; the door opens again by itself. Dropping the door closes it
        too.
        """
        if self._client is not None:
            self._client.close()
            self._client = None

    def _once(
        self, request: Request, not_found: type[EngineError], accept: Collection[int]
    ) -> Response:
        if self._client is None:
            self._client = open_client()
            weakref.finalize(self, self._client.close)
        try:
            response = send(self._client, request)
        except EngineError as error:
            error.args = (redact(str(error), self._secrets),)
            raise
        if 200 <= response.status < 300 or response.status in accept:
            return response
        raise self._fault(request, response, not_found)

    def _fault(
        self, request: Request, response: Response, not_found: type[EngineError]
    ) -> EngineError:
        detail = _detail(response, self._secrets)
        shown = redact(request.shown, self._secrets)
        message = f"{request.method} {shown} answered {response.status}{detail}"
        status = response.status
        if status >= 500 or status in PASSING_STATUSES:
            # An engine that names a time is asked then, not at once.
            if response.retry_after is None and status != 429:
                return Passing(message)
            return EngineUnavailable(message, retry_after=response.retry_after)
        if status in {401, 403}:
            return EngineRejected(f"{message} Check the credentials, and what they may do.")
        if 300 <= status < 400:
            return EngineRejected(
                f"{message} Redirects are not followed: register the final address."
            )
        return not_found(message) if status == 404 else EngineRejected(message)


def request(
    method: str,
    url: str,
    *,
    params: Params | None = None,
    json: Any = None,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = None,
    max_bytes: int = MAX_BYTES,
) -> Response:
    """Sends one request to any URL and gives its answer back, whatever the status. Never repeats.

    `timeout`: seconds for the whole answer, by default settings.WORKFLOWHUB_ENGINE_DEADLINE. Raises
    EngineUnavailable when no answer came, EngineRejected when the URL or its address is refused or
    the answer is larger than `max_bytes`.
    """
    asked = Request(
        method=method.upper(),
        url=_parse(url),
        options=_options(params, json, content),
        headers=dict(headers or {}),
        deadline=float(timeout or settings.WORKFLOWHUB_ENGINE_DEADLINE),
        max_bytes=max_bytes,
    )
    with open_client() as client:
        return send(client, asked)


def shown(url: str) -> str:
    """A URL as logs may have it: without user, query and fragment. EngineRejected for no URL."""
    return shown_url(_parse(url))


def _parse(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except httpx.InvalidURL as error:
        raise EngineRejected(f"The URL can't be read: {error}.") from None


def _options(params: Params | None, json: Any, content: bytes | None) -> dict[str, Any]:
    given = {"params": params, "json": json, "content": content}
    return {name: value for name, value in given.items() if value is not None}


def _detail(response: Response, secrets: Iterable[str]) -> str:
    """`: what the engine says is wrong.`, short and in one line, or a full stop."""
    text = response.text
    if "html" in response.headers.get("content-type", ""):
        return " with a page of HTML."
    try:
        said = response.json()
    except ValueError:
        said = None
    if isinstance(said, dict):
        named = (said.get(name) for name in ("detail", "message", "error", "title", "msg"))
        text = next((value for value in named if isinstance(value, str) and value), text)
    text = redact(" ".join(text.split()), secrets)[:DETAIL_CHARACTERS]
    return f": {text.rstrip('.')}." if text else "."
