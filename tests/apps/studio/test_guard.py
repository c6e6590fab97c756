"""Who is let in: hosts, origins, tokens and bodies."""

from __future__ import annotations

import http.client
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pinxit.apps.studio.guard import COOKIE, HEADERS, MOST_JSON, Guard, is_loopback

from .conftest import API, Served, png, refused, serving

TOKEN = "a-token-of-these-tests"


async def nothing(*_: Any) -> None: ...


@pytest.mark.parametrize(
    ("bound", "host", "own"),
    [
        ("127.0.0.1", "127.0.0.1:8377", True),
        ("127.0.0.1", "localhost:9999", True),  # through a tunnel
        ("127.0.0.1", "LOCALHOST", True),
        ("127.0.0.1", "127.8.8.8:1", True),
        ("127.0.0.1", "[::1]:8377", True),
        ("127.0.0.1", "[::1]", True),
        ("127.0.0.1", "evil.example:8377", False),
        ("127.0.0.1", "localhost.evil.example", False),
        ("127.0.0.1", "127.0.0.1.evil.example", False),
        ("127.0.0.1", "192.168.1.5:8377", False),
        ("127.0.0.1", "evil@127.0.0.1", False),
        ("127.0.0.1", "127.0.0.1:80@evil.example", False),
        ("127.0.0.1", "127.0.0.1:", True),
        ("127.0.0.1", "127.0.0.1:x", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", ":80", False),
        ("127.0.0.1", "0.0.0.0:8377", False),
        ("192.168.1.5", "192.168.1.5:8377", True),
        ("192.168.1.5", "192.168.1.6:8377", False),
        ("studio.lan", "Studio.lan:8377", True),
        ("0.0.0.0", "192.168.1.5:8377", True),
        ("0.0.0.0", f"{socket.gethostname()}:8377", True),
        ("0.0.0.0", "evil.example:8377", False),
    ],
)
def test_hosts(bound: str, host: str, own: bool) -> None:
    assert Guard(nothing, host=bound, most_bytes=1)._own(host) is own


def test_what_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.1.2.3", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.5", "studio.lan", "localhost.evil.example")))


def test_a_foreign_host_is_refused(served: Served) -> None:
    for path in ("/", f"{API}/status", "/nothing"):
        message = refused(served.client.get(path, headers={"Host": "evil.example"}), 403, "foreign-host")
        assert "evil.example" in message


def raw(served: Served, request: bytes, patience: float = 10) -> bytes:
    """What comes back for these bytes."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=patience) as connection:
        connection.sendall(request)
        got = b""
        while b"\r\n\r\n" not in got and (part := connection.recv(65536)):
            got += part
        return got


def test_requests_without_a_host_or_with_two_are_refused(served: Served) -> None:
    assert raw(served, b"GET /api/v1/status HTTP/1.0\r\n\r\n").split()[1] == b"403"
    assert raw(served, b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n").split()[1] in (b"400", b"403")
    assert raw(served, b"GET / HTTP/1.1\r\n\r\n").split()[1] == b"400"


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:PORT"}, True),
        ({"Origin": "http://127.0.0.1:PORT", "Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "https://127.0.0.1:PORT"}, False),
        ({"Origin": "http://127.0.0.1:1"}, False),
        ({"Origin": "http://localhost:PORT"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": ""}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "http://127.0.0.1:PORT", "Sec-Fetch-Site": "cross-site"}, False),
    ],
)
def test_origins(served: Served, headers: dict[str, str], let_in: bool) -> None:
    headers = {name: value.replace("PORT", str(served.port)) for name, value in headers.items()}
    body = png(np.zeros((2, 2, 3), np.uint8))
    answer = served.client.post(f"{API}/pictures?as=photo", content=body, headers=headers)
    if let_in:
        assert answer.status_code == 200
    else:
        refused(answer, 403, "foreign-origin")
        for method in ("DELETE", "PUT", "OPTIONS"):
            refused(served.client.request(method, f"{API}/gallery/1", headers=headers), 403, "foreign-origin")
        assert served.get("/status", headers=headers).status_code == 200  # which no other page can read


def test_no_answer_lets_other_origins_read_it(served: Served) -> None:
    answer = served.get("/status", headers={"Origin": "http://evil.example"})
    assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("path", ["/", f"{API}/status", f"{API}/models/none", "/nothing", "/js/nothing.js"])
def test_every_answer_has_the_headers(served: Served, path: str) -> None:
    for headers in ({}, {"Host": "evil.example"}):
        answer = served.client.get(path, headers=headers)
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
        assert answer.headers["cache-control"] in ("no-store", "no-cache")


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A studio that asks for a token; the client brings none by itself."""
    with serving(tmp_path_factory.mktemp("locked") / "home", token=TOKEN) as served:
        del served.client.headers["Authorization"]
        yield served


