"""Batches of photos and their captions, a pure function of seed and step; what is on disk is found by `caption_files`.

Of photos that have a box the stream shows what StackGAN's code shows: a square of 1.5 times the box's longer side about
its centre, so far as it is within the photo. Departures from that code, which squeezes whatever it cut into a square
(`squeeze` does so here), and which writes the pictures of a size into one file beforehand: proportions are kept, the
filter is Lanczos', and pictures are read when they are first shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pinxit.data.caption_files import (
    Captioned,
    CaptionReport,
    FoundCaptions,
    box_outside,
    check_captions,
    find_captioned,
    scan_captioned,
    splits_of_captions,
    square_about,
)
from pinxit.data.images import read_photo, to_array, to_tensor
from pinxit.data.stream import Positions, require_shares, shuffled
from pinxit.errors import PinxitError, expected

__all__ = [
    "CaptionBatch",
    "CaptionReport",
    "CaptionStream",
    "Captioned",
    "FoundCaptions",
    "check_captions",
    "find_captioned",
    "scan_captioned",
    "splits_of_captions",
    "square_about",
    "still",
]

_LEFT_AND_RIGHT = ((6, 10), (7, 11), (8, 12))
"""Places, among CUB's 15 parts, of the left and the right eye, leg and wing: a mirrored bird has them exchanged."""

_LONGEST = 2
"""Of a photo whose longer side is more times the shorter one, the middle is kept: a strip a pixel high, scaled to
training size, would fill the memory."""


class CaptionBatch(NamedTuple):
    """A batch of photos, and one caption of each."""

    photo: Tensor
    """float32 [N, 3, size, size] in [-1, 1]."""
    text: Tensor
    """[N, ...]: rows of `texts`, int64 tokens or float32 embeddings."""
    which: Tensor | None = None
    """int64 [N], the places of the items in the list (`with_index`)."""
    wrong: Tensor | None = None
    """As `photo`, of other items: of another group, where there are groups (`with_wrong`)."""
    box: Tensor | None = None
    """float32 [N, 4]: x, y, width, height of that part of the object's box that is in the square, each of the square's
    side, 0..1; of items without a box 0, 0, 1, 1 (`with_places`)."""
    points: Tensor | None = None
    """float32 [N, 15, 3]: x, y, each of the square's side, and 1 where the point is seen and within, else three zeros
    (`with_places`)."""


