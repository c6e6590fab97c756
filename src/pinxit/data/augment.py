"""The preprocess modes of the official SPADE code, as pure functions of a picture and an explicit random generator.

Maps are resized by Pillow's NEAREST and photos by its BICUBIC, so that pixels agree with the official code. Departures:

- `scale_shortside` scales the shorter side to `load_size`; the official code leaves that side as it was and distorts.
- A crop may be oblong. `resize_and_crop` then resizes to `load_size` on the crop's shorter side, in the crop's aspect.
- A picture smaller than the crop is refused; the official code pads it with label 0 and grey.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from pinxit.data.modes import Mode
from pinxit.errors import expected


@dataclass(frozen=True)
class Preprocess:
    """How a picture of any size becomes one to train on."""

    mode: Mode = "resize_and_crop"
    """How the picture is scaled: to a square, not at all, by its width or its shorter side; and whether a part of it
    is then cut out. `fixed` scales to `size`, `none` to the nearest multiples of `multiple`."""
    load_size: int = 286
    """Pixels that the scaled side gets before the crop; unused by crop, fixed and none."""
    size: tuple[int, int] = (256, 256)
    """Height and width of the crop, or of the result where mode is fixed."""
    flip: bool = True
    """Mirror every second picture, on average."""
    multiple: int = 32
    """What `none` rounds the sides to multiples of."""

    def __post_init__(self) -> None:
        if min(self.size) < 1 or self.load_size < 1:
            raise expected("size or load_size", f"{self.size}, {self.load_size}", "1 or more", "correct it")
        if self.mode == "resize_and_crop" and self.load_size < min(self.size):
            raise expected(
                "load_size", self.load_size, f"{min(self.size)} or more, the crop's shorter side", "enlarge it"
            )

    @property
    def crops(self) -> bool:
        return "crop" in self.mode

    def still(self) -> Preprocess:
        """The same without chance, for validation: no flip, and for `resize_and_crop` the whole picture, not a crop."""
        return replace(self, flip=False, load_size=min(self.size) if self.mode == "resize_and_crop" else self.load_size)

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """The height and width that a picture has after `resize`, before the crop."""
        match self.mode:
            case "resize_and_crop":
                short = min(self.size)
                return round(self.load_size * self.size[0] / short), round(self.load_size * self.size[1] / short)
            case "scale_width" | "scale_width_and_crop":
                return max(1, int(self.load_size * height / width)), self.load_size
            case "scale_shortside" | "scale_shortside_and_crop":
                if width <= height:
                    return int(self.load_size * height / width), self.load_size
                return self.load_size, int(self.load_size * width / height)
            case "fixed":
                return self.size
            case "none":
                step = self.multiple
                return max(step, round(height / step) * step), max(step, round(width / step) * step)
            case "crop":
                return height, width


class Picture(NamedTuple):
    """One item in memory; its parts have one height and width."""

    map: np.ndarray
    """Indices [H, W], of any integer type."""
    photo: Image.Image | None
    instances: np.ndarray | None
    """Instance ids [H, W], of any integer type."""


def resize(picture: Picture, preprocess: Preprocess) -> Picture:
    """The picture at the size `preprocess` says, before the crop; has no part in chance."""
    size = preprocess.resized(*picture.map.shape)
    if size == picture.map.shape:
        return picture
    height, width = size
    return Picture(
        _nearest(picture.map, height, width),
        picture.photo and picture.photo.resize((width, height), Image.Resampling.BICUBIC),
        None if picture.instances is None else _nearest(picture.instances, height, width),
    )


def vary(picture: Picture, preprocess: Preprocess, random: np.random.Generator | None, source: str) -> Picture:
    """Crop and flip a resized picture: by chance, or in the middle and unflipped where `random` is None.

    Raises:
        PinxitError: the picture is smaller than the crop; names `source`.
    """
    place = place_of((picture.map.shape[0], picture.map.shape[1]), preprocess, random, source)
    if preprocess.crops:
        picture = crop(picture, place.top, place.left, place.height, place.width)
    return flip(picture) if place.flipped else picture


class Place(NamedTuple):
    """What is cut out of a resized picture, and whether it is then mirrored."""

    top: int
    left: int
    height: int
    width: int
    flipped: bool


def place_of(size: tuple[int, int], preprocess: Preprocess, random: np.random.Generator | None, source: str) -> Place:
    """The crop and flip of a picture of a `size` (height, width), as `vary`, for what is no `Picture`."""
    top, left, (height, width) = 0, 0, size
    if preprocess.crops:
        height, width = preprocess.size
        rows, columns = size[0] - height, size[1] - width
        if rows < 0 or columns < 0:
            got = f"{size[0]}x{size[1]} (height x width) before the crop"
            raise expected(
                f"picture '{source}'", got, f"at least {height}x{width}", "choose preprocess fixed or resize_and_crop"
            )
        left = columns // 2 if random is None else int(random.integers(columns + 1))
        top = rows // 2 if random is None else int(random.integers(rows + 1))
    return Place(top, left, height, width, preprocess.flip and random is not None and random.random() > 0.5)


def crop(picture: Picture, top: int, left: int, height: int, width: int) -> Picture:
    box = (left, top, left + width, top + height)
    return _each(picture, lambda ids: ids[top : top + height, left : left + width], lambda photo: photo.crop(box))


def flip(picture: Picture) -> Picture:
    """Left and right exchanged, in all parts."""
    return _each(picture, lambda ids: ids[:, ::-1], lambda photo: photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


def _each(
    picture: Picture, on_ids: Callable[[np.ndarray], np.ndarray], on_photo: Callable[[Image.Image], Image.Image]
) -> Picture:
    return Picture(
        on_ids(picture.map),
        picture.photo and on_photo(picture.photo),
        None if picture.instances is None else on_ids(picture.instances),
    )


def _nearest(ids: np.ndarray, height: int, width: int) -> np.ndarray:
    # Mode I (int32) holds 16-bit instances and panoptic ids, which are below 2^24.
    return np.asarray(Image.fromarray(ids.astype(np.int32)).resize((width, height), Image.Resampling.NEAREST)).astype(
        ids.dtype
    )
