"""Pictures of two sides, A and B, paired or not: which files belong together, batches of them, the look at them all."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pinxit.data.augment import Place, Preprocess, place_of
from pinxit.data.check import closing, raise_first, sizes_text, unfit
from pinxit.data.folders import by_name, natural, resolve
from pinxit.data.kinds import FULL, Kind
from pinxit.data.rasters import SUFFIXES, Info, kind_of, may_be_one, read_as, read_raster, require_kind, to_unit
from pinxit.data.stream import Positions, require_shares, shuffled
from pinxit.errors import PinxitError, expected

FORMS = "trainA and trainB; A/train and B/train; or train, with A and B side by side in each file"
"""The layouts in a few words, for messages."""

_VAL, _TEST = ("val", "validation"), ("test", "testing")
_SPLITS = ("train", "training", *_VAL, *_TEST)


class Pair(NamedTuple):
    """A batch of pictures of either side; paired ones have one height and width."""

    a: Tensor
    """float32 [N, Ca, H, W] in [-1, 1]."""
    b: Tensor
    """float32 [N, Cb, H, W] in [-1, 1]."""


@dataclass(frozen=True)
class Sides:
    """The files of a data set."""

    a: list[Path]
    b: list[Path] | None = None
    """None: the files of `a` are side by side, A on their left half and B on their right one."""

    @property
    def counts(self) -> tuple[int, int]:
        return len(self.a), len(self.a if self.b is None else self.b)


def find_pairs(
    data: Path | None, a: Path | None = None, b: Path | None = None, split: str = "train", paired: bool = True
) -> Sides:
    """The pictures of a split of `data`, or those in the folders `a` and `b`, in natural order of their names.

    `data` has SPLITA and SPLITB, or A/SPLIT and B/SPLIT; or SPLIT, of side-by-side files. A missing val is looked for
    as test, and the other way round. Two pictures of one name, but for the suffix, are a pair.

    Raises:
        PinxitError: a folder is missing or empty, or `paired` and a picture lacks its counterpart.
    """
    sides, alone = scan_pairs(data, a, b, split, paired)
    if alone is not None:
        raise alone
    return sides


def scan_pairs(
    data: Path | None, a: Path | None = None, b: Path | None = None, split: str = "train", paired: bool = True
) -> tuple[Sides, PinxitError | None]:
    """As `find_pairs`, but what is wrong with names is returned; the sides are then without those files."""
    if (data is None) == (a is None and b is None) or (a is None) != (b is None):
        got = "given with folders of sides" if data is not None else "missing"
        raise expected("data folder", got, "a data set's folder, or one of side A and one of side B", "name these")
    if data is not None:
        folders = _folders(data, split)
        if len(folders) == 1:
            return Sides(_pictures(folders[0], "data")), None
        a, b = folders
    assert a is not None
    assert b is not None
    sides = _pictures(a, "side A"), _pictures(b, "side B")
    if not paired:
        return Sides(*sides), None
    of_a, of_b = (by_name(paths, lambda path: path.stem) for paths in sides)
    both = [name for name in of_a if name in of_b]
    matched = Sides([of_a[name] for name in both], [of_b[name] for name in both])
    alone = [
        path for paths, others in ((of_a, of_b), (of_b, of_a)) for name, path in paths.items() if name not in others
    ]
    if not alone:
        return matched, None
    first = ", ".join(f"'{path}'" for path in alone[:3]) + (" and others" if len(alone) > 3 else "")
    number = f"{len(alone)} pictures" if len(alone) > 1 else "a picture"
    return matched, PinxitError(
        f"sides of {len(of_a)} and {len(of_b)} pictures have {number} without counterpart ({first}), expected two of "
        "each name; add what is missing or remove the rest, or take them as unpaired if they are"
    )


def splits_of_pairs(data: Path) -> list[str]:
    """The splits that a data set of two sides has, as its folders call them; none if it is no such data set.

    Raises:
        PinxitError: the folder is missing.
    """
    return list(_layout(data))


def kinds_of(
    sides: Sides, range_a: tuple[float, float] | None = None, range_b: tuple[float, float] | None = None
) -> tuple[Kind, Kind]:
    """The kind of each side, with the range given or that of its files (see `rasters.kind_of`).

    Raises:
        PinxitError: the pictures of a side differ in channels or number type, or a file is wrong.
    """
    a = kind_of(sides.a, range_a)
    if sides.b is not None:
        return a, kind_of(sides.b, range_b)
    return a, a if range_b is None else Kind(a.channels, a.dtype, *map(float, range_b))


class PairStream:
    """Endless batches of pictures of two sides, shuffled anew each time all have been shown.

    What a step shows, and how it is cropped and flipped, depends on `seed` and the step alone. Paired pictures are
    cropped and flipped as one. Of unpaired ones B has an order, crops and flips of its own; the shorter side begins
    again while the longer one goes on.

    Args:
        kinds: of A and B; grey pictures pass for RGB where the kind is 8-bit RGB.
        batch: pictures of each side a step over all `world` processes together; this one gets those of its `rank`.
        workers: processes that read ahead; 0 reads in this one.
        cache_bytes: memory for pictures that are decoded and resized, over all workers; those that do not fit are read
            again.

    Raises:
        PinxitError: a side is empty, paired sides differ in number, `seed` is negative, or `batch` cannot be divided by
            `world`.
    """

    def __init__(
        self,
        sides: Sides,
        preprocess: Preprocess,
        kinds: tuple[Kind, Kind],
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        paired: bool = True,
        cache_bytes: int = 1 << 29,
    ) -> None:
        if 0 in sides.counts:
            side = "AB"[sides.counts.index(0)]
            raise expected(f"the list of pictures of side {side}", "empty", "one or more", "check the data folder")
        if paired and sides.counts[0] != sides.counts[1]:
            got = "{} on side A and {} on side B".format(*sides.counts)
            raise expected("number of pictures", got, "equally many", "add what is missing, or train on unpaired ones")
        require_shares(batch, world, seed)
        self.batch, self.seed, self.rank, self.world, self.workers = batch, seed, rank, world, workers
        self._samples = _Samples(sides, preprocess, kinds, seed, paired, cache_bytes // max(1, workers))

    def batches(self, start: int = 0) -> Iterator[Pair]:
        """The batches of the steps `start`, `start` + 1, … of this rank; step i is the same whatever `start` is.

        Raises:
            PinxitError: a file is wrong (see `rasters`) or of another kind; two of a pair differ in size, or those of a
                batch after `preprocess`.
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


