"""Translating drawings and pictures, and all that is made of one photo, in a browser."""

from __future__ import annotations

import io
import json
import re
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from playwright.sync_api import FileChooser, Locator, Page, Request, Route

    from .conftest import Faults, Studio

ID = re.compile(r"[0-9a-f]{32}")
LONG = 120_000  # ms: a training of seconds, on a machine that does other things


def ask(url: str, path: str, body: object = None, kind: str = "application/json", method: str | None = None) -> Any:
    """What the API answers: JSON, or the bytes of a file."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/api/v1/{path}", data, {"Content-Type": kind}, method=method)
    with urllib.request.urlopen(request, timeout=60) as answer:
        content = answer.read()
        return json.loads(content) if answer.headers.get_content_type() == "application/json" else content


def picture(studio: Studio, id: str | None) -> np.ndarray:
    """A picture of the studio's, RGB, 0..255."""
    with Image.open(io.BytesIO(ask(studio.url, f"pictures/{id}"))) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def body_of(request: Request) -> dict[str, Any]:
    body = request.post_data_json
    assert isinstance(body, dict)
    return body


def until(true: Callable[[], bool], what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"never: {what}"
        time.sleep(0.1)


def settled(page: Page) -> str:
    """The id of the translation, once no newer one comes."""
    view = page.get_by_test_id("translate-result")
    last, since = "", time.monotonic()
    end = since + 60
    while time.monotonic() < end:
        page.wait_for_timeout(100)
        busy = "working" in (view.get_attribute("class") or "")
        now = view.get_attribute("data-picture") or ""
        if now != last or busy:
            last, since = now, time.monotonic()
        elif ID.fullmatch(now) and time.monotonic() - since > 0.8:
            return now
    raise AssertionError("no translation came to rest")


def drag(page: Page, over: Locator, *points: tuple[float, float]) -> None:
    """Press, move and release at fractions of an element's box."""
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box is not None
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=6)
    page.mouse.up()


def choose(page: Page, button: str, file: Path) -> None:
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name=button).click()
    chooser: FileChooser = chosen.value
    chooser.set_files(file)


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn landscape of 64x48 pixels."""
    path = tmp_path_factory.mktemp("photos") / "hill.png"
    y, x = np.mgrid[:48, :64]
    sky = np.stack([110 + y, 150 + y, 225 - y], 2)
    grass = np.stack([70 + 40 * ((x * 7 + y * 13) % 5 > 2), 130 + 30 * ((x * 5 + y * 3) % 7 > 3), 50 + 0 * x], 2)
    hill = (y > 30 - 9 * np.sin(x / 13))[..., None]
    Image.fromarray(np.where(hill, grass, sky).astype(np.uint8)).save(path)
    return path


@pytest.fixture(scope="session")
def balloon(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A disk on a transparent ground."""
    path = tmp_path_factory.mktemp("parts") / "balloon.png"
    image = Image.new("RGBA", (40, 40))
    ImageDraw.Draw(image).ellipse((4, 4, 35, 35), fill=(230, 60, 40, 255))
    image.save(path)
    return path


@pytest.fixture(scope="session")
def learnt(studio: Studio, photo: Path) -> str:
    """The id of a model that was trained, a moment, on the photo."""
    sent = ask(studio.url, "pictures?as=photo", photo.read_bytes(), "image/png")
    body = {"picture": sent["id"], "preset": "tiny", "name": "small hill", "seed": 0}
    job = ask(studio.url, "jobs/train", body)
    until(lambda: ask(studio.url, f"jobs/{job['id']}")["state"] not in ("queued", "running"), "trained", 120)
    job = ask(studio.url, f"jobs/{job['id']}")
    assert job["state"] == "done", job["message"]
    return job["model"]


@pytest.fixture
def model_page(page: Page, learnt: str) -> Page:
    page.goto("/#photo")
    page.get_by_role("button", name=re.compile("small hill")).click()
    page.get_by_role("tab", name="Variations").wait_for()
    return page


