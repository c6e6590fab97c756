"""How well pictures that a model paints by several conditions agree with each: map, sketch, text and style.

Each is measured against what it is absent of, and against what another item's does in its place: a number alone says
little, since a model that has learnt streets agrees somewhat with any map of one. And how much pictures of one and the
same conditions differ from seed to seed, which has to shrink as conditions are added.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from pinxit.data.edges import HIGH, LOW, edges_of
from pinxit.data.images import read_map, read_photo
from pinxit.errors import expected
from pinxit.evaluation import retrieval
from pinxit.evaluation.distances import frechet_distance, gaussian
from pinxit.evaluation.segmentation import Confusion, Segmenter, agreement, require_classes

if TYPE_CHECKING:
    from pinxit.data.conditions import Conditioned
    from pinxit.models.poegan.generate import Canvas, Model

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Given:
    """What belongs to an item, as files have it, and the canvas that a model makes of all of it that it takes."""

    photo: Image.Image
    map: np.ndarray | None
    """Indices [H, W]."""
    sketch: Image.Image | None
    """L, lines dark."""
    captions: tuple[str, ...]
    canvas: Canvas


@dataclass(frozen=True)
class Row:
    """One condition's agreement in the pictures of four paintings, and in the photos."""

    part: str
    measure: str
    better: Better
    beside: bool
    """Whether the other conditions are there, too; else the part is the only one."""
    present: float
    absent: float
    shuffled: float
    """Painted by another item's, measured by the item's own."""
    photos: float
    """Of the items' own photos at the size of the pictures: what agreement may come to."""


def given_of(model: Model, items: Sequence[Conditioned]) -> list[Given]:
    """The items' conditions. The style is the photo itself, the text the first caption.

    Raises:
        PinxitError: an item lacks something that the model takes, or as `Model.canvas`.
    """
    found = []
    for item in items:
        for part, has in zip(("map", "sketch", "text"), item.has, strict=True):
            if part in model.inputs and not has:
                want = "all that the model takes, for every one that is measured"
                raise expected(f"photo '{item.photo}'", f"without a {part}", want, "leave it out")
        photo = read_photo(item.photo)
        map = None
        if "map" in model.inputs and item.label is not None and model.label_set is not None:
            map = read_map(item.label, model.label_set)
        sketch = None
        if "sketch" in model.inputs and item.sketch is not None:
            sketch = read_photo(item.sketch).convert("L")
        text = item.captions[0] if "text" in model.inputs else None
        canvas = model.canvas(map, sketch, text, photo if "style" in model.inputs else None)
        found.append(Given(photo, map, sketch, item.captions, canvas))
    return found