def pair_pictures(
    sides: Sides, indices: Sequence[int], preprocess: Preprocess, kinds: tuple[Kind, Kind], paired: bool = True
) -> Pair:
    """Some pictures without chance, as one batch, for previews; a side that is shorter begins again.

    Raises:
        PinxitError: as `PairStream.batches`.
    """
    still = preprocess.still()
    samples = _Samples(sides, still, kinds, 0, paired, 0)
    batch = _stack([samples.at((index % sides.counts[0], index % sides.counts[1]), None, None) for index in indices])
    if isinstance(batch, PinxitError):
        raise batch
    return batch


class _Sample(NamedTuple):
    a: np.ndarray
    b: np.ndarray


class _Samples(Dataset[_Sample | PinxitError]):
    """The sample at each place of the endless order."""

    def __init__(
        self,
        sides: Sides,
        preprocess: Preprocess,
        kinds: tuple[Kind, Kind],
        seed: int,
        paired: bool,
        cache_bytes: int,
    ) -> None:
        self.sides, self.preprocess, self.kinds, self.seed, self.paired = sides, preprocess, kinds, seed, paired
        self.room = cache_bytes
        self.cache: dict[tuple[int, int], np.ndarray] = {}

    def __getitem__(self, position: int) -> _Sample | PinxitError:
        which: list[int] = []
        for side, count in enumerate(self.sides.counts):
            epoch, place = divmod(position, count)
            which.append(int(shuffled(self.seed, epoch, count, 0 if self.paired else 2 * side)[place]))
        # An error raised in a worker would arrive wrapped in its traceback; one that is returned arrives as it is.
        try:
            of_a, of_b = (np.random.default_rng((self.seed, 1 + 2 * side, position)) for side in (0, 1))
            return self.at((which[0], which[1]), of_a, of_b)
        except PinxitError as error:
            return error

    def at(self, which: tuple[int, int], of_a: np.random.Generator | None, of_b: np.random.Generator | None) -> _Sample:
        """The pictures at two indices, cropped and flipped by two generators, or without chance."""
        a, b = self._resized(which)
        place = self._place(0, which, a, of_a)
        return _Sample(
            _cut(a, place, self.kinds[0]),
            _cut(b, place if self.paired else self._place(1, which, b, of_b), self.kinds[1]),
        )

    def _place(self, side: int, which: tuple[int, int], array: np.ndarray, random: np.random.Generator | None) -> Place:
        return place_of((array.shape[0], array.shape[1]), self.preprocess, random, str(self._path(side, which)))

    def _path(self, side: int, which: tuple[int, int]) -> Path:
        return self.sides.a[which[side]] if side == 0 or self.sides.b is None else self.sides.b[which[side]]

    def _resized(self, which: tuple[int, int]) -> list[np.ndarray]:
        """A and B before the crop, out of the cache or read."""
        kept = [self.cache.get((side, which[side])) for side in (0, 1)]
        neither = all(array is None for array in kept)
        if self.sides.b is None and neither and which[0] == which[1]:
            arrays = list(halves(self._read(0, which), self._path(0, which)))
        else:
            arrays = [self._side(side, which) if array is None else array for side, array in enumerate(kept)]
        if self.paired and neither and arrays[0].shape[:2] != arrays[1].shape[:2]:
            raise _mismatch(self._path(0, which), arrays[0].shape, self._path(1, which), arrays[1].shape)
        for side, array in enumerate(arrays):
            if kept[side] is None:
                arrays[side] = array = resize(array, self.preprocess, self._path(side, which))
                if array.nbytes <= self.room:
                    self.room -= array.nbytes
                    self.cache[side, which[side]] = array
        return arrays

    def _side(self, side: int, which: tuple[int, int]) -> np.ndarray:
        array = self._read(side, which)
        return array if self.sides.b is not None else halves(array, self._path(side, which))[side].copy()

    def _read(self, side: int, which: tuple[int, int]) -> np.ndarray:
        return read_as(self._path(side, which), self.kinds[side], grey_as_rgb=True)


