"""The paint page as people use it: mouse, keyboard and touch on one side, and what comes out of it on the other."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from pinxit.data.labels import load_label_set

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request

    from .conftest import Faults

CAMVID = load_label_set("camvid")
SKY, BUILDING, ROAD, TREE, CAR, UNKNOWN = 0, 1, 3, 5, 8, 11
SIZE = (192, 256)


def opened(page: Page) -> Page:
    """The paint page with its first picture, painted without any action."""
    page.goto("/#paint")
    page.wait_for_selector("[data-testid=picture][data-picture]")
    settled(page)
    return page


def settled(page: Page) -> str:
    """The id of the picture, once it is that of what is on the map now."""
    page.wait_for_timeout(60)  # longer than the page waits after an edit before it asks for its picture
    page.wait_for_selector(".picture-box:not([aria-busy=true])")
    return str(page.get_attribute("[data-testid=picture]", "data-picture"))


def another(page: Page, id: str) -> str:
    """The id of the picture, once it is another than `id` and that of what is on the map now."""
    page.wait_for_selector(f"[data-testid=picture][data-picture]:not([data-picture='{id}'])")
    return settled(page)


def picture(page: Page) -> np.ndarray:
    """The picture that is shown, int [H, W, 3]."""
    answer = page.request.get(f"/api/v1/pictures/{settled(page)}")
    assert answer.ok
    return np.asarray(Image.open(io.BytesIO(answer.body())).convert("RGB")).astype(int)


def saved(page: Page, button: str, folder: Path) -> Path:
    """The file that a button downloads."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button, exact=True).click()
    path = folder / f"{len(list(folder.iterdir()))}-{download.value.suggested_filename}"
    download.value.save_as(path)
    return path


def map_of(page: Page, folder: Path) -> np.ndarray:
    """The ids on the canvas, [H, W], as Save map writes them."""
    with Image.open(saved(page, "Save map", folder)) as image:
        assert image.mode == "L"
        return np.asarray(image).copy()


def give(page: Page, button: str, path: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button, exact=True).click()
    chooser.value.set_files(path)


