"""Photos with captions on disk: the layouts they are published in, and the look at them all."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from PIL import Image

from pinxit.data.check import Progress, closing, raise_first, sizes_text
from pinxit.data.folders import natural
from pinxit.data.images import SUFFIXES, read_photo
from pinxit.errors import PinxitError, expected

FORMS = (
    "CUB-200-2011 or Oxford-102 with text_c10; annotations/captions_*.json; captions.jsonl or captions.csv, or "
    "SPLIT_captions of either beside SPLIT; or pictures with .txt files of their names"
)
"""The layouts in a few words, for messages."""

Box = tuple[float, float, float, float]
Points = tuple[tuple[float, float, bool], ...]

_TABLES = ("captions.jsonl", "captions.csv", "metadata.jsonl", "metadata.csv")
"""Tables of one's own; the latter two are what Hugging Face's image folders have."""

_IMAGE, _CAPTION, _CLASS = ("image", "file_name"), ("caption", "captions", "text"), ("class",)
"""What a table may call its columns."""

_SPLITS = ("train", "training", "val", "validation", "test", "testing")
_SERVES = {"train": _SPLITS[:2], "val": _SPLITS[2:], "test": _SPLITS[4:] + _SPLITS[2:4]}
"""Which splits of a set serve as the one asked for, the best first."""


@dataclass(frozen=True)
class Captioned:
    """A photo and what was written of it."""

    photo: Path
    captions: tuple[str, ...]
    """One or more in the order of the file, white space folded; of any length and script."""
    group: str = ""
    """The class, as its folder is called, where the layout has classes: '001.Black_footed_Albatross', 'class_00001'."""
    box: Box | None = None
    """x, y, width, height of the object, in pixels of the photo."""
    points: Points | None = None
    """x, y in pixels, and whether it is seen, of each of CUB's 15 parts, in the order of its parts.txt."""


@dataclass(frozen=True)
class FoundCaptions:
    """What a folder holds: whole items in natural order, and what is wrong with the rest."""

    items: list[Captioned]
    no_photo: list[Path] = field(default_factory=list)
    """Photos that have captions but are not there."""
    no_caption: list[Path] = field(default_factory=list)
    """Photos without a caption."""
    faults: list[str] = field(default_factory=list)
    """Whatever else cannot be read, a line each."""

    def complaints(self) -> list[str]:
        """A line about each thing that is wrong."""
        return [
            *self.faults,
            *(str(_no_photo([path])) for path in self.no_photo),
            *(str(_no_caption([path])) for path in self.no_caption),
        ]


def find_captioned(folder: Path | None, split: str = "train") -> list[Captioned]:
    """The items of a split of the captioned set in `folder`, in natural order of the photos' names.

    What is read:

    - CUB-200-2011: `images.txt` and `images/`, `bounding_boxes.txt` and `parts/part_locs.txt` where they are there, and
      the captions in `text_c10/CLASS/NAME.txt` or `text/CLASS/NAME.txt`, in the folder or beside it. Splits: classes in
      `trainvalclasses.txt` are train and those in `testclasses.txt` test, as published with the captions; without these
      lists `train_test_split.txt` tells.
    - Oxford-102: `jpg/` and the captions in `text_c10/class_00001/image_06734.txt`; the same lists of classes, and
      without them all is train. `setid.mat` and `imagelabels.mat` are not read.
    - COCO: `annotations/captions_SPLIT.json`, with `SPLIT/` or `images/SPLIT/`; SPLIT may end in a year.
    - One's own: `SPLIT_captions.jsonl` or `.csv` beside `SPLIT/`, or `captions.jsonl` or `.csv` in `SPLIT/`, or in the
      folder itself, which then is all train. A line of JSON is `{"image": …, "caption": …}`; `file_name`, `text` and
      `captions`, a list, will do too, and `class` tells the group. CSV has the columns image and caption, and class
      where there is one. Names are relative to SPLIT, to the table, or to `images/` beside it. A photo may have
      several lines.
    - Same-named `.txt` files, one caption a line, beside the photos in `SPLIT/` or in the folder, and in folders in it;
      these are the groups.

    A val that is missing is looked for as test, and the other way round. Text is UTF-8.

    Raises:
        PinxitError: there is no such folder or split or no caption in it, a photo or a caption lacks its counterpart,
            or a file or line is wrong.
    """
    found = scan_captioned(folder, split)
    raise_first(found.faults)
    if found.no_photo:
        raise _no_photo(found.no_photo)
    if found.no_caption:
        raise _no_caption(found.no_caption)
    return found.items


