"""Pictures of any number of channels, 8 or 16 bit or float, as PNG, JPEG, TIFF or .npy: read and written losslessly.

An array is [H, W, C] of uint8, uint16 or float32, upright, its values as the file has them, except that

- float64 is rounded to float32, which is what networks compute in; other integers become uint16 where they fit;
- one bit becomes 0 and 255, and a palette its RGB colours, over white where they are transparent;
- a scan that stores white as 0 is inverted, and a CMYK photo becomes RGB, as Pillow shows them.

What pages of a TIFF are taken for is told in `regions`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image

from pinxit.data import png16
from pinxit.data.images import MAX_PIXELS, decoded, reading, too_large
from pinxit.data.images import SUFFIXES as PHOTO_SUFFIXES
from pinxit.data.kinds import FULL, DType
from pinxit.data.kinds import Kind as Kind  # configurations, which import nothing heavy, take it from `kinds`
from pinxit.data.regions import NpyReader, RegionReader, RegionWriter, TiffReader, whatever_is_damaged
from pinxit.errors import expected
from pinxit.modelfile import replacing

SUFFIXES = (*PHOTO_SUFFIXES, ".npy")
"""What counts as a picture of a side, in lower case."""

MAX_VALUES = 8 * MAX_PIXELS
"""Channels times pixels that are read at once, as `MAX_PIXELS`."""

_BY_REGION = (".tif", ".tiff", ".npy")

_WRITABLE: dict[str, dict[str, tuple[int, ...]]] = {
    ".png": {"uint8": (1, 2, 3, 4), "uint16": (1, 2, 3, 4)},
    ".jpg": {"uint8": (1, 3)},
    ".jpeg": {"uint8": (1, 3)},
    ".webp": {"uint8": (3, 4)},
    ".bmp": {"uint8": (1, 3)},
}
"""Channels that each format holds, by number type; TIFF and .npy hold any."""


class Info(NamedTuple):
    """What the header of a file tells of its picture."""

    height: int
    width: int
    channels: int
    dtype: DType

    def __str__(self) -> str:
        return f"{self.channels}-channel {self.dtype}"


def read_raster(path: str | Path) -> np.ndarray:
    """The picture in a file as [H, W, C] of uint8, uint16 or float32; EXIF orientation is applied.

    Raises:
        PinxitError: the file is missing, is no picture, is damaged, is too large, or holds values that are no numbers.
    """
    with _opened(path) as reader:
        _require_memory(reader.name, reader.height, reader.width, reader.channels)
        with reading(reader.name):
            array = reader.read(0, reader.height, 0, reader.width)
        if isinstance(reader, TiffReader):  # of other files Pillow has turned it
            if reader.orientation >= 5:
                array = array.transpose(1, 0, 2)
            if reader.orientation in (3, 4, 7, 8):
                array = array[::-1]
            if reader.orientation in (2, 3, 6, 7):
                array = array[:, ::-1]
        return np.ascontiguousarray(array)


def raster_info(path: str | Path) -> Info:
    """Height, width, channels and number type, from the header alone.

    Raises:
        PinxitError: as `read_raster`, as far as the header tells.
    """
    if Path(path).suffix.lower() in _BY_REGION:
        with _opened(path) as reader:
            height, width = reader.height, reader.width
            channels, dtype, turned = reader.channels, reader.dtype, reader.orientation >= 5
    else:
        with reading(f"picture '{path}'"), Image.open(path) as image:
            width, height = image.size
            if deep := png16.channels_of(path):
                channels, dtype, turned = deep, "uint16", False
            else:
                channels, dtype = _of_mode(image.mode, path)
                # Of a PNG without EXIF ahead of its pixels Pillow would decode these to look behind them.
                exif = {} if image.format == "PNG" and "exif" not in image.info else image.getexif()
                turned = exif.get(ExifTags.Base.Orientation, 1) in range(5, 9)
        _require_memory(f"picture '{path}'", height, width, channels)
    return Info(width, height, channels, dtype) if turned else Info(height, width, channels, dtype)


def write_raster(path: str | Path, array: np.ndarray, *, flat: bool = False) -> None:
    """Write [H, W, C] of uint8, uint16 or float32; the suffix says in which format.

    All but .jpg, of quality 95, keep each value. An older file stays whole on failure. `flat`: see `write_regions`.

    Raises:
        PinxitError: the format has no such pictures, or the disk refuses.
    """
    if array.ndim != 3 or array.size == 0:
        raise expected(f"picture for '{path}'", f"of shape {array.shape}", "[H, W, C]", "give an array of pixels")
    height, width, channels = array.shape
    dtype: DType = str(array.dtype)  # pyright: ignore[reportAssignmentType]
    with write_regions(path, height, width, channels, dtype, flat=flat) as writer:
        writer.write_rows(array)


def to_unit(array: np.ndarray, kind: Kind) -> np.ndarray:
    """[H, W, C] of `kind` -> float32 [C, H, W] in [-1, 1]; values beyond the kind's range are clipped."""
    channels = np.moveaxis(array, 2, 0)
    if kind.dtype != "float32":
        return _units(kind)[np.ascontiguousarray(channels)]
    result = np.empty(channels.shape, np.float32)
    for values, unit in zip(channels, result, strict=True):  # one by one: float64 takes twice the memory
        unit[...] = np.clip((values.astype(np.float64) - kind.low) / (kind.high - kind.low) * 2 - 1, -1, 1)
    return result