def test_without_its_token_nothing_is_answered(locked: Served) -> None:
    for path in (f"{API}/status", f"{API}/openapi.json", "/js/main.js", f"{API}/status?token={TOKEN}"):
        refused(locked.client.get(path), 401, "no-token")
    refused(locked.client.post(f"/?token={TOKEN}"), 401, "no-token")
    page = locked.client.get("/")
    assert page.status_code == 401
    assert "asks for a token" in page.text
    for wrong in ("x", TOKEN[:-1], TOKEN + "x", "\xff"):
        headers = {"Authorization": b"Bearer " + wrong.encode("latin-1")}
        refused(locked.client.get(f"{API}/status", headers=headers), 401, "no-token")
    refused(locked.client.get(f"{API}/status", headers={"Authorization": TOKEN}), 401, "no-token")


def test_a_program_brings_the_token_in_a_header(locked: Served) -> None:
    assert locked.get("/status", headers={"Authorization": f"Bearer {TOKEN}"}).status_code == 200


def test_a_browser_comes_with_the_token_once_and_then_has_a_cookie(locked: Served) -> None:
    answer = locked.client.get(f"/?token={TOKEN}&a=b")
    assert (answer.status_code, answer.headers["location"]) == (303, "/?a=b")
    cookie = answer.headers["set-cookie"]
    assert cookie == f"{COOKIE}={TOKEN}; Path=/; HttpOnly; SameSite=Strict"
    locked.client.cookies.clear()
    headers = {"Cookie": f"other=1; {COOKIE}={TOKEN}"}
    assert locked.client.get("/", headers=headers).status_code == 200
    assert locked.get("/status", headers=headers).status_code == 200
    refused(locked.get("/status", headers={"Cookie": f"{COOKIE}=x"}), 401, "no-token")
    # A cookie does not make another page's request one of ours.
    foreign = {**headers, "Origin": "http://evil.example"}
    refused(locked.client.delete(f"{API}/gallery/1", headers=foreign), 403, "foreign-origin")


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_read(served: Served) -> None:
    for path, length in (("pictures?as=photo", 1 << 30), ("gallery", MOST_JSON + 1), ("gallery", 10**19)):
        head = f"POST {API}/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        began = time.monotonic()
        assert raw(served, head.encode()).split()[1] == b"413"
        assert time.monotonic() - began < 2
    assert served.well()


def test_a_slow_body_is_given_up(tmp_path: Path) -> None:
    with serving(tmp_path / "home", body_seconds=0.5) as served:
        head = f"POST {API}/gallery HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{{"
        answer = raw(served, head.encode())
        assert answer.split()[1] == b"408"
        assert served.well()


def test_too_many_bodies_at_once_are_refused(tmp_path: Path) -> None:
    """Five uploads of nearly the largest size that never end: no more than four sizes are held."""
    with serving(tmp_path / "home", most_bytes=1 << 20, body_seconds=20) as served:
        head = f"POST {API}/pictures?as=photo HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 20}\r\n\r\n"
        connections = []
        try:
            for _ in range(5):
                connection = socket.create_connection(("127.0.0.1", served.port), timeout=10)
                connection.sendall(head.encode() + bytes((1 << 20) - 10))
                connections.append(connection)
            answered, _, _ = select.select(connections, [], [], 10)
            assert [connection.recv(65536).split()[1] for connection in answered] == [b"429"]
        finally:
            for connection in connections:
                connection.close()
        end = time.monotonic() + 10
        picture = png(np.zeros((2, 2, 3), np.uint8))
        while time.monotonic() < end:
            if served.client.post(f"{API}/pictures?as=photo", content=picture).status_code == 200:
                return
        pytest.fail("what was held is not let go")


def test_websockets_are_closed(served: Served) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=10)
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    try:
        connection.request("GET", f"{API}/status", headers=headers)
        assert connection.getresponse().status != 101
    finally:
        connection.close()


def test_a_websocket_of_another_server_is_closed() -> None:
    import asyncio

    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(Guard(nothing, most_bytes=1)({"type": "websocket"}, receive, send))
    assert sent == [{"type": "websocket.close", "code": 1008}]