def scan_captioned(folder: Path | None, split: str = "train") -> FoundCaptions:
    """As `find_captioned`, but what is wrong with single lines, captions and photos is returned, not raised."""
    if folder is None:
        raise expected("--data", "missing", f"a folder of photos and captions: {FORMS}", "name one")
    if not folder.is_dir():
        got = "a file" if folder.exists() else "missing"
        raise expected(f"data folder '{folder}'", got, "a folder of photos and captions", "check the path")
    if (home := _birds(folder)) is not None:
        found = _scan_birds(folder, home, split)
    elif (home := _flowers(folder)) is not None:
        found = _scan_flowers(folder, home, split)
    elif coco := _coco(folder):
        found = _scan_coco(folder, coco, split)
    elif tables := _tables(folder):
        found = _scan_table(folder, tables[_resolve(split, tables, folder)])
    elif texts := _text_folders(folder):
        found = _scan_texts(texts[_resolve(split, texts, folder)])
    else:
        inside = ", ".join(sorted(path.name for path in folder.iterdir())[:6]) or "nothing"
        raise expected(
            f"data folder '{folder}'",
            f"a folder with {inside}",
            f"one of captions: {FORMS}",
            "write captions.jsonl, or rename its files",
        )
    if not (found.items or found.faults or found.no_photo or found.no_caption):
        raise expected(f"split {split!r} of '{folder}'", "empty", "photos and captions", "name another")
    found.items.sort(key=lambda item: [natural(part) for part in item.photo.parts])
    return found


def splits_of_captions(folder: Path) -> list[str]:
    """The splits of the captioned set in `folder`, as it calls them; none: it is no captioned set."""
    if not folder.is_dir():
        return []
    if (home := _birds(folder)) is not None or (home := _flowers(folder)) is not None:
        return _published_splits(folder, home)
    return list(_coco(folder) or _tables(folder) or _text_folders(folder))


def square_about(box: Box, width: int, height: int) -> tuple[int, int, int, int] | None:
    """Left, top, right, bottom of the square of 1.5 times a box's longer side about its centre, within a photo.

    Where the photo ends first it is no square. By StackGAN's code, whose fractions are cut off. None: nothing is left.
    """
    x, y, w, h = box
    half = int(max(w, h) * 0.75)
    middle_x, middle_y = int((2 * x + w) / 2), int((2 * y + h) / 2)
    left, right = max(0, middle_x - half), min(width, middle_x + half)
    top, bottom = max(0, middle_y - half), min(height, middle_y + half)
    return (left, top, right, bottom) if left < right and top < bottom else None


@dataclass(frozen=True)
class CaptionReport:
    """What `check_captions` found."""

    items: list[Captioned]
    sizes: tuple[tuple[int, int], ...]
    """Height and width of each readable photo."""
    problems: list[str] = field(default_factory=list)
    """What must be mended, a line each: `<thing> is <got>, expected <want>; <remedy>`."""
    notes: list[str] = field(default_factory=list)
    """What may be meant so, a line each."""

    def table(self) -> str:
        """The report as plain text of several lines."""
        counts = [len(item.captions) for item in self.items]
        groups = {item.group for item in self.items} - {""}
        classes = f" in {len(groups)} classes" if groups else ""
        lines = [f"{len(self.items)} photos{classes} with {sum(counts)} captions"]
        if self.sizes:
            lines.append(f"size (height x width): {sizes_text(self.sizes)}")
        if counts:
            words = [len(caption.split()) for item in self.items for caption in item.captions]
            letters = [len(caption) for item in self.items for caption in item.captions]
            lines.append(f"captions a photo: {_range(counts)}")
            lines.append(f"words a caption: {_range(words)}; characters: {_range(letters)}")
            lines.append(f"boxes: {sum(item.box is not None for item in self.items)}")
        return "\n".join(lines + closing(self.notes, self.problems))