@pytest.fixture
def jobs(studio: Studio) -> Iterator[list[int]]:
    """Jobs that are ended and removed after the test."""
    made: list[int] = []
    yield made
    for id in made:
        ask(studio.url, f"jobs/{id}/cancel", {})
        until(lambda id=id: ask(studio.url, f"jobs/{id}")["state"] not in ("queued", "running"), "stopped")
        ask(studio.url, f"jobs/{id}", method="DELETE")


def offer_tiny(page: Page) -> None:
    """The page offers what the server takes but does not offer, as nobody wants it but tests."""

    def answer(route: Route) -> None:
        presets = [{"name": name, "summary": "", "seconds": 9.0, "memory": 300_000_000} for name in ("tiny", "draft")]
        route.fulfill(json={"presets": presets})

    page.route("**/api/v1/presets/singan**", answer)


def result_ids(page: Page, what: str, n: int) -> list[str]:
    images = page.get_by_test_id(f"results-{what}").locator("img")
    until(lambda: images.count() == n, f"{n} results", 90)
    return [str(images.nth(i).get_attribute("data-picture")) for i in range(n)]


# --- translate --------------------------------------------------------------------------------------------------------


def test_an_outline_is_a_fruit_at_once(page: Page, studio: Studio, shot: Callable[..., None]) -> None:
    page.goto("/#translate")
    fruit = picture(studio, settled(page))
    assert np.ptp(fruit, axis=2).max() > 60  # it has colour, which the outline has not
    starters = page.get_by_role("group", name="Begin with an outline").get_by_role("button")
    assert starters.count() > 3
    shot(page, "translate")
    starters.nth(2).click()
    until(lambda: not np.array_equal(picture(studio, settled(page)), fruit), "another fruit")


def test_the_result_changes_where_something_is_drawn(page: Page, studio: Studio) -> None:
    page.goto("/#translate")
    before = picture(studio, settled(page))
    page.get_by_role("button", name="Ellipse").click()
    canvas = page.get_by_test_id("translate-canvas")
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if request.url.endswith("/translate") else None)
    drag(page, canvas, (0.05, 0.05), (0.3, 0.3))
    drawn = picture(studio, settled(page))
    change = np.abs(drawn - before).mean(axis=2)
    height, width = change.shape
    near = change[int(0.05 * height) : int(0.3 * height), int(0.05 * width) : int(0.3 * width)].mean()
    far = change[int(0.7 * height) :, int(0.7 * width) :].mean()
    assert near > 10
    assert near > 3 * far
    # A shape is an outline, as what these models know.
    outline = picture(studio, body_of(sent[-1])["picture"])[..., 0]
    assert outline[int(0.175 * outline.shape[0]), int(0.175 * outline.shape[1])] == 255
    assert outline[int(0.175 * outline.shape[0]), int(0.05 * outline.shape[1]) : int(0.1 * outline.shape[1])].min() == 0
    page.get_by_role("button", name="Undo").click()
    assert np.array_equal(picture(studio, settled(page)), before)
    page.get_by_role("button", name="Redo").click()
    assert np.array_equal(picture(studio, settled(page)), drawn)


def test_an_uploaded_picture_is_compared_by_keyboard(
    page: Page, studio: Studio, photo: Path, shot: Callable[..., None]
) -> None:
    page.goto("/#translate")
    drawn = settled(page)
    page.get_by_role("button", name="Picture", exact=True).click()
    choose(page, "Choose a picture…", photo)
    until(lambda: (settled(page)) != drawn, "the picture's translation")
    assert picture(studio, settled(page)).shape[:2] == (48, 64)
    slider = page.get_by_role("slider", name="Compare before and after")
    assert not slider.is_visible()
    page.get_by_role("switch", name="Compare").check()
    half = page.locator(".compare-half")
    box = half.bounding_box()
    assert box is not None

    def hidden() -> str:
        return str(half.evaluate("half => getComputedStyle(half).clipPath"))

    assert "50%" in hidden()
    slider.focus()
    page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") == "51 % before, the rest after"
    assert "49%" in hidden()
    shot(page, "translate-compare")
    page.keyboard.press("End")
    assert hidden() in ("inset(0px)", "inset(0px 0% 0px 0px)", "inset(0px 0px 0px 0px)")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save picture").click()
    assert download.value.suggested_filename == "hill-fruits.png"
    with Image.open(download.value.path()) as saved:
        assert saved.size == (64, 48)


