"""Batches of label maps and photos, a pure function of seed and step: endless, restartable, for any number of ranks."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import islice
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pinxit.data.augment import Picture, Preprocess, resize, vary
from pinxit.data.folders import Item
from pinxit.data.images import read_instances, read_map, read_photo, require_size, to_array
from pinxit.data.labels import LabelSet
from pinxit.errors import PinxitError, expected

Batch = TypeVar("Batch")


class LabelPhotos(NamedTuple):
    """A batch of label maps and the photos they describe."""

    labels: Tensor
    """int64 [N, H, W], indices of the label set."""
    photo: Tensor
    """float32 [N, 3, H, W] in [-1, 1]."""
    instances: Tensor | None = None
    """int64 [N, H, W]."""


class LabelPhotoStream:
    """Endless batches of `items`, shuffled anew each time all have been shown.

    Which items a step shows, and how each is cropped and flipped, depends on `seed` and the step alone. An epoch may
    end amid a batch, so that every item is shown equally often, in data sets smaller than a batch too.

    Args:
        batch: pictures a step over all `world` processes together; this one gets those of its `rank`.
        workers: processes that read ahead; 0 reads in this one.
        cache_bytes: memory for pictures that are decoded and resized, over all workers; those that do not fit are read
            again.

    Raises:
        PinxitError: there are no items, one lacks the photo or the instance map that is asked for, `seed` is negative,
            or `batch` cannot be divided by `world`.
    """

    def __init__(
        self,
        items: Sequence[Item],
        labels: LabelSet,
        preprocess: Preprocess,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        use_instances: bool = False,
        cache_bytes: int = 1 << 29,
    ) -> None:
        if not items:
            raise expected("the list of pictures to train on", "empty", "one or more", "check the data folder")
        require_shares(batch, world, seed)
        for item in items:
            if item.photo is None or (use_instances and item.instance is None):
                lacking = "photo" if item.photo is None else "instance map"
                remedy = "train on a split that has photos" if item.photo is None else "train without instances"
                raise expected(f"the {lacking} of label map '{item.label}'", "missing", "one for each map", remedy)
        self.batch, self.seed, self.rank, self.world, self.workers = batch, seed, rank, world, workers
        self._samples = _Samples(tuple(items), labels, preprocess, seed, use_instances, cache_bytes // max(1, workers))

    def batches(self, start: int = 0) -> Iterator[LabelPhotos]:
        """The batches of the steps `start`, `start` + 1, … of this rank; step i is the same whatever `start` is.

        Raises:
            PinxitError: a file is wrong (see `images`), or the pictures of a batch differ in size.
        """
        loader = DataLoader(
            self._samples,
            batch_sampler=Positions(start, self.batch, self.rank, self.world),
            num_workers=self.workers,
            collate_fn=_stack,
            # The loader draws a seed for its workers, which must not come from the global generator.
            generator=torch.Generator().manual_seed(self.seed),
        )
        for batch in loader:
            if isinstance(batch, PinxitError):
                raise batch
            yield batch


def load_item(item: Item, labels: LabelSet, preprocess: Preprocess, use_instances: bool = False) -> LabelPhotos:
    """One item without chance, as a batch of 1, for validation and previews.

    Raises:
        PinxitError: as `LabelPhotoStream.batches`, or the item has no photo.
    """
    return label_pictures([item], labels, preprocess, use_instances)


def label_pictures(
    items: Sequence[Item], labels: LabelSet, preprocess: Preprocess, use_instances: bool = False
) -> LabelPhotos:
    """Several items without chance, as one batch.

    Raises:
        PinxitError: as `load_item`.
    """
    still = preprocess.still()
    pictures = [vary(_load(item, labels, still, use_instances), still, None, str(item.label)) for item in items]
    batch = _stack([_arrays(picture, item) for picture, item in zip(pictures, items, strict=True)])
    if isinstance(batch, PinxitError):
        raise batch
    return batch


def require_shares(batch: int, world: int, seed: int) -> None:
    """Raises `PinxitError` where a batch cannot be shared out among `world` processes, or the seed is none."""
    if batch < 1 or batch % world:
        raise expected("batch", batch, f"a multiple of the number of processes, {world}", "change one of the two")
    if seed < 0:
        raise expected("seed", seed, "0 or more", "choose another")


class Positions:
    """For each step from `start` on, the places in the endless order of samples that this rank's rows come from."""

    def __init__(self, start: int, batch: int, rank: int, world: int) -> None:
        self.start, self.batch, self.rows, self.first = start, batch, batch // world, rank * (batch // world)

    def __iter__(self) -> Iterator[list[int]]:
        step = self.start
        while True:
            first = step * self.batch + self.first
            yield list(range(first, first + self.rows))
            step += 1


