"""`pinxit studio`: a server for one page, and for programs."""

from __future__ import annotations

import errno
import os
import re
import secrets
import socket
import sys
import threading
import webbrowser
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from pinxit.apps.cli import pictures
from pinxit.apps.memory import hold_memory_together
from pinxit.errors import PinxitError, expected

if TYPE_CHECKING:
    from pinxit.apps.studio.server import Studio as Opened

TOKEN = re.compile(r"[A-Za-z0-9_-]{12,200}")


@dataclass(frozen=True)
class Studio:
    """Paint in the browser: label maps, drawings, one photo. Opens a page, and serves it until Ctrl-C.

    Reached from this machine alone, unless --host says otherwise; then whoever asks needs the token that is printed.
    """

    models: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FOLDER ...", help_behavior_hint="(default: none)")] = ()
    """Folders with models, up to three folders deep, beside the embedded ones and those trained in the page."""
    demo: bool = False
    """Begin with a drawn street on the canvas."""
    host: str = "127.0.0.1"
    """Address to listen at; 0.0.0.0 for all of this machine's."""
    port: int = 8377
    """Port to listen at; 0 for a free one."""
    home: Path = Path("~/.pinxit")
    """Folder for the gallery, the jobs and the models that they train."""
    no_open: bool = False
    """Do not open a browser. None is opened either where there is no screen or no terminal."""
    token: Annotated[str | None, tyro.conf.arg(help_behavior_hint="(default: a new one each time, if needed)")] = None
    """What requests have to bring; by default nothing from this machine."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to paint."""
    threads: Annotated[int | None, tyro.conf.arg(metavar="N", help_behavior_hint="(default: all cores)")] = None
    """Threads to paint with."""


def main(arguments: list[str]) -> None:
    studio(tyro.cli(Studio, args=arguments, prog="pinxit studio", config=pictures.STYLE))


def studio(o: Studio) -> None:
    """Serve until Ctrl-C. All that can be wrong at the start is told before anything is served."""
    require_sensible(o)
    try:
        import fastapi  # noqa: F401 - whether it is there
        import uvicorn
    except ImportError as error:
        remedy = 'pip install "pinxit[studio]"'
        raise expected(
            "the studio's web server", f"not installed ({error.name})", "fastapi and uvicorn", remedy
        ) from error
    hold_memory_together()
    with closing(listening(o.host, o.port)) as listener:
        import torch

        from pinxit.apps.studio.guard import is_loopback
        from pinxit.apps.studio.server import create_app, open_studio
        from pinxit.training.distributed import pick_device

        if o.threads is not None:
            torch.set_num_threads(o.threads)
        home = o.home.expanduser()
        home.mkdir(parents=True, exist_ok=True)
        token = o.token or (None if is_loopback(o.host) else secrets.token_urlsafe(24))
        opened: Opened = open_studio(
            home, o.models, device=str(pick_device(o.device)), host=o.host, token=token, demo=o.demo
        )
        with closing(opened):
            opened.jobs.start()  # here, where a second studio at the same home is told
            config = uvicorn.Config(
                create_app(opened),
                http="h11",
                ws="none",
                lifespan="on",
                log_level="warning",
                access_log=False,  # it would have the token
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=3,
            )
            # What reaches the listener before the server runs waits in its queue.
            tell(o, listener.getsockname()[1], token)
            uvicorn.Server(config).run(sockets=[listener])


def require_sensible(o: Studio) -> None:
    """Raises `PinxitError` for options that are none."""
    if not 0 <= o.port <= 65535:
        raise expected("--port", o.port, "0..65535", "choose another")
    if o.threads is not None and o.threads < 1:
        raise expected("--threads", o.threads, "1 or more", "enlarge it, or leave it out")
    if o.token is not None and not TOKEN.fullmatch(o.token):
        want = "12 to 200 of A-Z, a-z, 0-9, _ and -"
        raise expected("--token", "too short, or of other characters", want, "leave it out to have one made")


def listening(host: str, port: int) -> socket.socket:
    """A listener. Raises `PinxitError` where there cannot be one."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][0]
        made = socket.create_server((host, port), family=family, backlog=512)
        # Of sockets that do not say TCP asyncio leaves the waiting for acknowledgements on: 40 ms for each answer.
        return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=made.detach())
    except (socket.gaierror, UnicodeError) as error:
        want = "an address or a name of this machine"
        raise expected("--host", repr(host), want, "take 127.0.0.1, or 0.0.0.0 for all") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = "is a studio open already? Else name another, or 0 for any"
            raise expected(f"--port {port}", "in use", "a free port", remedy) from error
        if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
            raise expected("--host", repr(host), "an address of this machine", "take 127.0.0.1, or 0.0.0.0") from error
        if error.errno in (errno.EACCES, errno.EPERM):
            raise expected(f"--port {port}", "not for everyone to take", "one from 1024 on", "name another") from error
        raise PinxitError(f"cannot listen at {host}, port {port}: {error.strerror}") from error


def tell(o: Studio, port: int, token: str | None) -> None:
    """Print where the page is, and open it where there is somebody to look at it."""
    everywhere = o.host in ("0.0.0.0", "::")
    hosts = ["127.0.0.1", socket.gethostname()] if everywhere else [f"[{o.host}]" if ":" in o.host else o.host]
    urls = [f"http://{host}:{port}/" + (f"?token={token}" if token else "") for host in hosts]
    for url in urls:
        print(f"studio: {url}", flush=True)
    if token is not None and everywhere:
        pictures.note("what is sent is not encrypted: others in the network may read it, and the token")
    if not o.no_open and sys.stdout.isatty() and has_screen():
        threading.Thread(target=show, args=(urls[0],), daemon=True).start()  # it may wait for the browser


def has_screen() -> bool:
    """Whether a browser would have a window; elsewhere `webbrowser` starts one in the terminal."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def show(url: str) -> None:
    with suppress(webbrowser.Error, OSError):
        webbrowser.open(url)
