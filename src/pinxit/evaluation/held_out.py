"""Pictures that a model was not trained on: what it is to paint, and the real pictures that belong to that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from pinxit.data.augment import Preprocess
from pinxit.data.captions import Captioned, find_captioned, splits_of_captions, still
from pinxit.data.folders import Item, find, splits
from pinxit.data.images import to_image
from pinxit.data.kinds import Kind
from pinxit.data.labels import LabelSet, load_label_set, numbered
from pinxit.data.pairs import Sides, find_pairs, halves, resize, splits_of_pairs
from pinxit.data.rasters import read_as
from pinxit.data.stream import label_pictures
from pinxit.errors import expected
from pinxit.modelfile import ModelFile, replacing
from pinxit.models.stackgan.config import FIRST
from pinxit.recipe import rank, world_size

SPLITS = ("val", "validation", "test", "testing")
"""Where held-out pictures are looked for, in this order, if no split is named."""


@dataclass(frozen=True)
class Maps:
    """Label maps, the photos that belong to them and instance maps where the model takes any, brought to one size."""

    items: Sequence[Item]
    labels: LabelSet
    size: tuple[int, int]
    """Height and width that maps are brought to by nearest neighbour, photos by bicubic resizing."""
    instances: bool
    split: str
    paired = True

    def names(self) -> list[str]:
        """Of the conditions, and of the pictures that are painted of them."""
        return [item.name for item in self.items]

    def real_names(self) -> list[str]:
        return self.names()

    def real(self, i: int) -> Image.Image:
        return to_image(self._read(i).photo[0])

    def map(self, i: int) -> np.ndarray:
        """Indices [H, W]."""
        return self._read(i).labels[0].numpy()

    def painted(self, i: int, model: Any, seed: int) -> Image.Image:
        """What a model of SPADE or pix2pixHD makes of the map in the style of a seed, if it has styles."""
        item = self._read(i)
        instances = None if item.instances is None else item.instances[0].numpy()
        if model.file.method == "spade":
            return model.paint_on(model.canvas(item.labels[0].numpy(), instances), seed)
        return model.paint(item.labels[0].numpy(), instances, seed=seed)

    def _read(self, i: int) -> Any:
        return label_pictures([self.items[i]], self.labels, Preprocess("fixed", size=self.size), self.instances)


@dataclass(frozen=True)
class Translations:
    """Pictures of the side that goes in, and those of the side that comes out, brought to one size."""

    sides: Sides
    size: tuple[int, int]
    """Height and width."""
    kinds: tuple[Kind, Kind]
    """Of what goes in and what comes out."""
    direction: str
    paired: bool
    """Whether the picture of the one side that has a number is that of the same number of the other."""
    split: str

    def names(self) -> list[str]:
        """Of the conditions, and of the pictures that are painted of them."""
        return [file.stem for file in self._files(into=True)]

    def real_names(self) -> list[str]:
        return self.names() if self.paired else [file.stem for file in self._files(into=False)]

    def real(self, i: int) -> Image.Image:
        return _rgb(self._read(i, into=False), self.kinds[1])

    def painted(self, i: int, model: Any, seed: int) -> Image.Image:
        return _rgb(model.translate(self._read(i, into=True), seed), self.kinds[1])

    def _files(self, *, into: bool) -> list[Path]:
        first = into == (self.direction == "AtoB")
        return self.sides.a if first or self.sides.b is None else self.sides.b

    def _read(self, i: int, *, into: bool) -> np.ndarray:
        files, kind = self._files(into=into), self.kinds[not into]
        array = read_as(files[i % len(files)], kind, grey_as_rgb=True)
        if self.sides.b is None:
            array = halves(array, files[i])[into != (self.direction == "AtoB")]
        return resize(array, Preprocess("fixed", size=self.size), files[i % len(files)])


@dataclass(frozen=True)
class Sentences:
    """Captions of photos; picture i is painted from a caption of photo i, and beyond the last one from another."""

    items: Sequence[Captioned]
    count: int
    """Pictures to be painted."""
    size: tuple[int, int]
    """Height and width of what the model paints, which photos are brought to."""
    split: str
    paired = False

    def caption(self, i: int) -> str:
        turn, which = divmod(i, len(self.items))
        captions = self.items[which].captions
        # Not always the first: where there are several, they are of several people, and of growing detail.
        return captions[(turn + which) % len(captions)]

    def true(self, i: int) -> tuple[str, ...]:
        """All captions that are true of what picture i is to show."""
        return self.items[i % len(self.items)].captions

    def names(self) -> list[str]:
        """Of the captions, and of the pictures that are painted of them."""
        digits = len(str(self.count - 1))
        return [f"{i:0{digits}d}_{self.items[i % len(self.items)].photo.stem}" for i in range(self.count)]

    def real_names(self) -> list[str]:
        return self.names()[: len(self.items)]

    def real(self, i: int) -> Image.Image:
        return to_image(still(self.items[i], self.size[0]))

    def painted(self, i: int, model: Any, seed: int) -> Image.Image:
        """What the model makes of the caption with the noise of a seed."""
        (picture,) = model.sample(self.caption(i), 1, seed)
        return picture.resize((self.size[1], self.size[0]), Image.Resampling.BICUBIC)


HeldOut = Maps | Translations | Sentences


def held_out(
    file: ModelFile,
    data: Path,
    *,
    split: str | None = None,
    label_set: str | None = None,
    size: tuple[int, int] | None = None,
    direction: str | None = None,
    outdoor: bool = False,
    most: int | None = None,
) -> HeldOut:
    """What of the data set in `data` a model is to paint for a score.

    `split`: by default the first of `SPLITS` that there is. `size`: height and width; by default those that the model
    was trained at. `most`: so many, spread evenly over the split; by default all.

    Raises:
        PinxitError: the model takes no conditions, or gives no 8-bit pictures; or the data is not what it takes.
    """
    if file.method in ("stackgan", "ganintcls"):
        if split is None and (present := splits_of_captions(data)):
            split = _first([name.rstrip("0123456789") for name in present], data)  # COCO's end in a year
        split = split or SPLITS[0]
        items = find_captioned(data, split)
        side = int(file.config.get("size", FIRST)) if file.config.get("stages") == 2 else FIRST
        height, width = size or (side, side)
        if height != width:
            raise expected("--size", f"{width}x{height}", "as wide as high, as the model's pictures", "correct it")
        number = len(items) if most is None else most
        return Sentences(_some(items, most), number, (height, width), split)
    if file.method == "gawwn":
        want = "one that needs no place, or a folder of its pictures"
        remedy = "paint captions with `pinxit sample`, and evaluate their folder with --captions and --matcher"
        raise expected("what is to be evaluated", "a model of gawwn", want, remedy)
    if file.method not in ("spade", "deeplabv3", "pix2pix", "pix2pixhd", "cyclegan"):
        want = "one that paints held-out conditions: spade, pix2pixhd, pix2pix, cyclegan or stackgan"
        raise expected("what is to be evaluated", f"a model of {file.method}", want, "evaluate a folder of pictures")
    config = file.config
    size = size or tuple(config.get("size", ()))  # pyright: ignore[reportAssignmentType] - two, or none at all
    of_labels = file.method == "pix2pixhd" and config.get("source", "labels") == "labels"
    if of_labels or file.method in ("spade", "deeplabv3"):
        split = split or _first(splits(data), data)
        if label_set is not None:
            labels = load_label_set(label_set)
        else:
            labels = LabelSet.from_json(file.label_set) if file.label_set else numbered(config["labels"])
        items = _some(find(data, split, outdoor=outdoor), most)
        return Maps(items, labels, size, bool(config.get("instances")), split)
    unpaired = file.method == "cyclegan"
    split = split or _first(splits_of_pairs(data), data)
    if unpaired:
        towards: str = direction or config["directions"][0]
        a, b = Kind.from_dict(config["a"]), Kind.from_dict(config["b"])
        kinds = (a, b) if towards == "AtoB" else (b, a)
    else:
        # What a model of pix2pix translates is on its card alone.
        towards = direction or ("BtoA" if file.card.get("data", "").endswith(", BtoA") else "AtoB")
        kinds = Kind.from_dict(config["input"]), Kind.from_dict(config["output"])
    if kinds[1].dtype != "uint8" or kinds[1].channels not in (1, 3):
        want = "8-bit pictures, grey or RGB"
        raise expected("what the model gives", kinds[1], want, "write them with pinxit translate, and convert them")
    sides = find_pairs(data, split=split, paired=not unpaired)
    if unpaired:
        assert sides.b is not None
        into, out = (sides.a, sides.b) if towards == "AtoB" else (sides.b, sides.a)
        into, out = _some(into, most), _some(out, most)
        sides = Sides(into, out) if towards == "AtoB" else Sides(out, into)
    else:
        sides = Sides(_some(sides.a, most), None if sides.b is None else _some(sides.b, most))
    return Translations(sides, size, kinds, towards, not unpaired, split)


def write_real(held: HeldOut, folder: Path) -> None:
    """Write the real pictures into `folder`/real and the maps, where there are any, as file ids into `folder`/maps;
    each rank its share.

    Raises `PinxitError` where two have one name, or a file is wrong.
    """
    _require_names(held.names())
    _require_names(reals := held.real_names())
    for i in range(rank(), len(reals), world_size()):
        with replacing(folder / "real" / f"{reals[i]}.png") as temporary:
            held.real(i).save(temporary, format="PNG")
        if isinstance(held, Maps):
            ids = held.labels.ids_of(held.map(i))
            with replacing(folder / "maps" / f"{reals[i]}.png") as temporary:
                image = Image.fromarray(ids.astype(np.uint8 if ids.max() < 256 else np.uint16))
                image.save(temporary, format="PNG")


def write_painted(held: HeldOut, model: Any, folder: Path, seed: int) -> None:
    """Write what the model makes of each condition into `folder`, each rank its share; picture i in the style, or with
    the noise, of seed + i, whichever rank paints it."""
    names = held.names()
    for i in range(rank(), len(names), world_size()):
        with replacing(folder / f"{names[i]}.png") as temporary:
            held.painted(i, model, seed + i).save(temporary, format="PNG")


def _require_names(names: Sequence[str]) -> None:
    if twice := [name for name, number in Counter(names).items() if number > 1]:
        raise expected(
            f"name {twice[0]!r}", "given to several pictures", "one picture of each name", "rename the files"
        )


def _first(present: Sequence[str], data: Path) -> str:
    found = next((split for split in SPLITS if split in present), None)
    if found is None:
        there = ", ".join(present) or "none"
        raise expected(
            f"held-out split of data folder '{data}'",
            f"missing (splits: {there})",
            "one of " + ", ".join(SPLITS),
            "name another split, which the model was not trained on",
        )
    return found


def _some(items: Sequence[Any], most: int | None) -> list[Any]:
    """`most` of them, evenly spread."""
    number = len(items) if most is None else min(most, len(items))
    return [items[i * len(items) // number] for i in range(number)]


def _rgb(array: np.ndarray, kind: Kind) -> Image.Image:
    return Image.fromarray(array[..., 0] if kind.channels == 1 else np.ascontiguousarray(array)).convert("RGB")
