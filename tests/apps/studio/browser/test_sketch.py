"""Browsing a generator, sketching, and customising it, in a browser."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from . import test_access as access
from .test_translate_photo import ask, picture, until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Route

    from .conftest import Faults, Studio

LONG = 120_000  # ms: a training of seconds, on a machine that does other things
TILES = ".tiles .tile img[data-picture]"


@pytest.fixture(scope="module")
def sketching(new_studio: Callable[..., Studio], generators: Path) -> Studio:
    """A studio with a generator and a PhotoSketch, both of random weights."""
    return new_studio(None, "--models", str(generators))


@pytest.fixture
def pad(open_page: Callable[..., Page], sketching: Studio) -> Page:
    page = open_page(sketching.url)
    page.goto("/#sketch")
    page.locator(TILES).nth(11).wait_for()
    return page


def drawn(page: Page, size: float = 0.3) -> None:
    """A ring, by mouse."""
    canvas = page.get_by_test_id("sketch-canvas").locator("canvas").last
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    points = [(math.sin(i / 6), -math.cos(i / 6)) for i in range(39)]
    places = [
        (box["x"] + box["width"] * (0.5 + size * x), box["y"] + box["height"] * (0.5 + size * y)) for x, y in points
    ]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place)
    page.mouse.up()


def add(page: Page, size: float = 0.3) -> None:
    before = page.locator(".sketch-open").count()
    drawn(page, size)
    page.get_by_role("button", name="Add this sketch").click()
    page.locator(".sketch-open").nth(before).wait_for()


def ids(page: Page) -> list[str]:
    return page.locator(TILES).evaluate_all("all => all.map((one) => one.dataset.picture)")


def chosen(page: Page) -> str:
    return page.get_by_test_id("chosen").get_attribute("data-picture") or ""


def settled(page: Page) -> str:
    """The id of the chosen picture, once no newer one comes."""
    page.wait_for_timeout(300)
    page.locator(".chosen-view:not(.working)").wait_for()
    return chosen(page)


def slide(page: Page, testid: str, value: float) -> None:
    page.get_by_test_id(testid).fill(str(value))


def tiny(route: Route) -> None:
    """What the page asks for, with the preset that it does not offer, as nobody wants it but tests."""
    body = route.request.post_data_json
    assert isinstance(body, dict)
    route.continue_(post_data=json.dumps({**body, "preset": "tiny"}))


def test_samples_follow_truncation_and_more_are_made(pad: Page, sketching: Studio) -> None:
    first = ids(pad)
    assert len(set(first)) == 12
    assert settled(pad) == first[0]
    slide(pad, "truncation", 0.2)
    until(lambda: not set(ids(pad)) & set(first), "all tiles of another truncation")
    spread = [np.std([picture(sketching, id) for id in some], axis=0).mean() for some in (ids(pad), first)]
    assert spread[0] < spread[1]  # more alike
    assert settled(pad) == ids(pad)[0]
    pad.get_by_role("button", name="More", exact=True).click()
    pad.locator(TILES).nth(23).wait_for()
    tile = pad.get_by_role("button", name="Seed 20", exact=True)
    tile.click()
    assert tile.get_attribute("aria-pressed") == "true"
    assert settled(pad) == ids(pad)[20]


def test_a_picture_is_mixed_edited_and_kept(pad: Page, sketching: Studio) -> None:
    plain = settled(pad)
    pad.get_by_test_id("mix").select_option("5")
    mixed = settled(pad)
    slide(pad, "direction-2", 3)
    edited = settled(pad)
    assert len({plain, mixed, edited}) == 3
    pad.get_by_role("button", name="Keep in gallery").click()
    pad.get_by_text("Kept in the gallery.").wait_for()
    entry = ask(sketching.url, "gallery")[0]
    assert (entry["picture"], entry["kind"], entry["model"]) == (edited, "generate", "shapes")
    assert entry["recipe"]["mix"] == {"seed": 5, "at": 4}
    assert entry["recipe"]["strengths"] == [0, 3]
    pad.get_by_role("button", name="Reset").click()
    assert settled(pad) == mixed
    pad.get_by_test_id("mix").select_option("")
    assert settled(pad) == plain
    pad.get_by_role("tab", name="Gallery").click()
    pad.locator(".gallery-grid button").first.click()
    pad.get_by_text("seed 5, from layer 4 on").wait_for()
    pad.get_by_role("button", name="Make it again").click()
    pad.get_by_text("The same, to the last bit").wait_for()


def test_sketches_are_drawn_listed_and_removed(pad: Page, faults: Faults) -> None:
    start = pad.get_by_role("button", name="Start", exact=True)
    assert start.is_disabled()
    pad.get_by_role("button", name="Add this sketch").click()
    pad.get_by_text("Draw something first.").wait_for()
    add(pad)
    add(pad, 0.2)
    assert start.is_enabled()
    pad.get_by_text("2 of 30").wait_for()
    thumbnail = pad.locator(".sketch-open img").first
    assert thumbnail.evaluate("one => [one.naturalWidth, one.naturalHeight]") == [32, 32]
    pad.locator(".sketch-open").first.click()
    pad.get_by_role("dialog").get_by_text("As the network sees it").wait_for()
    pad.keyboard.press("Escape")
    # Undone, nothing is left to add.
    drawn(pad)
    pad.keyboard.press("Control+z")
    pad.get_by_role("button", name="Add this sketch").click()
    pad.get_by_text("Draw something first.").wait_for()
    pad.reload()
    pad.locator(".sketch-open").nth(1).wait_for()
    pad.get_by_role("button", name="Remove sketch 1").click()
    pad.get_by_text("1 of 30").wait_for()
    pad.get_by_role("button", name="Remove sketch 1").click()
    pad.get_by_text("No sketch yet.").wait_for()
    assert start.is_disabled()


def test_a_finger_and_a_pen_draw(open_page: Callable[..., Page], sketching: Studio) -> None:
    page = open_page(sketching.url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto("/#sketch")
    page.locator(TILES).nth(11).wait_for()
    canvas = page.get_by_test_id("sketch-canvas").locator("canvas").last
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box is not None
    devtools = page.context.new_cdp_session(page)
    for kind, x in (("touchStart", 0.2), ("touchMove", 0.5), ("touchMove", 0.8), ("touchEnd", None)):
        points = [] if x is None else [{"x": box["x"] + x * box["width"], "y": box["y"] + box["height"] / 2}]
        devtools.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
        page.wait_for_timeout(120)
    page.get_by_role("button", name="Add this sketch").click()
    page.locator(".sketch-open").wait_for()
    pen = {"pointerType": "pen", "pointerId": 7, "isPrimary": True, "pressure": 0.6, "buttons": 1, "bubbles": True}
    canvas.scroll_into_view_if_needed()
    canvas.evaluate(
        """(canvas, pen) => {
          const box = canvas.getBoundingClientRect();
          const at = (x, y) => ({clientX: box.x + x * box.width, clientY: box.y + y * box.height});
          canvas.setPointerCapture = () => {};
          canvas.dispatchEvent(new PointerEvent("pointerdown", {...pen, ...at(.3, .2)}));
          canvas.dispatchEvent(new PointerEvent("pointermove", {...pen, ...at(.6, .8)}));
          canvas.dispatchEvent(new PointerEvent("pointerup", {...pen, ...at(.6, .8), buttons: 0}));
        }""",
        pen,
    )
    page.get_by_role("button", name="Add this sketch").click()
    page.locator(".sketch-open").nth(1).wait_for()


SVG = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 20"><script>document.title = "bad"</script>
<circle cx="20" cy="10" r="7" fill="none" stroke="black"/></svg>"""


