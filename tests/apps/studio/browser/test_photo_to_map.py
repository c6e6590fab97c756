"""Photo to map on the paint page: the button where a segmenter fits, the reason where none does, the map, and undo."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image

from pinxit.data.labels import LabelSet, load_label_set, numbered
from pinxit.modelfile import ModelFile
from pinxit.models.deeplabv3.config import PRESETS
from pinxit.models.deeplabv3.network import DeepLabV3

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from .conftest import Studio

CAMVID = load_label_set("camvid")
CARD = {"name": "Streets seen", "what": "Finds CamVid's labels in photos.", "licence": "CC BY-NC 4.0", "data": "CamVid"}


def deeplab(folder: Path, labels: LabelSet, card: dict[str, str]) -> None:
    """A tiny DeepLabV3 with random weights."""
    network = dataclasses.replace(PRESETS["tiny"].network, labels=len(labels.labels))
    torch.manual_seed(0)
    tensors = {f"S.{name}": value for name, value in DeepLabV3(network).state_dict().items()}
    tensors["S.classifier.4.weight"] *= 100  # so that its maps are of more than one label
    ModelFile("deeplabv3", dataclasses.asdict(network), tensors, labels.to_json(), card).save(folder)


@pytest.fixture(scope="module")
def segmenting(new_studio: Callable[..., Studio], tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A studio with a segmenter of the embedded model's labels."""
    models = tmp_path_factory.mktemp("models")
    deeplab(models / "seer", CAMVID, CARD)
    return new_studio(None, "--models", str(models))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    """A photo of another shape than the canvas."""
    y, x = np.mgrid[:300, :500]
    colors = np.stack([x / 2, y / 1.2, 128 + 100 * np.sin(x / 30) * np.cos(y / 20)], -1)
    Image.fromarray(colors.astype(np.uint8)).save(tmp_path / "street.png")
    return tmp_path / "street.png"


def opened(page: Page) -> None:
    page.goto("/#paint")
    page.wait_for_selector("[data-testid=picture][data-picture]")
    settled(page)


def settled(page: Page) -> str:
    page.wait_for_timeout(60)  # longer than the page waits after an edit before it asks for its picture
    page.wait_for_selector(".picture-box:not([aria-busy=true])")
    return str(page.get_attribute("[data-testid=picture]", "data-picture"))


def ids(page: Page, folder: Path) -> np.ndarray:
    """What is on the canvas."""
    with page.expect_download() as download:
        page.get_by_role("button", name="Save map", exact=True).click()
    download.value.save_as(folder / "map.png")
    with Image.open(folder / "map.png") as image:
        return np.asarray(image).copy()


def give(page: Page, button: str, photo: Path) -> None:
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name=button, exact=True).click()
    chooser.value.set_files(photo)


def test_a_photo_becomes_the_map_in_one_step_of_undo(
    segmenting: Studio, open_page: Callable[..., Page], photo: Path, tmp_path: Path, shot: Callable[..., None]
) -> None:
    page = open_page(segmenting.url)
    opened(page)
    assert page.get_by_test_id("segment-why").is_hidden()
    before, first = ids(page, tmp_path), settled(page)
    with page.expect_response("**/photo-to-map") as answered:
        give(page, "Photo to map", photo)
    page.wait_for_selector(f"[data-testid=picture]:not([data-picture='{first}'])")
    settled(page)
    after = ids(page, tmp_path)
    assert after.shape == before.shape == (192, 256)
    assert (after != before).any()
    assert len(np.unique(after)) > 1
    made = page.request.get(f"/api/v1/pictures/{answered.value.header_value('x-pinxit-picture')}")
    np.testing.assert_array_equal(after, np.asarray(Image.open(io.BytesIO(made.body()))))
    page.get_by_text("Map made from street.png").wait_for()
    shot(page, "photo-to-map")
    page.get_by_role("button", name="Undo", exact=True).click()
    settled(page)
    np.testing.assert_array_equal(ids(page, tmp_path), before)
    page.get_by_role("button", name="Redo", exact=True).click()
    settled(page)
    np.testing.assert_array_equal(ids(page, tmp_path), after)


