"""What is done to a server on purpose. It refuses with a clear 4xx, and goes on."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pinxit.apps.studio.store import NAME

from .conftest import API, Served, png, refused, serving
from .test_decode import claiming

EVIL = (
    "../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "/etc/passwd",
    "C:\\Windows\\win.ini",
    "0" * 31 + "\0",
    "demo\0.png",
    "demo/../fruits",
    "a\n",
    "x" * 100_000,
    "",
    ".",
    "\ud800",
    "' OR 1=1; DROP TABLE gallery; --",
)


@pytest.fixture(autouse=True)
def goes_on(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each attack the server answers."""
    yield
    if "served" in request.fixturenames:
        assert request.getfixturevalue("served").well()


def resident() -> int:
    """Bytes of memory of this process, in which the server runs."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


# --- pictures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(50_000, 50_000), (50_000, 1), (1, 50_000), (50_000, 300)])
@pytest.mark.parametrize("what", ["photo", "map", "mask"])
def test_a_png_of_a_few_kb_that_claims_50000_pixels(served: Served, size: tuple[int, int], what: str) -> None:
    data = claiming(*size)
    assert len(data) < 4000
    began = time.monotonic()
    refused(served.client.post(f"{API}/pictures?as={what}", content=data), 413, "too-many-pixels")
    assert time.monotonic() - began < 5


def test_truncated_files(served: Served) -> None:
    random = np.random.default_rng(0)
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP"):
        data = png(random.integers(0, 256, (50, 50, 3), np.uint8), kind)
        for share in (0.02, 0.3, 0.7):
            part = data[: int(len(data) * share)]
            refused(served.client.post(f"{API}/pictures?as=photo", content=part), 415, "not-a-picture")


def test_of_a_polyglot_nothing_but_pixels_is_served(served: Served) -> None:
    hidden = b"<html><script>alert(1)</script></html>PK\x03\x04"
    id = served.upload(png(np.zeros((5, 5, 3), np.uint8)) + hidden)
    answer = served.get(f"/pictures/{id}")
    assert b"script" not in answer.content
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-content-type-options"] == "nosniff"
    refused(served.client.post(f"{API}/pictures?as=photo", content=hidden), 415, "not-a-picture")


def test_a_killed_decoder(served: Served) -> None:
    picture = png(np.zeros((5, 5, 3), np.uint8))
    for _ in range(3):
        served.upload(picture)
        for pid in served.studio.decoder.pids:
            os.kill(pid, signal.SIGKILL)
    served.upload(picture)


# --- bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["pictures?as=photo", "models/demo/paint", "gallery"])
def test_a_gigabyte_that_is_announced(served: Served, path: str) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        head = f"POST {API}/{path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {1 << 30}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(65536).split()[1] == b"413"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("path", ["pictures?as=photo", "models/demo/paint", "status"])
def test_a_gigabyte_that_streams(served: Served, path: str) -> None:
    """Sent on, whatever is answered, as an attacker would: it is refused early, and never lies in memory."""
    before, answer, part = resident(), b"", bytes(1 << 20)
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        head = f"POST {API}/{path} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        connection.sendall(head.encode())
        try:
            for sent in range(1024):
                connection.sendall(f"{len(part):x}\r\n".encode() + part + b"\r\n")
                if sent % 64 == 63:
                    assert resident() - before < 200 << 20
        except (BrokenPipeError, ConnectionResetError):
            pass  # hung up on, which is as good
        else:
            answer = connection.recv(65536)
    assert not answer or answer.split()[1] == b"413"


# --- texts ------------------------------------------------------------------------------------------------------------

PLAIN: dict[str, Any] = {"client": "a", "model": "balloons", "preset": "draft", "name": "x", "direction": None}


class Documented:
    """The requests that the API's own document tells of, with values that are right or, in one place, wrong."""

    def __init__(self, served: Served) -> None:
        self.document = served.client.get(f"{API}/openapi.json").json()
        self.picture = served.street()
        self.requests = [(p, m, t) for p, methods in self.document["paths"].items() for m, t in methods.items()]

    def form(self, told: dict[str, Any]) -> dict[str, Any] | None:
        """The schema of a request's JSON body."""
        return told.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")

    def options(self, schema: dict[str, Any]) -> list[dict[str, Any]]:
        if "$ref" in schema:
            schema = self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        nested = schema.get("anyOf") or schema.get("oneOf")
        return [option for part in nested for option in self.options(part)] if nested else [schema]

    def plain(self, name: str, schema: dict[str, Any]) -> Any:
        """A value that is right."""
        if name in ("map", "picture", "mask"):
            return self.picture
        if name in PLAIN or name in ("sketch", "text"):
            return PLAIN.get(name)
        if "default" in schema:
            return schema["default"]
        schema = self.options(schema)[0]
        match schema.get("type"):
            case "object":
                return {n: self.plain(n, s) for n, s in schema["properties"].items()}
            case "array":
                return [self.plain("", schema["items"])] * 2
            case _:
                return 1

    def wrong(self, name: str, schema: dict[str, Any], evil: str, deep: int = 0) -> Iterator[Any]:
        """The values in which one text is `evil`."""
        for option in self.options(schema):
            match option.get("type"):
                case "object" if deep < 3:
                    plain = {n: self.plain(n, s) for n, s in option["properties"].items()}
                    for n, s in option["properties"].items():
                        yield from ({**plain, n: value} for value in self.wrong(n, s, evil, deep + 1))
                case "array" if deep < 3:
                    for value in self.wrong("", option["items"], evil, deep + 1):
                        yield [value, self.plain("", option["items"])]
                case "string":
                    yield evil


