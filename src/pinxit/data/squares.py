"""Pictures of one square size out of a folder, and batches of them: a pure function of seed and step."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pinxit.data.check import raise_first
from pinxit.data.folders import natural
from pinxit.data.images import SUFFIXES, read_photo, to_array
from pinxit.data.stream import require_shares, shuffled
from pinxit.errors import PinxitError, expected


class Squares(NamedTuple):
    """A batch of pictures."""

    photo: Tensor
    """float32 [N, 3, size, size] in [-1, 1]."""


def find_squares(folder: Path | None) -> list[Path]:
    """The pictures in a folder and in the folders in it, in natural order; hidden ones are passed over.

    Raises `PinxitError` where there is no such folder, or none in it.
    """
    if folder is None:
        raise expected("--data", "missing", "a folder of pictures", "name one")
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES and not any(part[0] == "." for part in path.relative_to(folder).parts)
    ]
    if not found:
        got = "without pictures" if folder.is_dir() else "missing"
        raise expected(
            f"data folder '{folder}'", got, f"a folder of pictures ({', '.join(SUFFIXES)})", "check the path"
        )
    return sorted(found, key=lambda path: [natural(part) for part in path.parts])


def check_squares(paths: Sequence[Path]) -> None:
    """Read every picture once. Raises `PinxitError`: the first that cannot be read, and how many others."""

    def problem(path: Path) -> list[str]:
        try:
            read_photo(path)
        except PinxitError as error:
            return [str(error)]
        return []

    with ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 1)) as pool:
        raise_first([told for some in pool.map(problem, paths) for told in some])


def square(photo: Image.Image, size: int) -> Image.Image:
    """The square in the middle of an RGB picture, scaled to `size` pixels by Lanczos' filter."""
    side = min(photo.size)
    left, top = (photo.width - side) // 2, (photo.height - side) // 2
    if photo.size == (size, size):
        return photo
    return photo.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))


class SquareStream:
    """Endless batches, shuffled anew each time all pictures have been shown.

    What a step shows, and which of it is mirrored, depends on `seed` and the step alone.

    Args:
        batch: pictures a step over all `world` processes together; this one gets every row whose number in the batch is
            among `rows_of` its `rank`.
        group: pictures that something is told of together; see `rows_of`.
        workers: processes that read ahead; 0 reads in this one.
        cache_bytes: memory for pictures that are decoded and scaled, over all workers; those that do not fit are read
            again.

    Raises:
        PinxitError: `seed` is negative, or `batch` cannot be shared out.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: int,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        *,
        flip: bool = True,
        group: int = 1,
        cache_bytes: int = 1 << 30,
    ) -> None:
        require_shares(batch, world, seed)
        self.batch, self.seed, self.workers = batch, seed, workers
        self.rows = rows_of(rank, world, batch, group)
        self._samples = _Samples(paths, size, seed, flip, cache_bytes // max(1, workers))

    def batches(self, start: int = 0) -> Iterator[Squares]:
        """The batches of the steps `start`, `start` + 1, … of this rank; step i is the same whatever `start` is.

        Raises:
            PinxitError: a file cannot be read.
        """
        loader = DataLoader(
            self._samples,
            batch_sampler=_Positions(start, self.batch, self.rows),
            num_workers=self.workers,
            collate_fn=_stack,
            # The loader draws a seed for its workers, which must not come from the global generator.
            generator=torch.Generator().manual_seed(self.seed),
        )
        for batch in loader:
            if isinstance(batch, PinxitError):
                raise batch
            yield batch


def rows_of(rank: int, world: int, batch: int, group: int) -> list[int]:
    """Which rows of a batch a process has.

    Where a network forms groups of the rows i, i + N / group, i + 2 N / group … of N, as StyleGAN2's discriminator
    does, every process gets whole groups, and the very ones that one process alone would form.
    """
    group = group if batch % (group * world) == 0 else 1
    groups = batch // group
    share = groups // world
    return [k * groups + rank * share + j for k in range(group) for j in range(share)]


class _Positions:
    """For each step from `start` on, the places in the endless order that this process' rows come from."""

    def __init__(self, start: int, batch: int, rows: Sequence[int]) -> None:
        self.start, self.batch, self.rows = start, batch, rows

    def __iter__(self) -> Iterator[list[int]]:
        step = self.start
        while True:
            yield [step * self.batch + row for row in self.rows]
            step += 1


class _Samples(Dataset[np.ndarray | PinxitError]):
    """The picture at each place of the endless order, uint8 [size, size, 3]."""

    def __init__(self, paths: Sequence[Path], size: int, seed: int, flip: bool, cache_bytes: int) -> None:
        self.paths, self.size, self.seed, self.flip, self.room = paths, size, seed, flip, cache_bytes
        self.cache: dict[int, np.ndarray] = {}

    def __getitem__(self, position: int) -> np.ndarray | PinxitError:
        epoch, place = divmod(position, len(self.paths))
        which = int(shuffled(self.seed, epoch, len(self.paths))[place])
        # An error raised in a worker would arrive wrapped in its traceback; one that is returned arrives as it is.
        try:
            pixels = self.cache.get(which)
            pixels = self._read(which) if pixels is None else pixels
        except PinxitError as error:
            return error
        mirrored = self.flip and np.random.default_rng((self.seed, 1, position)).random() > 0.5
        return pixels[:, ::-1] if mirrored else pixels

    def _read(self, which: int) -> np.ndarray:
        pixels = np.asarray(square(read_photo(self.paths[which]), self.size))
        if pixels.nbytes <= self.room:
            self.room -= pixels.nbytes
            self.cache[which] = pixels
        return pixels


def _stack(samples: Sequence[np.ndarray | PinxitError]) -> Squares | PinxitError:
    """Samples to a batch, or the first error."""
    pictures = []
    for sample in samples:
        if isinstance(sample, PinxitError):
            return sample
        pictures.append(to_array(Image.fromarray(np.ascontiguousarray(sample))))
    return Squares(torch.from_numpy(np.stack(pictures)))
