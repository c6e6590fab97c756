"""Photos with what may be known of them, a label map, a sketch, captions, any of it missing: files and batches.

A set is a folder in one of two forms (see `find_conditions`), or any folders that are named one by one. Nothing here
makes what is missing: `pinxit data conditions` does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from pinxit.data.augment import Preprocess, place_of
from pinxit.data.check import Progress, closing, raise_first
from pinxit.data.folders import by_name, label_set_for, natural, resolve
from pinxit.data.images import SUFFIXES, read_map, read_photo, require_size, to_array
from pinxit.data.labels import LabelSet, load_label_set
from pinxit.data.sketches import SUFFIXES as SKETCHES
from pinxit.data.sketches import normalised, read_sketch
from pinxit.data.stream import Positions, require_shares, shuffled
from pinxit.errors import PinxitError, expected

PARTS = ("map", "sketch", "text")
"""What a photo may come with, in the order of `Conditions.has`."""

LABEL_SET = "label_set.json"
"""Name of the file in a data folder that says what the ids of its maps mean."""

CLEANED = 64
"""Pixels that the shorter side of a sketch has at least where its lines are cleaned, before it is scaled to less."""

SIDES = re.compile(r"\b(left|right|leftmost|rightmost|lefthand|righthand)\b|[左右]", re.IGNORECASE)
"""What makes a caption untrue of the mirrored photo."""


class Conditions(NamedTuple):
    """A batch of photos with their parts. Where a part is missing its row is zeros, and `has` says so."""

    photo: Tensor
    """float32 [N, 3, H, W] in [-1, 1]."""
    labels: Tensor
    """int64 [N, H, W], indices of the label set."""
    sketch: Tensor
    """float32 [N, 1, H, W] in 0..1: 1 is line, 0 paper."""
    text: Tensor
    """[N, ...]: one of the rows that `ConditionStream` was given for the item; [N, 0] without any texts."""
    has: Tensor
    """bool [N, 3]: whether the item has a map, a sketch, a text."""


@dataclass(frozen=True)
class Conditioned:
    """A photo and the files and sentences that belong to it."""

    name: str
    photo: Path
    label: Path | None = None
    sketch: Path | None = None
    captions: tuple[str, ...] = ()

    @property
    def has(self) -> tuple[bool, bool, bool]:
        """Whether it has a map, a sketch, a text."""
        return self.label is not None, self.sketch is not None, bool(self.captions)


def find_conditions(
    data: Path | None,
    split: str = "train",
    *,
    photos: Path | None = None,
    maps: Path | None = None,
    sketches: Path | None = None,
    captions: Path | None = None,
) -> list[Conditioned]:
    """The photos of a split of `data` with their parts, in natural order of their names.

    `data` has photos/ and any of maps/, sketches/ and captions.jsonl, in itself or in a folder for each split; or
    SPLIT_img with any of SPLIT_label, SPLIT_sketch and SPLIT_captions.jsonl, the form of `folders.Layout`
    split_folders; or SPLIT with SPLITannot. A part belongs to the photo of its stem. `photos`, `maps`, `sketches` and
    `captions` name one each instead, or besides.

    Raises:
        PinxitError: a folder or file that is named is missing or empty, a part has no photo, two files have one name,
            or the captions are of another form (see `read_captions`).
    """
    if data is None and photos is None:
        raise expected("data folder", "missing", "--data, or --photos", "name one")
    if data is not None and not data.is_dir():
        got = "a file" if data.is_file() else "missing"
        raise expected(f"data folder '{data}'", got, "a folder with photos", "check the path")
    if data is not None:
        own = _own_places(data, split, photos_named=photos is not None)
        photos = photos or own[0]
        maps, sketches, captions = (
            named or (path if path.exists() else None)
            for named, path in zip((maps, sketches, captions), own[1:], strict=True)
        )
    assert photos is not None
    photo_of = _named(photos, "photos", SUFFIXES)
    map_of = {} if maps is None else _named(maps, "maps", SUFFIXES)
    sketch_of = {} if sketches is None else _named(sketches, "sketches", SKETCHES)
    captions_of = {} if captions is None else read_captions(captions)
    for what, parts, where in (
        ("map", map_of, maps), ("sketch", sketch_of, sketches), ("caption", captions_of, captions)
    ):  # fmt: skip
        if alone := sorted((name for name in parts if name not in photo_of), key=natural):
            more = f", as {len(alone) - 1} more" if len(alone) > 1 else ""
            thing = f"{what} {alone[0]!r} of '{where}'"
            raise expected(thing, f"without a photo{more}", f"one of its name in '{photos}'", "add or remove it")
    return [
        Conditioned(name, photo_of[name], map_of.get(name), sketch_of.get(name), captions_of.get(name, ()))
        for name in sorted(photo_of, key=natural)
    ]


def has_conditions(data: Path) -> bool:
    """Whether a folder has the form of `find_conditions` that no other data set has: photos/, in it or in a split."""
    return (data / "photos").is_dir() or any((path / "photos").is_dir() for path in data.glob("*"))


def label_set_of(items: Sequence[Conditioned], data: Path | None, name: str | None = None) -> LabelSet | None:
    """The label set of the maps: the one that is named, else that in `data`/label_set.json, else that of the data set's
    layout (see `folders.label_set_for`). None where no item has a map.

    Raises:
        PinxitError: none is named and the folder does not tell; or as `load_label_set`.
    """
    if not any(item.label is not None for item in items):
        return None
    if name is None and data is not None:
        if (data / LABEL_SET).is_file():
            return load_label_set(data / LABEL_SET)
        if any(data.glob("*_label")) or any(data.glob("*annot")):
            return label_set_for(data)
    return label_set_for(None, name)


def read_captions(source: Path) -> dict[str, tuple[str, ...]]:
    """Sentences by the stem of their photo: of a .jsonl file, or of a folder of .txt files named after their photos.

    A line of the first is `{"image": "0001.jpg", "captions": ["…", "…"]}`, or has `"caption": "…"`; lines of one image
    are joined. A .txt has a caption a line. White space is folded; empty lines and captions are passed over.

    Raises:
        PinxitError: the file or folder is missing, empty or of another form; names the line.
    """
    if source.is_dir():
        files = sorted(source.glob("*.txt"), key=lambda path: natural(path.name))
        found = {path.stem: _folded(_text_of(path).splitlines()) for path in files}
    else:
        found = {}
        for number, line in enumerate(_text_of(source).splitlines(), 1):
            if line.strip():
                stem, sentences = _captions_in(line, f"line {number} of '{source}'")
                found[stem] = found.get(stem, ()) + sentences
    found = {stem: sentences for stem, sentences in found.items() if sentences}
    if not found:
        want = 'lines such as {"image": "0001.jpg", "captions": ["..."]}, or .txt files'
        raise expected(f"captions '{source}'", "without any", want, "check the path")
    return found


def counted(items: Sequence[Conditioned]) -> str:
    """What a set has, in a line: `367 photos: 367 with a map, 360 with a sketch, 0 with a text`."""
    have = [sum(item.has[part] for item in items) for part in range(len(PARTS))]
    told = ", ".join(f"{count} with a {part}" for count, part in zip(have, PARTS, strict=True))
    return f"{len(items)} photo{'s' * (len(items) != 1)}: {told}"


@dataclass(frozen=True)
class ConditionReport:
    """What a set of photos with their parts has, and what is wrong with it."""

    items: list[Conditioned]
    problems: list[str]

    def table(self) -> str:
        """All of it as text, the problems last."""
        return "\n".join([counted(self.items), *closing([], self.problems)])


def look_at_conditions(
    items: Sequence[Conditioned], labels: LabelSet | None, progress: Progress = lambda done, total: None
) -> ConditionReport:
    """Read every file whole, several at a time: what is no picture or damaged, a map with an id outside `labels`, a map
    or a sketch that does not fit its photo, a blank sketch. `labels` None: no item has a map."""

    def problem(item: Conditioned) -> list[str]:
        try:
            _load(item, labels, Preprocess("none", multiple=1))
        except PinxitError as error:
            return [str(error)]
        return []

    found: list[str] = []
    with ThreadPoolExecutor() as pool:
        for done, lines in enumerate(pool.map(problem, items), 1):
            found += lines
            progress(done, len(items))
    return ConditionReport(list(items), found)


def check_conditions(items: Sequence[Conditioned], labels: LabelSet | None) -> None:
    """As `look_at_conditions`.

    Raises:
        PinxitError: something is wrong. Names the first, and how many more there are.
    """
    raise_first(look_at_conditions(items, labels).problems)


class ConditionStream:
    """Endless batches of `items`, shuffled anew each time all have been shown.

    Which items a step shows, with which of their captions, and how each is cropped and mirrored, photo, map and sketch
    alike, depends on `seed` and the step alone. What is shown with a caption that says left or right is not mirrored,
    unless the caption is, too.

    Args:
        labels: of the maps; None where no item has one.
        texts: for each item a row for each of its captions, [captions, ...], in whatever form the network takes them;
            None: nothing has a text.
        mirrored: the same of the captions of the mirrored photos (see `scene_captions.mirrored`).
        batch: photos a step over all `world` processes together; this one gets those of its `rank`.
        workers: processes that read ahead; 0 reads in this one.
        cache_bytes: memory for pictures that are decoded and resized, over all workers; those that do not fit are read
            again.

    Raises:
        PinxitError: there are no items, some have maps without `labels`, `texts` do not fit the items, `seed` is
            negative, or `batch` cannot be divided by `world`.
    """

    def __init__(
        self,
        items: Sequence[Conditioned],
        labels: LabelSet | None,
        preprocess: Preprocess,
        texts: Sequence[Tensor] | None,
        batch: int,
        seed: int,
        rank: int = 0,
        world: int = 1,
        workers: int = 0,
        cache_bytes: int = 1 << 29,
        *,
        mirrored: Sequence[Tensor] | None = None,
    ) -> None:
        require_shares(batch, world, seed)
        self.batch, self.seed, self.rank, self.world, self.workers = batch, seed, rank, world, workers
        rows, other_rows = _rows(items, labels, texts), _rows(items, labels, mirrored)
        room = cache_bytes // max(1, workers)
        self._samples = _Samples(tuple(items), labels, preprocess, rows, seed, room, other_rows)

    def batches(self, start: int = 0) -> Iterator[Conditions]:
        """The batches of the steps `start`, `start` + 1, … of this rank; step i is the same whatever `start` is.

        Raises:
            PinxitError: a file is wrong (see `check_conditions`), or the pictures of a batch differ in size.
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


