"""Picture files to arrays and back: photos of any kind, label maps, instance maps."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from pinxit.data.labels import LabelSet
from pinxit.errors import PinxitError, expected

MAX_PIXELS = 1 << 26
"""Pictures of more pixels (8192 x 8192) are refused: a damaged or hostile header must not fill the memory."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm")
"""What counts as a picture in a folder, in lower case."""

# In this order of operations, since the results then equal the official codes' to the last bit.
_UNIT = ((np.arange(256, dtype=np.float32) / np.float32(255)) - np.float32(0.5)) / np.float32(0.5)

_SIXTEEN_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


def read_photo(path: str | Path) -> Image.Image:
    """A photo as 8-bit RGB, upright.

    EXIF orientation is applied. 16-bit grey is scaled, not clipped; float grey is taken as 0..1, or as 0..255 if it
    exceeds 1; what is transparent shows white; of an animation the first frame is read.

    Raises:
        PinxitError: the file is missing, is no picture, is damaged, is too large, or holds values that are no grey.
    """
    image = decoded(path, "photo")
    if image.mode in (*_SIXTEEN_BIT, "I", "F"):
        image = Image.fromarray(_eight_bit(np.asarray(image), path))
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("RGB")


def remarks(path: str | Path) -> list[str]:
    """What `read_photo` did to a photo of an unusual kind, a line each; for a file that it has read."""
    told = []
    with Image.open(path) as image:
        if image.mode in ("I", "F") or any(";16" in str(tile.args) for tile in image.tile):
            told.append("has more than 8 bits a channel; they are scaled to 8")
        if image.has_transparency_data:
            told.append("has an alpha channel; it is shown over white")
        if image.mode == "CMYK":
            told.append("is CMYK, as for print; it is converted to RGB without its colour profile")
        if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
            told.append("is stored turned or mirrored, as its EXIF says; it is turned upright")
        if (frames := _frames(image)) > 1:
            told.append(f"has {frames} frames; the first is taken")
    return [f"'{path}' {text}" for text in told]


def read_map(path: str | Path, labels: LabelSet) -> np.ndarray:
    """A label map as int64 [H, W] indices of `labels`: one-channel pictures hold ids, RGB ones the set's colours.

    The index of a palette picture is the id. Wholly transparent pixels count as black.

    Raises:
        PinxitError: as `read_photo`; the map is a JPEG; or an id or a colour is not in the set.
    """
    raw = read_raw_map(path)
    return labels.from_colors(raw, str(path)) if raw.ndim == 3 else labels.index_of(raw, str(path))


def read_raw_map(path: str | Path) -> np.ndarray:
    """A label map as the file has it: ids [H, W] or colours uint8 [H, W, 3].

    Raises:
        PinxitError: as `read_photo`, or the map is a JPEG.
    """
    image = decoded(path, "label map", lossless=True)
    match image.mode:
        case "1":
            return np.array(image, np.uint8)
        case "L" | "P" | "I" | "RGB" | "I;16" | "I;16L" | "I;16B" | "I;16N":
            return np.array(image)
        case "LA" | "PA":
            return np.array(image)[..., 0]
        case "RGBA":
            pixels = np.array(image)
            pixels[pixels[..., 3] == 0] = 0
            return pixels[..., :3]
        case mode:
            raise expected(f"label map '{path}'", f"of mode {mode}", "one channel of ids, or RGB colours", "convert it")


def read_instances(path: str | Path) -> np.ndarray:
    """An instance map as int64 [H, W]; of RGB the panoptic id R + 256 G + 65536 B is taken.

    Raises:
        PinxitError: as `read_photo`, or the map is a JPEG.
    """
    image = decoded(path, "instance map", lossless=True)
    if image.mode in ("RGB", "RGBA"):
        pixels = np.array(image).astype(np.int64)
        return pixels[..., 0] + 256 * pixels[..., 1] + 65536 * pixels[..., 2]
    if image.mode in ("1", "L", "P", "I", *_SIXTEEN_BIT):
        return np.array(image).astype(np.int64)
    raise expected(f"instance map '{path}'", f"of mode {image.mode}", "one channel of ids, or RGB", "convert it")


