"""The agreement of pictures with what they were painted by: closed forms, and a stand-in for a model that heeds all."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from pinxit.data.conditions import Conditioned
from pinxit.data.edges import edges_of
from pinxit.data.labels import LabelSet, numbered
from pinxit.errors import PinxitError
from pinxit.evaluation.conditions import (
    agreements,
    by_number,
    colour_distance,
    diversity,
    edge_distance,
    given_of,
    lab,
    lines_in,
    paintings,
    spread,
)

COLOURS = np.array([(40, 40, 40), (200, 60, 60), (60, 90, 220)], np.uint8)
"""Of the labels, in this stand-in's world."""


def lines(*columns: int, size: int = 20) -> np.ndarray:
    found = np.zeros((size, size), bool)
    found[:, list(columns)] = True
    return found


def test_edge_distance_in_closed_form() -> None:
    assert edge_distance(lines(4), lines(4)) == 0
    assert edge_distance(lines(4), lines(7)) == pytest.approx(3 / np.hypot(19, 19))
    # From the one line 0 to the nearest; back 0 from one, 8 from the other.
    assert edge_distance(lines(4), lines(4, 12)) == pytest.approx(2 / np.hypot(19, 19))
    assert edge_distance(lines(4), lines(4, 12)) == edge_distance(lines(4, 12), lines(4))
    assert edge_distance(lines(), lines()) == 0
    assert edge_distance(lines(), lines(3)) == edge_distance(lines(3), lines()) == 1
    with pytest.raises(PinxitError, match="of one size"):
        edge_distance(lines(), lines(size=10))


def test_lab_of_known_colours() -> None:
    known = {
        (255, 255, 255): (100, 0, 0),
        (0, 0, 0): (0, 0, 0),
        (255, 0, 0): (53.24, 80.09, 67.20),
        (0, 255, 0): (87.73, -86.18, 83.18),
        (0, 0, 255): (32.30, 79.19, -107.86),
        (119, 119, 119): (50.03, 0, 0),
    }
    for rgb, wanted in known.items():
        found = lab(Image.new("RGB", (1, 1), rgb))[0, 0]
        assert found.tolist() == pytest.approx(wanted, abs=0.02)


def test_colours_count_wherever_they_are() -> None:
    grey, white = Image.new("RGB", (6, 4), (119, 119, 119)), Image.new("RGB", (9, 9), "white")
    assert colour_distance(grey, white) == pytest.approx(100 - 50.03, abs=0.02)
    halves = grey.copy()
    halves.paste("white", (3, 0, 6, 4))
    assert colour_distance(halves, halves.transpose(Image.Transpose.FLIP_LEFT_RIGHT)) == pytest.approx(0, abs=1e-5)
    assert colour_distance(halves, grey) > 20
    assert spread([grey, grey, grey]) == 0
    assert spread([white, white, Image.new("RGB", (9, 9), "black")]) == pytest.approx(100 * 2 / 3, abs=0.01)


def test_an_enlarged_picture_keeps_its_edges() -> None:
    small = Image.new("RGB", (40, 30), (60, 60, 60))
    small.paste((130, 120, 110), (14, 0, 40, 30))
    found = lines_in(small, (120, 160))
    assert found.shape == (120, 160)
    assert found.any(axis=1).all()
    assert abs(np.nonzero(found)[1] - 55.5).max() < 3


@dataclasses.dataclass(frozen=True)
class Canvas:
    inputs: dict[str, Any]

    def only(self, *names: str) -> Canvas:
        return Canvas({name: x for name, x in self.inputs.items() if name in names})

    def with_(self, other: Canvas) -> Canvas:
        return Canvas({**self.inputs, **other.inputs})


class Painter:
    """A model's verbs: what is given is to be seen exactly, each in a corner of its own or all over, the rest is noise.

    The map is the lower half; the sketch, a line, is an edge in the upper left; the text, a number, is the lightness of
    the upper right; the style is heeded all over, by a blend.
    """

    inputs = ("map", "sketch", "text", "style")
    size = (32, 32)
    label_set: LabelSet = numbered(3)

    def __init__(self, *heeds: str) -> None:
        self.heeds = heeds

    def canvas(self, map: object, sketch: object, text: object, style: object) -> Canvas:
        return Canvas(dict(zip(self.inputs, (map, sketch, text, style), strict=True)))

    def paint_on(self, canvas: Canvas, *, n: int = 1, seed: int = 0) -> list[Image.Image]:
        return [self.picture(canvas.only(*self.heeds).inputs, seed + i) for i in range(n)]

    def picture(self, given: dict[str, Any], seed: int) -> Image.Image:
        random = np.random.default_rng(seed)
        pixels = np.full((32, 32, 3), 128.0)
        map = given["map"] if "map" in given else np.kron(random.integers(0, 3, (4, 4)), np.ones((8, 8), int))
        pixels[16:] = COLOURS[map[16:]]
        column = int(np.asarray(given["sketch"])[0].argmin()) if "sketch" in given else int(random.integers(2, 14))
        pixels[:16, :column] = 0
        light = int(given["text"]) if "text" in given else int(random.integers(0, 250))
        pixels[:16, 16:] = light
        style = np.asarray(given["style"]).reshape(-1, 3).mean(0) if "style" in given else random.integers(0, 256, 3)
        return Image.fromarray((0.8 * pixels + 0.2 * style).astype(np.uint8))

    def match(self, pictures: Sequence[Image.Image], sentences: Sequence[str]) -> Tensor:
        light = torch.tensor([np.asarray(x)[:16, 18:].mean() for x in pictures])
        return -(light[:, None] - 0.8 * torch.tensor([int(s) for s in sentences]) - 25).abs()


