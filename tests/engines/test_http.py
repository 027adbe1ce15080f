"""The one HTTP door: what reaches an engine, what it makes of every fault, and where it won't
go.
"""

import gzip
import json
import socket
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
import stamina

from engines import addresses, exchange
from engines.base import EngineRejected, EngineUnavailable, RunNotFound
from engines.exchange import parse_retry_after
from engines.http import HttpDoor, request
from engines.testing.fake_http import FakeHttpEngine, Fault

TOKEN = "token-2a94c1f0"
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


@pytest.fixture
def fake() -> Iterator[FakeHttpEngine]:
    with FakeHttpEngine(token=TOKEN, hang=5) as fake:
        yield fake


@pytest.fixture
def door(fake: FakeHttpEngine) -> HttpDoor:
    return HttpDoor(fake.url, token=TOKEN, deadline=0.5)


@pytest.fixture(autouse=True)
def quick_retries() -> Iterator[None]:
    """As many tries as ever, without the pauses between them."""
    with stamina.set_testing(True, attempts=3, cap=True):
        yield


class RawServer:
    """Answers each connection with the same bytes and keeps what it was sent."""

    def __init__(self, answer: bytes, pause: float = 0.0) -> None:
        self.answer, self.pause = answer, pause
        self.got: list[bytes] = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                self.got.append(_read(connection))
                try:
                    for at in range(0, len(self.answer), 65536):
                        connection.sendall(self.answer[at : at + 65536])
                        time.sleep(self.pause)
                except OSError:
                    pass

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(5)


def _read(connection: socket.socket) -> bytes:
    got = connection.recv(65536)
    if got.endswith(b"\r\n\r\n") and b"Content-Length: 7" in got:
        got += connection.recv(65536)  # the body of a POST comes in a packet of its own
    return got