def test_a_translation_is_kept(page: Page, studio: Studio) -> None:
    page.goto("/#translate")
    made = settled(page)
    page.get_by_role("button", name="Keep in gallery").click()
    page.get_by_text("Kept in the gallery.").wait_for()
    entries = ask(studio.url, "gallery")
    entries = entries["entries"] if isinstance(entries, dict) else entries
    entry = next(entry for entry in entries if entry["picture"] == made)
    ask(studio.url, f"gallery/{entry['id']}", method="DELETE")
    assert entry["model"] == "fruits"


def test_what_is_no_picture_is_told(page: Page, tmp_path: Path) -> None:
    page.goto("/#translate")
    settled(page)
    file = tmp_path / "note.png"
    file.write_text("no picture")
    page.get_by_role("button", name="Picture", exact=True).click()
    choose(page, "Choose a picture…", file)
    page.get_by_text("This file is no picture that the browser can show.").wait_for()


# --- one photo --------------------------------------------------------------------------------------------------------


def start(page: Page, photo: Path, preset: str, name: str) -> int:
    """Fill in the form and start; the job's id."""
    page.goto("/#photo")
    page.get_by_role("button", name="New photo").click()
    choose(page, "Choose a photo…", photo)
    page.get_by_role("radio", name=re.compile(preset)).check()
    page.get_by_role("textbox", name=re.compile("Name")).fill(name)
    with page.expect_response("**/api/v1/jobs/train") as answer:
        page.get_by_role("button", name="Start learning").click()
    return int(answer.value.json()["id"])


def test_a_photo_is_learnt_and_animated(page: Page, studio: Studio, photo: Path, shot: Callable[..., None]) -> None:
    offer_tiny(page)
    start(page, photo, "Trial", "quick hill")
    # Once it is learnt, the page shows by itself what can be made of it.
    page.get_by_role("tab", name="Animate").wait_for(timeout=LONG)
    assert page.locator("h2", has_text="quick hill").is_visible()
    animation(page, studio, shot)


def animation(page: Page, studio: Studio, shot: Callable[..., None]) -> None:
    page.get_by_role("tab", name="Animate").click()
    page.get_by_role("spinbutton", name="Frames", exact=True).fill("6")
    page.get_by_role("button", name="Animate").click()
    canvas = page.get_by_role("img", name="Animation")
    canvas.wait_for(timeout=LONG)
    seen: set[str | None] = set()
    until(lambda: seen.add(canvas.get_attribute("data-frame")) or len(seen) == 6, "all frames are played")
    shot(page, "photo-animation")
    page.get_by_role("button", name="Pause").click()
    scrub = page.get_by_role("slider", name="Frame", exact=True)
    scrub.focus()
    page.keyboard.press("Home")
    pixels = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
    first = canvas.evaluate(pixels)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert canvas.get_attribute("data-frame") == "2"
    assert scrub.get_attribute("aria-valuetext") == "Frame 3 of 6"
    assert canvas.evaluate(pixels) != first
    with page.expect_download() as download:
        page.get_by_role("link", name="Download GIF").click()
    with Image.open(download.value.path()) as gif:
        assert (gif.format, gif.size) == ("GIF", (canvas.evaluate("c => c.width"), canvas.evaluate("c => c.height")))
    # A reload loses nothing: the animation is there again.
    page.reload()
    page.get_by_role("tab", name="Animate").click()
    page.get_by_role("img", name="Animation").wait_for()
    page.get_by_role("button", name="Remove").click()
    page.get_by_role("img", name="Animation").wait_for(state="hidden")
    assert [job for job in ask(studio.url, "jobs") if job["kind"] == "animate"] == []


