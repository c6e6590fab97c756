"""A studio in a process of its own and a headless Chromium to look at it; skipped with the reason where absent.

A test takes `page` (and `studio.url`, or `page.goto("/#paint")`: addresses are relative to the studio), `open_page`
where it needs another language, size or colour scheme, `faults` where a fault is what it is about, and `new_studio`
where it stops or restarts the server.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Response

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGUMENTS = (
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 30_000  # ms: machines of CI are slow, and what is awaited mostly takes a tenth of a second


class Studio:
    """`python -m pinxit studio --demo` with the folder `home`, from the moment it says where it listens."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self.home = home
        self.log = home.parent / f"{home.name}.log"
        command = [sys.executable, "-m", "pinxit", "studio", "--demo", "--port", "0", "--no-open", "--home", str(home)]
        environment = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "200"}
        # A file, not a pipe: nobody reads along, and a full pipe would stop the server.
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *arguments], stdout=log, stderr=subprocess.STDOUT, env=environment
            )
        self.url = self._address()

    def _address(self) -> str:
        end = time.monotonic() + 120
        while time.monotonic() < end and self.process.poll() is None:
            if found := re.search(r"https?://\S+(?=\s)", self.text()):
                return found[0].rstrip("/")
            time.sleep(0.1)
        self.stop()
        raise AssertionError(f"the studio did not start:\n{self.text()}")

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def kill(self) -> None:
        """What a power cut does to it."""
        self.process.kill()
        self.process.wait()


class Faults:
    """What went wrong in the pages of a test, but what the test `allow`ed."""

    def __init__(self) -> None:
        self._seen: list[str] = []
        self._conflicts: list[Response] = []
        self._allowed: list[str] = []

    def allow(self, pattern: str) -> None:
        """A regular expression; faults look like `500 POST http://.../paint` or `console: text`."""
        self._allowed.append(pattern)

    def watch(self, page: Page) -> None:
        page.on("console", self._console)
        page.on("pageerror", lambda error: self._seen.append(f"page: {error}"))
        page.on("requestfailed", self._failed)
        page.on("response", self._response)

    def _console(self, message: ConsoleMessage) -> None:
        # Answers of 4xx and 5xx are told of here too, but without their method: _response has them.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self._seen.append(f"console: {message.text}")

    def _failed(self, request: Request) -> None:
        # A page gives up requests whose answer it no longer needs.
        if "ERR_ABORTED" not in (request.failure or ""):
            self._seen.append(f"{request.failure} {request.method} {request.url}")

    def _response(self, response: Response) -> None:
        if response.status == 409:
            self._conflicts.append(response)  # its body tells whether that is a fault, and must not be read here
        elif response.status >= 400:
            self._seen.append(f"{response.status} {response.request.method} {response.url}")

    def all(self) -> list[str]:
        from playwright.sync_api import Error

        for response in self._conflicts:
            try:
                code = response.json()["error"]["code"]
            except (Error, ValueError, KeyError):
                code = "superseded"  # the page went on without reading it
            if code != "superseded":
                self._seen.append(f"409 {response.request.method} {response.url} {code}")
        self._conflicts.clear()
        return [fault for fault in self._seen if not any(re.search(pattern, fault) for pattern in self._allowed)]


def needs_a_browser() -> None:
    pytest.importorskip("playwright.sync_api", reason="the browser tests need playwright: pip install playwright")
    if CHROMIUM is None:
        pytest.skip("the browser tests need chromium, chromium-browser or google-chrome on the PATH")


@pytest.fixture(scope="session")
def new_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Studio]]:
    """Starts a studio: `new_studio()` with an empty home, `new_studio(home)` with one that another left behind."""
    needs_a_browser()
    started: list[Studio] = []

    def start(home: Path | None = None, *arguments: str) -> Studio:
        home = home or tmp_path_factory.mktemp("studio") / "home"
        started.append(Studio(home, *arguments))
        return started[-1]

    yield start
    for studio in started:
        studio.stop()


@pytest.fixture(scope="session")
def studio(new_studio: Callable[..., Studio]) -> Studio:
    """One for all tests: they share its gallery and its jobs."""
    return new_studio()


# Not of the session: while Playwright's synchronous side is open, its event loop counts as running in this thread, and
# no test elsewhere could call asyncio.run.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    needs_a_browser()
    from playwright.sync_api import sync_playwright

    # Chromium's sandbox refuses to run as root, as CI does in a container.
    arguments = [*ARGUMENTS, "--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else [*ARGUMENTS]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, headless=True, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def faults() -> Faults:
    return Faults()


@pytest.fixture
def open_page(browser: Browser, studio: Studio, faults: Faults) -> Iterator[Callable[..., Page]]:
    """`open_page(locale="ja-JP", color_scheme="dark", viewport=...)`: a page of a context of its own, still blank."""
    contexts = []

    def opened(url: str | None = None, **options: Any) -> Page:
        options = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US", "accept_downloads": True, **options}
        context = browser.new_context(base_url=url or studio.url, **options)
        contexts.append(context)
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        faults.watch(page)
        return page

    yield opened
    seen = faults.all()
    for context in contexts:
        context.close()
    assert not seen, "\n".join(seen)


@pytest.fixture
def page(open_page: Callable[..., Page]) -> Page:
    """A blank page of 1280×800 px in English; at its end nothing may have gone wrong in it."""
    return open_page()


@pytest.fixture
def shot() -> Callable[..., None]:
    """`shot(page, "paint")`: a screenshot, where PINXIT_SHOTS names a folder for them."""
    folder = os.environ.get("PINXIT_SHOTS")

    def save(page: Page, name: str, *, whole: bool = False) -> None:
        if folder:
            page.screenshot(path=Path(folder) / f"{name}.png", full_page=whole)

    return save
