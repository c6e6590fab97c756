"""`pinxit studio`: it starts, says where, ends cleanly, and tells what is wrong in one line."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import pinxit as package
from pinxit.apps.cli import studio

from .conftest import Pinxit
from .test_help import imported_by

fastapi = pytest.importorskip("fastapi")


@contextmanager
def running(home: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """The command in a process, and the addresses that it has printed."""
    environment = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pinxit", "studio", "--port", "0", "--home", str(home), *arguments]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        start_new_session=True,
        # A shell's background job, as these tests may be, ignores Ctrl-C, and so would what it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        urls = [process.stdout.readline().removeprefix("studio: ").strip()]
        if "0.0.0.0" in arguments:
            urls.append(process.stdout.readline().removeprefix("studio: ").strip())
        assert urls[0], process.stderr.read()
        yield process, urls
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        process.stderr.close()


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_it_serves_until_ctrl_c(tmp_path: Path) -> None:
    with running(tmp_path / "home") as (process, urls):
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", urls[0])
        assert status_of(urls[0]) == 200
        assert status_of(f"{urls[0]}api/v1/status") == 200
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        assert process.stderr is not None
        assert process.stderr.read() == "pinxit: stopped\n"
    assert (tmp_path / "home" / "studio.sqlite").is_file()


def test_a_second_studio_at_the_same_home_is_told(tmp_path: Path, pinxit: Pinxit) -> None:
    with running(tmp_path / "home"):
        ran = pinxit("studio", "--port", 0, "--home", tmp_path / "home")
        assert ran.status == 2
        assert len(ran.err.splitlines()) == 1, ran.err


def test_bound_elsewhere_it_asks_for_a_token(tmp_path: Path) -> None:
    with running(tmp_path / "home", "--host", "0.0.0.0") as (process, urls):
        base, token = urls[0].split("?token=")
        assert len(token) >= 32
        assert urls[1].endswith(f"?token={token}")
        assert status_of(f"{base}api/v1/status") == 401
        request = urllib.request.Request(f"{base}api/v1/status", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert answer.status == 200
        process.terminate()
        process.wait(30)
        assert process.stderr is not None
        assert "not encrypted" in process.stderr.read()


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """asyncio sets TCP_NODELAY on what says that it is TCP alone; else each answer takes 40 ms longer on Linux."""
    with studio.listening("127.0.0.1", 0) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP


def test_a_port_in_use_is_told(pinxit: Pinxit, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = pinxit("studio", "--port", port, "--home", tmp_path)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"pinxit: --port {port} is in use, expected a free port; ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--port 70000", "--port is 70000, expected 0..65535"),
        ("--threads 0", "--threads is 0, expected 1 or more"),
        ("--token short", "--token is too short"),
        ("--token with/slash/and/more", "--token is too short, or of other characters"),
        ("--host 203.0.113.9 --port 0", "--host is '203.0.113.9', expected an address of this machine"),
        ("--models nowhere --port 0", "--models 'nowhere' is no folder, expected a folder of models"),
        ("--home FILE --port 0", "FILE"),
        ("--home FILE/below --port 0", "FILE"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(pinxit: Pinxit, tmp_path: Path, arguments: str, message: str) -> None:
    file = tmp_path / "file"
    file.write_text("")
    words = arguments.replace("FILE", str(file)).split()
    if "--home" not in words:
        words += ["--home", str(tmp_path / "home")]
    ran = pinxit("studio", *words)
    assert (ran.status, ran.out) == (2, ""), ran
    assert ran.err.startswith("pinxit: ")
    assert len(ran.err.splitlines()) == 1
    assert message.replace("FILE", str(file)) in ran.err


@pytest.mark.parametrize("missing", ["fastapi", "uvicorn"])
def test_without_the_extra_it_says_what_to_install(
    pinxit: Pinxit, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    ran = pinxit("studio")
    assert ran.status == 2
    assert ran.err == (
        f"pinxit: the studio's web server is not installed ({missing}), expected fastapi and uvicorn; "
        'pip install "pinxit[studio]"\n'
    )


def test_help_waits_for_nothing(pinxit: Pinxit) -> None:
    assert imported_by("studio", "--help").isdisjoint({"torch", "numpy", "fastapi", "uvicorn", "PIL"})
    for option in ("--models", "--demo", "--host", "--port", "--home", "--no-open", "--token", "--device", "--threads"):
        assert option in pinxit("studio", "--help").out


def test_a_browser_is_opened_where_there_is_somebody(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: list[str] = []
    monkeypatch.setattr(studio.webbrowser, "open", opened.append)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    def tell(o: studio.Studio, *, screen: bool) -> list[str]:
        opened.clear()
        monkeypatch.setattr(studio, "has_screen", lambda: screen)
        studio.tell(o, 8377, None)
        end = time.monotonic() + 0.3
        while not opened and time.monotonic() < end:
            time.sleep(0.01)
        return list(opened)

    assert tell(studio.Studio(), screen=True) == ["http://127.0.0.1:8377/"]
    assert tell(studio.Studio(), screen=False) == []
    assert tell(studio.Studio(no_open=True), screen=True) == []
    assert tell(studio.Studio(host="::1"), screen=True) == ["http://[::1]:8377/"]
    assert "studio: http://127.0.0.1:8377/" in capsys.readouterr().out