class CaptionStream:
    """Endless batches of `items`, shuffled anew each time all have been shown.

    What a step shows, which caption of it, and how it is cropped and flipped, depends on `seed` and the step alone.

    Args:
        texts: for each item a tensor [its captions, ...]; a step shows one row of it, drawn at random.
        batch: pictures a step over all `world` processes together; this one gets those of its `rank`.
        workers: processes that read ahead; 0 reads in this one.
        load: pixels of the short side, `size` or more, before a crop at random; None: the middle square. (StackGAN's
            code: 76 of 64, 304 of 256.)
        flip: mirror every second picture, on average. Words like 'left' in its caption stay as they are.
        crop_boxes: cut photos that have a box as `square_about` tells.
        squeeze: scale both sides to `load`, as StackGAN's and GAWWN's codes do, whatever the proportions.
        mean_of: the text is the mean of so many rows of the item, drawn without repetition, or of all if it has fewer;
            of embeddings alone. (StackGAN's code: 4.)
        with_index, with_wrong, with_places: fill these fields of `CaptionBatch`. A wrong photo is drawn at random, with
            a crop and flip of its own.
        cache_bytes: memory for pictures that are decoded and scaled, over all workers; those that do not fit are read
            again.

    Raises:
        PinxitError: there are no items, `texts` does not fit them, `seed` is negative, `batch` cannot be shared out,
            `load` is below `size`, or a wrong photo is asked for of a single item.
    """

    def __init__(
        self,
        items: Sequence[Captioned],
        texts: Sequence[Tensor],
        size: int,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        *,
        load: int | None = None,
        flip: bool = True,
        crop_boxes: bool = True,
        squeeze: bool = False,
        mean_of: int = 1,
        with_index: bool = False,
        with_wrong: bool = False,
        with_places: bool = False,
        cache_bytes: int = 1 << 30,
    ) -> None:
        if not items:
            raise expected("the list of photos to train on", "empty", "one or more", "check the data folder")
        require_shares(batch, world, seed)
        _require_texts(items, texts, mean_of)
        if size < 1 or (load is not None and load < size):
            raise expected("load", load, f"{size} or more, the size of the crop", "enlarge it")
        if with_wrong and len(items) < 2:
            raise expected("number of photos", 1, "2 or more, as some are shown with wrong captions", "add some")
        self.batch, self.seed, self.rank, self.world, self.workers = batch, seed, rank, world, workers
        self.with_index, self.with_wrong, self.with_places = with_index, with_wrong, with_places
        photos = _Photos(items, size, load or size, crop_boxes, squeeze, cache_bytes // max(1, workers))
        others = _others(items) if with_wrong else None
        self._samples = _Samples(photos, texts, seed, load is not None, flip, mean_of, others, with_places)

    def batches(self, start: int = 0) -> Iterator[CaptionBatch]:
        """The batches of the steps `start`, `start` + 1, … of this rank; step i is the same whatever `start` is.

        Raises:
            PinxitError: a file cannot be read, or a box is not in its photo.
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
            yield batch if self.with_index else batch._replace(which=None)


def still(item: Captioned, size: int, *, crop_boxes: bool = True) -> Tensor:
    """An item's photo without chance, float32 [3, size, size] in [-1, 1]: the middle square, as with `load` None.

    Raises:
        PinxitError: as `CaptionStream.batches`.
    """
    shown = _Photos([item], size, size, crop_boxes, False, 0)[0]
    left, top = (shown.pixels.shape[1] - size) // 2, (shown.pixels.shape[0] - size) // 2
    return to_tensor(Image.fromarray(shown.pixels).crop((left, top, left + size, top + size)))


def _require_texts(items: Sequence[Captioned], texts: Sequence[Tensor], mean_of: int) -> None:
    if len(texts) != len(items):
        raise expected("number of texts", len(texts), f"{len(items)}, one for each photo", "encode the same items")
    rows = {(tuple(text.shape[1:]), text.dtype) for text in texts}
    if len(rows) != 1 or any(text.ndim < 1 or len(text) < 1 for text in texts):
        got = f"not one but {len(rows)}" if len(rows) != 1 else "without a row for some photo"
        raise expected("form of the encoded captions", got, "one row or more of one form for each", "encode them anew")
    if mean_of < 1 or (mean_of > 1 and not texts[0].is_floating_point()):
        want = "1, as these texts are tokens" if mean_of > 1 else "1 or more"
        raise expected("mean_of", mean_of, want, "correct it")


class _Shown(NamedTuple):
    """A photo, cut and scaled, before the crop."""

    pixels: np.ndarray
    """uint8 [H, W, 3]."""
    origin: tuple[float, float]
    """Left and top of what was cut, in pixels of the photo."""
    scale: tuple[float, float]
    """By what x and y are multiplied then."""


class _Photos:
    """The photos of items, cut and scaled, kept in memory so far as they fit."""

    def __init__(
        self, items: Sequence[Captioned], size: int, load: int, crop_boxes: bool, squeeze: bool, room: int
    ) -> None:
        self.items, self.size, self.load, self.room = tuple(items), size, load, room
        self.crop_boxes, self.squeeze = crop_boxes, squeeze
        self.cache: dict[int, _Shown] = {}

    def __getitem__(self, which: int) -> _Shown:
        shown = self.cache.get(which)
        if shown is None:
            shown = self._read(self.items[which])
            if shown.pixels.nbytes <= self.room:
                self.room -= shown.pixels.nbytes
                self.cache[which] = shown
        return shown

    def _read(self, item: Captioned) -> _Shown:
        photo = read_photo(item.photo)
        cut = (0, 0, *photo.size)
        if self.crop_boxes and item.box is not None:
            cut = square_about(item.box, *photo.size)
            if cut is None:
                raise box_outside(item, photo)
        left, top, width, height = cut[0], cut[1], cut[2] - cut[0], cut[3] - cut[1]
        if self.squeeze:
            scaled = (self.load, self.load)
        else:
            most = _LONGEST * min(width, height)
            left, width = left + max(0, width - most) // 2, min(width, most)
            top, height = top + max(0, height - most) // 2, min(height, most)
            by = self.load / min(width, height)
            scaled = max(self.load, round(width * by)), max(self.load, round(height * by))
        box = (left, top, left + width, top + height)
        pixels = np.asarray(photo.resize(scaled, Image.Resampling.LANCZOS, box=box))
        return _Shown(pixels, (left, top), (scaled[0] / width, scaled[1] / height))


class _Sample(NamedTuple):
    photo: np.ndarray
    """uint8 [size, size, 3]; so is `wrong`."""
    text: Tensor
    which: int
    wrong: np.ndarray | None
    box: np.ndarray | None
    points: np.ndarray | None


class _Others(NamedTuple):
    """What wrong photos are drawn from."""

    order: np.ndarray
    """Indices of the items, those of a group together."""
    first: np.ndarray
    """For each item where its group begins in `order`."""
    mates: np.ndarray
    """For each item how many its group has, itself too."""


class _Samples(Dataset[_Sample | PinxitError]):
    """The sample at each place of the endless order."""

    def __init__(
        self,
        photos: _Photos,
        texts: Sequence[Tensor],
        seed: int,
        crops: bool,
        flip: bool,
        mean_of: int,
        others: _Others | None,
        with_places: bool,
    ) -> None:
        self.photos, self.texts, self.seed, self.crops, self.flip = photos, tuple(texts), seed, crops, flip
        self.mean_of, self.others, self.with_places = mean_of, others, with_places

    def __getitem__(self, position: int) -> _Sample | PinxitError:
        items = self.photos.items
        epoch, place = divmod(position, len(items))
        which = int(shuffled(self.seed, epoch, len(items))[place])
        random = np.random.default_rng((self.seed, 1, position))
        # An error raised in a worker would arrive wrapped in its traceback; one that is returned arrives as it is.
        try:
            shown = self.photos[which]
            left, top, flipped = self._place(shown, random)
            wrong = None if self.others is None else self._wrong(which, self.others, position)
        except PinxitError as error:
            return error
        box, points = self._places(items[which], shown, left, top, flipped) if self.with_places else (None, None)
        return _Sample(self._cut(shown, left, top, flipped), self._text(which, random), which, wrong, box, points)

    def _place(self, shown: _Shown, random: np.random.Generator) -> tuple[int, int, bool]:
        """Left and top of the crop, and whether it is then mirrored; takes as much chance whatever is asked for."""
        columns, rows = (shown.pixels.shape[axis] - self.photos.size + 1 for axis in (1, 0))
        x, y, mirror = random.random(3)
        if not self.crops:
            return (columns - 1) // 2, (rows - 1) // 2, self.flip and mirror > 0.5
        return int(x * columns), int(y * rows), self.flip and mirror > 0.5

    def _cut(self, shown: _Shown, left: int, top: int, flipped: bool) -> np.ndarray:
        size = self.photos.size
        pixels = shown.pixels[top : top + size, left : left + size]
        return pixels[:, ::-1] if flipped else pixels

    def _text(self, which: int, random: np.random.Generator) -> Tensor:
        rows = self.texts[which]
        drawn = random.permutation(len(rows))[: self.mean_of].tolist()
        return rows[drawn[0]] if self.mean_of == 1 else rows[drawn].mean(0)

    def _wrong(self, which: int, others: _Others, position: int) -> np.ndarray:
        random = np.random.default_rng((self.seed, 3, position))
        place = int(random.integers(len(others.order) - others.mates[which]))
        other = int(others.order[place + (others.mates[which] if place >= others.first[which] else 0)])
        shown = self.photos[other]
        return self._cut(shown, *self._place(shown, random))

    def _places(
        self, item: Captioned, shown: _Shown, left: int, top: int, flipped: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Box [4] and points [15, 3] in the square that is shown, both of its side."""
        size = self.photos.size

        def x_of(x: float) -> float:
            x = ((x - shown.origin[0]) * shown.scale[0] - left) / size
            return 1 - x if flipped else x

        def y_of(y: float) -> float:
            return ((y - shown.origin[1]) * shown.scale[1] - top) / size

        box = np.array([0, 0, 1, 1], np.float32)
        if item.box is not None:
            x, y, w, h = item.box
            low, high = sorted((x_of(x), x_of(x + w)))
            (low, upper), (high, lower) = np.clip([(low, y_of(y)), (high, y_of(y + h))], 0, 1)
            box = np.array([low, upper, high - low, lower - upper], np.float32)
        points = np.zeros((15, 3), np.float32)
        for row, (x, y, seen) in enumerate((item.points or ())[:15]):
            at = x_of(x), y_of(y)
            if seen and min(at) >= 0 and max(at) <= 1:
                points[row] = *at, 1
        if flipped:
            for one, other in _LEFT_AND_RIGHT:
                points[[one, other]] = points[[other, one]]
        return box, points


def _others(items: Sequence[Captioned]) -> _Others:
    groups = [item.group for item in items]
    numbers = np.unique(groups, return_inverse=True)[1]
    if numbers.max() == 0:  # of one group, or of none: every item is wrong for all others
        numbers = np.arange(len(items))
    order = np.argsort(numbers, kind="stable")
    counts = np.bincount(numbers)
    return _Others(order, (np.cumsum(counts) - counts)[numbers], counts[numbers])


def _stack(samples: Sequence[_Sample | PinxitError]) -> CaptionBatch | PinxitError:
    """Samples to a batch, or the first error."""
    good: list[_Sample] = []
    for sample in samples:
        if isinstance(sample, PinxitError):
            return sample
        good.append(sample)
    wrong = [sample.wrong for sample in good if sample.wrong is not None]
    boxes = [sample.box for sample in good if sample.box is not None]
    points = [sample.points for sample in good if sample.points is not None]
    return CaptionBatch(
        _photos([sample.photo for sample in good]),
        torch.stack([sample.text for sample in good]),
        torch.tensor([sample.which for sample in good]),
        _photos(wrong) if wrong else None,
        torch.from_numpy(np.stack(boxes)) if boxes else None,
        torch.from_numpy(np.stack(points)) if points else None,
    )


def _photos(pixels: Sequence[np.ndarray]) -> Tensor:
    """uint8 [size, size, 3] each to float32 [N, 3, size, size], all at once: as one tall picture."""
    size = len(pixels[0])
    tall = to_array(Image.fromarray(np.concatenate(pixels)))
    return torch.from_numpy(np.ascontiguousarray(tall.reshape(3, -1, size, size).swapaxes(0, 1)))
