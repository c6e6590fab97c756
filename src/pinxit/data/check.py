"""The look at all files of a data set before it is trained on: what is there, and what would go wrong."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pinxit.data.augment import Preprocess
from pinxit.data.folders import Item, Layout, default_label_set, detect_layout, scan
from pinxit.data.images import read_instances, read_photo, read_raw_map, require_size
from pinxit.data.labels import Color, LabelSet, tally, tally_colors
from pinxit.errors import PinxitError, expected

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Report:
    """What `check` found."""

    labels: LabelSet
    maps: int
    photos: int
    instances: int
    sizes: tuple[tuple[int, int], ...]
    """Height and width of each readable map."""
    pixels: dict[str, int]
    """Pixels of each label that occurs; those of 'unknown' under "(unknown)"."""
    files: dict[str, int]
    """In how many maps each of these labels occurs."""
    problems: list[str] = field(default_factory=list)
    """What must be mended, a line each: `<thing> is <got>, expected <want>; <remedy>`."""
    notes: list[str] = field(default_factory=list)
    """What may be meant so, a line each."""

    @property
    def share(self) -> dict[str, float]:
        """The part of all pixels that each label has, 0..1, in the order of the set."""
        total = max(1, sum(self.pixels.values()))
        return {name: count / total for name, count in self.pixels.items()}

    @property
    def absent(self) -> list[str]:
        """The labels that no map has."""
        return [label.name for label in self.labels.labels if label.name not in self.pixels]

    def table(self) -> str:
        """The report as plain text of several lines."""
        lines = [f"{self.maps} label maps, {self.photos} photos, {self.instances} instance maps"]
        if self.sizes:
            lines.append(f"size (height x width): {sizes_text(self.sizes)}")
        width = max([len(name) for name in self.pixels] + [5])
        lines.append(f"{'id':>5}  {'label':<{width}}  {'pixels':>7}  {'files':>6}")
        ids = {label.name: str(label.id) for label in self.labels.labels}
        for name, share in self.share.items():
            lines.append(f"{ids.get(name, ''):>5}  {name:<{width}}  {share:>7.2%}  {self.files[name]:>6}")
        if self.absent:
            shown = ", ".join(self.absent[:12]) + (", …" if len(self.absent) > 12 else "")
            lines.append(f"{len(self.absent)} of {len(self.labels.labels)} labels in no map: {shown}")
        return "\n".join(lines + closing(self.notes, self.problems))

    def raise_if_bad(self) -> None:
        """Raises `PinxitError` with the first problem and the number of the others."""
        raise_first(self.problems)


def sizes_text(sizes: Sequence[tuple[int, int]]) -> str:
    """`12x16`, or the smallest, the middle and the largest of several (height, width)."""
    ordered = sorted(sizes, key=lambda size: size[0] * size[1])
    if ordered[0] == ordered[-1] and len(set(ordered)) == 1:
        return "{}x{}".format(*ordered[0])
    small, middle, large = ("{}x{}".format(*ordered[place]) for place in (0, len(ordered) // 2, -1))
    return f"{small} smallest, {middle} median, {large} largest, {len(set(ordered))} different"


def closing(notes: Sequence[str], problems: Sequence[str]) -> list[str]:
    """The last lines of a report."""
    lines = [f"note: {note}" for note in notes] + [f"problem: {problem}" for problem in problems]
    found = len(problems)
    return [*lines, "no problems" if not found else f"{found} problem{'s' if found > 1 else ''}"]


def raise_first(problems: Sequence[str]) -> None:
    """Raises `PinxitError` with the first problem and the number of the others, if there is any."""
    if problems:
        more = len(problems) - 1
        others = f" ({more} more: `pinxit data check` lists all)" if more else ""
        raise PinxitError(problems[0] + others)


def check(
    items: Sequence[Item],
    labels: LabelSet,
    use_instances: bool = True,
    *,
    preprocess: Preprocess | None = None,
    batch: int = 1,
    unpaired: Sequence[str] = (),
    progress: Progress | None = None,
) -> Report:
    """Read every file of `items` whole and report; wrong files are told, not raised.

    With `preprocess` it tells also whether each picture is large enough for it, and whether those of a `batch` get one
    size. `unpaired` are the complaints of `folders.scan` or `scan_pair`, which become problems too. `progress` is
    called with the number of items done and their total.
    """
    looks: list[_Look] = []
    pixels = np.zeros(len(labels.labels) + 1, np.int64)
    files = np.zeros_like(pixels)
    with ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 1)) as pool:
        for look in pool.map(lambda item: _look(item, labels, use_instances), items):
            looks.append(look)
            pixels += look.pixels
            files += look.pixels > 0
            look.pixels = look.pixels[:0].copy()  # of a hundred thousand items they would fill the memory
            if progress is not None:
                progress(len(looks), len(items))

    names = [*(label.name for label in labels.labels), "(unknown)"]
    report = Report(
        labels,
        maps=len(items),
        photos=sum(item.photo is not None for item in items),
        instances=sum(item.instance is not None for item in items),
        sizes=tuple(look.size for look in looks if look.size is not None),
        pixels={name: int(pixels[place]) for place, name in enumerate(names) if pixels[place]},
        files={name: int(files[place]) for place, name in enumerate(names) if pixels[place]},
    )
    for complaint in unpaired:
        report.problems.append(f"{complaint}, expected one of its name; add it or remove the file")
    report.problems.extend(_outside(labels, looks, labels.ids_of(np.flatnonzero(pixels)).tolist()))
    report.problems.extend(complaint for look in looks for complaint in look.complaints)
    if preprocess is not None:
        pictures = [(look.item.label, look.size) for look in looks if look.size is not None]
        report.problems.extend(unfit(pictures, preprocess, batch))
    flat = [look.item for look in looks if look.flat]
    if flat:
        what = f"{len(flat)} of {report.instances} instance maps (first '{flat[0].instance}')"
        want = "expected an id for each object; make them anew or train without instances"
        line = f"{what} are of one value all over, {want}"
        (report.problems if len(flat) == report.instances else report.notes).append(line)
    if (unknown := report.share.get("(unknown)", 0.0)) > 0.5:
        report.notes.append(
            f"{unknown:.0%} of all pixels are 'unknown', expected few; is {labels.name} the right label set?"
        )
    return report


def check_folder(
    root: str | Path,
    labels: LabelSet,
    split: str = "train",
    layout: Layout | None = None,
    use_instances: bool = True,
    *,
    photos_required: bool = True,
    preprocess: Preprocess | None = None,
    batch: int = 1,
    progress: Progress | None = None,
) -> Report:
    """As `check`, for a split of the data set in a folder; files without their counterpart are problems too.

    Where the layout tells of another label set than `labels`, a note says so.

    Raises:
        PinxitError: the folder or the split is missing or empty, or its layout is none we know.
    """
    layout = layout or detect_layout(root)
    found = scan(root, split, layout, photos_required=photos_required)
    report = check(
        found.items,
        labels,
        use_instances,
        preprocess=preprocess,
        batch=batch,
        unpaired=found.unpaired,
        progress=progress,
    )
    usual = default_label_set(layout)
    if usual is not None and usual != labels.name:
        report.notes.append(
            f"label set is {labels.name}, expected {usual} by the layout {layout}; is --label-set right?"
        )
    return report


@dataclass
class _Look:
    """What one item showed."""

    item: Item
    pixels: np.ndarray
    """int64 [labels + 1]."""
    size: tuple[int, int] | None = None
    wrong_ids: dict[int, int] = field(default_factory=dict)
    wrong_colors: dict[Color, int] = field(default_factory=dict)
    flat: bool = False
    """Whether the instance map has one value all over, though the label map has several."""
    complaints: list[str] = field(default_factory=list)


def _look(item: Item, labels: LabelSet, use_instances: bool) -> _Look:
    look = _Look(item, np.zeros(len(labels.labels) + 1, np.int64))
    try:
        raw = read_raw_map(item.label)
        look.size = (raw.shape[0], raw.shape[1])
        index = labels.look_up(raw)
        look.pixels += np.bincount(index[index >= 0], minlength=len(look.pixels))
        if raw.ndim == 3:
            look.wrong_colors = tally_colors(raw[index < 0])
        else:
            look.wrong_ids = tally(raw[index < 0])
    except PinxitError as error:
        look.complaints.append(str(error))
    if item.photo is not None:
        try:
            photo = read_photo(item.photo)
            if look.size is not None:
                require_size(item.photo, (photo.height, photo.width), item.label, look.size)
        except PinxitError as error:
            look.complaints.append(str(error))
    if use_instances and item.instance is not None:
        try:
            instances = read_instances(item.instance)
            look.flat = bool(instances.min() == instances.max() and np.count_nonzero(look.pixels) > 1)
            if look.size is not None:
                require_size(item.instance, instances.shape, item.label, look.size)
        except PinxitError as error:
            look.complaints.append(str(error))
    return look


def _outside(labels: LabelSet, looks: Sequence[_Look], present: Sequence[int]) -> list[str]:
    """One line about all ids that are not in the set, and one about all colours; `present` are the ids that are."""
    lines = []
    if bad := [look for look in looks if look.wrong_ids]:
        ids = sum((Counter(look.wrong_ids) for look in bad), Counter[int]())
        lines.append(str(labels.wrong_ids([str(look.item.label) for look in bad], ids, present)))
    if bad := [look for look in looks if look.wrong_colors]:
        colors = sum((Counter(look.wrong_colors) for look in bad), Counter[Color]())
        lines.append(str(labels.wrong_colors([str(look.item.label) for look in bad], colors)))
    return lines


def unfit(pictures: Iterable[tuple[Path, tuple[int, int]]], preprocess: Preprocess, batch: int) -> list[str]:
    """Lines about pictures, of a height and width each, that are too small for the crop, or of several sizes within a
    batch."""
    height, width = preprocess.size
    results: defaultdict[tuple[int, int], list[Path]] = defaultdict(list)
    for path, size in pictures:
        results[preprocess.resized(*size)].append(path)
    if preprocess.crops:
        small = [
            (size, path) for size, paths in results.items() for path in paths if size[0] < height or size[1] < width
        ]
        if not small:
            return []
        (rows, columns), path = small[0]
        what = f"size of {len(small)} pictures before the crop (first '{path}')"
        want = f"at least {height}x{width} (height x width)"
        remedy = "choose preprocess fixed or resize_and_crop, or a larger load_size"
        return [str(expected(what, f"{rows}x{columns}", want, remedy))]
    if len(results) > 1 and batch > 1:
        listed = [f"{rows}x{columns} ('{paths[0]}')" for (rows, columns), paths in results.items()]
        got = ", ".join(listed[:2]) + (" and others" if len(listed) > 2 else "")
        remedy = "choose preprocess fixed or one that crops, or train with batch 1"
        return [str(expected(f"size after preprocess {preprocess.mode}", got, "one (height x width)", remedy))]
    return []
