"""Sets of pictures that are measured: files in a fixed order, known by a digest of what they hold."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import ExifTags, Image
from torch import Tensor

from pinxit.data.folders import by_name, natural
from pinxit.data.images import SUFFIXES, read_photo, reading
from pinxit.errors import expected


class Pictures(Sequence[Tensor]):
    """Pictures in files, in the natural order of their names; each is decoded when it is asked for.

    `set[i]`: uint8 [3, H, W], read as photos are (`read_photo`: upright, 16-bit grey scaled, over white where
    transparent), so that two sets stored in different formats are measured alike.

    `name`: what messages and tables call the set. `size`: (height, width) that every picture is brought to, by Pillow's
    antialiased bicubic filter and whatever its proportions; None leaves each as it is.
    """

    def __init__(self, files: Iterable[Path], name: str, *, size: tuple[int, int] | None = None) -> None:
        self.files = tuple(sorted(files, key=lambda file: (natural(file.name), str(file))))
        self.name, self.size = name, size

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, i: int) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride] - no slices
        photo = read_photo(self.files[i])
        if self.size is not None and (photo.height, photo.width) != self.size:
            height, width = self.size
            photo = photo.resize((width, height), Image.Resampling.BICUBIC)
        return torch.from_numpy(np.array(photo).transpose(2, 0, 1))

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the files' contents in their order, and of `size`: the same wherever the folder lies."""
        whole = hashlib.sha256()
        for file in self.files:
            with reading(f"photo '{file}'"), file.open("rb") as f:
                whole.update(hashlib.file_digest(f, "sha256").digest())
        if self.size is not None:
            whole.update("{}x{} bicubic".format(*self.size).encode())
        return whole.hexdigest()

    def sizes(self) -> list[tuple[int, int]]:
        """(height, width) of each picture as it is given out, from the files' headers.

        Raises:
            PinxitError: a file is missing, or no picture.
        """
        return [self.size or _size(file) for file in self.files]

    def one_size(self) -> tuple[int, int]:
        """The (height, width) of every picture.

        Raises:
            PinxitError: they differ, which no published protocol of a set's statistics allows for; or as `sizes`.
        """
        counts = Counter(self.sizes())
        if len(counts) > 1:
            (common, number), *others = counts.most_common()
            got = f"{_text(common)} for {number} and {_text(others[0][0])} for {others[0][1]}"
            more = f" and {len(others) - 1} more sizes" if len(others) > 1 else ""
            remedy = "give --size to bring all to one, or choose those of one size"
            raise expected(f"size of the pictures in {self.name}", got + more, "one for all (width x height)", remedy)
        return next(iter(counts))


def pictures(
    source: str | Path | Sequence[Path], *, name: str, least: int = 2, size: tuple[int, int] | None = None
) -> Pictures:
    """The pictures in a folder (not in folders below it), or in the files given.

    `name`: what messages call the set, such as `real pictures`. `least`: how many a measure needs. `size`: see
    `Pictures`.

    Raises:
        PinxitError: the folder or a file is missing, a file's suffix is not that of a picture, or there are fewer than
            `least`.
    """
    if isinstance(source, str | Path):
        folder = Path(source)
        if not folder.is_dir():
            got = "a file" if folder.is_file() else "missing"
            raise expected(f"folder '{folder}' of {name}", got, "a folder of pictures", "check the path")
        files = [file for file in folder.iterdir() if _is_picture(file) and file.is_file()]
        where = f" in '{folder}'"
        if not files and (below := {file.parent for file in folder.glob("*/*") if _is_picture(file)}):
            near = f"name one of the folders below it, such as '{min(below).name}'"
            raise expected(f"folder '{folder}' of {name}", "without pictures of its own", "some", near)
    else:
        files, where = list(source), ""
        for file in files:
            if not file.is_file():
                raise expected(f"'{file}' of {name}", "missing", "a picture file", "check the path")
            if not _is_picture(file):
                want = "a picture (" + ", ".join(SUFFIXES) + ")"
                raise expected(f"'{file}' of {name}", "of another kind", want, "convert or leave it out")
    if len(files) < least:
        raise expected(f"number of {name}{where}", len(files), f"at least {least}", "add more, or check the path")
    return Pictures(files, name, size=size)


def pairs(a: Pictures, b: Pictures) -> list[tuple[int, int]]:
    """Positions in `a` and in `b` of the pictures whose file names are the same but for the suffix, in `a`'s order.

    Raises:
        PinxitError: a picture has no counterpart, or two of a set have one name.
    """
    in_a, in_b = (by_name(x.files, lambda file: file.stem) for x in (a, b))
    for mine, theirs, of, other in ((in_a, in_b, a, b), (in_b, in_a, b, a)):
        alone = [mine[stem] for stem in mine if stem not in theirs]
        if alone:
            more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
            got = f"without a picture of its name among {other.name}"
            want = "pairs of equal names, suffixes aside"
            raise expected(f"'{alone[0]}'{more} of {of.name}", got, want, "rename or remove what has no counterpart")
    places = {file: i for i, file in enumerate(b.files)}
    return [(i, places[in_b[file.stem]]) for i, file in enumerate(a.files)]


def _is_picture(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


def _size(file: Path) -> tuple[int, int]:
    with reading(f"photo '{file}'"), Image.open(file) as image:
        if image.format == "TIFF":
            image.load()  # which turns it; before, versions of Pillow differ in whose size they tell
        width, height = image.size
        # Of a PNG without EXIF ahead of its pixels Pillow would decode these to look behind them.
        exif = {} if image.format == "PNG" and "exif" not in image.info else image.getexif()
        return (width, height) if exif.get(ExifTags.Base.Orientation, 1) in range(5, 9) else (height, width)


def _text(size: tuple[int, int]) -> str:
    return f"{size[1]}x{size[0]}"
