"""Windows of TIFF and .npy pictures, which need not fit into memory: read where they are asked for, written row by row.

`rasters.open_regions` and `rasters.write_regions` choose among these.

Of a TIFF with pages of several sizes (a pyramid, a thumbnail) the first is the picture. Pages of one size and one
channel each are the channels of one picture, but where tifffile wrote an array [H, W, C] as H pages: those are rows.
"""

from __future__ import annotations

import json
import logging
import math
import os
import struct
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile

from pinxit.data.kinds import DType
from pinxit.errors import PinxitError, expected
from pinxit.modelfile import replacing

MAX_SEGMENT = 1 << 30
"""Bytes of a strip or tile, decoded: that much memory even the smallest window of it takes."""

CACHE_BYTES = 384 << 20
"""Decoded strips and tiles that a reader keeps: a row of windows takes the same ones again and again."""

# tifffile logs what is odd about a file. What stops us is told in our words; the rest is not worth a line on a screen.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_WHITE_IS_ZERO, _PALETTE, _YCBCR = 0, 3, 6
_JPEGS = (6, 7, 33007, 34892)
_ORIENTATION = 274


class RegionReader:
    """Windows of a picture; use it in a `with` block."""

    orientation: int = 1
    """How the picture is stored, as the tag Orientation of TIFF and EXIF tells it; 1 is upright."""
    flat: bool = False
    """Whether it is an array [H, W], without an axis for its one channel."""

    def __init__(self, path: str | Path, height: int, width: int, channels: int, dtype: np.dtype) -> None:
        self.path, self.name = path, f"picture '{path}'"
        self.height, self.width, self.channels = height, width, channels
        self.dtype: DType = type_of(dtype, self.name)
        if min(height, width, channels) < 1:
            raise expected(self.name, f"{width}x{height} with {channels} channels", "at least one pixel", "remove it")

    def read(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """Rows y0..y1 and columns x0..x1, without the last -> [y1 - y0, x1 - x0, C] of `dtype`.

        Raises:
            PinxitError: the file is damaged there, or has values that are no numbers.
        """
        if not (0 <= y0 < y1 <= self.height and 0 <= x0 < x1 <= self.width):
            raise IndexError(f"rows {y0}..{y1}, columns {x0}..{x1} of a picture of {self.height}x{self.width}")
        with whatever_is_damaged(self.name):
            array = self.window(y0, y1, x0, x1)
        return tidy(array, self.name)

    def window(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """As `read`, of the number type that the file has."""
        raise NotImplementedError

    def close(self) -> None: ...

    def __enter__(self) -> RegionReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class NpyReader(RegionReader):
    """An array [H, W] or [H, W, C]."""

    def __init__(self, path: str | Path) -> None:
        name = f"picture '{path}'"
        self.file = Path(path).open("rb")  # noqa: SIM115 - the reader's own
        try:
            self.shape, self.columns_first, self.stored = _npy_header(self.file)
            self.flat = len(self.shape) == 2
            if len(self.shape) not in (2, 3):
                raise expected(name, f"of shape {list(self.shape)}", "[H, W] or [H, W, C]", "save it in this form")
            height, width, channels = (*self.shape, 1)[:3]
            super().__init__(path, height, width, channels, self.stored)
            self.offset = self.file.tell()
            _require_bytes(self.file, self.offset, math.prod(self.shape) * self.stored.itemsize)
        except BaseException:
            self.file.close()
            raise

    def window(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        if self.columns_first:
            mapped = np.memmap(self.file, self.stored, "r", self.offset, self.shape, "F")
            return np.array(mapped[y0:y1, x0:x1]).reshape(y1 - y0, x1 - x0, self.channels)
        return _run(self.file, self.offset, self.stored, self.width, self.channels, (y0, y1, x0, x1))

    def close(self) -> None:
        self.file.close()


class TiffReader(RegionReader):
    """Tiles, strips or one run of pixels; channels beside each other, in planes, or in pages."""

    def __init__(self, path: str | Path) -> None:
        name = f"picture '{path}'"
        self.file = Path(path).open("rb")  # noqa: SIM115 - the reader's own
        try:
            self.tiff = tifffile.TiffFile(self.file)
            self.pages, self.are_rows = _pages(self.tiff, name)
            page = self.pages[0]
            if page.dtype is None:
                raise ValueError(f"numbers of {page.bitspersample} bits, format {page.sampleformat}")
            planes, depth, height, width, beside = page.shaped
            if depth != 1:
                raise expected(name, "a volume", "one picture", "save each slice in a file of its own")
            if page.photometric == _YCBCR and page.compression not in _JPEGS:
                raise expected(name, "of YCbCr colours", "RGB", "convert it")
            self.stored = np.dtype(page.dtype)
            self.inverted = page.photometric == _WHITE_IS_ZERO and self.stored.kind in "bu"
            self.palette: np.ndarray | None = None
            channels = planes * beside * len(self.pages)
            if page.photometric == _PALETTE and page.colormap is not None:
                self.palette = np.ascontiguousarray((page.colormap >> 8).astype(np.uint8).T)
                channels = 3
            tag = page.tags.get(_ORIENTATION)
            self.orientation = tag.value if tag is not None and tag.value in range(2, 9) else 1
            self.cache: OrderedDict[tuple[int, int], np.ndarray | None] = OrderedDict()
            self.room = CACHE_BYTES
            size = (len(self.pages), height, width) if self.are_rows else (height, width, channels)
            super().__init__(path, *size, self.stored if self.palette is None else np.dtype(np.uint8))
        except BaseException:
            self.file.close()
            raise

    def window(self, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        if self.are_rows:
            return np.stack([self._of_page(page, x0, x1, 0, self.channels)[..., 0] for page in self.pages[y0:y1]])
        parts = [self._of_page(page, y0, y1, x0, x1) for page in self.pages]
        array = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)
        if self.palette is not None:
            return self.palette[array[..., 0]]
        if self.inverted and self.stored.kind == "b":
            return ~array
        if self.inverted:
            return self.stored.type((1 << self.pages[0].bitspersample) - 1) - array
        return array

    def _of_page(self, page: tifffile.TiffPage, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
        """[y1 - y0, x1 - x0, planes * channels beside each other]."""
        planes, _, length, width, beside = page.shaped
        offsets, counts = page.dataoffsets, page.databytecounts
        if page.is_final and not page.is_tiled:  # not compressed, and without gaps between the strips
            order = self.stored.newbyteorder(page.parent.byteorder)
            plane = length * width * beside * order.itemsize
            _require_bytes(self.file, offsets[0], planes * plane)
            starts = [offsets[0] + number * plane for number in range(planes)]
            parts = [_run(self.file, start, order, width, beside, (y0, y1, x0, x1)) for start in starts]
            return parts[0] if planes == 1 else np.concatenate(parts, axis=2)
        rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (min(page.rowsperstrip, length), width)
        down, across = math.ceil(length / rows), math.ceil(width / columns)
        if min(len(offsets), len(counts)) < planes * down * across:
            raise ValueError(f"{len(offsets)} strips or tiles of {planes * down * across}")
        if (size := rows * columns * beside * self.stored.itemsize) > MAX_SEGMENT:
            thing = f"a {'tile' if page.is_tiled else 'strip'} of {self.name}"
            raise expected(thing, f"{size >> 20:,} MB", f"at most {MAX_SEGMENT >> 20:,} MB", "save it in smaller tiles")
        out = np.zeros((y1 - y0, x1 - x0, planes, beside), self.stored)
        for plane in range(planes):
            for row in range(y0 // rows, (y1 - 1) // rows + 1):
                for column in range(x0 // columns, (x1 - 1) // columns + 1):
                    segment = self._segment(page, (plane * down + row) * across + column)
                    if segment is None:  # left out of the file: nothing but zeros
                        continue
                    top, left = row * rows, column * columns
                    bottom, right = min(top + segment.shape[0], y1), min(left + segment.shape[1], x1)
                    place = out[max(top, y0) - y0 : bottom - y0, max(left, x0) - x0 : right - x0, plane]
                    place[...] = segment[max(y0 - top, 0) : bottom - top, max(x0 - left, 0) : right - left]
        return out.reshape(y1 - y0, x1 - x0, planes * beside)

    def _segment(self, page: tifffile.TiffPage, index: int) -> np.ndarray | None:
        """A strip or tile [rows, columns, channels], out of the cache or decoded."""
        key = (page.index, index)
        if key in self.cache:
            self.cache.move_to_end(key)
            return self.cache[key]
        offset, count = page.dataoffsets[index], page.databytecounts[index]
        if offset == 0 or count == 0:
            return None
        _require_bytes(self.file, offset, count)
        self.file.seek(offset)
        data = self.file.read(count)  # before the rest, which tifffile may have to look up in the same file
        decoded = page.decode(data, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)[0]
        if decoded is None:
            return None
        segment = decoded[0]
        self.cache[key] = segment
        self.room -= segment.nbytes
        while self.room < 0:
            _, dropped = self.cache.popitem(last=False)
            self.room += 0 if dropped is None else dropped.nbytes
        return segment

    def close(self) -> None:
        self.tiff.close()
        self.file.close()


class RegionWriter:
    """A picture that is written row by row, from top to bottom. Use it in a `with` block: at its end the file is there.

    Until then it has a temporary name, so that an older file of its name stays whole where the writing is cut short.
    `flat`: a .npy of one channel is to be [H, W].
    """

    def __init__(self, path: Path, height: int, width: int, channels: int, dtype: DType, *, flat: bool = False) -> None:
        self.path, self.shape, self.dtype = path, (height, width, channels), np.dtype(dtype)
        self.flat = flat and channels == 1
        self.rows_written = 0
        self._replacing = replacing(path)
        self._file: BinaryIO | None = None

    def write_rows(self, rows: np.ndarray) -> None:
        """The next rows, [h, W, C] of the writer's number type."""
        end = self.rows_written + len(rows)
        if rows.shape[1:] != self.shape[1:] or rows.dtype != self.dtype or end > self.shape[0]:
            raise ValueError(f"rows {rows.shape} of {rows.dtype} up to {end}, for {self.shape} of {self.dtype}")
        self.put(rows)
        self.rows_written = end

    def begin(self) -> None:
        temporary = self._replacing.__enter__()
        if self.path.suffix.lower() == ".npy":
            self._file = temporary.open("wb")
            shape = self.shape[:2] if self.flat else self.shape
            header = {"descr": self.dtype.str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(self._file, header)
        else:
            offset = _begin_tiff(temporary, self.shape, self.dtype)
            self._file = temporary.open("r+b")
            self._file.seek(offset)

    def put(self, rows: np.ndarray) -> None:
        assert self._file is not None
        self._file.write(np.ascontiguousarray(rows).data)

    def end(self, error: BaseException | None) -> None:
        """Close the file, and give it its name unless there is an error."""
        try:
            if self._file is not None:
                self._file.close()  # what is buffered may find the disk full
        except OSError as refused:
            error = error or refused
        self._replacing.__exit__(type(error) if error else None, error, None)

    def __enter__(self) -> RegionWriter:
        try:
            self.begin()
        except BaseException as error:
            self.end(error)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None and self.rows_written < self.shape[0]:
            missing = ValueError(f"{self.rows_written} of {self.shape[0]} rows were written to '{self.path}'")
            self.end(missing)
            raise missing
        self.end(error)


@contextmanager
def whatever_is_damaged(name: str) -> Iterator[None]:
    """What tifffile, its decoders and numpy raise on a damaged file, which is of all sorts, becomes a `PinxitError`."""
    try:
        yield
    except PinxitError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the file system's: told elsewhere
        text = " ".join(str(error).split())[:120] or type(error).__name__
        if "imagecodecs" in text:
            got = f"compressed so that it needs imagecodecs ({text.partition(' requires')[0].strip('<>')})"
            raise expected(name, got, "no compression, or deflate", "run `pip install 'pinxit[tiff]'`") from error
        raise expected(name, f"damaged ({text})", "a whole picture", "copy or download it again") from error


def type_of(dtype: np.dtype, name: str) -> DType:
    """The number type that pictures stored as `dtype` get.

    Raises:
        PinxitError: none, since they are not real numbers; names the file.
    """
    if dtype.kind == "b" or dtype == np.uint8:
        return "uint8"
    if dtype.kind in "iu":
        return "uint16"
    if dtype.kind == "f":
        return "float32"
    raise expected(name, f"of number type {dtype}", "uint8, uint16 or float32", "convert it")


def tidy(array: np.ndarray, name: str) -> np.ndarray:
    """Pixels of any number type as uint8, uint16 or float32, contiguous.

    Raises:
        PinxitError: a value is not a number, or an integer that uint16 does not hold; names the file.
    """
    dtype = type_of(array.dtype, name)
    if array.dtype.kind == "b":
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):  # beyond float32 it becomes infinite, and is told so
            array = array.astype(dtype, copy=False)
        if wrong := array.size - np.count_nonzero(np.isfinite(array)):
            got = f"not a number or infinite in {wrong:,} of {array.size:,} values"
            raise expected(name, got, "numbers", "fill the gaps, or leave the file out")
    elif array.dtype.itemsize > 2 or array.dtype.kind == "i":
        low, high = int(array.min()), int(array.max())
        if low < 0 or high > 65535:
            got = f"{array.dtype} with values {low}..{high}"
            raise expected(name, got, "values 0..65535, or float", "convert it to uint16 or float32")
    return np.ascontiguousarray(array.astype(dtype, copy=False))


def _npy_header(file: BufferedReader) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether columns come first, and number type."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(file)
    # Pictures need no longer header. One that is said to be would be given its memory before a byte of it is read.
    if version != (2, 0) or struct.unpack("<I", file.peek(4)[:4])[0] > 1 << 16:
        raise ValueError(f"header of version {version}")
    return np.lib.format.read_array_header_2_0(file)


def _pages(tiff: tifffile.TiffFile, name: str) -> tuple[list[tifffile.TiffPage], bool]:
    """The pages that make up the picture, and whether they are its rows, [W, C] each."""
    found: list[tifffile.TiffPage] = []
    offsets: set[int] = set()
    for page in tiff.pages:
        assert isinstance(page, tifffile.TiffPage)
        if page.offset in offsets:
            raise ValueError("its pages go round in a circle")
        offsets.add(page.offset)
        if found and (page.is_reduced or page.is_mask):
            continue
        if found and (page.shaped, page.dtype) != (found[0].shaped, found[0].dtype):
            return found[:1], False
        found.append(page)
    if not found:
        raise ValueError("without a page")
    if len(found) == 1:
        return found, False
    planes, _, length, width, beside = found[0].shaped
    if planes * beside != 1 or found[0].photometric == _PALETTE:
        got = f"{len(found)} pages of colours"
        raise expected(name, got, "one picture a file", "save each page in a file of its own")
    description = found[0].shaped_description or ""
    if description.startswith("{") and json.loads(description)["shape"] == [len(found), length, width]:
        # tifffile's own array of three axes, without a word on which of them is the channels': the short one.
        return found, width < len(found) and (width <= 32 or 2 * width <= min(len(found), length))
    return found, False


def _run(
    file: BinaryIO, offset: int, dtype: np.dtype, width: int, channels: int, window: tuple[int, int, int, int]
) -> np.ndarray:
    """A window of the pixels [H, width, channels] that start at an offset. Not mapped: what is counts as memory."""
    y0, y1, x0, x1 = window
    out = np.empty((y1 - y0, x1 - x0, channels), dtype)
    for part, y in [(out, y0)] if x1 - x0 == width else zip(out, range(y0, y1), strict=True):
        file.seek(offset + (y * width + x0) * channels * dtype.itemsize)
        part[...] = np.fromfile(file, dtype, part.size).reshape(part.shape)
    return out


def _require_bytes(file: BinaryIO, offset: int, count: int) -> None:
    size = os.fstat(file.fileno()).st_size
    if offset < 0 or count < 0 or offset + count > size:
        raise ValueError(f"it ends early, after {size:,} of {offset + count:,} bytes")


def _begin_tiff(path: Path, shape: tuple[int, int, int], dtype: np.dtype) -> int:
    """Write the header of a TIFF whose pixels will follow in one run; -> where they start."""
    height, width, channels = shape
    colored = channels == 3 or (channels == 4 and dtype != np.float32)
    extra = channels - (3 if colored else 1)
    placed = tifffile.imwrite(
        path,
        shape=shape if channels > 1 else shape[:2],
        dtype=dtype,
        bigtiff=math.prod(shape) * dtype.itemsize > (1 << 32) - (1 << 25),
        photometric="rgb" if colored else "minisblack",
        planarconfig="contig" if channels > 1 else None,
        extrasamples=(["unassalpha"] if colored else ["unspecified"] * extra) if extra else None,
        rowsperstrip=min(height, max(1, (1 << 18) // (width * channels * dtype.itemsize))),
        metadata=None,
        returnoffset=True,
    )
    assert placed is not None
    return placed[0]