def agreements(
    model: Model,
    given: Sequence[Given],
    segmenter: Segmenter | None,
    *,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> list[Row]:
    """Each condition of the model, alone and beside all others. `segmenter` None: maps are not measured.

    The picture of item i is of the seed `seed` + i, whatever it is painted by. `progress` is called for each picture.

    Raises:
        PinxitError: there are fewer than two items, too few different captions (see `retrieval.candidates`), or the
            segmenter does not know the model's labels.
    """
    if len(given) < 2:
        raise expected("the items to measure", len(given), "2 or more", "add some")
    parts = [part for part in model.inputs if part != "map" or segmenter is not None]
    measures = {part: _measure(part, model, given, segmenter, seed) for part in parts}

    def painted(canvas_of: Callable[[int], Canvas]) -> list[Image.Image]:
        pictures = []
        for i in range(len(given)):
            pictures += model.paint_on(canvas_of(i), seed=seed + i)
            progress()
        return pictures

    nothing = painted(lambda i: given[i].canvas.only())
    everything = painted(lambda i: given[i].canvas)
    height, width = model.size
    photos = [ImageOps.fit(item.photo, (width, height), Image.Resampling.BICUBIC) for item in given]
    rows = []
    for part in parts:
        name, better, measure = measures[part]
        other = _others(part, given, seed)
        rest = [name for name in model.inputs if name != part]
        own = painted(lambda i, part=part: given[i].canvas.only(part))
        swapped = painted(lambda i, part=part, other=other: given[other[i]].canvas.only(part))
        alone = Row(part, name, better, False, measure(own), measure(nothing), measure(swapped), measure(photos))
        rows.append(alone)
        if not rest:
            continue
        without = painted(lambda i, rest=rest: given[i].canvas.only(*rest))
        swapped = painted(lambda i, part=part, other=other: given[i].canvas.with_(given[other[i]].canvas.only(part)))
        rows.append(
            Row(part, name, better, True, measure(everything), measure(without), measure(swapped), alone.photos)
        )
    return rows


def paintings(model: Model, items: int, *, maps: bool) -> int:
    """How many pictures `agreements` paints."""
    parts = len([part for part in model.inputs if part != "map" or maps])
    return items * (2 + (4 if len(model.inputs) > 1 else 2) * parts)


def diversity(
    model: Model,
    given: Sequence[Given],
    *,
    count: int = 4,
    seed: int = 0,
    progress: Callable[[], object] = lambda: None,
) -> dict[tuple[str, ...], float]:
    """For each subset of the conditions how far `count` pictures of one and the same are apart (`spread`), the mean
    over the items. `progress` is called for each item and subset."""
    found = {}
    for number in range(len(model.inputs) + 1):
        for subset in combinations(model.inputs, number):
            values = []
            for item in given:
                values.append(spread(model.paint_on(item.canvas.only(*subset), n=count, seed=seed)))
                progress()
            found[subset] = math.fsum(values) / len(values)
    return found


def by_number(found: Mapping[tuple[str, ...], float]) -> list[float]:
    """The mean diversity of no condition, of one, of two, and so on."""
    most = max(map(len, found))
    groups = [[value for subset, value in found.items() if len(subset) == number] for number in range(most + 1)]
    return [math.fsum(group) / len(group) for group in groups]


def spread(pictures: Sequence[Image.Image]) -> float:
    """Root of the mean squared difference of the colours in CIELAB, of each two pictures at each pixel; 0 where all are
    the same. Means over pairs, of pictures of one size."""
    colours = [lab(picture) for picture in pictures]
    pairs = [float((a - b).square().sum(dim=-1).mean().sqrt()) for a, b in combinations(colours, 2)]
    return math.fsum(pairs) / len(pairs)


def edge_distance(a: np.ndarray, b: np.ndarray) -> float:
    """How far lines are from other lines, as a share of the diagonal: bool [H, W] both, True is line.

    The mean over the pixels of the lines of one of the distance to the nearest of the other, averaged with that in the
    other direction (symmetric chamfer distance: Barrow et al. 1977). 1, the most there is, where only one has any
    lines; 0 where neither has.
    """
    if a.shape != b.shape:
        raise expected("the lines", f"of {a.shape} and {b.shape}", "of one size", "resize one")
    if not a.any() or not b.any():
        return float(a.any() != b.any())
    one, other = (torch.from_numpy(np.argwhere(lines)).float() for lines in (a, b))
    # In parts: thousands of pixels against thousands are hundreds of megabytes.
    near = torch.cat([torch.cdist(part, other).min(dim=1).values for part in one.split(1024)])
    back = torch.cat([torch.cdist(part, one).min(dim=1).values for part in other.split(1024)])
    return float(near.mean() + back.mean()) / 2 / math.hypot(a.shape[0] - 1, a.shape[1] - 1)


def lines_in(picture: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """The edges of a picture as `edges.edges_of` finds them at `size` (height, width): bool [H, W].

    Slopes of an enlarged picture are the gentler by as much; what counts as an edge is lowered likewise.
    """
    scale = max(1.0, size[1] / picture.width)
    large = picture.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.asarray(edges_of(large, low=LOW / scale, high=HIGH / scale)) < 128


def colour_distance(a: Image.Image, b: Image.Image) -> float:
    """How far the colours of two pictures are apart, wherever they are: the root of the Fréchet distance between the
    Gaussians of their pixels in CIELAB. 1 is about what the eye can tell."""
    return max(0.0, frechet_distance(*(gaussian(lab(picture).flatten(0, 1)) for picture in (a, b)))) ** 0.5


def lab(picture: Image.Image) -> Tensor:
    """The CIELAB colours of an sRGB picture, float64 [H, W, 3], for the white D65 (IEC 61966-2-1; CIE 15)."""
    rgb = torch.from_numpy(np.array(picture.convert("RGB"))).double() / 255
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = torch.tensor(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]],
        dtype=torch.float64,
    )
    xyz = linear @ to_xyz.T / to_xyz.sum(dim=1)
    edge = 6 / 29
    f = torch.where(xyz > edge**3, xyz.clamp_min(1e-12) ** (1 / 3), xyz / (3 * edge**2) + 4 / 29)
    x, y, z = f.unbind(-1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-1)