def test_paths_in_every_text_of_every_request(served: Served) -> None:
    documented, asked = Documented(served), 0
    head = {"Content-Type": "application/json"}
    for path, method, told in documented.requests:
        inside = [p for p in told.get("parameters", []) if p["in"] == "path"]
        queried = [p for p in told.get("parameters", []) if p["in"] == "query"]
        form = documented.form(told)
        plain = documented.plain("", form) if form else None
        body = json.dumps(plain).encode() if form else b""
        fitting = path.replace("{id}", "demo" if "/models/" in path else documented.picture if "/pic" in path else "1")
        for evil in EVIL:
            text = quote(evil.encode("utf-8", "surrogatepass"), safe="")
            # What the client itself takes for a step, or what is no part of a path, is for the next test.
            steps = evil in ("", ".") or len(text) > 5000
            addresses = [path.replace("{id}", text) for _ in inside if not steps]
            addresses += [f"{fitting}?{p['name']}={text}" for p in queried if len(text) < 5000]
            for address in addresses:
                answer = served.client.request(method, address, content=body, headers=head)
                assert 400 <= answer.status_code < 500, (method, address, answer.text)
                asked += 1
            for wrong in documented.wrong("", form, evil) if form else ():
                answer = served.client.request(method, fitting, content=json.dumps(wrong).encode(), headers=head)
                assert 400 <= answer.status_code < 500, (method, path, evil[:30], answer.text)
                asked += 1
    assert asked > 500
    assert not (served.home / "runs").exists() or not list((served.home / "runs").iterdir())