def condition_pictures(
    items: Sequence[Conditioned],
    labels: LabelSet | None,
    preprocess: Preprocess,
    texts: Sequence[Tensor] | None = None,
) -> Conditions:
    """Some items without chance, each with its first caption, as one batch, for previews and measurements.

    Raises:
        PinxitError: as `ConditionStream` and its `batches`.
    """
    samples = _Samples(tuple(items), labels, preprocess.still(), _rows(items, labels, texts), 0, 0)
    batch = _stack([samples.at(which, None) for which in range(len(items))])
    if isinstance(batch, PinxitError):
        raise batch
    return batch


class _Parts(NamedTuple):
    """An item in memory: its parts have one height and width. Integers where they suffice, since the cache keeps it."""

    photo: Image.Image
    map: np.ndarray | None
    sketch: Image.Image | None
    """L, 255 is line."""


class _Sample(NamedTuple):
    photo: np.ndarray
    labels: np.ndarray
    sketch: np.ndarray
    text: np.ndarray
    has: np.ndarray


class _Samples(Dataset[_Sample | PinxitError]):
    """The sample at each place of the endless order."""

    def __init__(
        self,
        items: tuple[Conditioned, ...],
        labels: LabelSet | None,
        preprocess: Preprocess,
        texts: tuple[np.ndarray, ...] | None,
        seed: int,
        cache_bytes: int,
        mirrored: tuple[np.ndarray, ...] | None = None,
    ) -> None:
        self.mirrored = mirrored
        self.items, self.labels, self.preprocess, self.texts, self.seed = items, labels, preprocess, texts, seed
        self.room = cache_bytes
        self.blank = np.zeros(0, np.float32) if texts is None else np.zeros_like(_one_of(texts))
        self.cache: dict[int, _Parts] = {}

    def __getitem__(self, position: int) -> _Sample | PinxitError:
        epoch, place = divmod(position, len(self.items))
        which = int(shuffled(self.seed, epoch, len(self.items))[place])
        # An error raised in a worker would arrive wrapped in its traceback; one that is returned arrives as it is.
        try:
            return self.at(which, np.random.default_rng((self.seed, 1, position)))
        except PinxitError as error:
            return error

    def at(self, which: int, random: np.random.Generator | None) -> _Sample:
        """The item of that number, varied by chance, or in the middle and with its first caption."""
        item, parts = self.items[which], self._parts(which)
        place = place_of((parts.photo.height, parts.photo.width), self.preprocess, random, str(item.photo))
        text, caption, chosen = self.blank, None, 0
        if item.captions and self.texts is not None:
            chosen = 0 if random is None else int(random.integers(len(item.captions)))
            text, caption = self.texts[which][chosen], item.captions[chosen]
        flipped = place.flipped
        if flipped and caption and SIDES.search(caption):
            if self.mirrored is None:
                flipped = False
            else:
                text = self.mirrored[which][chosen]
        box = (place.left, place.top, place.left + place.width, place.top + place.height)

        def cut(picture: Image.Image) -> Image.Image:
            picture = picture.crop(box)
            return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flipped else picture

        labels = np.zeros((place.height, place.width), np.int64)
        if parts.map is not None:
            window = parts.map[place.top : box[3], place.left : box[2]]
            labels = (window[:, ::-1] if flipped else window).astype(np.int64)
        sketch = np.zeros((1, place.height, place.width), np.float32)
        if parts.sketch is not None:
            sketch = np.asarray(cut(parts.sketch)).astype(np.float32)[None] / np.float32(255)
        has = np.array([parts.map is not None, parts.sketch is not None, caption is not None])
        return _Sample(to_array(cut(parts.photo)), labels, sketch, text, has)

    def _parts(self, which: int) -> _Parts:
        if which in self.cache:
            return self.cache[which]
        parts = _load(self.items[which], self.labels, self.preprocess)
        pixels = parts.photo.width * parts.photo.height
        size = 4 * pixels + (0 if parts.map is None else parts.map.nbytes)
        if size <= self.room:
            self.room -= size
            self.cache[which] = parts
        return parts