@pytest.mark.slow
def test_a_draft_is_learnt_and_animated(page: Page, studio: Studio, photo: Path, shot: Callable[..., None]) -> None:
    start(page, photo, "Draft", "draft hill")
    preview = page.get_by_role("img", name="What it paints so far")
    preview.wait_for(timeout=LONG)
    shot(page, "photo-learning")
    first = preview.get_attribute("src")
    until(lambda: preview.get_attribute("src") != first or not preview.is_visible(), "a newer preview", 300)
    page.get_by_role("tab", name="Animate").wait_for(timeout=600_000)
    animation(page, studio, shot)


def test_a_job_outlives_a_reload_is_cancelled_and_resumed(
    page: Page, studio: Studio, photo: Path, jobs: list[int]
) -> None:
    jobs.append(start(page, photo, "Draft", "long hill"))
    job = page.get_by_test_id("job")
    page.get_by_text(re.compile(r"Scale 1 of \d")).first.wait_for(timeout=LONG)
    bar = job.get_by_role("progressbar")

    def progress() -> float:
        return float(bar.evaluate("bar => bar.value"))

    before = progress()
    page.reload()
    job.wait_for()
    assert job.get_attribute("data-job") == str(jobs[0])
    assert job.get_attribute("data-state") == "running"
    until(lambda: progress() > before, "it goes on", 90)
    job.get_by_role("button", name="Cancel").click()
    page.locator("[data-testid=job][data-state=cancelled]").wait_for()
    until(lambda: ask(studio.url, f"jobs/{jobs[0]}")["state"] == "cancelled", "cancelled")
    stopped = progress()
    job.get_by_role("button", name="Resume").click()
    page.locator("[data-testid=job][data-state=running]").wait_for(timeout=LONG)
    until(lambda: progress() > stopped, "it goes on from there", 120)
    job.get_by_role("button", name="Cancel").click()
    job.get_by_role("button", name="Remove").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    page.get_by_role("heading", name="New photo").wait_for()
    jobs.clear()
    assert not any(each["name"] == "long hill" for each in ask(studio.url, "jobs"))


def test_a_job_outlives_the_server(
    open_page: Callable[..., Page], new_studio: Callable[..., Studio], photo: Path
) -> None:
    first = new_studio()
    page = open_page(first.url)
    id = start(page, photo, "Draft", "patient hill")
    page.get_by_text(re.compile(r"Scale 1 of \d")).first.wait_for(timeout=LONG)
    page.goto("about:blank")
    first.stop()
    second = new_studio(first.home)
    page = open_page(second.url)
    page.goto("/#photo")
    job = page.locator(f"[data-testid=job][data-job='{id}']")  # shown without being looked for
    job.wait_for()
    page.locator("[data-testid=job][data-state=running]").wait_for(timeout=LONG)
    job.get_by_role("button", name="Cancel").click()
    page.locator("[data-testid=job][data-state=cancelled]").wait_for()
    page.goto("about:blank")
    second.stop()


def test_a_failure_is_told(page: Page, faults: Faults, tmp_path: Path) -> None:
    small = tmp_path / "dot.png"
    Image.new("RGB", (4, 4), "red").save(small)
    faults.allow("presets/singan|jobs/train")
    page.route("**/api/v1/presets/singan**", lambda route: route.abort())
    page.route("**/api/v1/jobs/train", lambda route: route.fulfill(
        status=400, json={"error": {"code": "refused", "message": "the photo is too small, say"}}))  # fmt: skip
    page.goto("/#photo")
    page.get_by_role("button", name="New photo").click()
    choose(page, "Choose a photo…", small)
    page.get_by_text("The studio does not answer. Is").wait_for()
    page.get_by_role("button", name="Start learning").click()
    page.get_by_text("the photo is too small, say").wait_for()