Measure = Callable[[Sequence[Image.Image]], float]


def _measure(
    part: str, model: Model, given: Sequence[Given], segmenter: Segmenter | None, seed: int
) -> tuple[str, Better, Measure]:
    """What a part is measured by: pictures, one of each item, to a number."""
    match part:
        case "map":
            assert segmenter is not None
            return f"mIoU ({segmenter.name})", "higher", _map_measure(model, given, segmenter)
        case "sketch":
            return "edge distance", "lower", lambda pictures: _mean_of(_edges, pictures, given)
        case "text":
            return f"R-precision of {retrieval.CANDIDATES}", "higher", _text_measure(model, given, seed)
        case _:
            return (
                "colour distance",
                "lower",
                lambda pictures: _mean_of(lambda x, item: colour_distance(x, item.photo), pictures, given),
            )


def _mean_of(
    measure: Callable[[Image.Image, Given], float], pictures: Sequence[Image.Image], given: Sequence[Given]
) -> float:
    return math.fsum(measure(picture, item) for picture, item in zip(pictures, given, strict=True)) / len(given)


def _edges(picture: Image.Image, item: Given) -> float:
    assert item.sketch is not None
    size = item.sketch.height, item.sketch.width
    return edge_distance(np.asarray(item.sketch) < 128, lines_in(picture, size))


def _map_measure(model: Model, given: Sequence[Given], segmenter: Segmenter) -> Measure:
    assert model.label_set is not None
    labels = model.label_set
    table = torch.from_numpy(require_classes(segmenter, labels))

    def measure(pictures: Sequence[Image.Image]) -> float:
        counted = Confusion(len(labels.labels))
        for picture, item in zip(pictures, given, strict=True):
            assert item.map is not None
            large = picture.resize((item.map.shape[1], item.map.shape[0]), Image.Resampling.BICUBIC)
            found = segmenter.segment(torch.from_numpy(np.array(large)).permute(2, 0, 1)[None])
            counted.add(torch.from_numpy(item.map), table[found[0]])
        return agreement(counted.counts, "ignored").mean_iou

    return measure


def _text_measure(model: Model, given: Sequence[Given], seed: int) -> Measure:
    choices = retrieval.candidates([item.captions[0] for item in given], [item.captions for item in given], seed=seed)

    def measure(pictures: Sequence[Image.Image]) -> float:
        def match(places: Sequence[int], sentences: Sequence[str]) -> Tensor:
            return model.match([pictures[i] for i in places], sentences)

        return float(retrieval.hits(retrieval.similarities(match, choices)).mean())

    return measure


def _others(part: str, given: Sequence[Given], seed: int) -> list[int]:
    """For each item another one, whose condition it gets; of texts one with another caption."""
    if part == "text":
        return retrieval.shuffled([item.captions[0] for item in given], seed=seed)
    # Neighbours of a film are all but the same.
    by = max(1, len(given) // 2)
    return [(i + by) % len(given) for i in range(len(given))]
