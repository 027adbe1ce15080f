"""A workflow engine on a free port of 127.0.0.1, with every fault that a network and a bad day
bring.

    with FakeHttpEngine(token="…") as fake:
        fake.url, fake.engine.advance(), fake.engine.starts[…]
        fake.rates["POST"] = {Fault.LOSE_REPLY: 0.3}      # seeded: the same faults each time
        fake.inject(Fault.BUSY, method="GET", times=1)    # the very next ones

Its API: GET /health · POST /runs · GET /runs?ids=|tag=|changed_since=|limit=|page= · GET /runs/<id>
· POST /runs/<id>/cancel · POST /runs/<id>/retry · POST /runs/<id>/tasks/<name>/cancel · GET
/runs/<id>/tasks/<name>/log?try=&offset= (bytes). Errors are JSON with a `message`.
"""

import json
import random
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from engines.testing.fake_engine import FakeEngine
from engines.testing.fake_run import FakeRun, Refused

VERSION = "1.4.2"
MOST_ON_A_PAGE = 1000


class Fault(Enum):
    """What goes wrong with one request."""

    DROP = "the connection closes before anything is done"
    LOSE_REPLY = "it is done, and the connection closes before the answer"
    ERROR = "500"
    BUSY = "503 with Retry-After"
    HANG = "no answer for `hang` seconds, then the connection closes"
    HTML = "a page of HTML with status 200"
    TRUNCATED = "the first half of the JSON"
    NOT_FOUND = "404"
    UNKNOWN_WORD = "states that nobody documented"
    SHUFFLED = "the runs of a page in another order"


@dataclass(slots=True)
class _Injected:
    fault: Fault
    method: str
    path: str
    times: int
    after: int


