"""Batches of one photo of each of several classes, with a caption of each: a pure function of seed and step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pinxit.data.captions import Captioned, still
from pinxit.data.check import raise_first
from pinxit.data.stream import require_shares
from pinxit.errors import PinxitError, expected
from pinxit.text.matching import PICTURE


class Pairs(NamedTuple):
    """A batch: row i of the one belongs to row i of the other, and to no other row."""

    text: Tensor
    """int64 [N, length], the letters of sentences."""
    picture: Tensor
    """float32, photos [N, 3, H, W] in [-1, 1], or their features [N, width]."""


class Pictures:
    """What the items show: their photos' middle squares, or the rows of a features file.

    `folder`: of the photos, whose sub-folders that of the `features` has too; `width`: numbers in a row of these.
    """

    def __init__(self, items: Sequence[Captioned], folder: Path, features: Path | None, width: int) -> None:
        self.items, self.folder, self.features, self.width = items, folder, features, width

    def all_of(self, which: int) -> Tensor:
        """What there is of an item, float32: a photo [1, 3, H, W], or features [rows, width].

        Raises `PinxitError` for a photo or a features file that cannot be read.
        """
        if self.features is None:
            return still(self.items[which], PICTURE)[None]
        return read_features(self.file_of(which), self.width)

    def file_of(self, which: int) -> Path:
        photo = self.items[which].photo
        inside = photo.relative_to(self.folder) if photo.is_relative_to(self.folder) else Path(photo.name)
        assert self.features is not None
        return (self.features / inside).with_suffix(".npy")

    def check(self) -> None:
        """Read all once. Raises `PinxitError`: the first that cannot be read, and how many others."""

        def problem(which: int) -> list[str]:
            try:
                self.all_of(which)
            except PinxitError as error:
                return [str(error)]
            return []

        with ThreadPoolExecutor(min(16, (cpu_count() or 1) + 1)) as pool:
            raise_first([told for some in pool.map(problem, range(len(self.items))) for told in some])


def read_features(file: Path, width: int) -> Tensor:
    """float32 [rows, width] of a `.npy` with numbers [width] or [rows, width]. Nothing in it can execute code.

    Raises `PinxitError` for a file that is missing or damaged, of another shape, or holds what is no number.
    """
    thing, want = f"features file '{file}'", f"a .npy of {width} numbers, or of rows of as many"
    try:
        # Mapped, it is held against the file's length before any memory is taken for it.
        values = np.load(file, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise expected(thing, "missing", want, "compute the feature of that photo, or mend --features") from None
    except Exception as error:  # a damaged file makes NumPy raise anything
        raise expected(thing, f"no .npy ({' '.join(str(error).split())[:80]})", want, "write it anew") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "fiu":
        got = f"of {values.dtype}" if isinstance(values, np.ndarray) else "an archive"
        raise expected(thing, got, "float numbers", "write it anew")
    if values.ndim not in (1, 2) or values.shape[-1] != width or not values.size:
        advice = "set --embedding to what it has, or write it anew"
        raise expected(thing, f"of shape {list(values.shape)}", want, advice)
    found = torch.from_numpy(np.array(values, np.float32).reshape(-1, width))
    if not found.isfinite().all():
        raise expected(thing, "with infinite or undefined numbers", want, "write it anew")
    return found


def classes_of(items: Sequence[Captioned]) -> list[list[int]]:
    """The items of each class, as their groups tell; an item without a group is a class of its own."""
    found: dict[str | int, list[int]] = {}
    for which, item in enumerate(items):
        found.setdefault(item.group or which, []).append(which)
    return list(found.values())


class PairStream:
    """Endless batches: of classes drawn anew each step, one photo each, and one of its captions.

    What a step shows depends on `seed` and the step alone.

    Args:
        letters: for each item int64 [its captions, length].
        batch: pairs a step over all `world` processes together; this one gets those of its `rank`.
        workers: processes that read ahead; 0 reads in this one.
        flip: mirror every other photo.
        by_class: no two of a batch are of one class.
        cache_bytes: memory for what was read, over all workers; what does not fit is read again.

    Raises:
        PinxitError: there are fewer classes than a batch has, `seed` is negative, or `batch` cannot be shared out.
    """

    def __init__(
        self,
        pictures: Pictures,
        letters: Sequence[Tensor],
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        *,
        flip: bool = True,
        by_class: bool = True,
        cache_bytes: int = 1 << 30,
    ) -> None:
        require_shares(batch, world, seed)
        self.classes = classes_of(pictures.items) if by_class else [[which] for which in range(len(pictures.items))]
        if batch > len(self.classes):
            want = f"at most {len(self.classes)}, as no two photos of it are of one class"
            advice = "lower it, or train on more"
            if len(pictures.items) >= batch:
                advice = "lower it, or set --no-by-class, by which each photo stands for itself"
            raise expected("--batch", batch, want, advice)
        self.batch, self.seed, self.workers, self.rows = batch, seed, workers, batch // world
        self.first = rank * self.rows
        self._samples = _Samples(pictures, letters, seed, flip, cache_bytes // max(1, workers))

    def batches(self, start: int = 0) -> Iterator[Pairs]:
        """The batches of the steps `start`, `start` + 1, … of this rank; step i is the same whatever `start` is.

        Raises:
            PinxitError: a file cannot be read.
        """
        loader = DataLoader(
            self._samples,
            batch_sampler=_Drawn(self, start),
            num_workers=self.workers,
            collate_fn=_stack,
            # The loader draws a seed for its workers, which must not come from the global generator.
            generator=torch.Generator().manual_seed(self.seed),
        )
        for batch in loader:
            if isinstance(batch, PinxitError):
                raise batch
            yield batch


class _Drawn:
    """For each step from `start` on, which items this process' rows are of: (item, number of the row)."""

    def __init__(self, stream: PairStream, start: int) -> None:
        self.stream, self.start = stream, start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        s, step = self.stream, self.start
        while True:
            random = np.random.default_rng((s.seed, 0, step))
            drawn = [s.classes[i] for i in random.permutation(len(s.classes))[: s.batch]]
            of_each = [some[random.integers(len(some))] for some in drawn]  # by every process, for all rows
            yield [(of_each[row], step * s.batch + row) for row in range(s.first, s.first + s.rows)]
            step += 1