def _load(item: Conditioned, labels: LabelSet | None, preprocess: Preprocess) -> _Parts:
    """Read and resize an item: photos by BICUBIC and maps by NEAREST, as `augment` does; sketches by `sketch_at`."""
    photo = read_photo(item.photo)
    height, width = preprocess.resized(photo.height, photo.width)
    ids = sketch = None
    if item.label is not None and labels is not None:
        ids = read_map(item.label, labels)
        require_size(item.photo, (photo.height, photo.width), item.label, ids.shape)
        # Mode I (int32) holds any index.
        small = Image.fromarray(ids.astype(np.int32)).resize((width, height), Image.Resampling.NEAREST)
        ids = np.asarray(small).astype(np.uint8 if labels.unknown < 256 else np.uint16)
    if item.sketch is not None:
        sketch = sketch_at(item.sketch, (photo.height, photo.width), (height, width))
    if photo.size != (width, height):
        photo = photo.resize((width, height), Image.Resampling.BICUBIC)
    return _Parts(photo, ids, sketch)


def sketch_at(source: Path | Image.Image, of: tuple[int, int], size: tuple[int, int]) -> Image.Image:
    """The sketch in a file, or a picture of one, clean (see `sketches`), as an L picture of `size` (height, width).

    255 is line. `of`: height and width of the picture whose sketch it is, which it must have the aspect of. A `size` of
    another aspect squeezes it, as it does photos.

    Raises:
        PinxitError: it has another aspect than `of`; or as `sketches.read_sketch`.
    """
    fit = max(min(size[0] / of[0], size[1] / of[1]), CLEANED / min(of))
    inner = max(1, round(of[0] * fit)), max(1, round(of[1] * fit))
    read = read_sketch(source, inner, pad=False) if isinstance(source, Path) else normalised(source, inner, pad=False)
    page = Image.fromarray(np.round((1 - read.lines[0]) * 127.5).clip(0, 255).astype(np.uint8))
    return page.resize((size[1], size[0]), Image.Resampling.BICUBIC) if inner != size else page