def to_tensor(photo: Image.Image) -> Tensor:
    """An RGB picture to float32 [3, H, W] in [-1, 1]."""
    return torch.from_numpy(to_array(photo))


def to_array(photo: Image.Image) -> np.ndarray:
    """As `to_tensor`, without torch."""
    return _UNIT[np.ascontiguousarray(np.asarray(photo.convert("RGB")).transpose(2, 0, 1))]


def to_image(picture: Tensor) -> Image.Image:
    """[3, H, W] in [-1, 1] to an RGB picture, rounded to the nearest of 0..255; values beyond are clipped."""
    pixels = picture.detach().to("cpu", torch.float32).add(1).mul(127.5).round().clamp(0, 255).to(torch.uint8)
    return Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy())


def require_size(path: Path, size: tuple[int, ...], label: Path, want: tuple[int, ...]) -> None:
    """That a photo or an instance map has the (height, width) of its label map.

    Raises:
        PinxitError: it has another.
    """
    if size != want:
        raise expected(
            f"size of '{path}'",
            f"{size[1]}x{size[0]}",
            f"{want[1]}x{want[0]} (width x height) as its label map '{label}' has",
            "resize one of them, or check that they belong together",
        )


def decoded(path: str | Path, thing: str, *, lossless: bool = False) -> Image.Image:
    """A picture in memory, of the mode that its file has, upright; `thing` is what messages call it.

    Raises:
        PinxitError: the file is missing, is no picture, is damaged, is too large, or `lossless` and a JPEG.
    """
    name = f"{thing} '{path}'"
    with reading(name), Image.open(path) as image:
        if lossless and image.format == "JPEG":
            raise expected(name, "a JPEG, which blurs ids", "a PNG", "make it anew without lossy compression")
        if image.width * image.height > MAX_PIXELS:
            raise too_large(name, f"{image.width}x{image.height} pixels")
        return ImageOps.exif_transpose(image)


@contextmanager
def reading(name: str) -> Iterator[None]:
    """Within the block, what the file system and Pillow raise becomes a `PinxitError` about the file called `name`."""
    try:
        yield
    except PinxitError:
        raise
    except FileNotFoundError as error:
        raise expected(name, "missing", "a picture file", "check the path") from error
    except UnidentifiedImageError as error:
        raise expected(name, "not a picture", "one of " + ", ".join(SUFFIXES), "convert or remove it") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise too_large(name, "larger") from error
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        # Pillow tells of damage in all these ways; the refusals of the file system are OSErrors with a number.
        if isinstance(error, OSError) and error.errno is not None:
            remedy = "check its kind and rights"
            raise expected(name, f"unreadable ({error.strerror})", "a picture file", remedy) from error
        raise expected(name, f"damaged ({error})", "a whole picture", "copy or download it again") from error


def _frames(image: Image.Image) -> int:
    """Pictures in an open file; 1 where those behind the first are damaged, so that nobody can count them."""
    try:
        return getattr(image, "n_frames", 1)
    except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error):
        return 1


def too_large(name: str, got: str) -> PinxitError:
    """The message about a picture of more than `MAX_PIXELS`."""
    return expected(name, got, f"at most {MAX_PIXELS:,} pixels", "make it smaller")


def _eight_bit(grey: np.ndarray, path: str | Path) -> np.ndarray:
    """16-bit, 32-bit or float grey to uint8."""
    low, high = float(grey.min()), float(grey.max())
    if grey.dtype.kind == "f":
        if not (0 <= low <= high <= 255):  # also where a value is not a number
            raise expected(f"photo '{path}'", f"of values {low:g}..{high:g}", "0..1 or 0..255", "scale it first")
        return np.round(grey * (255 if high <= 1 else 1)).astype(np.uint8)
    if low < 0 or high > 65535:
        raise expected(f"photo '{path}'", f"of values {low:g}..{high:g}", "0..65535", "scale it first")
    return np.round(grey.astype(np.float64) * (255 / 65535)).astype(np.uint8)