def test_files_are_added(pad: Page, sketching: Studio, tmp_path: Path, faults: Faults) -> None:
    y, x = np.mgrid[:300, :300]
    paper = Image.fromarray(np.stack([200 - x / 5, 190 - x / 5, 170 - y / 6], -1).astype(np.uint8))
    ImageDraw.Draw(paper).ellipse((60, 60, 240, 240), outline=(60, 55, 70), width=6)
    paper.save(tmp_path / "phone.jpg")
    chalk = Image.new("RGBA", (90, 90), (0, 0, 0, 0))
    ImageDraw.Draw(chalk).ellipse((20, 20, 70, 70), outline=(255, 255, 255, 255), width=4)
    chalk.save(tmp_path / "chalk.png")
    (tmp_path / "lines.svg").write_bytes(SVG)
    Image.new("L", (50, 50), 255).save(tmp_path / "blank.png")
    (tmp_path / "text.png").write_text("no picture")
    faults.allow(r"400 POST .*/sketch$")
    with pad.expect_file_chooser() as chooser:
        pad.get_by_role("button", name="Add files…").click()
    chooser.value.set_files([tmp_path / name for name in ("phone.jpg", "chalk.png", "lines.svg")])
    pad.locator(".sketch-open").nth(2).wait_for()
    for i in range(3):
        source = pad.locator(".sketch-open img").nth(i).get_attribute("src") or ""
        seen = picture(sketching, source.rpartition("/")[2])
        assert np.median(seen) == 255, i
        assert 3 < 100 * (seen < 160).mean() < 40, i
    for n, told in ((1, "The paper is made evenly white."), (2, "Light on dark"), (3, "Of another shape")):
        pad.get_by_role("button", name=f"Sketch {n}, with remarks").click()
        pad.get_by_role("dialog").get_by_text(told).wait_for()
        pad.keyboard.press("Escape")
    assert pad.title() == "Sketch · Pinxit"
    for file, told in (("blank.png", "the sketch is blank"), ("text.png", "text.png is no picture")):
        with pad.expect_file_chooser() as chooser:
            pad.get_by_role("button", name="Add files…").click()
        chooser.value.set_files(tmp_path / file)
        pad.get_by_text(told).wait_for()
    assert pad.locator(".sketch-open").count() == 3