def test_a_failed_job_says_why_and_can_be_resumed(page: Page) -> None:
    job = {"id": 7, "kind": "train", "state": "failed", "name": "lost hill", "model": None, "progress": 0.4,
           "stage": "scale 3 of 7", "seconds_left": None,
           "message": "killed by SIGKILL", "created": "2026-01-01T00:00:00",
           "preset": "draft", "preview": 0}  # fmt: skip
    asked: list[str] = []

    def resume(route: Route) -> None:
        asked.append(route.request.url)
        job["state"] = "queued"
        route.fulfill(json=job)

    page.route("**/api/v1/jobs", lambda route: route.fulfill(json=[job]))
    page.route("**/api/v1/jobs/7/resume", resume)
    page.goto("/#photo")
    page.get_by_role("button", name=re.compile("lost hill")).click()
    page.get_by_role("alert").filter(has_text="killed by SIGKILL").wait_for()
    page.get_by_role("button", name="Resume").click()
    page.locator("[data-testid=job][data-state=queued]").wait_for()
    assert len(asked) == 1


def test_variations_come_one_by_one_with_their_seeds(
    model_page: Page, studio: Studio, shot: Callable[..., None]
) -> None:
    page = model_page
    page.get_by_role("spinbutton", name="How many").fill("3")
    page.get_by_role("spinbutton", name="Seed").fill("5")
    page.get_by_role("button", name="Make", exact=True).click()
    ids = result_ids(page, "samples", 3)
    assert len(set(ids)) == 3
    assert page.locator("figcaption").all_inner_texts() == ["Seed 5", "Seed 6", "Seed 7"]
    shot(page, "photo-samples")
    with page.expect_download() as download:
        page.get_by_role("button", name="Save picture: Seed 6").click()
    with Image.open(download.value.path()) as saved:
        assert np.array_equal(np.asarray(saved.convert("RGB")), picture(studio, ids[1]))


def test_sizes_and_enlarged(model_page: Page, studio: Studio) -> None:
    page = model_page
    page.get_by_role("tab", name="Sizes").click()
    height = int(page.get_by_role("spinbutton", name="Height").input_value())
    page.get_by_role("button", name="Wide").click()
    width = int(page.get_by_role("spinbutton", name="Width").input_value())
    for id in result_ids(page, "sizes", 2):
        assert picture(studio, id).shape == (height, width, 3)
    page.get_by_role("tab", name="Enlarge").click()
    page.get_by_role("button", name="Make", exact=True).click()
    (id,) = result_ids(page, "enlarged", 1)
    assert picture(studio, id).shape == (2 * height, width, 3)  # `width` was twice the photo's


def test_a_pasted_part_is_harmonised_in_a_brushed_mask(
    model_page: Page, studio: Studio, balloon: Path, shot: Callable[..., None]
) -> None:
    page = model_page
    page.get_by_role("tab", name="Harmonise").click()
    choose(page, "Add a picture…", balloon)
    stage = page.get_by_test_id("layers-stage")
    drag(page, stage, (0.5, 0.5), (0.75, 0.3))
    shot(page, "photo-paste")
    page.get_by_role("button", name="Mask brush").click()
    page.get_by_role("slider", name="Brush size").fill("4")
    drag(page, page.get_by_test_id("layers-mask"), (0.1, 0.85), (0.3, 0.85))
    with page.expect_request("**/harmonize") as sent:
        page.get_by_role("button", name="Harmonise", exact=True).click()
    body = body_of(sent.value)
    mask, pasted = picture(studio, body["mask"])[..., 0], picture(studio, body["picture"])
    assert set(np.unique(mask)) == {0, 255}
    height, width = mask.shape
    at = lambda x, y: (int(y * height), int(x * width))  # noqa: E731
    assert mask[at(0.75, 0.3)] == 255  # the part's
    assert mask[at(0.2, 0.85)] == 255  # brushed
    assert mask[at(0.2, 0.3)] == 0
    assert mask[at(0.75, 0.85)] == 0
    red, green, blue = pasted[at(0.75, 0.3)]
    assert red > 150 > max(green, blue)  # it is where it was dragged to
    scales = int(ask(studio.url, "models/" + sent.value.url.split("/")[-2])["scales"].__len__())
    ids = result_ids(page, "harmonized", max(1, scales - 2))
    assert picture(studio, ids[0]).shape == (height, width, 3)
    shot(page, "photo-harmonise")
    # By keyboard, and the mask follows; what was brushed stays.
    page.get_by_role("button", name="Move parts").click()
    stage.focus()
    for _ in range(2):
        page.keyboard.press("Shift+ArrowLeft")
    with page.expect_request("**/harmonize") as sent:
        page.get_by_role("button", name="Harmonise", exact=True).click()
    moved = picture(studio, body_of(sent.value)["mask"])[..., 0]
    assert moved[at(0.2, 0.85)] == 255
    assert moved[at(0.85, 0.3)] == 0 < mask[at(0.85, 0.3)]
    result_ids(page, "harmonized", max(1, scales - 2))


