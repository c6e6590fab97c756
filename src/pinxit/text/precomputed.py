"""Embeddings that others computed, in the pickles that StackGAN's authors published (Zhang et al. 2017).

In a folder for each split: `char-CNN-RNN-embeddings.pickle`, a list with an array [captions, 1024] for each picture;
`filenames.pickle`, the pictures' names in the same order; `class_info.pickle`, the numbers of their classes.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pinxit.errors import PinxitError, expected
from pinxit.text.pickles import read_pickle

EMBEDDINGS = ("char-CNN-RNN-embeddings.pickle", "char-CNN-GRU-embeddings.pickle", "skip-thought-embeddings.pickle")
"""Names of the file with embeddings, as the authors' code knows them; the first that is there is read."""


@dataclass(frozen=True)
class Precomputed:
    """What the pickles of one split hold."""

    rows: Mapping[str, Tensor]
    """Name of a picture as the files have it (no suffix; `002.Laysan_Albatross/Laysan_Albatross_0002_1027`) ->
    float32 [captions, width]."""
    classes: Mapping[str, int]
    """Name of a picture -> its class' number; empty where there is no class_info.pickle."""
    width: int
    """Numbers of an embedding."""
    digest: str
    """SHA-256 of the embeddings' file."""

    def of(self, photos: Sequence[Path]) -> list[Tensor]:
        """For each photo its embeddings [captions, width], by as many of its last folders as the files have.

        Raises `PinxitError` for a photo that has none.
        """
        found: list[Tensor] = []
        for photo in photos:
            parts = (*photo.parts[:-1], photo.stem)
            # The photo's suffix may be in the files, too.
            names = ["/".join((*parts[i:-1], last)) for i in range(len(parts)) for last in (photo.stem, photo.name)]
            rows = next((self.rows[name] for name in names if name in self.rows), None)
            if rows is None:
                want = f"one of the {len(self.rows)} that the embeddings are of, as '{next(iter(self.rows))}'"
                raise expected(f"photo '{photo}'", "without embeddings", want, "give those of this split and data set")
            found.append(rows)
        return found


def read_precomputed(folder: Path, *, width: int | None = None) -> Precomputed:
    """The pickles in `folder`, of Python 2 or 3, read without an unpickler.

    `width`: of the embeddings, where a model was trained for one already.

    Raises:
        PinxitError: a file is missing, damaged, or holds anything beside numbers, texts and arrays; the files are not
            of the same number of pictures; or embeddings are of another width, or of several.
    """
    path = next((folder / name for name in EMBEDDINGS if (folder / name).is_file()), None)
    if path is None:
        got = f"without {EMBEDDINGS[0]}" if folder.is_dir() else "not there"
        raise expected(f"folder '{folder}'", got, "the published pickles of a split", "check the path")
    entries = _listed(read_pickle(path, "embeddings"), f"embeddings '{path}'")
    names_file, classes_file = folder / "filenames.pickle", folder / "class_info.pickle"
    names = [_name(name, names_file) for name in _listed(read_pickle(names_file), f"pickle '{names_file}'")]
    _check_count(names_file, len(names), path, len(entries))
    if len(set(names)) < len(names):
        twice = Counter(names).most_common(1)[0][0]
        raise expected(f"pickle '{names_file}'", f"with {twice!r} twice", "names of different pictures", "mend it")
    rows: dict[str, Tensor] = {}
    left = path.stat().st_size  # a number takes a byte at least, unless a crafted file names one array many times
    for name, entry in zip(names, entries, strict=True):
        rows[name] = found = _rows(entry, f"embeddings of '{name}' in '{path}'", left)
        left -= found.numel()
        width = width or found.shape[1]
        if found.shape[1] != width:
            got = f"of {found.shape[1]} numbers a caption"
            advice = "give embeddings of one and the same encoder"
            raise expected(f"embeddings of '{name}' in '{path}'", got, f"{width}", advice)
    numbers: list[int] = []
    if classes_file.is_file():
        numbers = [_class(n, classes_file) for n in _listed(read_pickle(classes_file), f"pickle '{classes_file}'")]
        _check_count(classes_file, len(numbers), path, len(entries))
    with path.open("rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    assert width is not None
    return Precomputed(rows, dict(zip(names, numbers, strict=True)) if numbers else {}, width, digest)


def _listed(value: Any, thing: str) -> Any:
    if not (isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim)) or not len(value):
        got = "empty" if isinstance(value, list | tuple | np.ndarray) else f"a {type(value).__name__}"
        raise expected(thing, got, "a list with an entry for each picture", "check that this is the right file")
    return value


def _check_count(file: Path, got: int, embeddings: Path, want: int) -> None:
    if got != want:
        want_words = f"{want}, as '{embeddings.name}' has"
        raise expected(f"pickle '{file}'", f"of {got} pictures", want_words, "give the files of one split")


def _name(value: Any, file: Path) -> str:
    if not isinstance(value, str | bytes):
        raise expected(f"pickle '{file}'", f"a list with a {type(value).__name__}", "names", "download it again")
    return (value if isinstance(value, str) else value.decode("utf-8", "replace")).replace("\\", "/")


def _class(value: Any, file: Path) -> int:
    if isinstance(value, np.integer):
        value = int(value)
    if type(value) is not int:
        got = f"a list with a {type(value).__name__}"
        raise expected(f"pickle '{file}'", got, "whole numbers", "download it again")
    return value


def _rows(entry: Any, thing: str, most: int) -> Tensor:
    """One picture's embeddings: an array [captions, width] or [width], or a list of such rows."""
    lines: Any = [entry] if _is_row(entry) else entry
    several = isinstance(lines, list | tuple) or (isinstance(lines, np.ndarray) and lines.ndim == 2)
    if not several or not all(_is_row(line) for line in lines):
        raise _no_rows(thing)
    widths = {len(line) for line in lines}
    if len(widths) != 1 or 0 in widths or len(lines) * max(widths) > most:
        raise _no_rows(thing)
    try:
        with np.errstate(over="ignore"):  # infinite then, and told of below
            rows = torch.from_numpy(np.array([np.asarray(line, dtype=np.float32) for line in lines]))
    except (OverflowError, ValueError) as error:
        raise _no_rows(thing) from error
    if not rows.isfinite().all():
        raise expected(thing, "not finite", "numbers", "download them again")
    return rows


def _is_row(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and value.dtype.kind in "fiu"
    return isinstance(value, list | tuple) and bool(value) and all(type(x) in (float, int) for x in value)


def _no_rows(thing: str) -> PinxitError:
    want = "an array of numbers [captions, width], or rows of one width"
    return expected(thing, "in another form", want, "check that this is the right file")
