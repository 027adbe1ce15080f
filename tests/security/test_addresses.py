"""No request goes inside, whatever the URL looks like; and the error says how to allow it."""

import ipaddress
import socket
import threading
from typing import Any

import httpx
import pytest

from engines import addresses, exchange, http
from engines.base import EngineRejected, EngineUnavailable
from engines.dag.callables import Permanent
from engines.dag.handlers.http import send_request
from engines.http import HttpDoor
from engines.testing.fake_http import FakeHttpEngine

INSIDE = [
    "http://127.0.0.1:{port}/",
    "http://localhost:{port}/",
    "http://127.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.1:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://0.0.0.0:{port}/",
    "http://[::1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.1.1/",
    "http://100.64.0.1/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://8.8.8.8@127.0.0.1:{port}/",
    "http://user:password@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}#@8.8.8.8/",
    "http://127.0.0.1:{port}?@8.8.8.8/",
    "http://\uff11\uff12\uff17.0.0.1:{port}/",
]  # fmt: skip
NO_URL = [
    "file:///etc/passwd",
    "ftp://127.0.0.1/",
    "gopher://127.0.0.1/",
    "//127.0.0.1/",
    "127.0.0.1",
    "http://",
    "http:///x",
    "",
    "http://[::1",
    "http://127.0.0.1:99999/",
    "http://127.0.0.1:0/x\r\nX: y",
    "http://a\x00b/",
    "javascript:alert(1)",
]


class Context:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)

    def mask(self, text: str) -> str:
        return text


@pytest.fixture
def engine(settings: Any) -> Any:
    settings.WORKFLOWHUB_HTTP_ALLOW = []
    with FakeHttpEngine() as fake:
        yield fake
        assert not fake.requests, "a request came through"


@pytest.mark.parametrize("url", INSIDE)
def test_nothing_inside_is_called(engine: Any, url: str) -> None:
    target = url.format(port=engine.url.rsplit(":", 1)[1])
    with pytest.raises(Permanent) as refused:
        send_request({"url": target}, Context())
    unread = "can't be read" in str(refused.value)
    assert unread or addresses.SETTING in str(refused.value)
    assert "password" not in str(refused.value)
    with pytest.raises((EngineRejected, EngineUnavailable)):
        HttpDoor(target).get("health")


@pytest.mark.parametrize("url", NO_URL)
def test_what_is_no_web_address_is_refused(engine: Any, url: str) -> None:
    with pytest.raises((Permanent, EngineUnavailable)):
        send_request({"url": url}, Context())


def resolving(*answers: list[str]) -> Any:
    """A resolver that gives the next answer each time it is asked."""
    asked = iter(answers)

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET, 1, 6, "", (address, port)) for address in next(asked)]

    return getaddrinfo


def test_a_name_is_resolved_once_and_that_address_called(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second answer of the name server, which leads inside, is never asked for."""
    monkeypatch.setattr(addresses, "getaddrinfo", resolving(["8.8.8.8"], ["127.0.0.1"]))
    called: list[str] = []

    def refuse(self: Any, request: httpx.Request, **_: Any) -> Any:
        called.append(request.url.host)
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(httpx.Client, "send", refuse)
    with pytest.raises(EngineUnavailable):
        http.request("GET", "http://rebind.example/")
    assert called == ["8.8.8.8"]


def test_of_several_addresses_only_the_public_ones_are_called(
    engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        addresses, "getaddrinfo", resolving(["10.0.0.1", "8.8.8.8", "169.254.169.254"])
    )
    assert addresses.permitted("both.example", 80, ()) == ["8.8.8.8"]


def test_a_redirect_inside_is_not_followed(settings: Any) -> None:
    settings.WORKFLOWHUB_HTTP_ALLOW = ["127.0.0.1"]
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        for _ in range(2):
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(
                    b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\n"
                    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
                )

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with pytest.raises(Permanent, match="302"):
            send_request({"url": url}, Context())
        with pytest.raises(EngineRejected, match="Redirects are not followed"):
            HttpDoor(url).post("/runs", {})
    finally:
        thread.join(5)
        listener.close()


@pytest.mark.parametrize("entry", ["127.0.0.1:{port}", "127.0.0.0/8", "127.0.0.1", "localhost"])
def test_what_the_operator_allows_is_called(settings: Any, entry: str) -> None:
    with FakeHttpEngine() as fake:
        port = fake.url.rsplit(":", 1)[1]
        settings.WORKFLOWHUB_HTTP_ALLOW = [entry.format(port=port)]
        host = "localhost" if entry == "localhost" else "127.0.0.1"
        answer = send_request({"url": f"http://{host}:{port}/health"}, Context())
        assert answer["status"] == 200


def test_allowing_one_port_allows_no_other(settings: Any) -> None:
    settings.WORKFLOWHUB_HTTP_ALLOW = ["127.0.0.1:1"]
    with FakeHttpEngine() as fake, pytest.raises(EngineRejected, match="HTTP_ALLOW"):
        HttpDoor(fake.url).get("/health")


def test_the_header_host_is_the_url_s(settings: Any) -> None:
    """A proxy in front of the engine would route by a Host that a step gives."""
    request = exchange.Request(
        method="GET",
        url=httpx.URL("http://public.example/"),
        options={},
        headers={"host": "inside.example", "HOST": "x", "X-A": "b"},
        deadline=1,
        max_bytes=1,
    )
    assert exchange._with_host(request) == {"X-A": "b", "Host": "public.example"}


def test_no_url_with_a_password_is_logged(settings: Any) -> None:
    settings.WORKFLOWHUB_HTTP_ALLOW = ["127.0.0.0/8"]
    context = Context()
    with FakeHttpEngine() as fake:
        url = fake.url.replace("://", "://ada:canary-word@") + "/health?token=canary-query"
        send_request({"url": url}, context)
    assert context.lines
    assert "canary" not in "".join(context.lines)


def test_every_range_that_is_not_public_is_refused() -> None:
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.2.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4",
        "240.0.0.0/4", "::/128", "::1/128", "fc00::/7", "fe80::/10", "ff00::/8",
        "2001:db8::/32", "::ffff:10.0.0.0/104", "64:ff9b::a00:0/104", "2002:a00::/24",
    ):  # fmt: skip
        block = ipaddress.ip_network(network)
        for address in (block[0], block[-1]):
            assert not addresses._is_public(address), address