@pytest.mark.slow
def test_a_training_is_begun_watched_and_used(pad: Page, sketching: Studio, shot: Callable[..., None]) -> None:
    pad.route("**/api/v1/jobs/sketch", tiny)
    add(pad)
    pad.get_by_label("Name").fill("rings")
    pad.get_by_role("button", name="Start", exact=True).click()
    job = pad.get_by_test_id("job").locator("visible=true")
    job.get_by_text("rings").wait_for()
    pad.locator(".sketch [data-testid=job][data-state=done]").wait_for(timeout=LONG)
    image = job.get_by_alt_text("What it paints so far")
    assert image.evaluate("one => one.naturalWidth") >= 5 * 32
    shot(pad, "sketch-done", whole=True)
    before = ids(pad)
    job.get_by_role("button", name="Use it").click()
    assert pad.get_by_test_id("generator").input_value() == "runs.rings"
    pad.locator(TILES).nth(11).wait_for()
    assert len(before) == len(ids(pad))
    pad.get_by_role("tab", name="Models").click()
    card = pad.locator('[data-model="runs.rings"]')
    card.get_by_role("button", name="Use rings").wait_for()


def test_earlier_sheets_are_looked_at_again(open_page: Callable[..., Page], sketching: Studio, tmp_path: Path) -> None:
    """With a training of which nothing is true but its form: one of three sheets takes minutes."""
    page = open_page(sketching.url)
    job = {"id": 7, "kind": "sketch", "state": "running", "name": "rings", "model": None, "progress": 0.3}
    job |= {"stage": "step 300 of 900", "seconds_left": 80.0, "message": "", "created": "2026-01-01T00:00:00+00:00"}
    job |= {"preset": "cpu", "preview": 300, "previews": 3}
    Image.new("RGB", (320, 64), "red").save(tmp_path / "sheet.png")
    page.route("**/api/v1/jobs", lambda route: route.fulfill(json=[job]))
    page.route("**/api/v1/jobs/7/preview?*", lambda route: route.fulfill(path=tmp_path / "sheet.png"))

    def shows(query: str) -> None:
        page.locator(f"#panel-sketch .preview[src$='?{query}']").wait_for()

    page.goto("/#sketch")
    page.get_by_text("Step 300 of 900").wait_for()
    shows("n=300")
    time_line = page.get_by_label("From the first to the newest")
    time_line.fill("0")
    shows("at=0")
    job |= {"preview": 400, "previews": 4, "stage": "step 400 of 900"}
    page.get_by_text("Step 400 of 900").wait_for()
    shows("at=0")  # who looks at an earlier one is not led away from it
    time_line.fill("3")
    shows("n=400")


def test_a_training_is_cancelled_and_removed(pad: Page, sketching: Studio) -> None:
    add(pad)
    pad.get_by_label("Name").fill("never")
    pad.get_by_role("button", name="Start", exact=True).click()
    pad.get_by_role("button", name="Cancel").click()
    pad.locator(".sketch [data-testid=job][data-state=cancelled]").wait_for()
    id = next(job["id"] for job in ask(sketching.url, "jobs") if job["name"] == "never")
    pad.reload()
    pad.get_by_role("button", name="Remove", exact=True).click()
    pad.get_by_role("dialog").get_by_role("button", name="Remove").click()
    until(lambda: all(job["id"] != id for job in ask(sketching.url, "jobs")), "removed")
    pad.locator(".sketch [data-testid=job]").wait_for(state="hidden")


def test_contours_are_drawn_in_translate(pad: Page, sketching: Studio, tmp_path: Path) -> None:
    pad.get_by_role("tab", name="Translate").click()
    pad.get_by_test_id("translate-model").select_option("contours")
    result = pad.get_by_test_id("translate-result")
    end = time.monotonic() + 60
    while not (id := result.get_attribute("data-picture") or ""):
        assert time.monotonic() < end
        pad.wait_for_timeout(100)
    assert picture(sketching, id).shape == (32, 32, 3)


def test_for_everyone(open_page: Callable[..., Page], sketching: Studio) -> None:
    access.test_everything_has_a_name(open_page(sketching.url), "sketch")
    access.test_the_keyboard_reaches_everything_and_one_sees_where_it_is(open_page(sketching.url), "sketch")
    looks: list[dict[str, Any]] = [
        {"color_scheme": "dark", "locale": "ja-JP"},
        {"color_scheme": "light", "viewport": {"width": 360, "height": 640}},
        {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True},
    ]
    for options in looks:
        page = open_page(sketching.url, **options)
        access.go(page, "sketch")
        if "viewport" not in options:
            add_in_japanese(page)
        assert page.evaluate(access.FAINT) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def add_in_japanese(page: Page) -> None:
    """A sketch, so that its part of the page is looked at too; and no word is English."""
    drawn(page)
    page.get_by_role("button", name="このスケッチを追加").click()
    page.locator(".sketch-open").wait_for()
    text = page.locator(".sketch").inner_text()
    assert "sketch." not in text