def test_the_map_has_the_size_of_the_canvas(
    segmenting: Studio, open_page: Callable[..., Page], photo: Path, tmp_path: Path
) -> None:
    page = open_page(segmenting.url)
    opened(page)
    page.get_by_test_id("canvas-size").select_option("256x256")
    first = settled(page)
    give(page, "Photo to map", photo)
    page.wait_for_selector(f"[data-testid=picture]:not([data-picture='{first}'])")
    settled(page)
    assert ids(page, tmp_path).shape == (256, 256)


def test_what_is_no_photo_is_told_and_the_map_stays(
    segmenting: Studio, open_page: Callable[..., Page], faults: object, tmp_path: Path
) -> None:
    faults.allow(r"^415 POST .*/pictures")  # pyright: ignore[reportAttributeAccessIssue]
    page = open_page(segmenting.url)
    opened(page)
    before = ids(page, tmp_path)
    (tmp_path / "words.png").write_bytes(b"no picture")
    give(page, "Photo to map", tmp_path / "words.png")
    page.get_by_text("file is not a picture").wait_for()
    np.testing.assert_array_equal(ids(page, tmp_path), before)
    assert page.get_by_role("button", name="Photo to map", exact=True).is_enabled()


@pytest.mark.parametrize(
    ("locale", "words"),
    [("en-US", "no model here is a segmenter"), ("ja-JP", "セグメンターのモデルがありません")],
)
def test_without_a_segmenter_one_line_says_so(
    open_page: Callable[..., Page], locale: str, words: str, shot: Callable[..., None]
) -> None:
    page = open_page(locale=locale)
    opened(page)
    why = page.get_by_test_id("segment-why")
    why.wait_for()
    assert words in why.inner_text()
    shot(page, f"photo-to-map-none-{locale[:2]}")
    assert page.get_by_role("button", name="Photo to map", exact=True).count() == 0
    assert page.get_by_role("button", name="写真からマップ", exact=True).count() == 0


def test_a_segmenter_of_other_labels_is_named_with_what_it_lacks(
    new_studio: Callable[..., Studio], open_page: Callable[..., Page], tmp_path: Path
) -> None:
    deeplab(tmp_path / "models" / "few", numbered(3), {"name": "Few"})
    studio = new_studio(None, "--models", str(tmp_path / "models"))
    page = open_page(studio.url)
    opened(page)
    why = page.get_by_test_id("segment-why")
    why.wait_for()
    assert why.inner_text() == "Photo to map: the segmenter Few does not know Sky, Building, Pole and 8 more."
    # One that fits comes while the studio runs.
    deeplab(tmp_path / "models" / "seer", CAMVID, CARD)
    page.get_by_role("tab", name="Models").click()
    page.locator("[data-model=seer]").wait_for()
    page.get_by_role("tab", name="Paint").click()
    page.get_by_role("button", name="Photo to map", exact=True).wait_for()
    assert why.is_hidden()


def test_the_models_page_shows_a_segmenter_that_is_not_painted_with(
    segmenting: Studio, open_page: Callable[..., Page], shot: Callable[..., None]
) -> None:
    page = open_page(segmenting.url)
    page.goto("/#models")
    card = page.locator("[data-model=seer]")
    card.wait_for()
    text = card.inner_text()
    for words in ("Streets seen", "DeepLabV3", "CC BY-NC 4.0", "a label map", "It paints nothing", "11 labels"):
        assert words in text
    assert card.get_by_role("button").count() == 0
    card.scroll_into_view_if_needed()
    shot(page, "models-segmenter")
    page.get_by_role("tab", name="Paint").click()
    page.wait_for_selector("[data-testid=picture][data-picture]")  # the list of models is filled only then
    settled(page)
    assert page.get_by_test_id("model").locator("option").all_inner_texts() == ["Streets", "Mixed streets"]
