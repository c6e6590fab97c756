from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pinxit.data.captions import find_captioned, splits_of_captions

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture(scope="module")
def tool() -> dict[str, Any]:
    return runpy.run_path(str(TOOLS / "caption_fruits.py"))


def fruit(colour: str, width: int, height: int) -> Image.Image:
    picture = Image.new("RGB", (64, 64), "white")
    picture.paste(colour, ((64 - width) // 2, (64 - height) // 2, (64 + width) // 2, (64 + height) // 2))
    return picture


def test_sentences_follow_the_pixels(tool: dict[str, Any]) -> None:
    captions_of: Callable[[Image.Image, str], list[str]] = tool["captions_of"]
    assert captions_of(fruit("#c01018", 60, 60), "bell pepper") == [
        "A red bell pepper.",
        "A bell pepper on a white background.",
        "This bell pepper is red and round.",
        "A round, red bell pepper.",
        "One bell pepper, red and filling the picture.",
    ]
    assert captions_of(fruit("#e0c020", 16, 60), "corn cob")[1:4] == [
        "A corn cob standing upright on a white background.",
        "This corn cob is yellow and slender.",
        "A slender, yellow corn cob, standing upright.",
    ]
    assert captions_of(fruit("#2040a0", 60, 16), "thing")[3] == "A slender, blue thing, lying on its side."
    assert len(captions_of(Image.new("RGB", (8, 8), "white"), "thing")) == 5


def test_kinds_are_without_the_colour(tool: dict[str, Any]) -> None:
    names = ["OnionRed", "GrapeBlue", "PepperYellow", "CornHusk", "Beetroot", "BlackBerry"]
    kinds = ["onion", "grape", "bell pepper", "corn cob in its husk", "beetroot", "black berry"]
    assert [tool["kind_of"](name) for name in names] == kinds


def test_the_set_that_it_writes(tool: dict[str, Any], tmp_path: Path) -> None:
    for name in ("OnionRed", "Pear"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(16):
            fruit("#904030", 20 + number, 30).save(tmp_path / "photos" / name / f"{number}.png")
    tool["main"](tmp_path / "photos", tmp_path / "out" / "fruits")
    tool["main"](tmp_path / "photos", tmp_path / "again")
    folder = tmp_path / "out" / "fruits"
    assert splits_of_captions(folder) == ["train", "val"]
    train, val = find_captioned(folder), find_captioned(folder, "val")
    assert (len(train), len(val)) == (28, 4)
    assert {item.group for item in train} == {"OnionRed", "Pear"}
    assert all(len(item.captions) == 5 for item in train)
    assert not {item.photo.resolve() for item in train} & {item.photo.resolve() for item in val}
    assert [item.captions for item in find_captioned(tmp_path / "again")] == [item.captions for item in train]


def test_the_scenes_that_the_other_tool_writes(tmp_path: Path) -> None:
    for split in ("train", "val"):
        for kind, pixels in (("img", np.full((6, 8, 3), 200, np.uint8)), ("label", np.ones((6, 8), np.uint8))):
            (tmp_path / "set" / f"{split}_{kind}").mkdir(parents=True)
            Image.fromarray(pixels).save(tmp_path / "set" / f"{split}_{kind}" / "0001TP_006690.png")
    tool = runpy.run_path(str(TOOLS / "caption_scenes.py"))
    tool["main"](tmp_path / "set", tmp_path / "out", None)
    item = find_captioned(tmp_path / "out", "val")[0]
    assert item.photo.resolve() == (tmp_path / "set" / "val_img" / "0001TP_006690.png").resolve()
    assert item.captions[4] == "A street scene with buildings."