def check_captions(found: FoundCaptions, progress: Progress | None = None) -> CaptionReport:
    """Read every photo of what `scan_captioned` found, and report; wrong files are told, not raised.

    `progress` is called with the number of photos done and their total.
    """
    sizes: list[tuple[int, int]] = []
    problems = found.complaints()
    with ThreadPoolExecutor(min(16, (os.cpu_count() or 1) + 1)) as pool:
        for done, seen in enumerate(pool.map(_size_or_problem, found.items), 1):
            if isinstance(seen, str):
                problems.append(seen)
            else:
                sizes.append(seen)
            if progress is not None:
                progress(done, len(found.items))
    notes = []
    long = [item for item in found.items if max(map(len, item.captions)) > 1000]
    if long:
        notes.append(f"captions of {len(long)} photos (first '{long[0].photo}') have more than 1,000 characters")
    shared = Counter(caption for item in found.items for caption in set(item.captions))
    many = [(count, caption) for caption, count in shared.most_common(1) if count > 1]
    if many:
        repeated = sum(count > 1 for count in shared.values())
        notes.append(f"{repeated} captions are those of several photos (most often, {many[0][0]}: {many[0][1][:60]!r})")
    return CaptionReport(found.items, tuple(sizes), problems, notes)


# --- layouts -----------------------------------------------------------------------------------------------------


def _birds(folder: Path) -> Path | None:
    """The folder of CUB-200-2011 itself."""
    homes = (folder, folder / "CUB_200_2011")
    return next((home for home in homes if (home / "images.txt").is_file() and (home / "images").is_dir()), None)


def _flowers(folder: Path) -> Path | None:
    return folder if (folder / "jpg").is_dir() and any(folder.glob("text*/class_*")) else None


def _published(folder: Path, home: Path) -> list[Path]:
    """Where the captions and lists of classes of the published sets may lie: they come in an archive of their own."""
    return list(dict.fromkeys([home, folder, home.resolve().parent]))


def _text_folder(folder: Path, home: Path) -> Path:
    places = [place / name for place in _published(folder, home) for name in ("text_c10", "text")]
    found = next((place for place in places if place.is_dir()), None)
    if found is None:
        remedy = "put the published captions there"
        raise expected(f"captions of '{home}'", "missing", "a folder text_c10 or text in it or beside it", remedy)
    return found


def _classes(folder: Path, home: Path) -> dict[str, set[str]]:
    """The classes of the splits that the published lists tell."""
    places = _published(folder, home)
    places += [place / name for place in places for name in ("text_c10", "text")]
    listed = {}
    for split in ("trainval", "test"):
        files = [place / f"{split}classes.txt" for place in places]
        file = next((path for path in files if path.is_file()), None)
        if file is not None:
            listed[split.removesuffix("val")] = {name.strip() for name in _text(file).splitlines() if name.strip()}
    return listed


def _published_splits(folder: Path, home: Path) -> list[str]:
    if listed := _classes(folder, home):
        return list(listed)
    return ["train", "test"] if (home / "train_test_split.txt").is_file() else ["train"]


def _scan_birds(folder: Path, home: Path, split: str) -> FoundCaptions:
    split = _resolve(split, _published_splits(folder, home), folder)
    listed = _classes(folder, home)
    names = {int(number): name for number, name in _columns(home / "images.txt", 2)}
    if listed:
        names = {number: name for number, name in names.items() if Path(name).parent.name in listed[split]}
    elif (home / "train_test_split.txt").is_file():
        trained = {int(number) for number, flag in _columns(home / "train_test_split.txt", 2) if flag == "1"}
        names = {number: name for number, name in names.items() if (number in trained) == (split == "train")}
    boxes: dict[int, Box] = {}
    if (home / "bounding_boxes.txt").is_file():
        boxes = {
            int(number): (float(x), float(y), float(w), float(h))
            for number, x, y, w, h in _columns(home / "bounding_boxes.txt", 5)
        }
    points: dict[int, list[tuple[float, float, bool]]] = {}
    if (home / "parts" / "part_locs.txt").is_file():
        for number, _, x, y, seen in _columns(home / "parts" / "part_locs.txt", 5):
            points.setdefault(int(number), []).append((float(x), float(y), seen == "1"))
    texts = _text_folder(folder, home)
    found = FoundCaptions([])
    for number, name in names.items():
        photo = home / "images" / name
        captions = _read_lines(texts / Path(name).with_suffix(".txt"), found)
        where = tuple(points[number]) if number in points else None
        if captions is not None:
            _add(found, Captioned(photo, captions, photo.parent.name, boxes.get(number), where))
    return found