def halves(array: np.ndarray, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A and B of a side-by-side picture [H, W, C].

    Raises:
        PinxitError: its width is odd.
    """
    half = require_even(array.shape[1], path) // 2
    return array[:, :half], array[:, half:]


def require_even(width: int, path: Path) -> int:
    """The width of a side-by-side picture. Raises `PinxitError` where it is odd."""
    if width % 2:
        remedy = "cut it, or give two folders if it is not two pictures side by side"
        raise expected(f"width of '{path}'", width, "an even number, A on the left and B on the right", remedy)
    return width


def resize(array: np.ndarray, preprocess: Preprocess, source: str | Path) -> np.ndarray:
    """[H, W, C] at the size `preprocess` says, before the crop, by Pillow's BICUBIC; of 8 bits the official pixels.

    Raises:
        PinxitError: as `require_multiple`.
    """
    require_multiple((array.shape[0], array.shape[1]), preprocess, source)
    height, width = preprocess.resized(array.shape[0], array.shape[1])
    if (height, width) == array.shape[:2]:
        return array
    mode = np.uint8 if array.dtype == np.uint8 else np.float32
    bands = [  # one by one: of several, Pillow takes one for alpha
        np.asarray(Image.fromarray(band).resize((width, height), Image.Resampling.BICUBIC))
        for band in np.ascontiguousarray(np.moveaxis(array, 2, 0).astype(mode, copy=False))
    ]
    result = np.stack(bands, axis=2)
    return np.round(result).clip(0, 65535).astype(np.uint16) if array.dtype == np.uint16 else result


def require_multiple(size: tuple[int, int], preprocess: Preprocess, source: str | Path) -> None:
    """That a picture of a `size` (height, width), where no crop follows, gets sides that the networks can halve.

    Raises:
        PinxitError: a side is no multiple of `preprocess.multiple`; names `source`.
    """
    height, width = preprocess.resized(*size)
    step = preprocess.multiple
    if not preprocess.crops and preprocess.mode != "fixed" and (height % step or width % step):
        got = f"{height}x{width} (height x width) after preprocess {preprocess.mode}"
        remedy = "choose preprocess none, fixed or one that crops"
        raise expected(f"picture '{source}'", got, f"multiples of {step}", remedy)


def _cut(array: np.ndarray, place: Place, kind: Kind) -> np.ndarray:
    part = array[place.top : place.top + place.height, place.left : place.left + place.width]
    return to_unit(part[:, ::-1] if place.flipped else part, kind)


def _stack(samples: Sequence[_Sample | PinxitError]) -> Pair | PinxitError:
    """Samples to a batch, or the first error."""
    good: list[_Sample] = []
    for sample in samples:
        if isinstance(sample, PinxitError):
            return sample
        good.append(sample)
    for side in zip(*good, strict=True):
        sizes = sorted({array.shape[1:] for array in side})
        if len(sizes) > 1:
            listed = ", ".join(f"{height}x{width}" for height, width in sizes)
            remedy = "preprocess with a crop or fixed, or train with batch 1"
            return expected("sizes within a batch", listed, "one (height x width)", remedy)
    # Stacked by numpy: see `stream`.
    return Pair(*(torch.from_numpy(np.stack(side)) for side in zip(*good, strict=True)))


def _mismatch(a: Path, size_a: Sequence[int], b: Path, size_b: Sequence[int]) -> PinxitError:
    return expected(
        f"size of '{b}'",
        f"{size_b[1]}x{size_b[0]}",
        f"{size_a[1]}x{size_a[0]} (width x height) as '{a}' has",
        "resize one of them, or check that they belong together",
    )


def _folders(data: Path, split: str) -> tuple[Path, ...]:
    """The folder of side-by-side files of a split, or the two of its sides."""
    layout = _layout(data)
    if not layout:
        inside = ", ".join(sorted(path.name for path in data.iterdir())[:6]) or "nothing"
        remedy = "rename its folders, or name those of side A and side B instead"
        raise expected(f"data folder '{data}'", f"a folder with {inside}", f"one with {FORMS}", remedy)
    for own, other in ((_VAL, _TEST), (_TEST, _VAL)):
        if split in own and not set(own) & set(layout):
            split = next((name for name in other if name in layout), split)
            break
    return layout[resolve(split, list(layout), data)]


def _layout(data: Path) -> dict[str, tuple[Path, ...]]:
    """The splits of a data set, with their folder of side-by-side files or the two of their sides."""
    data = Path(data)
    if not data.is_dir():
        raise expected(f"data folder '{data}'", "a file" if data.is_file() else "missing", "a folder", "check the path")
    found: dict[str, tuple[Path, ...]] = {}
    for folder in sorted(path for path in data.iterdir() if path.is_dir() and not path.name.startswith(".")):
        # A sibling `trainannot` says that what lies in `train` are photos, not two pictures side by side.
        if folder.name in _SPLITS and not (data / f"{folder.name}annot").is_dir() and _files(folder):
            found[folder.name] = (folder,)
    pairs = [(path, data / "B" / path.name, path.name) for path in (data / "A").glob("*")]
    pairs += [(path, data / f"{path.name[:-1]}B", path.name[:-1]) for path in data.glob("?*A")]
    for a, b, split in pairs:
        if a.is_dir() and b.is_dir():
            found[split] = (a, b)
    return found


def _files(folder: Path) -> list[Path]:
    found = [path for path in folder.glob("*") if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    return sorted(found, key=lambda path: natural(path.name))


def _pictures(folder: Path, thing: str) -> list[Path]:
    if found := _files(folder):
        return found
    got = "without pictures" if folder.is_dir() else "missing"
    raise expected(f"{thing} folder '{folder}'", got, f"a folder of pictures ({', '.join(SUFFIXES)})", "check the path")


@dataclass(frozen=True)
class PairReport:
    """What `check_pairs` found."""

    form: str
    """How many pictures there are, and how they lie."""
    sides: list[str]
    """A line about either side: its kind, the values that occur, its sizes."""
    problems: list[str] = field(default_factory=list)
    """What must be mended, a line each: `<thing> is <got>, expected <want>; <remedy>`."""
    notes: list[str] = field(default_factory=list)
    """What may be meant so, a line each."""

    def table(self) -> str:
        """The report as plain text of several lines."""
        return "\n".join([self.form, *self.sides, *closing(self.notes, self.problems)])

    def raise_if_bad(self) -> None:
        """Raises `PinxitError` with the first problem and the number of the others."""
        raise_first(self.problems)


@dataclass
class _Look:
    """What one file showed."""

    path: Path
    info: Info | None = None
    low: float = 0.0
    high: float = 0.0
    complaint: str | None = None


def check_pairs(
    sides: Sides,
    kinds: tuple[Kind, Kind] | None = None,
    *,
    preprocess: Preprocess | None = None,
    batch: int = 1,
    paired: bool = True,
    alone: PinxitError | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PairReport:
    """Read every file whole and report; wrong files are told, not raised.

    With `kinds` it tells also which files are of another, with `preprocess` whether each picture is large enough for
    it, and whether those of a `batch` get one size. `alone` is the complaint of `scan_pairs`, which becomes a problem
    too. `progress` is called with the number of files done and their total.
    """
    paths = [*sides.a, *(sides.b or ())]
    looks: list[_Look] = []
    with ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 1)) as pool:
        for look in pool.map(_look, paths):
            looks.append(look)
            if progress is not None:
                progress(len(looks), len(paths))
    problems = [] if alone is None else [str(alone)]
    problems += [look.complaint for look in looks if look.complaint is not None]
    of_a, of_b = looks[: len(sides.a)], looks[len(sides.a) :]
    notes: list[str] = []
    lines: list[str] = []
    if sides.b is None:
        form = f"{len(of_a)} pictures, A and B side by side"
        for look in of_a:
            if look.info is not None:
                complaints = _told(lambda path=look.path, width=look.info.width: require_even(width, path))
                problems += complaints
                look.info = None if complaints else look.info._replace(width=look.info.width // 2)
        groups = {"A and B": (of_a, kinds and kinds[0])}
    else:
        how = "by name" if paired else "unpaired"
        form = f"{len(of_a)} pictures on side A, {len(of_b)} on side B, {how}"
        groups = {"A": (of_a, kinds and kinds[0]), "B": (of_b, kinds and kinds[1])}
        for one, other in zip(of_a, of_b, strict=False) if paired else ():
            if one.info and other.info and one.info[:2] != other.info[:2]:
                problems.append(str(_mismatch(one.path, one.info[:2], other.path, other.info[:2])))
    for name, (group, kind) in groups.items():
        good = [(look, look.info) for look in group if look.info is not None]
        if not good:
            continue
        lines.append(_line(name, good))
        problems += _of_other_kind(good, kind)
        notes += _remarks(name, good, kind)
        if preprocess is not None:
            problems += unfit([(look.path, info[:2]) for look, info in good], preprocess, batch)
            if not preprocess.crops:  # of one of each size, since all of a size have the same fate
                first = {info[:2]: look.path for look, info in reversed(good)}
                for size, path in first.items():
                    problems += _told(lambda size=size, path=path: require_multiple(size, preprocess, path))
    return PairReport(form, lines, problems, notes)


def _look(path: Path) -> _Look:
    look = _Look(path)
    try:
        array = read_raster(path)
        height, width, channels = array.shape
        look.info = Info(height, width, channels, str(array.dtype))  # pyright: ignore[reportArgumentType]
        look.low, look.high = float(array.min()), float(array.max())
    except PinxitError as error:
        look.complaint = str(error)
    return look


def _told(attempt: Callable[[], object]) -> list[str]:
    try:
        attempt()
    except PinxitError as error:
        return [str(error)]
    return []


def _line(name: str, good: Sequence[tuple[_Look, Info]]) -> str:
    kinds = ", ".join(sorted({str(info) for _, info in good}))
    low, high = min(look.low for look, _ in good), max(look.high for look, _ in good)
    return f"{name}: {kinds}, values {low:g}..{high:g}, size (height x width): {sizes_text([i[:2] for _, i in good])}"


def _of_other_kind(good: Sequence[tuple[_Look, Info]], kind: Kind | None) -> list[str]:
    """One line about all pictures of a side that are not of its kind; without one, that of the most."""
    if kind is None:
        if may_be_one([info for _, info in good]):
            return []
        kinds = [info[2:] for _, info in good]
        channels, dtype = max(kinds, key=kinds.count)
        kind = Kind(channels, dtype, *FULL.get(dtype, (0.0, 1.0)))
    wanted = Info(0, 0, kind.channels, kind.dtype)
    bad = [(look.path, info) for look, info in good if not may_be_one([info, wanted]) or info.channels > kind.channels]
    if not bad:
        return []
    more = f" ({len(bad) - 1} more such pictures)" if len(bad) > 1 else ""
    return [line + more for line in _told(lambda: require_kind(*bad[0], kind))]


def _remarks(name: str, good: Sequence[tuple[_Look, Info]], kind: Kind | None) -> list[str]:
    """What may be meant so: grey pictures among RGB ones; values that fill little of their range, or exceed it."""
    notes = []
    channels = {info.channels for _, info in good}
    if channels == {1, 3}:
        grey = sum(info.channels == 1 for _, info in good)
        notes.append(f"{grey} of {len(good)} pictures of {name} are grey; they are taken for RGB")
    low, high = min(look.low for look, _ in good), max(look.high for look, _ in good)
    dtype = good[0][1].dtype
    full = FULL.get(dtype) if kind is None else (kind.low, kind.high)
    if full is not None and (low < full[0] or high > full[1]):
        notes.append(f"values of {name} are {low:g}..{high:g}; what is beyond {full[0]:g}..{full[1]:g} is clipped")
    elif full is not None and dtype == "uint16" and high - low < (full[1] - full[0]) / 8:
        notes.append(
            f"values of {name} are {low:g}..{high:g}, a small part of {full[0]:g}..{full[1]:g}; give their range"
        )
    return notes
