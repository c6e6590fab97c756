"""Label maps to measure on: those of a folder, and drawn ones of any complexity."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from benchmarks.measure import ROOT

COCO = ROOT.parent / "shared" / "data" / "coco_stuff" / "val_label"
"""Validation maps of COCO-Stuff, where they are at hand."""
UNKNOWN = 255


class Map(NamedTuple):
    """Label indices and instance ids, both int64 [1, H, W]."""

    labels: Tensor
    instances: Tensor


def of(labels: np.ndarray, instances: np.ndarray) -> Map:
    return Map(*(torch.from_numpy(ids.astype(np.int64))[None] for ids in (labels, instances)))


def read(folder: Path, size: int, labels: int, most: int) -> list[Map]:
    """The maps in a folder, squeezed to a square; ids beyond the `labels` known ones become 'unknown', which is next.

    Where instance maps lie beside it, in a folder of that name with `inst` for `label`, they are taken, else each label
    is one instance.
    """
    found = []
    for path in sorted(path for path in folder.iterdir() if path.suffix == ".png")[:most]:
        ids = np.minimum(square(path, size), labels)
        beside = path.parent.with_name(path.parent.name.replace("label", "inst")) / path.name
        found.append(of(ids, square(beside, size) if beside.exists() else ids))
    if not found:
        raise SystemExit(f"folder '{folder}' has no .png, expected label maps; check --maps")
    return found


def square(path: Path, size: int) -> np.ndarray:
    with Image.open(path) as picture:
        return np.array(picture.resize((size, size), Image.Resampling.NEAREST)).astype(np.int64)


def real(folder: Path | None, size: int, labels: int, most: int) -> tuple[str, list[Map]]:
    """What to call them, and maps: those of `folder`, else of COCO-Stuff, else drawn ones that are about as complex."""
    if folder is not None:
        return f"maps of {folder.name}", read(folder, size, labels, most)
    if COCO.is_dir():
        return "COCO-Stuff maps", read(COCO, size, labels, most)
    return "drawn maps, complex", [regions(150 + 50 * i, size, labels, i) for i in range(most)]


def painted(seed: int, size: int, labels: int) -> Map:
    """A landscape in a few large regions, as one paints with a brush: bands, some hills, a few round things."""
    dice = random.Random(seed)
    canvas = Image.new("I", (size, size), 0)
    draw, kinds = ImageDraw.Draw(canvas), dice.sample(range(labels), min(labels, 8))
    drawn = 0
    for top in (0.45, 0.7):
        drawn += 1
        edge = [(x / 8 * size, (top + dice.uniform(-0.08, 0.08)) * size) for x in range(9)]
        draw.polygon([*edge, (size, size), (0, size)], fill=drawn)
    for _ in range(dice.randint(2, 5)):
        drawn += 1
        x, y, radius = dice.uniform(0, size), dice.uniform(0.2, 0.9) * size, dice.uniform(0.05, 0.2) * size
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=drawn)
    shapes = np.array(canvas)
    return of(np.array(kinds)[shapes % len(kinds)], shapes)


def regions(count: int, size: int, labels: int, seed: int = 0) -> Map:
    """`count` regions around random points, with ragged edges, each of a label drawn for it; as many as there are
    pixels are noise."""
    dice = np.random.default_rng(seed)
    if count >= size * size:
        shapes = np.arange(size * size).reshape(size, size)
    else:
        places = np.mgrid[:size, :size] + dice.normal(0, 0.6, (2, size, size))
        nearest, shapes = np.full((size, size), np.inf), np.zeros((size, size), int)
        for shape, (y, x) in enumerate(dice.uniform(0, size, (count, 2))):
            distance = (places[0] - y) ** 2 + (places[1] - x) ** 2
            closer = distance < nearest
            nearest[closer], shapes[closer] = distance[closer], shape
    return of(dice.integers(0, labels, count)[shapes], shapes)


def with_stroke(map: Map, label: int, seed: int) -> Map:
    """The map with a stroke of a round brush, a tenth as wide as the map and half as long."""
    dice = random.Random(seed)
    size = map.labels.shape[1]
    stroke = Image.new("1", (size, size))
    y, width = dice.uniform(0.2, 0.8) * size, max(2, size // 10)
    begin, end = (dice.uniform(0.1, 0.4) * size, y), (dice.uniform(0.6, 0.9) * size, y + dice.uniform(-0.1, 0.1) * size)
    draw = ImageDraw.Draw(stroke)
    draw.line((begin, end), fill=1, width=width)
    for x, y in (begin, end):
        draw.ellipse((x - width / 2, y - width / 2, x + width / 2, y + width / 2), fill=1)
    inside = torch.from_numpy(np.array(stroke))[None]
    fresh = int(map.instances.max()) + 1
    return Map(map.labels.masked_fill(inside, label), map.instances.masked_fill(inside, fresh))


def batched(maps: list[Map]) -> Map:
    return Map(torch.cat([map.labels for map in maps]), torch.cat([map.instances for map in maps]))
