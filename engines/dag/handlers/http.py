"""`http`: one request through the hub's HTTP door, whose rules hold: no private address that the
operator has not allowed, no redirects, a size cap."""

from typing import Any

from engines import http
from engines.base import EngineRejected
from engines.dag.callables import Permanent
from engines.dag.context import StepContext

MAX_BODY_BYTES = 500_000


class RequestFailed(Exception):
    """The answer had a status that wasn't expected."""


def send_request(arguments: dict[str, Any], context: StepContext) -> dict[str, Any]:
    """Sends `method` to `url` with `headers` and `body` (a text, or anything else as JSON):
    {status, headers, body}, the body as JSON where it is. A status out of `expect` (2xx) fails the
    try; for good where it is a 4xx that time doesn't mend."""
    body = arguments.get("body")
    headers = {str(key): str(value) for key, value in (arguments.get("headers") or {}).items()}
    try:
        answer = http.request(
            str(arguments.get("method") or "GET"),
            str(arguments.get("url") or ""),
            content=body.encode() if isinstance(body, str) else None,
            json=None if isinstance(body, str) else body,
            headers=headers,
            max_bytes=MAX_BODY_BYTES,
        )
    except EngineRejected as error:
        raise Permanent(str(error)) from None
    context.log(f"{answer.status} from {http.shown(str(arguments.get('url')))}")
    if not _expected(answer.status, arguments.get("expect")):
        text = f"The answer was {answer.status}: {context.mask(answer.text)[:300]}"
        passing = answer.status >= 500 or answer.status in http.PASSING_STATUSES
        raise RequestFailed(text) if passing else Permanent(text)
    return {
        "status": answer.status,
        "headers": dict(answer.headers),
        "body": _body(answer),
    }


def _expected(status: int, expect: Any) -> bool:
    if expect is None:
        return 200 <= status < 300
    return status in (expect if isinstance(expect, list) else [expect])


def _body(answer: Any) -> Any:
    if "json" in answer.headers.get("content-type", ""):
        try:
            return answer.json()
        except ValueError:
            return answer.text
    return answer.text
