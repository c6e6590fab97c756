"""From the end of a stroke to the new picture: how long a person who paints in the studio waits.

    python benchmarks/studio_latency.py
    python benchmarks/studio_latency.py --strokes 50 --size 256 --without-browser

Starts a studio of its own on loopback, with the embedded model, and measures twice:

- in the page, in headless Chromium, with real pointer events: from `pointerup` of each stroke until the picture of that
  stroke is decoded and the browser has drawn a frame with it. The page's debounce, the encoding of the map and the
  upload are in it. Needs playwright (Python) and Chromium;
- of the API alone: a map changed by a stroke is encoded as PNG, uploaded, painted, and the picture read and decoded.

Median and 95th percentile over the strokes (nearest rank), and the share of the time that was spent in the model, as
the server says in X-Pinxit-Seconds. The first strokes (--warm-up) are not counted. Browser and server share the cores.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from PIL import Image

LIMITS = {50: 0.5, 95: 1.0}
"""Percentile of the wait -> s, at 256x256 with the embedded model on two cores."""

IDLE = 2.0
"""s; the server closes connections that were idle for 5 s, which must not happen while a request is on its way."""


@dataclass
class Made:
    id: str
    png: bytes
    seconds: float


class Api:
    """The calls of the studio's API that a painter makes, over one connection that is kept open."""

    def __init__(self, address: str) -> None:
        place = urlsplit(address)
        self.connection = http.client.HTTPConnection(place.hostname or "127.0.0.1", place.port, timeout=120)
        self.used = 0.0

    def ask(self, method: str, path: str, body: bytes | None = None, kind: str = "application/json"):
        if time.monotonic() - self.used > IDLE:
            self.connection.close()  # the next request opens it anew
        headers = {"Content-Type": kind} if body is not None else {}
        self.connection.request(method, f"/api/v1/{path}", body, headers)
        answer = self.connection.getresponse()
        got = answer.status, answer.headers, answer.read()
        self.used = time.monotonic()
        return got

    def labels(self, model: str) -> list[int]:
        """The ids that files use for the labels of a model."""
        status, _, body = self.ask("GET", f"models/{model}")
        if status != 200:
            raise RuntimeError(f"no model {model!r}: {status} {body.decode()}")
        return [label["id"] for label in json.loads(body)["label_set"]["labels"]]

    def upload(self, ids: np.ndarray) -> str:
        png = io.BytesIO()
        Image.fromarray(ids).save(png, "PNG", compress_level=1)
        status, _, body = self.ask("POST", "pictures?as=map", png.getvalue(), "image/png")
        if status not in (200, 201):
            raise RuntimeError(f"upload: {status} {body.decode()}")
        return json.loads(body)["id"]

    def paint(self, model: str, map_id: str, style: dict[str, Any] | None, client: str) -> Made | None:
        """None: superseded by a later request of this client."""
        body = json.dumps({"map": map_id, "style": style, "client": client}).encode()
        status, headers, answer = self.ask("POST", f"models/{model}/paint", body)
        if status == 409 and json.loads(answer)["error"]["code"] == "superseded":
            return None
        if status != 200:
            raise RuntimeError(f"paint: {status} {answer.decode()}")
        return Made(headers["X-Pinxit-Picture"], answer, float(headers["X-Pinxit-Seconds"]))

    def close(self) -> None:
        self.connection.close()


