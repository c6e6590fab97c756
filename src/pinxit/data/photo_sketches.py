"""Photos and the drawings that people made of them, one or more of each: which files belong together, and batches."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pinxit.data.folders import natural, resolve
from pinxit.data.images import SUFFIXES, read_photo, to_array
from pinxit.data.pairs import find_pairs, require_even
from pinxit.data.stream import Positions, require_shares, shuffled
from pinxit.errors import PinxitError, expected

Direction = Literal["AtoB", "BtoA"]

DARK = 0.5
"""Mean lightness, of 1, below which a drawing counts as white on black."""


class PhotoSketches(NamedTuple):
    """A batch of photos and their drawings."""

    photo: Tensor
    """float32 [N, 3, H, W] in [-1, 1]."""
    sketches: Tensor
    """float32 [N, n, H, W] in [-1, 1], paper 1: n drawings of each photo."""


@dataclass(frozen=True)
class Drawn:
    """A photo and the files of its drawings."""

    photo: Path
    sketches: tuple[Path, ...]
    half: Literal["left", "right"] | None = None
    """Where both are side by side in one file: the half with the photo."""


def find_drawn(
    data: Path | None,
    photos: Path | None = None,
    sketches: Path | None = None,
    split: str = "train",
    direction: Direction = "AtoB",
    most: int | None = None,
) -> list[Drawn]:
    """The photos of a split of `data`, or those in the folder `photos`, in natural order of their names.

    `data` has image/, sketch-rendered/width-5/ and list/SPLIT.txt with a name a line, as the authors of PhotoSketch
    keep it; or pairs as `pairs.find_pairs` knows them, whose photos are on side A, with `direction` BtoA on side B.
    The drawings of a photo NAME are in a folder NAME in `sketches`, or in files NAME, NAME_1, NAME_2 and so on there.
    `most`: how many of a photo are taken at most, the first by name.

    Raises:
        PinxitError: a folder is missing or empty, or a photo lacks drawings.
    """
    if (data is None) == (photos is None and sketches is None) or (photos is None) != (sketches is None):
        got = "given with --photos or --sketches" if data is not None else "missing"
        raise expected("data folder", got, "--data, or --photos and --sketches", "name these")
    if data is None:
        assert photos is not None
        assert sketches is not None
        return _by_photo(_pictures(photos, "photos"), sketches, most)
    if (data / "image").is_dir() and (data / "list").is_dir():
        lists = sorted(path.stem for path in (data / "list").glob("*.txt"))
        names = data / "list" / f"{resolve(split, lists, data)}.txt"
        files = {path.stem: path for path in _pictures(data / "image", "photos")}
        wanted = sorted(name.strip() for name in names.read_text(encoding="utf-8").splitlines() if name.strip())
        for name in wanted:
            if name not in files:
                got = f"without '{name}', which '{names}' lists"
                raise expected(f"photos folder '{data / 'image'}'", got, "all that is listed", "add it, or strike it")
        return _by_photo([files[name] for name in wanted], data / "sketch-rendered" / "width-5", most)
    sides = find_pairs(data, split=split)
    if sides.b is None:
        half: Literal["left", "right"] = "left" if direction == "AtoB" else "right"
        return [Drawn(path, (path,), half) for path in sides.a]
    of_photo, of_sketch = (sides.a, sides.b) if direction == "AtoB" else (sides.b, sides.a)
    return [Drawn(photo, (sketch,)) for photo, sketch in zip(of_photo, of_sketch, strict=True)]


def check_drawn(drawn: Sequence[Drawn]) -> None:
    """Read every file whole.

    Raises:
        PinxitError: a file is no picture; a drawing is white on black, has no line, or has another aspect than its
            photo. Names the first, and how many more there are.
    """
    with ThreadPoolExecutor() as pool:
        problems = [line for lines in pool.map(_problems, drawn) for line in lines]
    if problems:
        more = f" ({len(problems) - 1} more such pictures)" if len(problems) > 1 else ""
        raise PinxitError(problems[0] + more)


@dataclass(frozen=True)
class Vary:
    """How a photo and its drawings become one training example, all alike but for `jitter`, the photo's alone."""

    size: tuple[int, int] = (256, 256)
    """Height and width of the result."""
    load_size: int = 286
    """Pixels that the shorter side is scaled to before the crop."""
    rotate: float = 15.0
    """Largest angle in degrees."""
    share: float = 0.8
    """Share of the examples that are turned and cropped."""
    jitter: float = 0.02
    """Largest change of brightness, contrast, saturation and hue."""
    flip: bool = True
    """Whether every other example is mirrored."""

    def __post_init__(self) -> None:
        if self.load_size < min(self.size):
            want = f"{min(self.size)} or more, the shorter side of --size"
            raise expected("--load-size", self.load_size, want, "enlarge it")

    @property
    def loaded(self) -> tuple[int, int]:
        """Height and width before the crop."""
        short = min(self.size)
        return round(self.load_size * self.size[0] / short), round(self.load_size * self.size[1] / short)