@pytest.fixture
def serve() -> Iterator[Callable[..., RawServer]]:
    servers: list[RawServer] = []

    def start(answer: bytes, pause: float = 0.0) -> RawServer:
        servers.append(RawServer(answer, pause))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def answer_of(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


# What it sends


def test_an_adapter_gets_json_and_shows_its_token(door: HttpDoor) -> None:
    assert door.get("/health")["ok"] is True


def test_basic_credentials_are_sent_as_such(serve: Callable[..., RawServer]) -> None:
    server = serve(OK)
    HttpDoor(server.url, basic=("ada", "s3cret-word")).get("/")
    assert b"authorization: basic ywrhonmzy3jldc13b3jk" in server.got[0].lower()


def test_the_name_of_the_host_is_kept_while_its_address_is_called(
    serve: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(OK)
    resolve_to(monkeypatch, "127.0.0.1")
    HttpDoor(f"http://engine.example:{server.port}").get("/x")
    assert f"host: engine.example:{server.port}".encode() in server.got[0].lower()


def test_tls_is_asked_for_the_name_and_not_the_address(
    serve: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(b"no TLS here")
    resolve_to(monkeypatch, "127.0.0.1")
    with pytest.raises(EngineUnavailable):
        HttpDoor(f"https://engine.example:{server.port}").call("POST", "/x")
    assert b"engine.example" in server.got[0]  # the SNI of the ClientHello


def test_a_proxy_in_the_environment_is_not_used(
    door: HttpDoor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert door.get("/health")["ok"] is True


# What it makes of faults


@pytest.mark.parametrize(
    "fault", [Fault.DROP, Fault.LOSE_REPLY, Fault.ERROR, Fault.BUSY, Fault.HANG, Fault.HTML,
              Fault.TRUNCATED]
)  # fmt: skip
def test_an_engine_in_trouble_is_unavailable(
    fake: FakeHttpEngine, door: HttpDoor, fault: Fault
) -> None:
    fake.rates["*"] = {fault: 1.0}
    with pytest.raises(EngineUnavailable):
        door.get("/health")


def test_nobody_there_is_unavailable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(EngineUnavailable, match=f"No connection to http://127.0.0.1:{port}/x"):
        HttpDoor(f"http://127.0.0.1:{port}").get("/x")


def test_a_name_without_an_address_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise socket.gaierror("unknown")

    monkeypatch.setattr(addresses, "getaddrinfo", fail)
    with pytest.raises(EngineUnavailable, match="nowhere.example"):
        HttpDoor("http://nowhere.example").get("/")


def test_busy_tells_how_long_to_wait_and_is_not_asked_again_at_once(
    fake: FakeHttpEngine, door: HttpDoor
) -> None:
    fake.rates["GET"] = {Fault.BUSY: 1.0}
    with pytest.raises(EngineUnavailable) as caught:
        door.get("/health")
    assert caught.value.retry_after == 7
    assert fake.requests.total() == 1


@pytest.mark.parametrize("status", ["429 Slow down", "408 Timeout", "500 Oops", "502 Bad Gateway"])
def test_a_status_that_passes_is_unavailable(serve: Callable[..., RawServer], status: str) -> None:
    with pytest.raises(EngineUnavailable):
        HttpDoor(serve(answer_of(b"", status=status)).url).call("POST", "/")


@pytest.mark.parametrize("status", ["400 Bad", "401 Who", "403 No", "409 Twice", "422 Odd"])
def test_a_refusal_is_rejected_with_what_the_engine_says(
    serve: Callable[..., RawServer], status: str
) -> None:
    server = serve(answer_of(b'{"detail": "field x is wrong"}', status=status))
    with pytest.raises(EngineRejected, match="field x is wrong"):
        HttpDoor(server.url).call("POST", "/")


def test_404_is_a_missing_run_only_where_the_caller_says_so(door: HttpDoor) -> None:
    with pytest.raises(EngineRejected):
        door.get("/runs/none")
    with pytest.raises(RunNotFound):
        door.get("/runs/none", not_found=RunNotFound)


def test_an_accepted_status_is_given_back(serve: Callable[..., RawServer]) -> None:
    server = serve(answer_of(b"{}", status="409 Conflict"))
    assert HttpDoor(server.url).call("POST", "/", accept={409}).status == 409


def test_a_redirect_is_not_followed(serve: Callable[..., RawServer]) -> None:
    target = serve(OK)
    server = serve(answer_of(b"", f"Location: {target.url}", status="302 Found"))
    with pytest.raises(EngineRejected, match="Redirects are not followed"):
        HttpDoor(server.url, token=TOKEN).get("/")
    assert target.got == []


def test_a_get_is_tried_three_times(fake: FakeHttpEngine, door: HttpDoor) -> None:
    fake.inject(Fault.DROP, times=2)
    assert door.get("/health")["ok"] is True
    assert fake.requests["GET /health"] == 3


def test_a_post_is_never_repeated(fake: FakeHttpEngine, door: HttpDoor) -> None:
    fake.inject(Fault.LOSE_REPLY, times=5)
    with pytest.raises(EngineUnavailable):
        door.post("/runs", {"id": "wh-1-1", "definition": {"tasks": []}})
    assert fake.requests["POST /runs"] == 1
    assert fake.engine.starts["wh-1-1"] == 1


def test_a_hanging_engine_is_given_up_at_the_deadline(fake: FakeHttpEngine, door: HttpDoor) -> None:
    fake.rates["*"] = {Fault.HANG: 1.0}
    started = time.monotonic()
    with pytest.raises(EngineUnavailable, match="within 0.5 s"):
        door.get("/health")
    assert time.monotonic() - started < 2


def test_an_answer_that_drips_is_given_up_at_the_deadline(
    serve: Callable[..., RawServer],
) -> None:
    server = serve(answer_of(b"x" * 65536 * 40), pause=0.1)
    started = time.monotonic()
    with pytest.raises(EngineUnavailable, match="within 0.3 s"):
        HttpDoor(server.url, deadline=0.3).get("/")
    assert time.monotonic() - started < 2


def test_the_deadline_is_never_longer_than_the_setting(settings, serve) -> None:
    settings.WORKFLOWHUB_ENGINE_DEADLINE = 0.2
    server = serve(answer_of(b"x" * 65536 * 40), pause=0.1)
    with pytest.raises(EngineUnavailable, match="within 0.2 s"):
        HttpDoor(server.url, deadline=60).get("/")


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_above_the_cap_is_rejected(serve: Callable[..., RawServer], packed: bool) -> None:
    body = b"x" * 200_000
    if packed:
        server = serve(answer_of(gzip.compress(body), "Content-Encoding: gzip"))
    else:
        server = serve(answer_of(body))
    with pytest.raises(EngineRejected, match="more than 100,000 bytes"):
        HttpDoor(server.url, max_bytes=100_000).get("/")


def test_json_nested_without_end_is_unavailable(serve: Callable[..., RawServer]) -> None:
    with pytest.raises(EngineUnavailable, match="not whole JSON"):
        HttpDoor(serve(answer_of(b"[" * 200_000)).url).get("/")


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0", 0.0), ("-3", 0.0), ("soon", None), ("", None), ("1.5", None)],
)
def test_retry_after_is_read(value: str, seconds: float | None) -> None:
    assert parse_retry_after(value) == seconds


def test_retry_after_may_be_a_date() -> None:
    later = datetime.now(UTC) + timedelta(seconds=90)
    assert parse_retry_after(format_datetime(later, usegmt=True)) == pytest.approx(90, abs=2)


# Secrets


@pytest.mark.parametrize("where", ["body", "header", "down"])
def test_no_error_holds_a_secret(serve: Callable[..., RawServer], where: str) -> None:
    secret = "t0ken-" + "z" * 30 + ("\nx" if where == "header" else "")
    body = json.dumps({"message": f"bad token {secret} " + "y" * 400}).encode()
    body = body.replace(b"bad", b"b" * 270)  # so that a cut goes through the secret
    door = HttpDoor(serve(answer_of(body, status="401 No")).url, token=secret)
    if where == "down":
        door.base_url = f"http://127.0.0.1:1/{secret}"
    with pytest.raises((EngineRejected, EngineUnavailable)) as caught:
        door.call("POST", "/", params={"key": secret})
    text = "".join(traceback.format_exception(caught.value))
    assert "z" * 30 not in text
    assert "z" * 30 not in repr(door)


def test_a_token_beyond_ascii_is_rejected_without_being_shown(
    serve: Callable[..., RawServer],
) -> None:
    door = HttpDoor(serve(OK).url, token="gehéim" + "-word")
    with pytest.raises(EngineRejected, match="letters beyond ASCII") as caught:
        door.get("/")
    assert "gehéim-word" not in "".join(traceback.format_exception(caught.value))


# Where it won't go


def resolve_to(monkeypatch: pytest.MonkeyPatch, *found: str) -> list[str]:
    asked: list[str] = []

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(0, 0, 0, "", (address, port)) for address in found]

    monkeypatch.setattr(addresses, "getaddrinfo", resolve)
    return asked


INSIDE = [
    "127.0.0.1", "10.0.0.1", "172.16.5.4", "192.168.1.1", "169.254.169.254", "100.64.0.1",
    "0.0.0.0", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1", "fd00:ec2::254",
    "ff02::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "2002:7f00:1::",
    "192.0.2.1", "198.18.0.1",
]  # fmt: skip


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_is_not_public_is_refused(
    settings, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    settings.WORKFLOWHUB_HTTP_ALLOW = []
    resolve_to(monkeypatch, address)
    monkeypatch.setattr(exchange, "_send_to", lambda *_: pytest.fail("It was called."))
    with pytest.raises(EngineRejected, match=r"engine.example:8080 to WORKFLOWHUB_HTTP_ALLOW"):
        HttpDoor("http://engine.example:8080").get("/")
    with pytest.raises(EngineRejected, match="WORKFLOWHUB_HTTP_ALLOW"):
        request("GET", "http://engine.example:8080/")


@pytest.mark.parametrize("url", ["http://2130706433/", "http://0x7f.1/", "http://127.1/"])
def test_another_spelling_of_loopback_is_refused(settings, url: str) -> None:
    settings.WORKFLOWHUB_HTTP_ALLOW = []
    with pytest.raises((EngineRejected, EngineUnavailable)) as caught:
        request("GET", url)
    assert "WORKFLOWHUB_HTTP_ALLOW" in str(caught.value) or "has no address" in str(caught.value)


def test_a_public_address_needs_no_entry(settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.WORKFLOWHUB_HTTP_ALLOW = []
    for address in ("93.184.216.34", "2606:2800:220:1::1"):
        resolve_to(monkeypatch, address)
        assert addresses.permitted("engine.example", 443, ()) == [address]


def test_of_several_addresses_only_the_permitted_ones_are_called(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolve_to(monkeypatch, "10.0.0.1", "93.184.216.34")
    assert addresses.permitted("engine.example", 443, ()) == ["93.184.216.34"]


def test_the_name_is_resolved_once_for_each_request(
    fake: FakeHttpEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = fake.url.rpartition(":")[2]
    connect = socket.create_connection
    asked = resolve_to(monkeypatch, "127.0.0.1")
    called: list[str] = []

    def noted(address: tuple[str, int], *args: object, **options: object) -> socket.socket:
        called.append(address[0])
        return connect(address, *args, **options)

    monkeypatch.setattr(socket, "create_connection", noted)
    HttpDoor(f"http://engine.example:{port}", token=TOKEN).get("/health")
    assert asked == ["engine.example"]
    assert called == ["127.0.0.1"]


def test_the_second_address_is_tried_where_nobody_listens_at_the_first(
    serve: Callable[..., RawServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = serve(OK)
    monkeypatch.setattr(exchange, "permitted", lambda *_: ["127.0.0.9", "127.0.0.1"])
    assert HttpDoor(f"http://engine.example:{server.port}").get("/") == {}


@pytest.mark.parametrize(
    ("entry", "allowed", "refused"),
    [
        ("10.0.0.0/8", ("x.example", "10.9.9.9", 80), ("x.example", "172.16.0.1", 80)),
        ("10.0.0.0/8:443", ("x.example", "10.9.9.9", 443), ("x.example", "10.9.9.9", 80)),
        ("10.0.0.7", ("x.example", "10.0.0.7", 80), ("x.example", "10.0.0.8", 80)),
        ("10.0.0.7:81", ("10.0.0.7", "10.0.0.7", 81), ("10.0.0.7", "10.0.0.7", 80)),
        ("Air.internal", ("air.internal", "10.0.0.7", 9), ("b.air.internal", "10.0.0.7", 9)),
        ("air.internal:8080", ("AIR.internal.", "::1", 8080), ("air.internal", "::1", 80)),
        ("[::1]:8080", ("::1", "::1", 8080), ("::1", "::1", 80)),
        ("fd00::/8", ("x.example", "fd00::7", 80), ("x.example", "fe80::7", 80)),
        ("[fd00::/8]:5", ("x.example", "fd00::7", 5), ("x.example", "fd00::7", 80)),
        ("127.0.0.0/8", ("x.example", "::ffff:127.0.0.1", 5), ("x.example", "::1", 5)),
    ],
)
def test_an_entry_allows_what_it_names_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
    entry: str,
    allowed: tuple[str, str, int],
    refused: tuple[str, str, int],
) -> None:
    host, address, port = allowed
    resolve_to(monkeypatch, address)
    assert addresses.permitted(host, port, (entry,))
    host, address, port = refused
    resolve_to(monkeypatch, address)
    with pytest.raises(addresses.AddressRefused):
        addresses.permitted(host, port, (entry,))


def test_the_refusal_names_an_address_once(monkeypatch: pytest.MonkeyPatch) -> None:
    resolve_to(monkeypatch, "10.1.2.3")
    for host, words in {
        "10.1.2.3": "10.1.2.3 is not",
        "in.example": "is at 10.1.2.3, which",
    }.items():
        with pytest.raises(addresses.AddressRefused, match=words):
            addresses.permitted(host, 80, ())


@pytest.mark.parametrize(
    "entry", ["10.0.0.1/33", "a b", "x.example:0", "x.example:99999", "x.example:http", "[::1]x",
              "http://x.example", "10.1.2.3/8", "", "-", "::g"]
)  # fmt: skip
def test_a_malformed_entry_is_refused(entry: str) -> None:
    with pytest.raises(ValueError):
        addresses.parse_rule(entry)


def test_a_malformed_entry_allows_nothing_and_is_named(settings, fake: FakeHttpEngine) -> None:
    settings.WORKFLOWHUB_HTTP_ALLOW = ["10.0.0.1/33"]
    with pytest.raises(EngineRejected, match="10.0.0.1/33"):
        HttpDoor(fake.url).get("/health")


# A workflow's own requests


def test_a_plain_request_gives_any_status_back(serve: Callable[..., RawServer]) -> None:
    server = serve(answer_of("naïve".encode(), "X-Kind: Tea", status="418 Teapot"))
    answer = request("post", server.url + "/brew?x=1", json={"a": 1}, headers={"X-A": "b"})
    assert (answer.status, answer.text, answer.headers["x-kind"]) == (418, "naïve", "Tea")
    assert server.got[0].startswith(b"POST /brew?x=1 HTTP/1.1")
    assert b'{"a":1}' in server.got[0]
    with pytest.raises(ValueError):
        answer.json()


@pytest.mark.parametrize(
    "url", ["ftp://x.example/", "file:///etc/passwd", "x", "http://", "http://a\x00b"]
)
def test_a_url_that_is_not_http_is_rejected(url: str) -> None:
    with pytest.raises(EngineRejected):
        request("GET", url)


def test_a_door_that_is_dropped_leaves_no_connection_open(fake: FakeHttpEngine) -> None:
    door = HttpDoor(fake.url, token=TOKEN)
    door.get("/health")
    client = door._client
    assert client is not None
    del door
    assert client.is_closed