def _own_places(data: Path, split: str, *, photos_named: bool) -> tuple[Path, Path, Path, Path]:
    """Where a data folder has photos, maps, sketches and captions, if it has them."""
    home = data
    inside = sorted(path.name for path in data.iterdir() if (path / "photos").is_dir())
    if inside and not (data / "photos").is_dir():
        home = data / resolve(split, inside, data)
    if (home / "photos").is_dir() or photos_named:
        return home / "photos", home / "maps", home / "sketches", home / "captions.jsonl"
    if named := sorted(path.name.removesuffix("_img") for path in data.glob("*_img")):
        split = resolve(split, named, data)
        return (
            data / f"{split}_img", data / f"{split}_label", data / f"{split}_sketch", data / f"{split}_captions.jsonl"
        )  # fmt: skip
    if annotated := sorted(path.name.removesuffix("annot") for path in data.glob("*annot")):
        split = resolve(split, annotated, data)
        return data / split, data / f"{split}annot", data / f"{split}_sketch", data / f"{split}_captions.jsonl"
    inside = sorted(path.name for path in data.iterdir())[:6]
    want = "one with photos/, or with train_img"
    raise expected(f"data folder '{data}'", f"a folder with {', '.join(inside) or 'nothing'}", want, "name --photos")


def _named(folder: Path, what: str, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files of a folder by their stems."""
    found = []
    if folder.is_dir():
        found = [path for path in folder.iterdir() if path.suffix.lower() in suffixes and path.name[0] != "."]
    if not found:
        got = "without pictures" if folder.is_dir() else "missing"
        raise expected(f"{what} folder '{folder}'", got, f"a folder of {what}", "check the path")
    return by_name(found, lambda path: path.stem)


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        got = "missing" if isinstance(error, FileNotFoundError) else f"unreadable ({error.strerror})"
        raise expected(
            f"captions '{file}'", got, "a .jsonl file, or a folder of .txt files", "check the path"
        ) from error
    except UnicodeDecodeError as error:
        raise expected(f"captions '{file}'", f"no UTF-8 ({error})", "text in UTF-8", "save it so") from error


def _captions_in(line: str, where: str) -> tuple[str, tuple[str, ...]]:
    """The stem of the image and the captions of a line of a .jsonl file."""
    try:
        row = json.loads(line)
    except ValueError as error:
        raise expected(where, f"not JSON ({error})", "an object a line", "correct it") from error
    match row:
        case {"image": str(image), "captions": list(sentences)} if all(isinstance(one, str) for one in sentences):
            pass
        case {"image": str(image), "caption": str(sentence)}:
            sentences = [sentence]
        case _:
            want = '{"image": "0001.jpg", "captions": ["..."]}'
            raise expected(where, f"{line.strip()[:60]}", want, "write it so")
    return (Path(image).stem if Path(image).suffix.lower() in SUFFIXES else Path(image).name), _folded(sentences)


def _folded(sentences: Sequence[str]) -> tuple[str, ...]:
    return tuple(folded for sentence in sentences if (folded := " ".join(sentence.split())))


def _rows(
    items: Sequence[Conditioned], labels: LabelSet | None, texts: Sequence[Tensor] | None
) -> tuple[np.ndarray, ...] | None:
    """The rows of `texts` as arrays, after a look at whether all fits together."""
    if not items:
        raise expected("the list of photos", "empty", "one or more", "check the data folder")
    if labels is None and (mapped := [item for item in items if item.label is not None]):
        raise expected("label set", "missing", f"that of '{mapped[0].label}'", "name it")
    if texts is None:
        return None
    if len(texts) != len(items):
        raise expected("texts", f"of {len(texts)} items", f"of the {len(items)} there are", "encode each item's")
    for item, rows in zip(items, texts, strict=True):
        if len(rows) != len(item.captions):
            got = f"{len(rows)} rows"
            raise expected(f"the text of '{item.photo}'", got, f"{len(item.captions)}, one a caption", "encode each")
    if not any(len(rows) for rows in texts):
        return None
    return tuple(rows.numpy() for rows in texts)


def _one_of(texts: Sequence[np.ndarray]) -> np.ndarray:
    return next(rows[0] for rows in texts if len(rows))


def _stack(samples: Sequence[_Sample | PinxitError]) -> Conditions | PinxitError:
    """Samples to a batch, or the first error."""
    good: list[_Sample] = []
    for sample in samples:
        if isinstance(sample, PinxitError):
            return sample
        good.append(sample)
    if len(sizes := sorted({sample.labels.shape for sample in good})) > 1:
        listed = ", ".join(f"{height}x{width}" for height, width in sizes)
        remedy = "preprocess with a crop or fixed"
        return expected("sizes within a batch", listed, "one (height x width)", remedy)
    # Stacked by numpy: see `stream`.
    return Conditions(*(torch.from_numpy(np.stack(part)) for part in zip(*good, strict=True)))