class FakeHttpEngine:
    """`token`: what a caller must show as Bearer; empty: anybody may call. `latency`: seconds added
    to each answer. Other options are those of FakeEngine. Use as a context manager, or start and
    stop.
    """

    def __init__(
        self,
        *,
        token: str = "",
        latency: float = 0.0,
        hang: float = 2.0,
        retry_after: int = 7,
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.engine = FakeEngine(**options)
        self.token = token
        self.latency = latency
        self.hang = hang
        self.retry_after = retry_after
        self.down = False
        self.rates: dict[str, dict[Fault, float]] = {}  # verb -> fault -> share of its requests
        self.requests: Counter[str] = Counter()  # "GET /runs" -> how many came in
        self._random = random.Random(seed)
        self._injected: list[_Injected] = []
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._server: _Server | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        assert self._server is not None, "start it first"
        return f"http://127.0.0.1:{self._server.server_port}"

    def start(self) -> None:
        self._server = _Server(self)
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Closes the port and every connection."""
        self._stopping.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.hang_up()
            self._server = None

    def inject(
        self, fault: Fault, *, method: str = "", path: str = "", times: int = 1, after: int = 0
    ) -> None:
        """The next `times` requests whose verb is `method` and whose path and query hold `path`
        meet this fault, once `after` such requests went well."""
        with self._lock:
            self._injected.append(_Injected(fault, method, path, times, after))

    def clear(self) -> None:
        """No more faults."""
        with self._lock:
            self._injected.clear()
            self.rates.clear()
            self.down = False

    def next_fault(self, method: str, target: str) -> Fault | None:
        """Counts a request and decides what happens to it."""
        with self._lock:
            self.requests[f"{method} {_pattern(urlsplit(target).path)}"] += 1
            if self.down:
                return Fault.DROP
            for injected in self._injected:
                if injected.method in ("", method) and injected.path in target:
                    if injected.after:
                        injected.after -= 1
                        continue
                    injected.times -= 1
                    if not injected.times:
                        self._injected.remove(injected)
                    return injected.fault
            draw = self._random.random()
            for fault, share in {**self.rates.get("*", {}), **self.rates.get(method, {})}.items():
                draw -= share
                if draw < 0:
                    return fault
            return None

    def wait(self, seconds: float) -> None:
        """Sleeps, unless the engine is being stopped."""
        self._stopping.wait(seconds)

    def shuffle(self, runs: list[Any]) -> None:
        with self._lock:
            self._random.shuffle(runs)

    def answer(self, method: str, target: str, body: bytes) -> Any:
        """The JSON (or, for a log, the text) of a request. Raises Refused."""
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        match method, [unquote(part) for part in parts.path.strip("/").split("/")]:
            case "GET", ["health"]:
                return {"ok": True, "version": VERSION}
            case "POST", ["runs"]:
                return self._post_run(_json(body)).as_json()
            case "GET", ["runs"]:
                return self._list(query)
            case "GET", ["runs", id]:
                return self.engine.get(id).as_json()
            case "POST", ["runs", id, "cancel"]:
                return self.engine.cancel(id).as_json()
            case "POST", ["runs", id, "retry"]:
                asked = _json(body)
                return self.engine.retry_in_place(id, asked["attempt"], asked["tasks"]).as_json()
            case "POST", ["runs", id, "tasks", name, "cancel"]:
                return self.engine.cancel_task(id, name).as_json()
            case "GET", ["runs", id, "tasks", name, "log"]:
                return self._log(id, name, query)
        raise Refused(404, f"There is nothing at {parts.path}.")

    def _post_run(self, asked: dict[str, Any]) -> FakeRun:
        if previous := asked.get("previous"):
            return self.engine.retry_as_new(asked["id"], previous, asked.get("tasks", ()))
        return self.engine.submit(asked["id"], asked.get("definition", {}))

    def _list(self, query: dict[str, str]) -> dict[str, Any]:
        with self.engine.lock:
            revision = self.engine.revision
            if "ids" in query:
                runs = self.engine.known(query["ids"].split(","))
            elif "tag" in query:
                runs = self.engine.tagged(query["tag"])
            else:
                runs = self.engine.changed_since(int(query.get("changed_since", 0)))
            # A page starts behind a revision, not at a count: a run that changes meanwhile moves to
            # the end and none slips through.
            limit = min(int(query.get("limit", MOST_ON_A_PAGE)), MOST_ON_A_PAGE)
            after = int(query.get("page", 0))
            rest = sorted(
                (run for run in runs if run.revision > after), key=lambda run: run.revision
            )
            page = rest[:limit]
            return {
                "runs": [run.as_json() for run in page],
                "next": str(page[-1].revision) if len(rest) > limit else None,
                "revision": revision,
            }

    def _log(self, id: str, name: str, query: dict[str, str]) -> dict[str, Any]:
        lines, complete = self.engine.log(id, name, int(query.get("try", 1)))
        whole = "".join(f"{line}\n" for line in lines).encode()
        offset = int(query.get("offset", 0))
        return {
            "text": whole[offset:].decode("utf-8", "replace"),
            "lines_before": whole[:offset].count(b"\n"),
            "next": max(offset, len(whole)),
            "complete": complete,
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, fake: FakeHttpEngine) -> None:
        self.fake = fake
        self._open: set[socket.socket] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hangs up is none of our errors."""

    def hang_up(self) -> None:
        for connection in list(self._open):
            self.shutdown_request(connection)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def log_message(self, format: str, *args: object) -> None:
        """Tests read the counters instead."""

    def _serve(self, method: str) -> None:
        fake = self.server.fake
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = fake.next_fault(method, self.path)
        if fake.latency:
            time.sleep(fake.latency)
        if fault is Fault.HANG:
            fake.wait(fake.hang)
        if fault in {Fault.DROP, Fault.HANG}:
            self.close_connection = True
        elif fault is Fault.ERROR:
            self._send(500, {"message": "Something broke."})
        elif fault is Fault.BUSY:
            self._send(503, {"message": "Later."}, {"Retry-After": str(fake.retry_after)})
        elif fault is Fault.HTML:
            self._write(200, b"<html><body>Please log in</body></html>", "text/html", {})
        elif fault is Fault.NOT_FOUND:
            self._send(404, {"message": "Not here."})
        elif fake.token and self.headers.get("Authorization") != f"Bearer {fake.token}":
            self._send(401, {"message": "Who are you?"})
        else:
            self._handle(method, body, fault)

    def _handle(self, method: str, body: bytes, fault: Fault | None) -> None:
        fake = self.server.fake
        try:
            status, answer = 200, fake.answer(method, self.path, body)
        except Refused as refused:
            status, answer = refused.status, {"message": str(refused)}
        except (KeyError, TypeError, ValueError) as error:
            status, answer = 400, {"message": f"Bad request: {error!r}"}
        if fault is Fault.LOSE_REPLY:
            self.close_connection = True
            return
        runs = answer.get("runs", [answer])
        if fault is Fault.SHUFFLED:
            fake.shuffle(runs)
        if fault is Fault.UNKNOWN_WORD:
            for run in runs:
                for thing in [run, *run.get("tasks", ())]:
                    if "state" in thing:
                        thing["state"] = "hibernating"
        if fault is Fault.TRUNCATED:
            whole = json.dumps(answer).encode()
            self._write(status, whole[: len(whole) // 2], "application/json", {})
        else:
            self._send(status, answer)

    def _send(self, status: int, answer: Any, headers: dict[str, str] | None = None) -> None:
        self._write(status, json.dumps(answer).encode(), "application/json", headers or {})

    def _write(self, status: int, body: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()


def _json(body: bytes) -> dict[str, Any]:
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("an object is needed")
    return found


def _pattern(path: str) -> str:
    """`/runs/wh-1/tasks/a/log` -> `/runs/*/tasks/*/log`: what the counters count."""
    parts = path.strip("/").split("/")
    return "/" + "/".join(part if at % 2 == 0 else "*" for at, part in enumerate(parts))
