"""The switches of the paint page, with a model of map, sketch, text and style: each counts, and only when it is on."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from ..mixed_model import CAMVID, mixed_model
from . import test_paint
from .test_paint import another, drag, give, map_of, opened, place, saved, settled
from .test_photo_to_map import CARD, deeplab

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from .conftest import Studio

SIZE = (32, 32)
INPUTS = ("Map", "Sketch", "Text", "Style")


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    mixed_model(folder / "anything")
    mixed_model(folder / "words", ("sketch", "text"))
    deeplab(folder / "seer", CAMVID, CARD)
    return folder


@pytest.fixture(scope="module")
def mixing(new_studio: Callable[..., Studio], models: Path) -> Studio:
    """A studio with a model that takes all four inputs, one that takes sketch and text, and a segmenter."""
    return new_studio(None, "--models", str(models))


@pytest.fixture(autouse=True)
def small_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    """`place` of test_paint knows where a pixel of a map of this size is."""
    monkeypatch.setattr(test_paint, "SIZE", SIZE)


@pytest.fixture
def style(tmp_path: Path) -> Path:
    Image.linear_gradient("L").resize((64, 48)).convert("RGB").save(tmp_path / "dusk.png")
    return tmp_path / "dusk.png"


def mixed(page: Page, model: str = "anything") -> Page:
    """The paint page with the model of that id."""
    opened(page)
    first = settled(page)
    page.get_by_test_id("model").select_option(model)
    another(page, first)
    return page


def switch(page: Page, name: str) -> Any:
    return page.get_by_role("switch", name=name, exact=True)


def note(page: Page, name: str) -> str:
    return page.locator(f"#{switch(page, name).get_attribute('aria-describedby')}").inner_text()


def flip(page: Page, name: str, on: bool) -> None:
    switch(page, name).set_checked(on)


def layer(page: Page, name: str) -> None:
    page.get_by_role("group", name="What is drawn on").get_by_role("button", name=name).click()


def shows(page: Page, id: str) -> None:
    """That this picture comes, and stays."""
    page.wait_for_selector(f"[data-testid=picture][data-picture='{id}']")
    assert settled(page) == id


def scribble(page: Page) -> None:
    layer(page, "Sketch")
    drag(page, (4, 4), (26, 12), (8, 26))


def project_of(page: Page, folder: Path) -> dict[str, Any]:
    return json.loads(saved(page, "Save project", folder).read_text())


def sketch_of(page: Page, folder: Path) -> np.ndarray | None:
    """The sketch in the project file, lines dark; None where there is none."""
    url = project_of(page, folder)["sketch"]
    if url is None:
        return None
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))


def test_each_subset_paints_a_picture_of_its_own(
    mixing: Studio, open_page: Callable[..., Page], style: Path, shot: Callable[..., None]
) -> None:
    page = mixed(open_page(mixing.url))
    for name, words in zip(INPUTS, ("on", "nothing is drawn", "nothing is written", "by chance"), strict=True):
        assert switch(page, name).is_checked()
        assert words in note(page, name)
    map_alone = settled(page)
    page.get_by_test_id("text").fill("A street in the evening")
    worded = another(page, map_alone)
    scribble(page)
    sketched = another(page, worded)
    give(page, "Upload style", style)
    everything = another(page, sketched)
    assert [note(page, name) for name in INPUTS] == ["on"] * 4
    page.wait_for_selector(".thumbs .thumb:nth-child(3) .thumb-picture.there")
    shot(page, "mixed")

    found, shown = {15: everything}, everything
    for i in range(1, 16):  # Gray's code: one switch at a time
        code = i ^ (i >> 1) ^ 15
        changed = (i & -i).bit_length() - 1
        flip(page, INPUTS[changed], bool(code >> changed & 1))
        shown = found[code] = another(page, shown)
    assert len(set(found.values())) == 16
    assert found[1] == map_alone
    assert found[1 | 4] == worded
    assert found[1 | 2 | 4] == sketched
    for i, name in enumerate(INPUTS):
        flip(page, name, on=True)
        assert switch(page, name).is_checked(), i
    shows(page, everything)


def test_what_is_switched_off_has_no_influence(
    mixing: Studio, open_page: Callable[..., Page], style: Path, shot: Callable[..., None]
) -> None:
    page = mixed(open_page(mixing.url))
    scribble(page)
    page.get_by_test_id("text").fill("A street")
    page.wait_for_timeout(600)
    for name in INPUTS:
        flip(page, name, on=False)
    page.wait_for_timeout(600)
    nothing = settled(page)
    assert page.get_by_test_id("text").is_disabled()
    assert page.get_by_role("button", name="Random style").is_disabled()
    assert not page.locator(".layer-row").is_visible()
    # A map that does not count can be painted on all the same: the picture stays.
    drag(page, (3, 3), (28, 28))
    page.wait_for_timeout(400)
    shows(page, nothing)
    shot(page, "mixed-off")
    # Chance is left, where a style is wanted but no picture of one is given.
    flip(page, "Style", on=True)
    shows(page, nothing)
    page.get_by_role("button", name="Random style").click()
    assert another(page, nothing)
    page.get_by_role("button", name="Back to the style before").click()
    shows(page, nothing)


def test_pencil_eraser_and_one_history_for_both_layers(
    mixing: Studio, open_page: Callable[..., Page], tmp_path: Path, shot: Callable[..., None]
) -> None:
    page = mixed(open_page(mixing.url))
    map, shown = map_of(page, tmp_path), settled(page)
    page.get_by_role("button", name="Brush", exact=True).click()
    scribble(page)
    with_lines = another(page, shown)
    lines = sketch_of(page, tmp_path)
    assert lines is not None
    assert lines.shape == SIZE
    assert 20 < (lines == 0).sum() < 200
    assert (map_of(page, tmp_path) == map).all()
    for name in ("Polygon", "Rectangle", "Ellipse", "Fill", "Eyedropper"):
        assert page.get_by_role("button", name=name, exact=True).is_disabled()

    page.get_by_role("button", name="Eraser", exact=True).click()
    page.get_by_role("slider", name="Size").fill("12")
    page.mouse.click(*place(page, 26, 12))
    erased = another(page, with_lines)
    rest = sketch_of(page, tmp_path)
    assert rest is not None
    assert 0 < (rest == 0).sum() < (lines == 0).sum()

    page.get_by_role("option", name="Tree", exact=True).click()  # what is painted with a label is the map
    assert page.locator("[data-layer=map]").get_attribute("aria-pressed") == "true"
    page.mouse.click(*place(page, 8, 8))
    painted = another(page, erased)
    assert (map_of(page, tmp_path) != map).any()
    shot(page, "mixed-layers")

    undo, redo = (page.get_by_role("button", name=name, exact=True) for name in ("Undo", "Redo"))
    for expected in (erased, with_lines, shown):
        undo.click()
        shows(page, expected)
    assert undo.is_disabled()
    assert (map_of(page, tmp_path) == map).all()
    assert sketch_of(page, tmp_path) is None
    for expected in (with_lines, erased, painted):
        redo.click()
        shows(page, expected)
    assert redo.is_disabled()
    page.keyboard.press("s")
    assert page.locator("[data-layer=sketch]").get_attribute("aria-pressed") == "true"
    page.get_by_role("button", name="Clear", exact=True).click()
    assert sketch_of(page, tmp_path) is None
    page.get_by_test_id("sketch-layer").focus()
    page.keyboard.press("Control+z")
    shows(page, painted)


def test_the_sketch_is_shown_faint_or_not_and_counts_all_the_same(
    mixing: Studio, open_page: Callable[..., Page]
) -> None:
    page = mixed(open_page(mixing.url))
    scribble(page)
    page.wait_for_timeout(200)
    shown = settled(page)
    box = page.locator(".sketch-lines")
    page.get_by_role("slider", name="Opacity of the sketch").fill("0.3")
    assert box.evaluate("box => getComputedStyle(box).opacity") == "0.3"
    flip(page, "Show sketch", on=False)
    assert box.evaluate("box => getComputedStyle(box).visibility") == "hidden"
    assert page.locator("[data-layer=map]").get_attribute("aria-pressed") == "true"  # nobody draws unseen
    shows(page, shown)
    layer(page, "Sketch")
    assert switch(page, "Show sketch").is_checked()


def test_both_layers_show_the_same_part_of_the_canvas(
    mixing: Studio, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = mixed(open_page(mixing.url))
    map, at = map_of(page, tmp_path), place(page, 20, 9)
    page.mouse.move(*at)
    page.mouse.wheel(0, -400)  # on the map, which the sketch follows
    layer(page, "Sketch")
    page.get_by_role("button", name="Zoom in").click()  # on the sketch, which the map follows
    page.get_by_role("slider", name="Size").fill("1")
    spot = (at[0] + 20, at[1] + 30)
    page.mouse.click(*spot)
    page.get_by_role("option", name="Bicyclist", exact=True).click()
    page.get_by_role("slider", name="Size").fill("1")
    page.mouse.click(*spot)
    lines = sketch_of(page, tmp_path)
    assert lines is not None
    drawn, painted = np.argwhere(lines == 0), np.argwhere(map_of(page, tmp_path) != map)
    assert len(drawn) == 1
    np.testing.assert_array_equal(drawn, painted)


def test_work_and_projects_keep_sketch_text_and_switches(
    mixing: Studio, open_page: Callable[..., Page], tmp_path: Path
) -> None:
    page = mixed(open_page(mixing.url))
    scribble(page)
    page.get_by_test_id("text").fill("木のある通り 🌳")
    page.wait_for_timeout(600)
    before = settled(page)
    flip(page, "Map", on=False)
    shown = another(page, before)
    project = saved(page, "Save project", tmp_path)
    page.wait_for_timeout(1200)  # the page keeps what is done a moment after it is done
    page.reload()
    page.wait_for_selector(f"[data-testid=picture][data-picture='{shown}']")
    assert page.get_by_test_id("text").input_value() == "木のある通り 🌳"
    assert not switch(page, "Map").is_checked()

    page.get_by_test_id("text").fill("")
    layer(page, "Sketch")
    page.get_by_role("button", name="Clear", exact=True).click()
    flip(page, "Map", on=True)
    page.wait_for_timeout(600)
    assert settled(page) != shown
    give(page, "Open project", project)
    page.wait_for_selector(f"[data-testid=picture][data-picture='{shown}']")
    assert saved(page, "Save project", tmp_path).read_bytes() == project.read_bytes()


def test_a_picture_comes_back_with_its_map_and_sketch(
    mixing: Studio, open_page: Callable[..., Page], tmp_path: Path, shot: Callable[..., None]
) -> None:
    page = mixed(open_page(mixing.url))
    map, shown = map_of(page, tmp_path), settled(page)
    page.get_by_text("it always paints the whole").wait_for()  # the demo filled in what was missing
    page.get_by_role("button", name="Picture back to the left, with its map and sketch").click()
    page.get_by_text("Copied back: Map, Sketch.").wait_for()
    another(page, shown)
    found, lines = map_of(page, tmp_path), sketch_of(page, tmp_path)
    body = {"picture": shown, "size": list(SIZE), "client": "test"}
    for kind, here in (("map", found), ("sketch", lines)):
        answer = page.request.post(f"/api/v1/models/anything/photo-to-{kind}", data=body)
        assert here is not None
        np.testing.assert_array_equal(here, np.asarray(Image.open(io.BytesIO(answer.body()))))
    assert page.get_by_role("slider", name="Underlay").is_visible()
    shot(page, "mixed-back")
    page.get_by_role("button", name="Undo", exact=True).click()  # both, at once
    shows(page, shown)
    assert (map_of(page, tmp_path) == map).all()
    assert sketch_of(page, tmp_path) is None


def test_a_photo_becomes_the_sketch(mixing: Studio, open_page: Callable[..., Page], tmp_path: Path) -> None:
    page = mixed(open_page(mixing.url))
    shown = settled(page)
    y, x = np.mgrid[:60, :80]
    Image.fromarray((255 * ((x // 20 + y // 20) % 2)).astype(np.uint8)).save(tmp_path / "tiles.png")
    give(page, "Photo to sketch", tmp_path / "tiles.png")
    page.get_by_text("Sketch made from tiles.png").wait_for()
    another(page, shown)
    lines = sketch_of(page, tmp_path)
    assert lines is not None
    assert (lines == 0).sum() > 30
    page.get_by_role("button", name="Undo", exact=True).click()
    shows(page, shown)


def test_the_one_that_comes_along_is_offered_and_paints_by_map_text_and_nothing(
    studio: Studio, open_page: Callable[..., Page], shot: Callable[..., None]
) -> None:
    page = opened(open_page(studio.url))
    offered = page.get_by_test_id("model")
    assert offered.locator("option").all_inner_texts()[:2] == ["Streets", "Mixed streets"]
    assert offered.input_value() == "demo"
    first = settled(page)
    offered.select_option("mixed")
    seen = [another(page, first)]
    assert [note(page, name) for name in ("Map", "Text")] == ["on", "on, but nothing is written yet"]
    page.get_by_test_id("text").fill("A street in the sun with trees on both sides.")
    seen.append(another(page, seen[-1]))
    shot(page, "mixed-embedded")
    for name in ("Map", "Text"):
        flip(page, name, on=False)
        seen.append(another(page, seen[-1]))
    assert len(set(seen)) == 4


def test_a_model_without_maps_says_so_and_paints(
    mixing: Studio, open_page: Callable[..., Page], shot: Callable[..., None]
) -> None:
    page = mixed(open_page(mixing.url), "words")
    for name, why in (("Map", "takes no map"), ("Style", "takes no style")):
        assert switch(page, name).is_disabled()
        assert why in note(page, name)
    assert not page.locator(".palette").is_visible()
    plain = settled(page)
    page.get_by_role("button", name="Random style").click()  # chance there is
    other = another(page, plain)
    page.get_by_test_id("text").fill("a street")
    worded = another(page, other)
    drag(page, (4, 4), (26, 26))  # there is only the sketch to draw on
    another(page, worded)
    shot(page, "mixed-words")
    page.get_by_test_id("model").select_option("demo")
    page.wait_for_selector(".palette:visible")
    assert switch(page, "Text").is_disabled()
    assert not page.get_by_test_id("text").is_visible()


def test_the_gallery_makes_it_again_and_opens_it(
    mixing: Studio, open_page: Callable[..., Page], shot: Callable[..., None]
) -> None:
    page = mixed(open_page(mixing.url))
    scribble(page)
    page.get_by_test_id("text").fill("two trees")
    page.wait_for_timeout(600)
    before = settled(page)
    flip(page, "Map", on=False)
    shown = another(page, before)
    page.get_by_role("button", name="Keep in gallery").click()
    page.get_by_text("Kept in the gallery.").wait_for()
    page.get_by_test_id("text").fill("")
    flip(page, "Sketch", on=False)
    page.wait_for_timeout(600)
    assert settled(page) != shown
    page.get_by_role("tab", name="Gallery").click()
    page.locator(".gallery-item").first.click()
    page.get_by_role("heading", name="Painted without a map").wait_for()
    page.get_by_role("button", name="Make it again").click()
    page.get_by_text("The same, to the last bit").wait_for()
    shot(page, "mixed-gallery")
    page.get_by_role("button", name="Open in Paint").click()
    page.wait_for_selector(f"[data-testid=picture][data-picture='{shown}']")
    assert page.get_by_test_id("text").input_value() == "two trees"
    assert [switch(page, name).is_checked() for name in INPUTS] == [False, True, True, True]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("phone", {"viewport": {"width": 390, "height": 844}, "has_touch": True}),
        ("dark", {"color_scheme": "dark"}),
        ("ja", {"locale": "ja-JP"}),
    ],
)
def test_it_fits_the_window(
    mixing: Studio, open_page: Callable[..., Page], shot: Callable[..., None], name: str, options: dict[str, Any]
) -> None:
    page = mixed(open_page(mixing.url, **options))
    page.locator("[data-layer=sketch]").click()
    drag(page, (4, 4), (26, 12), (8, 26))
    settled(page)
    width = page.evaluate("innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    if name == "ja":
        assert page.get_by_role("switch", name="スケッチを表示").is_visible()
        assert page.get_by_text("インペインティング").is_visible()
    shot(page, f"mixed-{name}", whole=True)
