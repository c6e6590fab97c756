"""A ranking study from its start to its report: made, answered by keyboard and by touch, told."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image, ImageDraw

from .conftest import Faults, Studio

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytest.importorskip("fastapi")

METHODS = {"alder": 60, "birch": 8, "cedar": 25}
"""Name -> noise: of these, birch is the best and alder the worst."""
BEST_FIRST = ["birch", "cedar", "alder"]
ITEMS = 4
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}


class Ranking(Studio):
    """`pinxit rank serve` in a process, as `Studio` is `pinxit studio`."""

    def __init__(self, study: Path) -> None:
        self.home, self.log = study, study.parent / f"{study.name}.log"
        command = [sys.executable, "-m", "pinxit", "rank", "serve", str(study), "--port", "0", "--no-open"]
        with self.log.open("wb") as log:
            environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        self.url = self._address()


def pinxit(*arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pinxit", *map(str, arguments)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def house(i: int, size: tuple[int, int] = (160, 120)) -> tuple[Image.Image, Image.Image]:
    """A drawn map, and the clean picture of it."""
    map, photo = Image.new("RGB", size, (70, 130, 180)), Image.new("RGB", size, (150, 190, 230))
    for picture, roof, wall in ((map, (220, 20, 60), (70, 70, 70)), (photo, (150, 60, 50), (220, 205, 180))):
        draw = ImageDraw.Draw(picture)
        left = 20 + 15 * i
        draw.rectangle((0, 90, *size), (107, 142, 35))
        draw.rectangle((left, 50, left + 60, 100), wall)
        draw.polygon([(left - 8, 50), (left + 30, 15 + 4 * i), (left + 68, 50)], roof)
    return map, photo


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """maps/ and a folder of pictures for each method."""
    home = tmp_path_factory.mktemp("drawn")
    random = np.random.default_rng(0)
    for folder in ("maps", *METHODS):
        (home / folder).mkdir()
    for i in range(ITEMS):
        map, photo = house(i)
        map.save(home / "maps" / f"{i:04d}.png")
        for name, noise in METHODS.items():
            noisy = np.asarray(photo) + random.normal(0, noise, (120, 160, 3))
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(home / name / f"{i:04d}.png")
    return home


@pytest.fixture
def studio() -> None:
    """None: the pages here are a study's, and `open_page` is given its address."""


@pytest.fixture
def serve() -> Iterator[Callable[[Path], Ranking]]:
    started: list[Ranking] = []

    def start(study: Path) -> Ranking:
        started.append(Ranking(study))
        return started[-1]

    yield start
    for ranking in started:
        ranking.stop()


def roughness(image: Locator) -> float:
    """How noisy a picture of the page is: what a person sees at once."""
    source = image.evaluate("image => image.src")
    answer = image.page.request.get(source)
    assert answer.ok
    with Image.open(io.BytesIO(answer.body())) as picture:
        return float(np.abs(np.diff(np.asarray(picture, np.float64), axis=1)).mean())


def wait_for(page: Page, number: int) -> None:
    page.locator(f"[data-testid=question][data-ready='{number}']").wait_for()


def best_first(page: Page) -> list[int]:
    """The pictures on the page from 1, the smoothest first."""
    images = page.locator(".rank-choice img")
    rough = [roughness(images.nth(i)) for i in range(images.count())]
    return [i + 1 for i in np.argsort(rough)]


def names_are_not_on(page: Page) -> None:
    html = page.content()
    assert not [name for name in METHODS if name in html]