def test_paths_among_the_pages(served: Served) -> None:
    for path in (
        "/../server.py",
        "/js/../../server.py",
        "/%2e%2e/server.py",
        "/..%2fserver.py",
        "/js/..%5c..%5cserver.py",
        "//etc/passwd",
        "/%2fetc%2fpasswd",
        "/js/main.js%00.html",
        "/js/",
        "/css",
    ):
        with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.split()[1] == b"404", path
        assert b"create_app" not in answer


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just("0" * 32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(data=st.data())
def test_any_json_to_any_request(served: Served, data: st.DataObject) -> None:
    """Never a 5xx. Fields that exist are chosen often, so that more than the first check is reached."""
    documented: Documented | None = getattr(test_any_json_to_any_request, "documented", None)
    if documented is None:
        documented = test_any_json_to_any_request.documented = Documented(served)  # pyright: ignore[reportFunctionMemberAccess]
    path, method, told = data.draw(st.sampled_from(documented.requests), "request")
    model = data.draw(st.sampled_from(["demo", "fruits", "balloons", "none"]), "model")
    number = data.draw(st.sampled_from(["1", "0", "-1", "99999999999999999999", "a"]), "number")
    path = path.replace("/models/{id}", f"/models/{model}").replace("{id}", number)
    form, body = documented.form(told), data.draw(values, "body")
    if form and data.draw(st.booleans(), "fitting"):
        body = documented.plain("", form)
        changed = data.draw(st.sampled_from(sorted(body)), "changed")
        body[changed] = data.draw(values, changed)
        if "/jobs/" in path:
            body["preset" if "train" in path else "model"] = "none"  # only the asking is meant
    query = data.draw(st.sampled_from(["", "?as=map", "?as=x", "?picture=0", "?x=%00"]), "query")
    answer = served.client.request(
        method, path + query, json=None if _unsendable(body) else body, headers={"Content-Type": "application/json"}
    )
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert answer.json()["error"]["message"]


def _unsendable(value: Any) -> bool:
    """Whether the client refuses to send it: what is not a number."""
    try:
        json.dumps(value, allow_nan=False).encode()
    except ValueError:
        return True
    return False


# --- other pages ------------------------------------------------------------------------------------------------------


def test_a_page_of_another_origin_can_do_nothing(served: Served) -> None:
    picture = png(np.zeros((3, 3, 3), np.uint8))
    before = served.get("/gallery").json()
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Origin": "null"}):
        answer = served.client.post(f"{API}/pictures?as=photo", content=picture, headers=headers)
        refused(answer, 403, "foreign-origin")
        refused(served.client.delete(f"{API}/gallery/1", headers=headers), 403, "foreign-origin")
    # What a form of another page may send without being asked about first.
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = served.client.post(f"{API}/gallery", content=b'{"picture": "x"}', headers={"Content-Type": kind})
        assert 400 <= answer.status_code < 500
    assert served.get("/gallery").json() == before


def test_a_name_that_was_bound_to_this_address(served: Served) -> None:
    for host in ("evil.example", f"evil.example:{served.port}", "127.0.0.1.evil.example"):
        refused(served.get("/models", headers={"Host": host}), 403, "foreign-host")


# --- clients that go --------------------------------------------------------------------------------------------------


def test_a_thousand_rapid_cancels(served: Served) -> None:
    """Each asks for a picture and hangs up. None of it is painted in the end, but what had begun."""
    map = served.street()
    threads = threading.active_count()
    made: list[object] = []
    make = served.studio.maker.make

    def counted(recipe: dict[str, Any]) -> Any:
        made.append(recipe)
        return make(recipe)

    served.studio.maker.make = counted  # pyright: ignore[reportAttributeAccessIssue]
    try:
        for i in range(1000):
            body = f'{{"map": "{map}", "style": {{"seed": {i}}}, "client": "c{i % 50}"}}'.encode()
            head = f"POST {API}/models/demo/paint HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
                connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # no farewell
        answer = served.post("/models/demo/paint", {"map": map, "style": {"seed": 1}, "client": "last"})
        assert answer.status_code == 200
        assert served.well()
    finally:
        served.studio.maker.make = make  # pyright: ignore[reportAttributeAccessIssue]
    assert len(made) < 500
    assert threading.active_count() <= threads + 5


# --- the disk ---------------------------------------------------------------------------------------------------------


def made(served: Served) -> str:
    answer = served.post("/models/demo/paint", {"map": served.street(), "client": "a"})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-pinxit-picture"]


def test_a_locked_file(served: Served) -> None:
    picture = made(served)
    with closing(sqlite3.connect(served.home / NAME)) as db:
        db.execute("BEGIN EXCLUSIVE")
        refused(served.get("/gallery"), 423, "locked")
        refused(served.post("/gallery", {"picture": picture}), 423, "locked")
        assert served.well()
        assert made(served) == picture  # one can go on painting
    assert served.get("/gallery").json() == []


def test_a_file_that_is_removed_or_damaged(tmp_path: Path) -> None:
    with serving(tmp_path / "home") as served:
        picture = made(served)
        assert served.post("/gallery", {"picture": picture}).status_code == 200
        (served.home / NAME).unlink()
        assert served.get("/gallery").json() == []
        assert served.post("/gallery", {"picture": picture}).status_code == 200
        (served.home / NAME).write_bytes(b"no database at all" * 500)
        answer = served.get("/gallery")
        assert answer.status_code == 200 or 400 <= answer.status_code < 500
        assert served.well()
        made(served)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 512 kB."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0:
        pytest.skip("mounts a file system, which wants root on Linux")
    folder = tmp_path / "disk"
    folder.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=512k") != 0:
        pytest.skip(f"no file system can be mounted here: {os.strerror(ctypes.get_errno())}")
    try:
        yield folder
    finally:
        libc.umount2(str(folder).encode(), 2)


def test_a_full_disk(small_disk: Path) -> None:
    with serving(small_disk / "home") as served:
        picture = made(served)
        with (small_disk / "filler").open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        refused(served.post("/gallery", {"picture": picture}), 409, "disk-full")
        assert served.well()
        assert made(served) == picture
        (small_disk / "filler").unlink()
        assert served.post("/gallery", {"picture": picture}).status_code == 200