class PhotoSketchStream:
    """Endless batches of photos and drawings, shuffled anew each time all have been shown.

    What a step shows, and how it is varied, depends on `seed` and the step alone. Each photo comes with `references`
    drawings: as many as the photo that has most; of one with fewer they are repeated in turn.

    Args:
        batch: photos a step over all `world` processes together; this one gets those of its `rank`.
        workers: processes that read ahead; 0 reads in this one.
        cache_bytes: memory for decoded pictures, over all workers; those that do not fit are read again.

    Raises:
        PinxitError: `drawn` is empty, `seed` is negative, or `batch` cannot be divided by `world`.
    """

    def __init__(
        self,
        drawn: Sequence[Drawn],
        vary: Vary,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        cache_bytes: int = 1 << 29,
    ) -> None:
        if not drawn:
            raise expected("the list of photos", "empty", "one or more", "check the data folder")
        require_shares(batch, world, seed)
        self.batch, self.seed, self.rank, self.world, self.workers = batch, seed, rank, world, workers
        self.references = max(len(one.sketches) for one in drawn)
        self._samples = _Samples(tuple(drawn), vary, seed, self.references, cache_bytes // max(1, workers))

    def batches(self, start: int = 0) -> Iterator[PhotoSketches]:
        """The batches of the steps `start`, `start` + 1, … of this rank; step i is the same whatever `start` is.

        Raises:
            PinxitError: a file is wrong (see `images.read_photo`).
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


def drawn_pictures(drawn: Sequence[Drawn], vary: Vary) -> PhotoSketches:
    """Some photos with their drawings without chance, scaled to `vary.size`, as one batch, for previews.

    Raises:
        PinxitError: as `PhotoSketchStream.batches`.
    """
    samples = _Samples(tuple(drawn), vary, 0, max(len(one.sketches) for one in drawn), 0)
    batch = _stack([samples.at(which, None) for which in range(len(drawn))])
    assert isinstance(batch, PhotoSketches)
    return batch


class _Sample(NamedTuple):
    photo: np.ndarray
    sketches: np.ndarray


class _Samples(Dataset[_Sample | PinxitError]):
    """The sample at each place of the endless order."""

    def __init__(self, drawn: tuple[Drawn, ...], vary: Vary, seed: int, references: int, cache_bytes: int) -> None:
        self.drawn, self.vary, self.seed, self.references, self.room = drawn, vary, seed, references, cache_bytes
        self.cache: dict[int, list[Image.Image]] = {}

    def __getitem__(self, position: int) -> _Sample | PinxitError:
        epoch, place = divmod(position, len(self.drawn))
        which = int(shuffled(self.seed, epoch, len(self.drawn))[place])
        # An error raised in a worker would arrive wrapped in its traceback; one that is returned arrives as it is.
        try:
            return self.at(which, np.random.default_rng((self.seed, 1, position)))
        except PinxitError as error:
            return error

    def at(self, which: int, random: np.random.Generator | None) -> _Sample:
        """The photo of that number and its drawings, varied by chance, or just scaled."""
        photo, *sketches = varied(self._pictures(which), self.vary, random)
        lines = [to_array(sketch)[:1] for sketch in sketches]
        return _Sample(to_array(photo), np.concatenate([lines[i % len(lines)] for i in range(self.references)]))

    def _pictures(self, which: int) -> list[Image.Image]:
        if which in self.cache:
            return self.cache[which]
        pictures = read_drawn(self.drawn[which])
        size = sum(picture.width * picture.height * len(picture.getbands()) for picture in pictures)
        if size <= self.room:
            self.room -= size
            self.cache[which] = pictures
        return pictures


def read_drawn(drawn: Drawn) -> list[Image.Image]:
    """The photo in RGB, then its drawings in grey.

    Raises:
        PinxitError: see `images.read_photo`; or a file of two halves has an odd width.
    """
    photo = read_photo(drawn.photo)
    if drawn.half is None:
        return [photo, *(read_photo(path).convert("L") for path in drawn.sketches)]
    middle = require_even(photo.width, drawn.photo) // 2
    halves = [photo.crop((x, 0, x + middle, photo.height)) for x in (0, middle)]
    photo, sketch = halves if drawn.half == "left" else halves[::-1]
    return [photo, sketch.convert("L")]


def varied(pictures: Sequence[Image.Image], vary: Vary, random: np.random.Generator | None) -> list[Image.Image]:
    """A photo and its drawings, each of any size, at `vary.size`: turned, cropped and mirrored alike, or, where
    `random` is None, just scaled. What is turned is zoomed in on, so that no corner is bare."""
    height, width = vary.size
    if random is None:
        return [picture.resize((width, height), Image.Resampling.BICUBIC) for picture in pictures]
    photo, *sketches = pictures
    flipped = vary.flip and random.random() < 0.5
    photo = jittered(photo, vary.jitter, random) if vary.jitter else photo
    pictures = [photo, *sketches]
    if flipped:
        pictures = [picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for picture in pictures]
    if random.random() >= vary.share:
        return [picture.resize((width, height), Image.Resampling.BICUBIC) for picture in pictures]
    rows, columns = vary.loaded
    angle = math.radians(random.uniform(-vary.rotate, vary.rotate))
    top, left = random.random() * (rows - height), random.random() * (columns - width)
    return [_turned(p.resize((columns, rows), Image.Resampling.BICUBIC), angle, top, left, vary.size) for p in pictures]


def jittered(photo: Image.Image, most: float, random: np.random.Generator) -> Image.Image:
    """Brightness, contrast, saturation and hue each changed by at most `most`."""
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        photo = enhance(photo).enhance(1 + random.uniform(-most, most))
    hue, saturation, value = photo.convert("HSV").split()
    turned = (np.asarray(hue).astype(np.int64) + round(random.uniform(-most, most) * 255)) % 256
    return Image.merge("HSV", (Image.fromarray(turned.astype(np.uint8)), saturation, value)).convert("RGB")


def _turned(picture: Image.Image, angle: float, top: float, left: float, size: tuple[int, int]) -> Image.Image:
    """The window of `size` (height, width) at `top`, `left` of a picture turned about its middle and zoomed."""
    width, height = picture.size
    c, s = math.cos(angle), math.sin(angle)
    zoom = max(c + abs(s) * height / width, c + abs(s) * width / height)
    # From a place in the window to that in the picture: to the middle, back by the turn, back by the zoom.
    x, y = width / 2, height / 2
    a, b = c / zoom, s / zoom
    matrix = (a, b, x + a * (left - x) + b * (top - y), -b, a, y - b * (left - x) + a * (top - y))
    return picture.transform((size[1], size[0]), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)


def _stack(samples: Sequence[_Sample | PinxitError]) -> PhotoSketches | PinxitError:
    """Samples to a batch, or the first error."""
    good: list[_Sample] = []
    for sample in samples:
        if isinstance(sample, PinxitError):
            return sample
        good.append(sample)
    # Stacked by numpy: see `stream`.
    return PhotoSketches(*(torch.from_numpy(np.stack(part)) for part in zip(*good, strict=True)))


def _by_photo(photos: Sequence[Path], sketches: Path, most: int | None) -> list[Drawn]:
    if not sketches.is_dir():
        got = "a file" if sketches.exists() else "missing"
        raise expected(f"sketches folder '{sketches}'", got, "a folder of drawings", "check the path")
    own = {path.name: path for path in sketches.iterdir() if path.is_dir()}
    loose: dict[str, list[Path]] = {}
    for path in _inside(sketches):
        numbered = re.fullmatch(r"(.+)_\d+", path.stem)
        for name in {path.stem, numbered[1] if numbered else path.stem}:
            loose.setdefault(name, []).append(path)
    found, names = [], {photo.stem for photo in photos}
    for photo in photos:
        # A photo may itself be called NAME_1: then that file is a drawing of it, not of NAME.
        files = [path for path in loose.get(photo.stem, []) if path.stem == photo.stem or path.stem not in names]
        files = _inside(own[photo.stem]) if photo.stem in own else files
        if not files:
            want = f"a folder '{photo.stem}', or files {photo.stem}_1, {photo.stem}_2, in '{sketches}'"
            raise expected(f"photo '{photo}'", "without drawings", want, "add one, or remove the photo")
        found.append(Drawn(photo, tuple(files[:most])))
    return found


def _inside(folder: Path) -> list[Path]:
    files = [path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and path.name[0] != "."]
    return sorted(files, key=lambda path: natural(path.name))


def _pictures(folder: Path, what: str) -> list[Path]:
    if folder.is_dir() and (found := _inside(folder)):
        return found
    got = "without pictures" if folder.is_dir() else "missing"
    raise expected(f"{what} folder '{folder}'", got, f"a folder of pictures ({', '.join(SUFFIXES)})", "check the path")


def _problems(drawn: Drawn) -> list[str]:
    """What is wrong with one photo or its drawings, a line each."""
    try:
        photo, *sketches = read_drawn(drawn)
    except PinxitError as error:
        return [str(error)]
    lines = []
    for path, sketch in zip(drawn.sketches, sketches, strict=True):
        grey = np.asarray(sketch)
        if np.ptp(grey) < 32:
            lines.append(str(expected(f"drawing '{path}'", "blank", "dark lines on white", "remove it")))
        elif grey.mean() < 255 * DARK:
            got = f"dark all over (mean {grey.mean():.0f} of 255)"
            lines.append(str(expected(f"drawing '{path}'", got, "dark lines on white", "invert it")))
        if abs(math.log(sketch.width / sketch.height * photo.height / photo.width)) > 0.02:
            got = f"{sketch.width}x{sketch.height}"
            want = f"the aspect of '{drawn.photo}', {photo.width}x{photo.height} (width x height)"
            lines.append(str(expected(f"size of drawing '{path}'", got, want, "check that they belong together")))
    return lines