def _scan_flowers(folder: Path, home: Path, split: str) -> FoundCaptions:
    split = _resolve(split, _published_splits(folder, home), folder)
    listed = _classes(folder, home)
    texts = _text_folder(folder, home)
    found = FoundCaptions([])
    captioned = set()
    for path in sorted(texts.glob("class_*/*.txt")):
        captioned.add(path.stem)
        if listed and path.parent.name not in listed[split]:
            continue
        if (captions := _read_lines(path, found)) is not None:
            _add(found, Captioned(home / "jpg" / f"{path.stem}.jpg", captions, path.parent.name))
    if not listed:
        found.no_caption.extend(path for path in _pictures(home / "jpg") if path.stem not in captioned)
    return found


def _coco(folder: Path) -> dict[str, Path]:
    return {
        path.stem.removeprefix("captions_"): path for path in sorted((folder / "annotations").glob("captions_*.json"))
    }


def _scan_coco(folder: Path, files: Mapping[str, Path], split: str) -> FoundCaptions:
    split = _resolve(split, files, folder)
    file = files[split]
    photos = next((home for home in (folder / "images" / split, folder / split) if home.is_dir()), folder / split)
    try:
        content = json.loads(_text(file))
        names = {int(image["id"]): str(image["file_name"]) for image in content["images"]}
        written: dict[int, list[str]] = {number: [] for number in names}
        for annotation in content["annotations"]:
            written[int(annotation["image_id"])].append(str(annotation["caption"]))
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        got = f"not understood ({type(error).__name__}: {error})"
        remedy = "download it again"
        raise expected(f"captions '{file}'", got, "COCO's, with images and annotations", remedy) from error
    found = FoundCaptions([])
    for number, name in names.items():
        captions = (_folded(caption, file, found) for caption in written[number])
        _add(found, Captioned(photos / name, tuple(caption for caption in captions if caption)))
    return found


def _tables(folder: Path) -> dict[str, Path]:
    """The table of each split; one in the folder itself is 'train'."""
    tables = {}
    for split in _SPLITS:
        files = [
            *(folder / f"{split}_{name}" for name in _TABLES[:2]),
            *(folder / split / name for name in _TABLES),
        ]
        if file := next((path for path in files if path.is_file()), None):
            tables[split] = file
    if not tables and (file := next((folder / name for name in _TABLES if (folder / name).is_file()), None)):
        tables["train"] = file
    return tables


def _scan_table(folder: Path, file: Path) -> FoundCaptions:
    found = FoundCaptions([])
    split = next((split for split in _SPLITS if file.name.startswith(f"{split}_")), None)
    own = folder / split if split is not None and (folder / split).is_dir() else None
    homes = [home for home in (own, file.parent, file.parent / "images") if home is not None]
    written: dict[Path, list[str]] = {}
    groups: dict[Path, str] = {}
    lines = _json_lines if file.suffix == ".jsonl" else _csv_lines
    for line, name, group, captions in lines(file, found):
        places = [home / name for home in homes]
        photo = next((place for place in places if place.is_file()), places[0])
        known = written.setdefault(photo, [])
        groups.setdefault(photo, group)
        for caption in captions:
            if folded := _folded(caption, file, found, line):
                known.append(folded)
            elif not caption.strip():
                found.faults.append(_empty(file, line))
    for photo, captions in written.items():
        if captions:
            _add(found, Captioned(photo, tuple(captions), groups[photo]))
    # A table of one split beside those of others tells nothing of pictures that are not in a folder of that split.
    home = own if split is not None else file.parent
    if home is not None:
        known_files = {photo.resolve() for photo in written}
        found.no_caption.extend(path for path in _pictures(home) if path.resolve() not in known_files)
    return found


def _json_lines(file: Path, found: FoundCaptions) -> Iterator[tuple[int, str, str, list[str]]]:
    """Line number, name of the photo, class, captions."""
    for number, line in enumerate(_text(file).split("\n"), 1):
        if not line.strip():
            continue
        want = 'an object such as {"image": "a.jpg", "caption": "a red apple"}'
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            got = f"no JSON ({error})"
            found.faults.append(str(expected(f"line {number} of '{file}'", got, want, "mend or remove the line")))
            continue
        name = _value(record, _IMAGE)
        value = _value(record, _CAPTION)
        listed = value if isinstance(value, list) else [value]
        captions = [caption for caption in listed if isinstance(caption, str)]
        if not isinstance(name, str) or not name or not captions or len(captions) < len(listed):
            got = line.strip()[:60] + ("…" if len(line.strip()) > 60 else "")
            found.faults.append(str(expected(f"line {number} of '{file}'", got, want, "mend or remove the line")))
            continue
        yield number, name, str(_value(record, _CLASS) or ""), captions