def ahead(batches: Iterator[Batch], count: int, depth: int = 2) -> Generator[Batch, None, None]:
    """The next `count` batches; `depth` of them are read by a thread while those before are in use.

    Close it to end the thread. `depth` 0: read when asked, as suits batches that processes read ahead already, which a
    thread must not fork.
    """
    if depth == 0:
        yield from islice(batches, count)
        return
    with ThreadPoolExecutor(1, "loader") as thread:
        reading = deque(thread.submit(next, batches) for _ in range(min(depth, count)))
        try:
            for i in range(count):
                batch = reading.popleft().result()
                if i + depth < count:
                    reading.append(thread.submit(next, batches))
                yield batch
        finally:
            for future in reading:
                future.cancel()


class _Sample(NamedTuple):
    labels: np.ndarray
    photo: np.ndarray
    instances: np.ndarray | None


class _Samples(Dataset[_Sample | PinxitError]):
    """The sample at each place of the endless order."""

    def __init__(
        self,
        items: tuple[Item, ...],
        labels: LabelSet,
        preprocess: Preprocess,
        seed: int,
        use_instances: bool,
        cache_bytes: int,
    ) -> None:
        self.items, self.labels, self.preprocess, self.seed = items, labels, preprocess, seed
        self.use_instances, self.room = use_instances, cache_bytes
        self.cache: dict[int, Picture] = {}

    def __getitem__(self, position: int) -> _Sample | PinxitError:
        epoch, place = divmod(position, len(self.items))
        which = int(shuffled(self.seed, epoch, len(self.items))[place])
        item = self.items[which]
        # An error raised in a worker would arrive wrapped in its traceback; one that is returned arrives as it is.
        try:
            picture = self.cache.get(which) or self._load(which)
            random = np.random.default_rng((self.seed, 1, position))
            return _arrays(vary(picture, self.preprocess, random, str(item.label)), item)
        except PinxitError as error:
            return error

    def _load(self, which: int) -> Picture:
        picture = _load(self.items[which], self.labels, self.preprocess, self.use_instances)
        size = 3 * picture.map.size + sum(ids.nbytes for ids in (picture.map, picture.instances) if ids is not None)
        if size <= self.room:
            self.room -= size
            self.cache[which] = picture
        return picture


@lru_cache(maxsize=4)
def shuffled(seed: int, epoch: int, items: int, side: int = 0) -> np.ndarray:
    """The order of the items in an epoch; those of another `side`, an even number, are independent of it."""
    return np.random.default_rng((seed, side, epoch)).permutation(items)


def _load(item: Item, labels: LabelSet, preprocess: Preprocess, use_instances: bool) -> Picture:
    """Read and resize one item; maps in the smallest integers that hold them, since the cache keeps them."""
    ids = read_map(item.label, labels)
    photo = None if item.photo is None else read_photo(item.photo)
    instances = read_instances(item.instance) if use_instances and item.instance is not None else None
    if photo is not None and item.photo is not None:
        require_size(item.photo, (photo.height, photo.width), item.label, ids.shape)
    if instances is not None and item.instance is not None:
        require_size(item.instance, instances.shape, item.label, ids.shape)
    small = ids.astype(np.uint8 if labels.unknown < 256 else np.uint16)
    return resize(Picture(small, photo, None if instances is None else instances.astype(np.int32)), preprocess)


def _arrays(picture: Picture, item: Item) -> _Sample:
    if picture.photo is None:
        raise expected(
            f"the photo of label map '{item.label}'", "missing", "one for each map", "choose a split that has photos"
        )
    instances = None if picture.instances is None else picture.instances.astype(np.int64)
    return _Sample(picture.map.astype(np.int64), to_array(picture.photo), instances)


def _stack(samples: Sequence[_Sample | PinxitError]) -> LabelPhotos | PinxitError:
    """Samples to a batch, or the first error."""
    good: list[_Sample] = []
    for sample in samples:
        if isinstance(sample, PinxitError):
            return sample
        good.append(sample)
    sizes = sorted({sample.labels.shape for sample in good})
    if len(sizes) > 1:
        listed = ", ".join(f"{height}x{width}" for height, width in sizes)
        return expected(
            "sizes within a batch",
            listed,
            "one (height x width)",
            "preprocess with a crop or fixed, or train with batch 1",
        )
    instances = [sample.instances for sample in good if sample.instances is not None]
    # Stacked by numpy: beside a training that keeps all cores busy, torch's threads wait for one another far longer
    # than they copy.
    return LabelPhotos(
        torch.from_numpy(np.stack([sample.labels for sample in good])),
        torch.from_numpy(np.stack([sample.photo for sample in good])),
        torch.from_numpy(np.stack(instances)) if instances else None,
    )