class Seer:
    """A segmenter that knows these colours."""

    name, classes, digest = "seer", tuple(label.name for label in numbered(3).labels), ""

    def segment(self, pictures: Tensor) -> Tensor:
        colours = torch.from_numpy(COLOURS).float() * 0.8 + 25
        return (pictures.permute(0, 2, 3, 1)[..., None, :].float() - colours).norm(dim=-1).argmin(dim=-1)


@pytest.fixture
def items(tmp_path: Path) -> list[Conditioned]:
    found = []
    random = np.random.default_rng(1)
    for i in range(14):
        ids = np.kron(random.integers(0, 3, (4, 4)), np.ones((8, 8))).astype(np.uint8)
        Image.fromarray(ids).save(tmp_path / f"map{i}.png")
        page = np.full((32, 32), 255, np.uint8)
        page[:16, int(random.integers(2, 14))] = 0
        Image.fromarray(page).save(tmp_path / f"sketch{i}.png")
        Image.new("RGB", (32, 32), tuple(random.integers(0, 256, 3).tolist())).save(tmp_path / f"{i}.png")
        paths = (tmp_path / f"{i}.png", tmp_path / f"map{i}.png", tmp_path / f"sketch{i}.png")
        found.append(Conditioned(str(i), *paths, (str(18 * i),)))
    return found


def measured(items: list[Conditioned], *heeds: str) -> dict[tuple[str, bool], Any]:
    model: Any = Painter(*heeds)
    seen = []
    rows = agreements(model, given_of(model, items), Seer(), progress=lambda: seen.append(1))
    assert len(seen) == paintings(model, len(items), maps=True)
    return {(row.part, row.beside): row for row in rows}


def test_what_is_heeded_is_told_from_what_is_not(items: list[Conditioned]) -> None:
    heedful, deaf = measured(items, *Painter.inputs), measured(items)
    assert len(heedful) == len(deaf) == 8
    for (part, _), row in heedful.items():
        for other in (row.absent, row.shuffled):
            assert row.present > other if row.better == "higher" else row.present < other, (part, row)
    assert heedful["text", True].present > 0.6  # the style lightens it a little
    assert heedful["text", True].shuffled < 0.3
    for row in deaf.values():
        assert row.present == row.absent == row.shuffled


def test_one_that_heeds_a_part_alone(items: list[Conditioned]) -> None:
    rows = measured(items, "sketch")
    assert rows["sketch", True].present < 0.9 * rows["sketch", True].shuffled
    assert rows["map", True].present == rows["map", True].absent


def test_diversity_of_each_subset(items: list[Conditioned]) -> None:
    model: Any = Painter(*Painter.inputs)
    found = diversity(model, given_of(model, items[:2]), count=3)
    assert len(found) == 16
    assert found[Painter.inputs] == 0
    means = by_number(found)
    assert len(means) == 5
    assert means == sorted(means, reverse=True)
    assert means[0] == found[()] > 5


def test_what_cannot_be_measured(items: list[Conditioned]) -> None:
    model: Any = Painter()
    with pytest.raises(PinxitError, match="the items to measure is 1"):
        agreements(model, given_of(model, items[:1]), None)
    with pytest.raises(PinxitError, match=r"photo '.*' is without a sketch"):
        given_of(model, [dataclasses.replace(items[0], sketch=None)])
    with pytest.raises(PinxitError, match="number of different captions"):
        agreements(model, given_of(model, items[:4]), None)


def test_the_detector_sees_what_the_sketches_were_made_by() -> None:
    photo = Image.new("RGB", (64, 48), (60, 60, 60))
    photo.paste((140, 140, 140), (20, 10, 50, 40))
    sketch = np.asarray(edges_of(photo)) < 128
    assert edge_distance(sketch, lines_in(photo, (48, 64))) == 0