class _Samples(Dataset["tuple[Tensor, Tensor] | PinxitError"]):
    """The letters and the picture of an item, as the number of a row has them."""

    def __init__(self, pictures: Pictures, letters: Sequence[Tensor], seed: int, flip: bool, room: int) -> None:
        self.pictures, self.letters, self.seed, self.room = pictures, letters, seed, room
        self.flip = flip and pictures.features is None
        self.cache: dict[int, Tensor] = {}

    def __getitem__(self, drawn: tuple[int, int]) -> tuple[Tensor, Tensor] | PinxitError:
        which, row = drawn
        random = np.random.default_rng((self.seed, 1, row))
        # An error raised in a worker would arrive wrapped in its traceback; one that is returned arrives as it is.
        try:
            views = self.cache.get(which)
            views = self._read(which) if views is None else views
        except PinxitError as error:
            return error
        picture = views[random.integers(len(views))]
        if self.flip and random.random() < 0.5:
            picture = picture.flip(-1)
        letters = self.letters[which]
        return letters[random.integers(len(letters))], picture

    def _read(self, which: int) -> Tensor:
        views = self.pictures.all_of(which)
        if views.nbytes <= self.room:
            self.room -= views.nbytes
            self.cache[which] = views
        return views


def _stack(samples: Sequence[tuple[Tensor, Tensor] | PinxitError]) -> Pairs | PinxitError:
    """Samples to a batch, or the first error."""
    whole: list[tuple[Tensor, Tensor]] = []
    for sample in samples:
        if isinstance(sample, PinxitError):
            return sample
        whole.append(sample)
    text, picture = zip(*whole, strict=True)
    return Pairs(torch.stack(text), torch.stack(picture))