@contextmanager
def started_studio() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A studio with an empty home on a free port of loopback: its address, and its process."""
    with tempfile.TemporaryDirectory() as place:
        log = Path(place, "log")
        command = [sys.executable, "-m", "pinxit", "studio", "--demo", "--port", "0", "--no-open"]
        command += ["--home", str(Path(place, "home"))]
        with log.open("wb") as out:
            environment = {**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "200"}
            process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=environment)
        try:
            yield _address(log, process), process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(log: Path, process: subprocess.Popen[bytes]) -> str:
    end = time.monotonic() + 120
    while time.monotonic() < end and process.poll() is None:
        if found := re.search(r"https?://\S+(?=\s)", log.read_text(errors="replace")):
            return found[0].rstrip("/")
        time.sleep(0.1)
    raise RuntimeError(f"the studio did not start:\n{log.read_text(errors='replace')}")


def stroke(ids: np.ndarray, random: np.random.Generator, labels: Sequence[int]) -> None:
    """A thick line of one label from somewhere to somewhere; it changes the map for certain."""
    height, width = ids.shape
    y, x = np.ogrid[:height, :width]
    ends = random.random((2, 2)) * (height, width)
    inside = np.zeros(ids.shape, bool)
    for at in np.linspace(0, 1, 24):
        cy, cx = ends[0] + at * (ends[1] - ends[0])
        inside |= (y - cy) ** 2 + (x - cx) ** 2 <= (height / 20) ** 2
    before = set(np.unique(ids[inside]))
    choice = [label for label in labels if before != {label}]
    ids[inside] = random.choice(choice)


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank: one of the values, not a mean of two."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(percent / 100 * len(ordered)) - 1)]


def machine() -> str:
    threads = os.environ.get("OMP_NUM_THREADS")
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores" + (
        f", OMP_NUM_THREADS={threads}" if threads else ""
    )


def of_the_api(address: str, model: str, size: int, strokes: int, warm_up: int) -> list[tuple[float, float]]:
    """(wait, in the model) of every stroke, s."""
    api = Api(address)
    labels = api.labels(model)
    random = np.random.default_rng(0)
    ids = np.full((size, size), labels[0], np.uint8)
    waits = []
    for number in range(warm_up + strokes):
        stroke(ids, random, labels)
        began = time.perf_counter()
        made = api.paint(model, api.upload(ids), {"seed": 0}, "latency")
        assert made is not None
        with Image.open(io.BytesIO(made.png)) as picture:
            picture.load()
        if number >= warm_up:
            waits.append((time.perf_counter() - began, made.seconds))
    api.close()
    return waits


def report(name: str, waits: list[tuple[float, float]]) -> bool:
    """Prints a measurement; -> whether it is within the limits."""
    totals = [total for total, _ in waits]
    share = sum(inside for _, inside in waits) / sum(totals)
    print(f"{name}, {len(waits)} strokes")
    for percent, limit in LIMITS.items():
        value = percentile(totals, percent)
        what = "median         " if percent == 50 else f"{percent}th percentile"
        print(f"  {what}  {value:.3f} s   x {value / limit:.2f} of the limit of {limit:g} s")
    print(f"  longest          {max(totals):.3f} s")
    print(f"  in the model     {share:.0%} of the time, median {percentile([inside for _, inside in waits], 50):.3f} s")
    return all(percentile(totals, percent) < limit for percent, limit in LIMITS.items())


PROBE = """
(() => {
  // What the page sends and shows, as it happens; nothing of the page itself is changed.
  const probe = window.probe = { released: 0, shown: null, maps: new Map(), pictures: new Map() };
  const fetch = window.fetch;
  window.fetch = async (address, how) => {
    const began = performance.now();
    const answer = await fetch(address, how);
    const path = new URL(address, document.baseURI).pathname;
    if (answer.ok && how?.method === "POST") {
      if (path.endsWith("/pictures")) probe.maps.set((await answer.clone().json()).id, began);
      if (path.endsWith("/paint")) {
        const sent = probe.maps.get(JSON.parse(how.body).map) ?? 0;
        const seconds = Number(answer.headers.get("X-Pinxit-Seconds"));
        const picture = { sent, asked: began, answered: performance.now(), seconds };
        probe.pictures.set(answer.headers.get("X-Pinxit-Picture"), picture);
      }
    }
    return answer;
  };
  // Capture, before the page's own listener.
  addEventListener("pointerup", () => {
    probe.released = performance.now();
    probe.shown = null;
  }, true);
  probe.watch = (canvas) => new MutationObserver(() => {
    const picture = probe.pictures.get(canvas.dataset.picture);
    // The stroke's own: of a map that was sent after its end.
    if (!picture || probe.shown || !probe.released || picture.sent < probe.released) return;
    const released = probe.released;
    requestAnimationFrame(() => setTimeout(() => {  // after the frame that has it
      if (probe.released !== released) return;
      const times = [released, picture.sent, picture.asked, picture.answered, performance.now()];
      probe.shown = { times: times.map((time) => time / 1000), seconds: picture.seconds };
    }));
  }).observe(canvas, { attributeFilter: ["data-picture"] });
})();
"""


def of_the_page(address: str, size: int, strokes: int, warm_up: int, pause: float) -> list[tuple[float, float]]:
    """(wait, in the model) of every stroke, s."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise RuntimeError("there is no chromium, chromium-browser or google-chrome on the PATH; see --without-browser")
    arguments = ["--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--no-sandbox")
    random = np.random.default_rng(0)
    waits = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 800}, locale="en-US", base_url=address)
        page.set_default_timeout(60_000)
        page.add_init_script(PROBE)
        page.goto("/#paint")
        page.locator("canvas[data-testid=picture][data-picture]").evaluate("canvas => probe.watch(canvas)")
        page.get_by_label("Canvas", exact=True).select_option(f"{size}x{size}")
        shown = page.locator("canvas[data-testid=picture]")
        page.wait_for_function("size => document.querySelector('canvas[data-testid=picture]').width === size", arg=size)
        labels = page.locator(".palette-group [role=option]")
        surface = page.locator("[data-testid=map]").bounding_box()
        if surface is None or not labels.count() or not shown.count():
            raise RuntimeError("the page is not as this script knows it")
        # The map lies in the middle of its surface, as large as fits.
        side = min(surface["width"], surface["height"]) * 0.8
        left = surface["x"] + (surface["width"] - side) / 2
        top = surface["y"] + (surface["height"] - side) / 2
        parts = []
        for number in range(warm_up + strokes):
            labels.nth(number % labels.count()).click()
            page.wait_for_timeout(pause * 1000)
            (x0, y0), (x1, y1) = random.random((2, 2)) * side + (left, top)
            page.mouse.move(x0, y0)
            page.mouse.down()
            page.mouse.move(x1, y1, steps=12)
            page.mouse.up()
            page.wait_for_function("() => probe.shown")
            drawn = page.evaluate("probe.shown")
            if number >= warm_up:
                times = drawn["times"]
                waits.append((times[-1] - times[0], drawn["seconds"]))
                parts.append([*np.diff(times), times[3] - times[2] - drawn["seconds"]])
        browser.close()
    names = (
        "until the map is sent",
        "sending it",
        "until the answer",
        "until it is shown",
        "of the answer, in the queue",
    )
    print(
        "in the page, medians: " + ", ".join(f"{n} {m:.3f} s" for n, m in zip(names, np.median(parts, 0), strict=True))
    )
    return waits


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--strokes", type=int, default=50)
    parser.add_argument("--warm-up", type=int, default=3, help="strokes before those that count")
    parser.add_argument("--size", type=int, default=256, help="side of the map")
    parser.add_argument("--model", default="demo", help="id of a model of label maps")
    parser.add_argument("--pause", type=float, default=0.5, help="s between a picture and the next stroke in the page")
    parser.add_argument("--without-browser", action="store_true", help="of the API alone")
    o = parser.parse_args()
    print(machine())
    with started_studio() as (address, _):
        good = report(f"API alone, {o.size}x{o.size}", of_the_api(address, o.model, o.size, o.strokes, o.warm_up))
        if not o.without_browser:
            waits = of_the_page(address, o.size, o.strokes, o.warm_up, o.pause)
            good = report(f"in the page, {o.size}x{o.size}", waits) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