def test_a_study_of_pairs_from_start_to_report(
    drawn: Path,
    tmp_path: Path,
    serve: Callable[[Path], Ranking],
    open_page: Callable[..., Page],
    shot: Callable[..., None],
) -> None:
    study = tmp_path / "study"
    models = [drawn / name for name in METHODS]
    pinxit(
        "rank", "new", "--models", *models, "--inputs", drawn / "maps", "--out", study, "--checks", 2, "--repeats", 1
    )
    questions = 3 * ITEMS + 2 + 1
    url = serve(study).url

    # By keyboard, on a computer.
    page = open_page(url)
    page.goto("/")
    page.get_by_test_id("begin").wait_for()
    shot(page, "rank-start")
    page.keyboard.press("Tab")
    page.get_by_test_id("begin").focus()
    page.keyboard.press("Enter")
    for number in range(1, questions + 1):
        wait_for(page, number)
        assert page.get_by_test_id("progress").inner_text() == f"Question {number} of {questions}"
        if number == 1:
            shot(page, "rank-pairs")
        names_are_not_on(page)
        best = best_first(page)[0]
        match number % 3:
            case 0:
                page.keyboard.press(str(best))
            case 1:
                page.keyboard.press(["ArrowLeft", "ArrowRight"][best - 1])
                page.keyboard.press("Enter")
            case _:
                page.keyboard.press(str(3 - best))  # a slip, taken back
                page.locator(f"[data-ready='{number + 1}'], [data-testid=thanks]").first.wait_for()
                page.keyboard.press("Backspace")
                wait_for(page, number)
                assert page.get_by_test_id(f"choice-{3 - best}").get_attribute("aria-pressed") == "true"
                page.keyboard.press(str(best))
        if number == 5:  # a reload goes on where it was
            wait_for(page, 6)
            page.reload()
    page.get_by_test_id("thanks").wait_for()
    shot(page, "rank-thanks")
    page.reload()
    page.get_by_test_id("thanks").wait_for()

    # By touch, on a phone.
    page = open_page(url, **PHONE)
    page.goto("/")
    shot(page, "rank-phone-start")
    page.get_by_test_id("begin").tap()
    for number in range(1, questions + 1):
        wait_for(page, number)
        if number == 1:
            shot(page, "rank-phone-pairs")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.get_by_test_id(f"choice-{best_first(page)[0]}").tap()
    page.get_by_test_id("thanks").wait_for()

    # One who prefers noise, and so the broken copies.
    page = open_page(url)
    page.goto("/")
    page.get_by_test_id("begin").click()
    for number in range(1, questions + 1):
        wait_for(page, number)
        page.get_by_test_id(f"choice-{best_first(page)[-1]}").click()
    page.get_by_test_id("thanks").wait_for()

    told = pinxit("rank", "report", study, "--out", tmp_path / "report", "--bootstrap", 200)
    report = json.loads((tmp_path / "report" / "ranking.json").read_text(encoding="utf-8"))
    assert [row["method"] for row in report["kept"]["standings"]] == BEST_FIRST
    assert [row["mean_rank"] for row in report["kept"]["standings"]] == [1, 2, 3]
    assert report["kept"]["raters"] == 2
    assert report["kept"]["agreement"]["kappa"] == 1
    assert [row["left_out"] for row in report["raters"]] == [False, False, True]
    assert [row["failed"] for row in report["raters"]] == [0, 0, 2]
    assert [row["repeats_agreed"] for row in report["raters"]] == [1, 1, 1]
    assert all(0 < row["median_seconds"] < 60 for row in report["raters"])
    assert report["everyone"]["raters"] == 3
    assert "birch never loses" in told