def test_a_copied_piece_is_edited_in(model_page: Page, studio: Studio) -> None:
    page = model_page
    page.get_by_role("tab", name="Edit").click()
    stage = page.get_by_test_id("layers-stage")
    stage.wait_for()
    drag(page, stage, (0.1, 0.6), (0.4, 0.9))  # a rectangle, which is the tool to begin with
    page.get_by_role("button", name="Remove part").wait_for()
    drag(page, stage, (0.35, 0.75), (0.7, 0.25))
    with page.expect_request("**/edit") as sent:
        page.get_by_role("button", name="Blend in").click()
    mask = picture(studio, body_of(sent.value)["mask"])[..., 0]
    share = (mask == 255).mean()
    assert 0.03 < share < 0.2  # 0.3 x 0.3 of it, and nothing else
    rows, columns = np.nonzero(mask)
    assert rows.mean() / mask.shape[0] < 0.45 < columns.mean() / mask.shape[1]


def test_a_painting_becomes_a_picture(model_page: Page, studio: Studio, shot: Callable[..., None]) -> None:
    page = model_page
    page.get_by_role("tablist", name="What to make").get_by_role("tab", name="Paint").click()
    canvas = page.get_by_test_id("paint-canvas")
    canvas.wait_for()
    page.get_by_role("button", name="Rectangle").click()
    page.get_by_role("button", name="Red", exact=True).click()
    drag(page, canvas, (0.2, 0.55), (0.8, 0.9))
    # From the photo itself, over which is painted.
    page.get_by_role("button", name="Eyedropper").click()
    drag(page, canvas, (0.5, 0.1), (0.5, 0.1))
    page.get_by_role("button", name="Rectangle").click()
    drag(page, canvas, (0.05, 0.6), (0.15, 0.9))
    with page.expect_request("**/paint-to-image") as sent:
        page.get_by_role("button", name="Make a picture").click()
    painted = picture(studio, body_of(sent.value)["picture"])
    height, width = painted.shape[:2]
    assert tuple(painted[int(0.7 * height), int(0.5 * width)]) == (200, 40, 40)
    picked, source = painted[int(0.75 * height), int(0.1 * width)], painted[int(0.1 * height), int(0.5 * width)]
    assert np.abs(picked - source).max() <= 2
    assert not np.array_equal(source, [255, 255, 255])  # the photo is under it
    result_ids(page, "painted", 1)
    shot(page, "photo-paint")


@pytest.mark.parametrize("hash", ["translate", "photo"])
def test_nothing_is_wider_than_a_phone(open_page: Callable[..., Page], learnt: str, hash: str) -> None:
    page = open_page(viewport={"width": 360, "height": 740}, has_touch=True, locale="ja-JP")
    page.goto(f"/#{hash}")
    page.locator(".translate-body, .applications").first.wait_for()
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
