"""`--vgg download`: kept only if it is the published file. Nothing here leaves this machine."""

from __future__ import annotations

import hashlib
import http.server
import re
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from pinxit.nn import vgg

from .conftest import Pinxit, files_in

TRAIN = (
    "train spade --preset tiny --data garden --label-set garden.json --out run --steps 1 --perceptual 10 --vgg download"
)


@dataclass
class Server:
    """Serves `content` on the loopback interface, and remembers what it was asked for."""

    url: str = ""
    content: bytes = b""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def cache(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PINXIT_CACHE", str(place / "cache"))
    for proxy in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(proxy, raising=False)
    return place / "cache"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append(self.path)
            self.send_response(200 if state.content else 404)
            self.send_header("Content-Length", str(len(state.content)))
            self.end_headers()
            self.wfile.write(state.content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{listening.server_port}/models/vgg19-dcbb9e9d.pth"
        monkeypatch.setattr(vgg, "URL", state.url)
        yield state
        listening.shutdown()
        thread.join()


def refused(pinxit: Pinxit, place: Path) -> str:
    """The one line of a training that could not begin, with nothing kept."""
    before = files_in(place)
    ran = pinxit(*TRAIN.split())
    assert (ran.status, ran.out) == (2, "")
    assert re.fullmatch(r"pinxit: [^\n]+, expected [^\n]+; [^\n]+\n", ran.err), ran.err
    assert files_in(place) == before
    return ran.err


def test_without_a_network(cache: Path, place: Path, pinxit: Pinxit, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/vgg19-dcbb9e9d.pth"
    monkeypatch.setattr(vgg, "URL", url)
    line = refused(pinxit, place)
    assert f"download of {url} is not possible" in line
    assert "network" in line
    assert "--vgg FILE" in line
    assert "--no-perceptual" in line


def test_a_server_without_the_file(cache: Path, place: Path, pinxit: Pinxit, server: Server) -> None:
    line = refused(pinxit, place)
    assert f"download of {server.url} is not possible (Not Found)" in line
    assert "--no-perceptual" in line


def test_another_file_is_not_kept(cache: Path, place: Path, pinxit: Pinxit, server: Server) -> None:
    server.content = b"something else" * 1000
    line = refused(pinxit, place)
    assert f"download of {server.url} is of SHA-256 {hashlib.sha256(server.content).hexdigest()}" in line
    assert vgg.SHA256 in line
    assert "--no-perceptual" in line
    assert files_in(cache) == {}


def test_the_right_file_is_fetched_once(
    cache: Path, place: Path, pinxit: Pinxit, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    distance = vgg.PerceptualDistance()
    weights = {k.replace("convolutions.", "features."): v for k, v in distance.state_dict().items()}
    torch.save({**weights, "classifier.0.bias": torch.zeros(1)}, "weights.pth")
    server.content = Path("weights.pth").read_bytes()
    monkeypatch.setattr(vgg, "SHA256", hashlib.sha256(server.content).hexdigest())
    ran = pinxit(*TRAIN.split())
    assert ran.status == 0, ran.err
    assert "perceptual" in Path("run/log.jsonl").read_text(encoding="utf-8")
    assert list(files_in(cache)) == ["vgg19-dcbb9e9d.pth"]
    ran = pinxit(*TRAIN.replace("--out run", "--out again").split())
    assert ran.status == 0, ran.err
    assert server.asked == ["/models/vgg19-dcbb9e9d.pth"]
    assert pinxit(*TRAIN.replace("download", "weights.pth --out third").split()).status == 0