def place(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where in the window a pixel of the map is, while all of the map is shown."""
    box = page.get_by_test_id("map").bounding_box()
    assert box is not None
    scale = min(box["width"] / SIZE[1], box["height"] / SIZE[0])
    left = box["x"] + (box["width"] - scale * SIZE[1]) / 2
    top = box["y"] + (box["height"] - scale * SIZE[0]) / 2
    return left + (x + 0.5) * scale, top + (y + 0.5) * scale


def drag(page: Page, *points: tuple[float, float]) -> None:
    page.mouse.move(*place(page, *points[0]))
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*place(page, *point), steps=6)
    page.mouse.up()


def click(page: Page, x: float, y: float) -> None:
    page.mouse.click(*place(page, x, y))


def tool(page: Page, name: str) -> None:
    button = page.get_by_role("button", name=name, exact=True)
    button.click()
    assert button.get_attribute("aria-pressed") == "true"


def choose(page: Page, label: str) -> None:
    option = page.get_by_role("option", name=label, exact=True)
    option.click()
    assert option.get_attribute("aria-selected") == "true"


def test_the_first_picture_needs_no_action(page: Page, shot: Callable[..., None]) -> None:
    opened(page)
    assert picture(page).std() > 20  # a street, not one grey
    assert "Painted in" in page.get_by_test_id("picture-status").inner_text()
    page.wait_for_selector(".thumbs .thumb:nth-child(4) .thumb-picture.there")
    shot(page, "paint")


def test_each_tool_paints_what_its_name_says(page: Page, tmp_path: Path, shot: Callable[..., None]) -> None:
    opened(page)
    before = map_of(page, tmp_path)
    shown = settled(page)

    def edited() -> tuple[np.ndarray, np.ndarray]:
        """The map, and where it differs from before the last tool; the picture has followed."""
        nonlocal before, shown
        now, then = map_of(page, tmp_path), before
        before, shown = now, another(page, shown)
        return now, now != then

    choose(page, "Tree")
    tool(page, "Brush")
    drag(page, (100, 30), (160, 30))
    now, changed = edited()
    assert (now[changed] == TREE).all()
    assert changed[26:34, 100:160].all()
    assert not changed[60:].any()

    choose(page, "Car")
    tool(page, "Line")
    drag(page, (20, 170), (220, 170))
    now, changed = edited()
    assert (now[changed] == CAR).all()
    assert changed[170, 20:220].all()
    assert not changed[:150].any()

    tool(page, "Rectangle")
    drag(page, (110, 40), (140, 60))
    now, _ = edited()
    assert (now[40:60, 110:140] == CAR).all()

    choose(page, "Sky")
    tool(page, "Ellipse")
    drag(page, (20, 40), (80, 120))
    now, changed = edited()
    assert (now[70:90, 40:60] == SKY).all()
    assert not changed[42, 22]
    assert changed[80, 22]

    choose(page, "Tree")
    tool(page, "Polygon")
    for corner in ((180, 40), (230, 40), (205, 90)):
        click(page, *corner)
    page.keyboard.press("Enter")
    now, changed = edited()
    assert (now[45:60, 200:210] == TREE).all()
    assert not changed[85, 183]

    choose(page, "Pavement")
    tool(page, "Fill")
    click(page, 125, 50)  # the rectangle of car
    now, changed = edited()
    assert (now[42:58, 112:138] == 4).all()
    assert changed.sum() < 40 * 50
    shot(page, "paint-tools")

    tool(page, "Eraser")
    drag(page, (125, 50), (126, 50))
    now, _ = edited()
    assert now[50, 125] == UNKNOWN

    tool(page, "Eyedropper")
    click(page, 205, 60)
    assert page.get_by_role("option", name="Tree", exact=True).get_attribute("aria-selected") == "true"
    tool(page, "Hand")
    drag(page, (128, 96), (140, 90))
    page.get_by_role("button", name="Show all").click()
    assert (map_of(page, tmp_path) == before).all()

    page.get_by_role("button", name="Clear", exact=True).click()
    now, _ = edited()
    assert (now == UNKNOWN).all()


def test_tips_have_their_shapes(page: Page, tmp_path: Path) -> None:
    opened(page)
    page.get_by_role("button", name="Clear", exact=True).click()
    choose(page, "Road")
    page.get_by_role("slider", name="Size").fill("40")
    for i, (shape, share) in enumerate((("Circle", np.pi / 4), ("Square", 1), ("Diamond", 0.5))):
        page.get_by_role("button", name=f"{shape} tip").click()
        click(page, 50 + 70 * i, 90)
        painted = map_of(page, tmp_path)[:, 15 + 70 * i : 85 + 70 * i] == ROAD
        assert painted.sum() == pytest.approx(share * 40**2, rel=0.06), shape


def test_fifty_five_edits_are_taken_back_and_made_again(page: Page, tmp_path: Path) -> None:
    opened(page)
    page.get_by_role("switch", name="Follow the brush").click()  # it is about the map alone
    first = map_of(page, tmp_path)
    choose(page, "Car")
    for i in range(55):
        click(page, 10 + (i % 11) * 22, 20 + (i // 11) * 34)
    painted = map_of(page, tmp_path)
    assert (painted == CAR).sum() > (first == CAR).sum() + 3000
    page.get_by_test_id("map").focus()
    for _ in range(55):
        page.keyboard.press("Control+z")
    assert (map_of(page, tmp_path) == first).all()
    assert page.get_by_role("button", name="Undo", exact=True).is_disabled()
    page.get_by_test_id("map").focus()
    for _ in range(55):
        page.keyboard.press("Control+Shift+z")
    assert (map_of(page, tmp_path) == painted).all()
    assert page.get_by_role("button", name="Redo", exact=True).is_disabled()


def test_the_picture_changes_where_it_was_painted(page: Page) -> None:
    opened(page)
    before = picture(page)
    choose(page, "Tree")
    page.get_by_role("slider", name="Size").fill("40")
    drag(page, (60, 45), (75, 45))  # a crown of a tree on the houses at the left
    changed = np.abs(picture(page) - before).mean(axis=2)
    inside, far = changed[30:60, 45:90].mean(), changed[:, 160:].mean()
    assert inside > 10
    assert inside > 8 * far


def test_no_request_waits_behind_another_while_dragging(page: Page) -> None:
    opened(page)
    underway, most, asked = set[int](), 0, 0

    def begins(request: Request) -> None:
        nonlocal most, asked
        if request.url.endswith("/paint") and json.loads(request.post_data or "{}")["client"].startswith("paint-"):
            if json.loads(request.post_data or "{}")["client"].startswith("paint-small"):
                return
            underway.add(id(request))
            most, asked = max(most, len(underway)), asked + 1

    page.on("request", begins)
    page.on("requestfinished", lambda request: underway.discard(id(request)))
    page.on("requestfailed", lambda request: underway.discard(id(request)))
    shown = settled(page)
    choose(page, "Tree")
    page.mouse.move(*place(page, 20, 60))
    page.mouse.down()
    moves = 60
    for i in range(moves):
        page.mouse.move(*place(page, 20 + 3.5 * i, 60 + 30 * np.sin(i / 4)))
        page.wait_for_timeout(25)
    during = page.get_attribute("[data-testid=picture]", "data-picture")
    page.mouse.up()
    assert settled(page) != shown
    assert during != shown
    assert most == 1
    assert 2 <= asked < moves  # some are superseded; how many depends on how quickly the machine paints and drags


def test_follow_switched_off_waits_for_the_arrow(page: Page) -> None:
    opened(page)
    shown = settled(page)
    page.get_by_role("switch", name="Follow the brush").click()
    choose(page, "Car")
    click(page, 120, 150)
    page.wait_for_timeout(400)
    assert settled(page) == shown
    page.get_by_role("button", name="Paint now").click()
    another(page, shown)


def test_styles_change_the_picture_and_come_back(page: Page, tmp_path: Path, shot: Callable[..., None]) -> None:
    opened(page)
    map, plain = map_of(page, tmp_path), settled(page)
    page.get_by_role("button", name="Random style").click()
    other = settled(page)
    assert other != plain
    page.get_by_role("button", name="Style 24", exact=True).click()
    fifth = settled(page)
    assert fifth not in (plain, other)
    page.get_by_role("button", name="Back to the style before").click()
    assert settled(page) == other  # ids are hashes of the content: the same picture to the last bit
    page.get_by_role("button", name="Back to the style before").click()
    assert settled(page) == plain

    page.get_by_role("button", name="Set A to this style").click()
    page.get_by_role("button", name="Style 24", exact=True).click()
    page.get_by_role("button", name="Set B to this style").click()
    slider = page.get_by_role("slider", name="Between two styles")
    slider.fill("0.5")
    between = settled(page)
    assert between not in (plain, fifth)
    shot(page, "paint-styles")
    slider.fill("0")
    assert settled(page) == plain
    slider.fill("1")
    assert settled(page) == fifth

    page.get_by_role("button", name="Variations", exact=True).click()
    page.get_by_role("button", name="Variation 2", exact=True).click()
    assert settled(page) not in (plain, fifth, between)
    page.get_by_role("button", name="Earlier", exact=True).click()
    page.get_by_role("group", name="Styles to choose from").get_by_role("button").nth(1).click()
    assert (map_of(page, tmp_path) == map).all()


def test_a_style_is_taken_from_a_picture(page: Page, tmp_path: Path) -> None:
    opened(page)
    plain = settled(page)
    Image.linear_gradient("L").resize((256, 192)).convert("RGB").save(tmp_path / "dusk.png")
    give(page, "Upload style", tmp_path / "dusk.png")
    another(page, plain)
    assert page.locator(".style-name").inner_text() == "From a picture"


def test_an_input_switched_off(page: Page) -> None:
    opened(page)
    plain = settled(page)
    for name, why in (("Map", "always needed"), ("Sketch", "takes no sketch"), ("Text", "takes no text")):
        switch = page.get_by_role("switch", name=name, exact=True)
        assert switch.is_disabled()
        assert switch.is_checked() == (name == "Map")
        assert why in page.locator(f"#{switch.get_attribute('aria-describedby')}").inner_text()
    page.get_by_role("button", name="Style 22", exact=True).click()
    third = settled(page)
    assert third != plain
    style = page.get_by_role("switch", name="Style", exact=True)
    style.click()
    assert settled(page) == plain
    assert page.get_by_role("button", name="Random style").is_disabled()
    style.click()
    assert settled(page) == third


def test_a_project_comes_back_bit_equal(page: Page, tmp_path: Path) -> None:
    opened(page)
    choose(page, "Tree")
    drag(page, (30, 30), (200, 130))
    page.get_by_role("button", name="Style 23", exact=True).click()
    page.get_by_role("button", name="Picture to underlay").click()
    map, shown = map_of(page, tmp_path), settled(page)
    project = saved(page, "Save project", tmp_path)

    page.get_by_role("button", name="Clear", exact=True).click()
    page.get_by_role("button", name="Random style").click()
    page.get_by_role("button", name="Remove underlay").click()
    assert settled(page) != shown
    give(page, "Open project", project)
    page.wait_for_selector(f"[data-testid=picture][data-picture='{shown}']")
    assert (map_of(page, tmp_path) == map).all()
    assert saved(page, "Save project", tmp_path).read_bytes() == project.read_bytes()
    assert page.get_by_role("slider", name="Underlay").is_visible()
    page.keyboard.press("Control+z")  # opening can be taken back
    assert (map_of(page, tmp_path) == UNKNOWN).all()

    (tmp_path / "broken.json").write_text(project.read_text()[:-40])
    give(page, "Open project", tmp_path / "broken.json")
    page.wait_for_selector("[data-testid=picture-status].error")
    assert "project" in page.get_by_test_id("picture-status").inner_text()


def test_maps_go_out_and_in_as_ids_and_as_colours(page: Page, tmp_path: Path) -> None:
    opened(page)
    choose(page, "Car")
    drag(page, (30, 30), (200, 130))
    ids = saved(page, "Save map", tmp_path)
    colours = saved(page, "Save as colours", tmp_path)
    map = np.asarray(Image.open(ids))
    assert (CAMVID.from_colors(np.asarray(Image.open(colours).convert("RGB")), "map") == map).all()
    for path in (ids, colours):
        page.get_by_role("button", name="Clear", exact=True).click()
        assert (map_of(page, tmp_path) == UNKNOWN).all()
        give(page, "Open map", path)
        page.get_by_text(f"Opened {path.name}").wait_for()
        assert (map_of(page, tmp_path) == map).all()
    shown = saved(page, "Save picture", tmp_path)
    assert (np.asarray(Image.open(shown).convert("RGB")) == picture(page)).all()


def test_a_map_with_foreign_values_is_refused_in_the_page(page: Page, tmp_path: Path, faults: Faults) -> None:
    faults.allow(r"40\d POST .*/map$")
    opened(page)
    Image.new("L", (64, 48), 77).save(tmp_path / "foreign.png")
    give(page, "Open map", tmp_path / "foreign.png")
    page.wait_for_selector("[data-testid=picture-status].error")
    assert "77" in page.get_by_test_id("picture-status").inner_text()
    choose(page, "Tree")
    click(page, 100, 100)
    page.wait_for_selector("[data-testid=picture-status]:not(.error)")  # and it goes on


def test_work_survives_a_reload(page: Page, tmp_path: Path) -> None:
    opened(page)
    choose(page, "Tree")
    drag(page, (30, 30), (200, 130))
    page.get_by_role("button", name="Style 21", exact=True).click()
    map, shown = map_of(page, tmp_path), settled(page)
    page.wait_for_timeout(1200)  # the page keeps what is done a moment after it is done
    page.reload()
    page.wait_for_selector(f"[data-testid=picture][data-picture='{shown}']")
    assert (map_of(page, tmp_path) == map).all()


def test_drawn_streets_and_other_sizes(page: Page, tmp_path: Path) -> None:
    opened(page)
    first = map_of(page, tmp_path)
    page.get_by_role("button", name="Drawn streets").click()
    page.get_by_role("button", name="Crossing with cars").click()
    page.wait_for_selector("dialog", state="detached")
    settled(page)
    second = map_of(page, tmp_path)
    assert (second != first).mean() > 0.1
    page.get_by_test_id("canvas-size").select_option("512x384")
    assert picture(page).shape == (384, 512, 3)
    assert (map_of(page, tmp_path)[::2, ::2] == second).all()
    page.get_by_test_id("canvas-size").select_option("custom")
    page.get_by_label("Width").fill("160")
    page.get_by_label("Height").fill("96")
    page.get_by_role("button", name="Set size").click()
    assert picture(page).shape == (96, 160, 3)
    for _ in range(3):
        page.keyboard.press("Control+z")
    assert (map_of(page, tmp_path) == first).all()


def test_painting_with_the_keyboard_alone(page: Page, tmp_path: Path) -> None:
    opened(page)
    before = map_of(page, tmp_path)
    page.keyboard.press("/")
    page.keyboard.type("ca")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.dataset.testid") == "map"
    page.keyboard.press("r")
    for key in ("Shift+ArrowUp", "Shift+ArrowUp", "Space", "Shift+ArrowRight", "Shift+ArrowDown", "Space"):
        page.keyboard.press(key)
    now = map_of(page, tmp_path)
    changed = now != before
    assert (now[changed] == CAR).all()
    assert 60 < changed.sum() <= 121
    page.get_by_test_id("map").focus()
    page.keyboard.press("b")
    page.keyboard.press("]")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("Space")
    assert (map_of(page, tmp_path) != now).any()
    page.keyboard.press("Control+z")
    page.keyboard.press("Control+z")
    assert (map_of(page, tmp_path) == before).all()
    page.keyboard.press("?")
    assert page.get_by_role("dialog", name="Keyboard shortcuts").is_visible()
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Paint").focus()
    page.keyboard.press("ArrowRight")
    assert page.get_by_role("tab", name="Translate").get_attribute("aria-selected") == "true"


def test_search_narrows_the_palette(page: Page) -> None:
    opened(page)
    search = page.get_by_role("combobox", name="Search labels")
    search.fill("people")  # a group
    assert page.locator(".label:visible").all_inner_texts() == ["Pedestrian", "Bicyclist"]
    search.press("ArrowDown")
    search.press("Enter")
    assert page.get_by_role("option", name="Bicyclist").get_attribute("aria-selected") == "true"
    assert page.get_by_role("group", name="Recently used").get_by_role("button", name="Bicyclist").is_visible()
    search.fill("zebra")
    assert page.get_by_text("No label is called that.").is_visible()


def test_an_unreachable_server_is_said_in_the_page(page: Page, faults: Faults) -> None:
    opened(page)
    faults.allow("ERR_FAILED")
    page.route("**/paint", lambda route: route.abort())
    choose(page, "Car")
    click(page, 120, 150)
    page.wait_for_selector("[data-testid=picture-status].error")
    page.unroute("**/paint")
    page.get_by_role("button", name="Paint now").click()
    page.wait_for_selector("[data-testid=picture-status]:not(.error)")


def test_keeping_in_the_gallery(page: Page) -> None:
    opened(page)
    id = settled(page)
    page.get_by_role("button", name="Keep in gallery").click()
    page.get_by_text("Kept in the gallery.").wait_for()
    gallery = page.request.get("/api/v1/gallery").json()
    entries = gallery if isinstance(gallery, list) else gallery["entries"]
    assert id in [entry["picture"] for entry in entries]


def test_in_japanese(open_page: Callable[..., Page], shot: Callable[..., None]) -> None:
    page = opened(open_page(locale="ja-JP"))
    assert page.get_attribute("html", "lang") == "ja"
    assert page.get_by_role("tab", name="ペイント").is_visible()
    page.get_by_role("combobox", name="ラベルを検索").fill("車")
    page.get_by_role("option", name="車道").click()
    page.get_by_role("button", name="塗りつぶし").click()
    shown = settled(page)
    click(page, 128, 10)
    another(page, shown)
    shot(page, "paint-ja")
    page.get_by_test_id("language").click()
    page.get_by_role("tab", name="Paint").wait_for()
    assert page.get_attribute("html", "lang") == "en"


@pytest.mark.parametrize(
    "size",
    [
        pytest.param((390, 844), id="phone"),
        pytest.param((360, 640), id="small phone"),
        pytest.param((640, 400), id="200 %"),
        pytest.param((820, 1180), id="tablet"),
    ],
)
def test_narrow_windows_scroll_one_way(
    open_page: Callable[..., Page], tmp_path: Path, shot: Callable[..., None], size: tuple[int, int]
) -> None:
    viewport = {"width": size[0], "height": size[1]}
    page = opened(open_page(viewport=viewport, device_scale_factor=2, has_touch=True))
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    toolbar = page.get_by_role("toolbar", name="Tools").bounding_box()
    assert toolbar is not None
    assert toolbar["height"] < 80  # a strip, that leaves the window to the views
    before = map_of(page, tmp_path)
    choose(page, "Tree")
    page.get_by_test_id("map").scroll_into_view_if_needed()
    page.touchscreen.tap(*place(page, 128, 96))
    after = map_of(page, tmp_path)
    assert after[96, 128] == TREE
    assert 100 < (after != before).sum() < 300
    settled(page)
    shot(page, f"paint-{size[0]}", whole=True)


def test_in_the_dark(open_page: Callable[..., Page], shot: Callable[..., None]) -> None:
    page = opened(open_page(color_scheme="dark"))
    color = page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert max(map(int, color.removeprefix("rgb(").removesuffix(")").split(","))) < 40
    shot(page, "paint-dark")