def _csv_lines(file: Path, found: FoundCaptions) -> Iterator[tuple[int, str, str, list[str]]]:
    """Line number, name of the photo, class, caption."""
    reader = csv.DictReader(io.StringIO(_text(file), newline=""), strict=True)
    try:
        header = [name.strip().lower() for name in reader.fieldnames or []]
        reader.fieldnames = header
        if not any(name in header for name in _IMAGE) or not any(name in header for name in _CAPTION):
            remedy = "write the names of the columns into the first line"
            raise expected(f"columns of '{file}'", ", ".join(header) or "missing", "image, caption", remedy)
        for row in reader:
            name, caption = _value(row, _IMAGE), _value(row, _CAPTION)
            if None in row or not isinstance(name, str) or not name or not isinstance(caption, str):
                got = f"of {len(header) + len(row.get(None) or []) if None in row else 'fewer'} columns"
                remedy = "put a caption with commas into double quotes"
                found.faults.append(str(expected(f"line {reader.line_num} of '{file}'", got, f"{len(header)}", remedy)))
                continue
            yield reader.line_num, name, str(_value(row, _CLASS) or ""), [caption]
    except csv.Error as error:  # the line is that where the broken row begins
        got = f"no CSV ({error})"
        want = "an image and a caption"
        told = expected(f"line {reader.line_num + 1} of '{file}'", got, want, "mend or remove it")
        found.faults.append(str(told))


def _value(record: object, names: Iterable[str]) -> object:
    """The first value that a record has under one of `names`."""
    if not isinstance(record, dict):
        return None
    return next((record[name] for name in names if record.get(name) is not None), None)


def _text_folders(folder: Path) -> dict[str, Path]:
    """The folder of each split with same-named text files; the folder itself is 'train'."""
    splits = {split: folder / split for split in _SPLITS if _has_texts(folder / split)}
    return splits or ({"train": folder} if _has_texts(folder) else {})


def _has_texts(folder: Path) -> bool:
    for path in folder.rglob("*.txt"):
        if any(path.with_suffix(suffix).is_file() for suffix in (".jpg", ".png")):
            return True
        if any(path.with_suffix(suffix).is_file() for suffix in SUFFIXES):
            return True
    return False


def _scan_texts(folder: Path) -> FoundCaptions:
    found = FoundCaptions([])
    photos = _pictures(folder)
    for photo in photos:
        group = "" if photo.parent == folder else photo.parent.relative_to(folder).as_posix()
        if (captions := _read_lines(photo.with_suffix(".txt"), found)) is not None:
            _add(found, Captioned(photo, captions, group))
    stems = {photo.with_suffix("") for photo in photos}
    for path in sorted(folder.rglob("*.txt")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        about = re.fullmatch(r"(readme|licen[cs]e|notice).*", path.stem, re.IGNORECASE)
        if path.with_suffix("") not in stems and not hidden and not about:
            found.no_photo.append(path.with_suffix(".jpg"))
    return found


def _pictures(folder: Path) -> list[Path]:
    """The pictures in a folder and in those in it; hidden ones are passed over."""
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.suffix.lower() in SUFFIXES and not any(part[0] == "." for part in path.relative_to(folder).parts)
    ]


def _add(found: FoundCaptions, item: Captioned) -> None:
    """Put an item where it belongs."""
    if not item.photo.is_file():
        found.no_photo.append(item.photo)
    elif not item.captions:
        found.no_caption.append(item.photo)
    else:
        found.items.append(item)


def _resolve(split: str, present: Iterable[str], folder: Path) -> str:
    """Which of the splits that are present is meant; a year at the end of their names need not be told."""
    present = list(present)
    for name in (split, *_SERVES.get(split, ())):
        meant = [name] if name in present else [known for known in present if known.rstrip("0123456789") == name]
        if len(meant) == 1:
            return meant[0]
        if meant:
            raise expected(f"split of '{folder}'", repr(split), "one of " + ", ".join(meant), "name one of these")
    raise expected(f"split of '{folder}'", repr(split), "one of " + ", ".join(present), "name one of these")


