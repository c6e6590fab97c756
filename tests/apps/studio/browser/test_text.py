"""Sentences to pictures, in a browser."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import pinxit

from . import test_access as access
from .test_translate_photo import ask, body_of, picture, until

if TYPE_CHECKING:
    from playwright.sync_api import Page, Request

    from .conftest import Faults, Studio

MADE = ".text-tiles img[data-picture]"
LONG = 180.0  # seconds: with the first picture of a studio comes torch, on a machine that does other things


@pytest.fixture(scope="module")
def illustrating(new_studio: Callable[..., Studio], illustrators: Path) -> Studio:
    """A studio with models of sentences, all of random weights."""
    return new_studio(None, "--models", str(illustrators))


@pytest.fixture
def text(open_page: Callable[..., Page], illustrating: Studio) -> Page:
    page = open_page(illustrating.url)
    begin(page)
    return page


def begin(page: Page, model: str = "walls", count: int = 4) -> None:
    page.goto("/#text")
    page.get_by_test_id("text-model").select_option(model)
    page.get_by_test_id("count").select_option(str(count))


def requests(page: Page) -> list[dict[str, Any]]:
    """Of pictures, as they come."""
    asked: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.url.endswith("/illustrate"):
            asked.append(body_of(request))

    page.on("request", note)
    return asked


def ids(page: Page) -> list[str]:
    """Of all pictures, in their order, once none is of something else than what is written."""
    page.wait_for_timeout(600)  # a pause, after which they follow
    until(lambda: page.locator(".text-tiles .stale").count() == 0, "no picture of what was written before", LONG)
    return page.locator(MADE).evaluate_all("all => all.map((one) => one.dataset.picture)")


def test_pictures_follow_the_sentence(text: Page, illustrating: Studio, illustrators: Path) -> None:
    asked = requests(text)
    text.get_by_text("Write a sentence, and its pictures appear here.").wait_for()
    text.get_by_test_id("sentence").press_sequentially("a red wall", delay=20)
    first = ids(text)
    assert [(body["text"], body["seed"]) for body in asked][-4:] == [("a red wall", seed) for seed in range(4)]
    assert len(asked) < 8  # not one for each letter
    own = pinxit.load(illustrators / "walls").sample("a red wall", seed=2)[0]
    assert np.array_equal(picture(illustrating, first[2]), np.asarray(own))
    text.get_by_role("button", name="Stage-I", exact=True).click()
    rough = ids(text)
    assert picture(illustrating, rough[0]).shape == (64, 64, 3)
    text.get_by_role("button", name="Stage-II", exact=True).click()
    assert ids(text) == first
    text.get_by_role("button", name="Other pictures").click()
    others = ids(text)
    assert text.get_by_test_id("seed").input_value() == "4"
    assert not set(others) & set(first)
    text.get_by_role("button", name="a small blue house").click()  # of the model's card
    assert text.get_by_test_id("sentence").input_value() == "a small blue house"
    assert not set(ids(text)) & set(others)


def test_what_is_empty_asks_for_nothing(text: Page) -> None:
    asked = requests(text)
    box = text.get_by_test_id("sentence")
    box.fill("  \n ")
    box.press("Enter")
    text.wait_for_timeout(800)
    assert asked == []
    box.fill("a red wall")
    assert len(ids(text)) == 4
    box.fill("")
    text.get_by_text("Write a sentence, and its pictures appear here.").wait_for()
    assert not text.locator(MADE).first.is_visible()
    assert len(asked) == 4


def test_the_latest_sentence_wins(text: Page) -> None:
    text.get_by_test_id("count").select_option("16")
    asked = requests(text)
    box = text.get_by_test_id("sentence")
    for sentence in ("a red wall", "a green wall", "a blue wall"):
        box.fill(sentence)
        box.press("Enter")  # at once
    last = ids(text)
    assert len(set(last)) == 16
    assert len(asked) < 2 * 16 + 2
    assert [body["text"] for body in asked][-15:] == ["a blue wall"] * 15
    assert box.input_value() == "a blue wall"  # Enter writes no new line


def test_any_script_and_any_length(text: Page, illustrating: Studio) -> None:
    box = text.get_by_test_id("sentence")
    for sentence in ("赤い壁のある家", "a wall 🐶", "wall " * 400):
        box.fill("")
        box.press_sequentially(sentence) if len(sentence) < 20 else box.fill(sentence)
        assert len(set(ids(text))) == 4
        assert "error" not in (text.get_by_test_id("text-status").get_attribute("class") or "")
    # While an input method is at work nothing is asked, nor by the Enter that ends it.
    asked = requests(text)
    box.evaluate(
        """(box) => {
          box.value = "あか";
          box.dispatchEvent(new InputEvent("input", {bubbles: true, isComposing: true}));
          box.dispatchEvent(new KeyboardEvent("keydown", {key: "Enter", bubbles: true, isComposing: true}));
        }"""
    )
    text.wait_for_timeout(800)
    assert asked == []
    box.evaluate("(box) => box.dispatchEvent(new CompositionEvent('compositionend', {bubbles: true}))")
    ids(text)
    assert {body["text"] for body in asked} == {"あか"}


def test_two_sentences_and_what_lies_between(text: Page, illustrating: Studio) -> None:
    text.get_by_test_id("sentence").fill("a red wall")
    alone = ids(text)
    text.get_by_test_id("compare").click()
    other = text.get_by_test_id("other-sentence")
    assert other.input_value() == "a red wall"
    other.fill("a large blue house")
    all = ids(text)
    assert len(all) == 12
    assert all[::3] == alone
    assert not set(all[2::3]) & set(alone)
    text.get_by_test_id("at").fill("0")
    for at_start, first in zip(ids(text)[1::3], alone, strict=True):
        # Two sentences that are encoded together are rounded otherwise.
        assert np.abs(picture(illustrating, at_start) - picture(illustrating, first)).max() <= 1
    text.get_by_test_id("at").fill("0.25")
    between = ids(text)
    assert between[::3] + between[2::3] == all[::3] + all[2::3]
    text.get_by_role("button", name="Seed 1, 25 % towards the other sentence").click()
    text.get_by_text("25 % of the way from “a red wall” to “a large blue house”").wait_for()
    text.get_by_role("button", name="Keep in gallery").click()
    text.get_by_text("Kept in the gallery.").wait_for()
    entry = ask(illustrating.url, "gallery")[0]
    assert (entry["kind"], entry["picture"]) == ("illustrate", between[4])
    text.get_by_role("tab", name="Gallery").click()
    text.locator(".gallery-grid button").first.click()
    text.get_by_text("25 % towards “a large blue house”").wait_for()
    text.get_by_role("button", name="Make it again").click()
    text.get_by_text("The same, to the last bit").wait_for()
    # On the page anew, with nothing written yet.
    text.reload()
    text.locator(".gallery-grid button").first.click()
    text.get_by_role("button", name="Open in Text").click()
    text.get_by_test_id("text-chosen").wait_for()
    assert text.get_by_test_id("sentence").input_value() == "a red wall"
    until(lambda: text.get_by_test_id("text-chosen").get_attribute("data-picture") == between[4], "the kept one")


def test_a_place_is_drawn_and_typed(text: Page, illustrating: Studio) -> None:
    assert not text.get_by_test_id("boxpad").is_visible()
    begin(text, "place", 1)
    asked = requests(text)
    text.get_by_test_id("sentence").fill("a red bird")
    middle = ids(text)
    assert asked[0]["box"] == [0.15, 0.15, 0.7, 0.7]
    box = text.get_by_test_id("boxpad").bounding_box()
    assert box is not None
    text.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    text.mouse.down()
    text.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.2 * box["height"], steps=4)
    text.mouse.up()
    assert ids(text) != middle
    np.testing.assert_allclose(asked[-1]["box"], [0.1, 0.2, 0.4, 0.3], atol=0.02)
    text.get_by_test_id("box-width").fill("95")
    text.get_by_test_id("box-width").press("Tab")
    ids(text)
    np.testing.assert_allclose(asked[-1]["box"], [0.1, 0.2, 0.9, 0.3], atol=0.02)
    text.get_by_role("button", name="Middle").click()
    assert ids(text) == middle


@pytest.mark.parametrize("model", ["foreign", "precomputed"])
def test_an_encoder_that_is_not_here_is_told(text: Page, model: str, faults: Faults) -> None:
    faults.allow("400")
    begin(text, model)
    text.get_by_test_id("sentence").fill("a red wall")
    status = text.get_by_test_id("text-status")
    text.locator(".text .status.error").wait_for()
    assert "expected" in status.inner_text()
    assert "\n" not in status.inner_text()
    text.get_by_test_id("text-model").select_option("words")  # one that has all it needs
    assert len(ids(text)) == 4
    assert "error" not in (status.get_attribute("class") or "")


def test_for_everyone(open_page: Callable[..., Page], illustrating: Studio) -> None:
    access.test_everything_has_a_name(open_page(illustrating.url), "text")
    access.test_the_keyboard_reaches_everything_and_one_sees_where_it_is(open_page(illustrating.url), "text")
    for scheme in ("light", "dark"):
        page = open_page(illustrating.url, color_scheme=scheme, viewport={"width": 390, "height": 844})
        page.goto("/#text")
        begin(page)
        page.get_by_test_id("sentence").fill("a red wall")
        page.get_by_test_id("compare").click()
        page.get_by_test_id("other-sentence").fill("a blue wall")
        assert len(ids(page)) == 12
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate(access.FAINT) == []


def test_no_model_of_sentences(open_page: Callable[..., Page], studio: Studio) -> None:
    page = open_page(studio.url, locale="ja-JP")
    page.goto("/#text")
    page.get_by_text("文章から描くモデルがありません").wait_for()