def from_unit(x: np.ndarray, kind: Kind) -> np.ndarray:
    """[C, H, W] -> [H, W, C] of `kind`, values beyond [-1, 1] clipped, integers rounded to the nearest.

    Raises:
        PinxitError: a value is not a number.
    """
    half = (kind.high - kind.low) / 2
    result = np.empty((*x.shape[1:], x.shape[0]), kind.dtype)
    for channel, unit in enumerate(x):
        if np.isnan(unit).any():
            raise expected("the model's picture", "not a number in places", "numbers", "use another model")
        # In this order of operations, and 8 bits in float32, the result is that of `images.to_image` to the last bit.
        values = (unit if kind.dtype == "uint8" else unit.astype(np.float64)) + 1
        values = np.clip(values * half + kind.low, kind.low, kind.high)
        result[..., channel] = values if kind.dtype == "float32" else np.round(values)
    return result


def kind_of(paths: Sequence[str | Path], range: tuple[float, float] | None = None) -> Kind:
    """The one kind of the pictures in `paths`.

    Its range is the one given; else that of the integer type, or the smallest and largest value of all float files,
    which are then all read. Grey 8-bit pictures among RGB ones pass for RGB: see `read_as`.

    Raises:
        PinxitError: there are none; they differ in channels or in number type; float ones have one value all over; or
            as `read_raster`.
    """
    if not paths:
        raise expected("the list of pictures", "empty", "one or more", "check the data folder")
    with ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 1)) as pool:
        found = list(pool.map(raster_info, paths))
        first = found[0]
        if not may_be_one(found):
            path, other = next((p, info) for p, info in zip(paths, found, strict=True) if info[2:] != first[2:])
            want = f"{first} as '{paths[0]}' is"
            raise expected(f"picture '{path}'", other, want, "convert one of them, or keep one kind in a folder")
        channels = max(info.channels for info in found)
        if range is not None or first.dtype != "float32":
            low, high = FULL[first.dtype] if range is None else range
            return Kind(channels, first.dtype, float(low), float(high))
        lows, highs = zip(*pool.map(_extremes, paths), strict=True)
    low, high = min(lows), max(highs)
    if low == high:
        thing = f"value of the float pictures at '{Path(paths[0]).parent}'"
        raise expected(thing, f"{low:g} all over", "several", "give their range, low and high")
    return Kind(channels, "float32", low, high)


def may_be_one(found: Sequence[Info]) -> bool:
    """Whether pictures can be of one kind: equal channels and number type, or 8-bit grey and RGB."""
    kinds = {(info.channels, info.dtype) for info in found}
    return len(kinds) == 1 or kinds == {(1, "uint8"), (3, "uint8")}


def read_as(path: str | Path, kind: Kind, *, grey_as_rgb: bool = False) -> np.ndarray:
    """As `read_raster`, for a picture that must be of a kind.

    `grey_as_rgb`: where 8-bit RGB is wanted and the picture is grey, its channel is repeated.

    Raises:
        PinxitError: it has other channels or another number type; or as `read_raster`.
    """
    array = read_raster(path)
    if grey_as_rgb and array.dtype == np.uint8 and (array.shape[2], kind.channels, kind.dtype) == (1, 3, "uint8"):
        return np.repeat(array, 3, axis=2)
    height, width, channels = array.shape
    require_kind(path, Info(height, width, channels, str(array.dtype)), kind)  # pyright: ignore[reportArgumentType]
    return array


def require_kind(path: str | Path, found: Info, kind: Kind) -> None:
    """That the picture in `path` has the channels and the number type of `kind`.

    Raises:
        PinxitError: it has not.
    """
    if (found.channels, found.dtype) != (kind.channels, kind.dtype):
        want = f"{kind.channels}-channel {kind.dtype}"
        raise expected(f"picture '{path}'", found, want, "convert it, or use a model made for such pictures")


def open_regions(path: str | Path) -> RegionReader:
    """A reader of windows: of TIFF and .npy, of any size, it reads what a window needs; others it decodes whole.

    Raises:
        PinxitError: as `read_raster`; or a TIFF is stored turned or mirrored.
    """
    reader = _opened(path)
    if isinstance(reader, TiffReader) and reader.orientation != 1:
        reader.close()
        got = f"stored turned or mirrored (orientation {reader.orientation})"
        raise expected(reader.name, got, "upright to be read in parts", "save it upright, or read it whole")
    return reader