def test_a_study_of_rankings_by_keyboard_and_by_touch(
    drawn: Path,
    tmp_path: Path,
    serve: Callable[[Path], Ranking],
    open_page: Callable[..., Page],
    shot: Callable[..., None],
) -> None:
    study, captions = tmp_path / "study", tmp_path / "captions.txt"
    captions.write_text("".join(f"a house with a red roof, number {i}\n" for i in range(ITEMS)), encoding="utf-8")
    models = [drawn / name for name in METHODS]
    pinxit(
        *("rank", "new", "--models", *models, "--inputs", captions, "--out", study, "--design", "ranking"),
        *("--checks", 1, "--items", 3),
    )
    url = serve(study).url
    for locale, options in (("en-US", {"color_scheme": "dark"}), ("ja-JP", PHONE)):
        page = open_page(url, locale=locale, **options)
        page.goto("/")
        page.get_by_test_id("begin").wait_for()
        shot(page, f"rank-{locale}-start")
        page.get_by_test_id("begin").click()
        for number in range(1, 5):
            wait_for(page, number)
            assert "a house with a red roof" in page.locator("blockquote").inner_text()
            order = best_first(page)
            following = page.get_by_test_id("next")
            assert following.is_disabled()
            if options is PHONE:
                for choice in order[:-1]:
                    page.get_by_test_id(f"choice-{choice}").tap()
                shot(page, f"rank-{locale}-{number}")
                following.tap()
                continue
            page.keyboard.press(str(order[-1]))
            page.keyboard.press("Backspace")
            assert page.locator(".rank-choice[aria-pressed=true]").count() == 0
            page.keyboard.press(str(order[0]))
            if len(order) == 3:
                page.keyboard.press(str(order[1]))
            shot(page, f"rank-{locale}-{number}")
            page.keyboard.press("Enter")  # the focus has gone to Next
        page.get_by_test_id("thanks").wait_for()
    pinxit("rank", "report", study, "--out", tmp_path / "report", "--bootstrap", 200)
    report = json.loads((tmp_path / "report" / "ranking.json").read_text(encoding="utf-8"))
    assert [row["method"] for row in report["kept"]["standings"]] == BEST_FIRST
    assert report["kept"]["raters"] == 2
    assert report["kept"]["agreement"]["kendalls_w"] == 1


def test_pictures_are_covered_in_time_and_an_answer_is_not_lost_with_the_server(
    drawn: Path, tmp_path: Path, serve: Callable[[Path], Ranking], open_page: Callable[..., Page], faults: Faults
) -> None:
    study = tmp_path / "study"
    models = [drawn / name for name in METHODS]
    pinxit("rank", "new", "--models", *models, "--out", study, "--seconds", 0.4, "--items", 1)
    ranking = serve(study)
    page = open_page(ranking.url)
    page.goto("/")
    page.get_by_test_id("begin").click()
    wait_for(page, 1)
    page.locator(".covered").wait_for()
    assert page.get_by_test_id("choice-1").locator("img").is_hidden()
    assert page.get_by_test_id("undo").count() == 0
    faults.allow("ERR_CONNECTION_REFUSED")
    ranking.kill()
    page.get_by_test_id("choice-1").click()
    page.get_by_test_id("retry").wait_for()
    assert "does not answer" in page.get_by_test_id("status").inner_text()
    port = ranking.url.rpartition(":")[2]
    command = [sys.executable, "-m", "pinxit", "rank", "serve", str(study), "--port", port, "--no-open"]
    with (tmp_path / "again.log").open("wb") as log:
        ranking.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    ranking.log = tmp_path / "again.log"
    ranking._address()
    page.get_by_test_id("retry").click()
    wait_for(page, 2)
    assert len((study / "answers.jsonl").read_text(encoding="utf-8").splitlines()) == 1


def test_everything_has_a_name_and_the_keyboard_goes_round(
    drawn: Path, tmp_path: Path, serve: Callable[[Path], Ranking], open_page: Callable[..., Page]
) -> None:
    study = tmp_path / "study"
    models = [drawn / name for name in METHODS]
    pinxit("rank", "new", "--models", *models, "--inputs", drawn / "maps", "--out", study, "--design", "ranking")
    page = open_page(serve(study).url)
    page.goto("/")
    page.get_by_test_id("begin").click()
    wait_for(page, 1)
    tree = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    nodes = [node for node in tree["nodes"] if not node.get("ignored")]
    named = [(node["role"]["value"], node.get("name", {}).get("value", "").strip()) for node in nodes]
    nameless = [role for role, name in named if role in ("button", "image", "img", "progressbar", "group") and not name]
    assert not nameless
    assert {"Picture 1", "Picture 2", "Picture 3"} <= {name for role, name in named if role == "button"}
    assert page.evaluate("document.activeElement.id") == "asked"  # what is read out first
    reached = []
    for _ in range(8):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.dataset.testid ?? ''"))
        ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert ring != "none" or reached[-1] == ""
    assert {"choice-1", "choice-2", "choice-3", "undo"} <= set(reached)
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    assert page.locator(".rank-choice[aria-pressed=true]").count() == 1
    assert "place 1" in page.get_by_test_id("status").inner_text()
