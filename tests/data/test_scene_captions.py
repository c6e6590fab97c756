from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pinxit.data.folders import find, label_set_for
from pinxit.data.images import read_map, read_photo
from pinxit.data.scene_captions import caption_of, mirrored

NAMES = ["Sky", "Road", "Building", "Car", "Pedestrian", "Grass"]


def scene(sky: tuple[int, int, int], ground: int) -> tuple[np.ndarray, Image.Image]:
    """Sky above a road, a building on the left, a slender car on the right and two people in the middle."""
    labels = np.full((60, 90), 1)
    labels[:20] = 0
    labels[10:40, :25] = 2
    labels[30:45, 70:85] = 3
    labels[30:40, 40:43] = 4
    labels[30:40, 48:51] = 4
    pixels = np.full((60, 90, 3), ground, np.uint8)
    pixels[labels == 0] = sky
    return labels, Image.fromarray(pixels)


def test_what_the_sentences_say() -> None:
    labels, photo = scene((150, 200, 250), 120)
    sentences = caption_of(labels, NAMES, photo)
    assert sentences == (
        (
            "A broad street in bright daylight with buildings on the left, a car on the right and people on foot "
            "in the middle."
        ),
        "Buildings on the left and a blue sky in bright daylight.",
        "A broad street with a car on the right and people on foot in the middle under a blue sky.",
        "In bright daylight: a car on the right, people on foot in the middle and buildings on the left.",
        "A street scene with buildings on the left, a car on the right and people on foot in the middle.",
    )
    assert caption_of(labels, NAMES, photo) == sentences


def test_a_street_is_empty_when_nobody_at_all_is_on_it() -> None:
    labels, photo = scene((150, 200, 250), 120)
    labels[labels > 2] = 1
    assert caption_of(labels, NAMES, photo)[2] == "A broad, empty street under a blue sky."
    labels[30, 50] = 3  # a car so far away that it is not told of
    assert caption_of(labels, NAMES, photo)[2] == "A broad street under a blue sky."


def test_the_mirrored_photo_has_the_mirrored_captions() -> None:
    labels, photo = scene((150, 200, 250), 120)
    turned = caption_of(labels[:, ::-1], NAMES, photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert turned == tuple(mirrored(sentence) for sentence in caption_of(labels, NAMES, photo))
    assert mirrored("Left right, leftmost: left.") == "Left left, leftmost: right."


@pytest.mark.parametrize(
    ("sky", "ground", "told"),
    [
        ((145, 165, 170), 40, "a dark sky at dusk"),
        ((250, 250, 252), 80, "a white sky by day"),
        ((200, 220, 250), 60, "a blue sky in the shade"),
    ],
)
def test_the_light(sky: tuple[int, int, int], ground: int, told: str) -> None:
    labels, photo = scene(sky, ground)
    assert caption_of(labels, NAMES, photo)[1] == f"Buildings on the left and {told}."
    assert caption_of(labels, NAMES, None)[1] == "Buildings on the left and a sky."


@pytest.mark.parametrize(
    "labels", [np.zeros((4, 6), int), np.ones((4, 6), int), np.full((4, 6), 255), np.full((1, 1), 5)]
)
def test_scenes_with_little_in_them(labels: np.ndarray) -> None:
    for photo in (None, Image.new("RGB", (30, 20), "gray")):
        sentences = caption_of(labels, NAMES, photo)
        assert len(sentences) == 5
        for sentence in sentences:
            assert sentence.endswith(".")
            assert "  " not in sentence
            assert " ." not in sentence
    assert "grass" in " ".join(caption_of(np.full((4, 6), 5), NAMES, None)).lower()


def test_the_sample_of_camvid(pack: Callable[[str], Path]) -> None:
    """Dusk is when CamVid's authors say that 0001TP was filmed; sides agree with the map."""
    labels = label_set_for(pack("camvid"))
    names = [label.name for label in labels.labels]
    for item in find(pack("camvid"), "train")[::40]:
        assert item.photo is not None
        ids = read_map(item.label, labels)
        sentences = caption_of(ids, names, read_photo(item.photo))
        assert ("at dusk" in sentences[0]) == item.name.startswith("0001TP")
        assert ("car" in " ".join(sentences)) == (float((ids == names.index("Car")).mean()) >= 0.002)