def write_regions(
    path: str | Path, height: int, width: int, channels: int, dtype: DType, *, flat: bool = False
) -> RegionWriter:
    """A writer of rows: TIFF and .npy of any size go to the disk as they come; other formats are kept until the end.

    TIFFs are neither compressed nor tiled, so that any program reads them, and are BigTIFF beyond 4 GB. A .npy is
    [H, W, C], or, where that is one channel and `flat`, [H, W].

    Raises:
        PinxitError: the format has no such pictures.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if dtype not in ("uint8", "uint16", "float32"):
        raise expected(f"picture for '{path}'", f"of number type {dtype}", "uint8, uint16 or float32", "convert it")
    if suffix in _BY_REGION:
        return RegionWriter(path, height, width, channels, dtype, flat=flat)
    if suffix not in _WRITABLE:
        raise expected(f"suffix of '{path}'", repr(suffix), ", ".join((*_WRITABLE, ".tif", ".npy")), "name another")
    if channels not in _WRITABLE[suffix].get(dtype, ()):
        what = f"{channels}-channel {dtype} picture"
        raise expected(f"format of '{path}'", suffix, f".tif or .npy for a {what}", "name it so")
    if height * width > MAX_PIXELS:
        got = f"{suffix} for {width}x{height} pixels"
        raise expected(f"format of '{path}'", got, f".tif or .npy beyond {MAX_PIXELS:,}", "name it so")
    return _WholeWriter(path, height, width, channels, dtype)


class _WholeReader(RegionReader):
    """What Pillow decodes: all of it, when it is opened."""

    def __init__(self, path: str | Path) -> None:
        if png16.channels_of(path):
            self.pixels = png16.read(path, f"picture '{path}'")
        else:
            self.pixels = _from_pillow(path)
        height, width, channels = self.pixels.shape
        super().__init__(path, height, width, channels, self.pixels.dtype)

    def window(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        return self.pixels[y0:y1, x0:x1]


class _WholeWriter(RegionWriter):
    """What Pillow encodes: all of it, at the end."""

    def begin(self) -> None:
        self.pixels = np.empty(self.shape, self.dtype)

    def put(self, rows: np.ndarray) -> None:
        self.pixels[self.rows_written : self.rows_written + len(rows)] = rows

    def end(self, error: BaseException | None) -> None:
        if error is not None:
            return
        with replacing(self.path) as temporary:
            if self.dtype == np.uint16 and self.shape[2] > 1:
                temporary.write_bytes(png16.encode(self.pixels))
                return
            image = Image.fromarray(self.pixels[..., 0] if self.shape[2] == 1 else self.pixels)
            match self.path.suffix.lower():
                case ".png":
                    image.save(temporary, "PNG")
                case ".webp":
                    image.save(temporary, "WEBP", lossless=True, exact=True)
                case ".bmp":
                    image.save(temporary, "BMP")
                case _:
                    image.save(temporary, "JPEG", quality=95, subsampling=0)


def _opened(path: str | Path) -> RegionReader:
    name = f"picture '{path}'"
    with reading(name), whatever_is_damaged(name):
        match Path(path).suffix.lower():
            case ".npy":
                return NpyReader(path)
            case ".tif" | ".tiff":
                return TiffReader(path)
    with reading(name):
        return _WholeReader(path)


def _require_memory(name: str, height: int, width: int, channels: int) -> None:
    if height * width > MAX_PIXELS:
        raise too_large(name, f"{width}x{height} pixels")
    if height * width * channels > MAX_VALUES:
        got = f"{width}x{height} pixels of {channels} channels"
        raise expected(name, got, f"at most {MAX_VALUES:,} values", "make it smaller")


def _of_mode(mode: str, path: str | Path) -> tuple[int, DType]:
    """Channels and number type that `_from_pillow` gives for a mode of Pillow's."""
    match mode:
        case "1" | "L":
            return 1, "uint8"
        case "LA":
            return 2, "uint8"
        case "RGB" | "P" | "PA" | "CMYK" | "YCbCr":
            return 3, "uint8"
        case "RGBA":
            return 4, "uint8"
        case "I" | "I;16" | "I;16L" | "I;16B" | "I;16N":
            return 1, "uint16"
        case "F":
            return 1, "float32"
    raise expected(f"picture '{path}'", f"of mode {mode}", "grey, RGB, RGBA or a palette", "convert it")


def _from_pillow(path: str | Path) -> np.ndarray:
    image = decoded(path, "picture")
    _of_mode(image.mode, path)
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    elif image.mode in ("CMYK", "YCbCr"):
        image = image.convert("RGB")
    array = np.asarray(image)
    return array.reshape(image.height, image.width, -1)


def _extremes(path: str | Path) -> tuple[float, float]:
    array = read_raster(path)
    return float(array.min()), float(array.max())


@lru_cache(maxsize=8)
def _units(kind: Kind) -> np.ndarray:
    """What each value of an integer kind becomes. The order of operations is that of `images.to_array`."""
    values = np.arange(int(FULL[kind.dtype][1]) + 1, dtype=np.float32)
    low, span, half = np.float32(kind.low), np.float32(kind.high - kind.low), np.float32(0.5)
    return np.clip(((values - low) / span - half) / half, -1, 1)