# --- files -------------------------------------------------------------------------------------------------------


def _text(file: Path) -> str:
    """A file of UTF-8 text, without a mark of byte order.

    Raises:
        PinxitError: it cannot be read, or is of another encoding.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        got = f"unreadable ({error.strerror})"
        raise expected(f"captions '{file}'", got, "a text file", "check its kind and rights") from error
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        got = f"not UTF-8 (byte 0x{content[error.start]:02x} in line {line})"
        raise expected(f"captions '{file}'", got, "UTF-8 text", "save it anew in that encoding") from error


def _read_lines(file: Path, found: FoundCaptions) -> tuple[str, ...] | None:
    """The captions in a file of one a line; none, if it is not there; None where it cannot be read, which is a fault.
    Blank lines are passed over."""
    if not file.is_file():
        return ()
    try:
        lines = _text(file).split("\n")
    except PinxitError as error:
        found.faults.append(str(error))
        return None
    captions = (_folded(line, file, found, number) for number, line in enumerate(lines, 1))
    return tuple(caption for caption in captions if caption)


def _folded(caption: str, file: Path, found: FoundCaptions, line: int | None = None) -> str:
    """A caption with white space folded. U+FFFD, which the published captions of birds have here and there in the place
    of lost letters, counts as white space. Half a character, which JSON can smuggle in, is a fault."""
    try:
        caption.encode("utf-8")
    except UnicodeEncodeError:
        where = f"caption in line {line} of '{file}'" if line is not None else f"a caption in '{file}'"
        found.faults.append(
            str(expected(where, "of half a character (a lone surrogate)", "whole characters", "write it anew"))
        )
        return ""
    return " ".join(caption.replace("\ufffd", " ").split())


def _empty(file: Path, line: int) -> str:
    return str(expected(f"caption in line {line} of '{file}'", "empty", "a sentence", "write one or remove the line"))


def _columns(file: Path, count: int) -> Iterator[list[str]]:
    """The lines of a table of CUB's: numbers, but for the name of a picture, with blanks between."""
    for number, line in enumerate(_text(file).splitlines(), 1):
        fields = line.split()
        if not fields:
            continue
        numbers = fields[:1] if file.name == "images.txt" else fields
        if len(fields) != count or not fields[0].isdecimal() or not all(map(_is_number, numbers)):
            got, want = line.strip()[:60], f"{count} columns, as published"
            raise expected(f"line {number} of '{file}'", got, want, "download the set again")
        yield fields


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text) is not None


def _no_photo(photos: Sequence[Path]) -> PinxitError:
    return expected(
        f"photo '{photos[0]}'",
        "missing though it has captions" + _and_others(len(photos) - 1),
        "a photo for all captions",
        "add it or remove its captions",
    )


def _no_caption(photos: Sequence[Path]) -> PinxitError:
    return expected(
        f"caption of photo '{photos[0]}'",
        "missing" + _and_others(len(photos) - 1),
        "one or more for each photo",
        "write one or remove the photo",
    )


def _and_others(count: int) -> str:
    return f", and so for {count} other{'s' if count > 1 else ''} (`pinxit data check` lists all)" if count else ""


def _range(values: Sequence[int]) -> str:
    """`5`, or the smallest, the middle and the largest."""
    low, high = min(values), max(values)
    return f"{low}" if low == high else f"{low} least, {median(values):g} median, {high} most"


def _size_or_problem(item: Captioned) -> tuple[int, int] | str:
    try:
        photo = read_photo(item.photo)
    except PinxitError as error:
        return str(error)
    if item.box is not None and square_about(item.box, *photo.size) is None:
        return str(box_outside(item, photo))
    return photo.height, photo.width


def box_outside(item: Captioned, photo: Image.Image) -> PinxitError:
    """The message about a box of which nothing is in the photo."""
    got = "{:g}, {:g}, {:g}, {:g} (x, y, width, height)".format(*item.box or ())
    want = f"one within {photo.width}x{photo.height} pixels"
    return expected(f"box of photo '{item.photo}'", got, want, "mend it or remove the photo")
