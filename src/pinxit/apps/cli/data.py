"""`pinxit data check FOLDER`, and the way to `pinxit data conditions PHOTOS`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from pinxit.apps.cli.pictures import STYLE
from pinxit.errors import PinxitError, expected

if TYPE_CHECKING:
    from pinxit.data.caption_files import CaptionReport
    from pinxit.data.check import Progress, Report
    from pinxit.data.conditions import ConditionReport
    from pinxit.data.pairs import PairReport


USAGE = """usage: pinxit data check FOLDER [options]
       pinxit data conditions PHOTOS [options]

check looks through a data set; conditions gives photos the maps, sketches and captions that they lack.
pinxit data check --help and pinxit data conditions --help tell the options."""


@dataclass(frozen=True)
class Check:
    """Look through a data set before training: counts, sizes, labels, and everything that is wrong, with its remedy."""

    folder: tyro.conf.Positional[Path | None] = None
    """Folder of a data set as it was published."""
    maps: Path | None = None
    """Folder of label maps, for one's own data in place of FOLDER."""
    photos: Path | None = None
    """Folder of photos."""
    instance_maps: Path | None = None
    """Folder of instance maps."""
    split: str = "train"
    """Which split of FOLDER."""
    label_set: str | None = None
    """Label set: a name, a .json file, or a number of plain ids; by default the data set's own."""
    a: Path | None = None
    """Folder of side A, for pairs of pictures of one's own in place of FOLDER."""
    b: Path | None = None
    """Folder of side B."""
    unpaired: bool = False
    """Pictures of side A and of side B do not belong together by their names."""
    captions: bool = False
    """Look at the captions of FOLDER, where it has label maps too."""


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        return
    if arguments[0] == "conditions":
        from pinxit.apps.cli import conditions

        conditions.main(arguments[1:])
        return
    if arguments[0] != "check":
        raise expected("data command", repr(arguments[0]), "check or conditions", "write pinxit data check FOLDER")
    o = tyro.cli(Check, args=arguments[1:], prog="pinxit data check", config=STYLE)
    sys.exit(0 if look_through(o) else 2)


def look_through(o: Check) -> bool:
    """Print the report; -> whether all is well."""
    from rich.console import Console
    from rich.progress import Progress

    labels_given = o.maps is not None or o.photos is not None
    sides_given = o.a is not None or o.b is not None
    if o.folder is None and (o.maps is None or o.photos is None) and (o.a is None or o.b is None):
        want = "a data set's folder, or --maps and --photos, or --a and --b"
        raise expected("FOLDER", "missing", want, "say what to look through")
    if (o.folder is not None) + labels_given + sides_given > 1:
        given = " or ".join(["--maps or --photos"] * labels_given + ["--a or --b"] * sides_given)
        if o.folder is not None:
            raise expected("FOLDER", f"given with {given}", "one of the two", "leave one out")
        raise expected("--maps or --photos", "given with --a or --b", "one of the two", "leave one out")
    if o.captions and o.folder is None:
        raise expected("FOLDER", "missing", "a folder of photos with captions", "say what to look through")
    if _has_conditions(o):
        look = _look_at_conditions
    elif _has_captions(o):
        look = _look_at_captions
    else:
        look = _look_at_sides if sides_given or o.unpaired or _has_sides(o) else _look_at_labels
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=None)

        def seen(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        report = look(o, seen)
    print(report.table())
    return not report.problems


def _has_conditions(o: Check) -> bool:
    """Whether the folder is one of photos with any of maps, sketches and captions."""
    from pinxit.data.conditions import has_conditions

    return o.folder is not None and not o.captions and not o.unpaired and has_conditions(o.folder)


def _has_captions(o: Check) -> bool:
    """Whether captions are asked for, or are what the folder is about."""
    from pinxit.data import caption_files, folders

    if o.captions or o.folder is None or o.label_set is not None or o.unpaired:
        return o.captions
    if not caption_files.splits_of_captions(o.folder):
        return False
    try:
        return not folders.splits(o.folder)
    except PinxitError:
        return True


def _has_sides(o: Check) -> bool:
    """Whether the folder is a data set of two sides, and not one of label maps."""
    from pinxit.data import caption_files, folders, pairs

    if o.folder is None or o.label_set is not None:
        return False
    try:
        folders.detect_layout(o.folder)
    except PinxitError:
        if pairs.splits_of_pairs(o.folder):
            return True
        want = f"one with {folders.FORMS}; or {pairs.FORMS}; or {caption_files.FORMS}"
        remedy = "rename its folders, or name those of maps and photos, or of sides A and B, instead"
        raise expected(f"data folder '{o.folder}'", "of no layout that is known", want, remedy) from None
    return False


def _look_at_conditions(o: Check, seen: Progress) -> ConditionReport:
    from pinxit.data.conditions import find_conditions, label_set_of, look_at_conditions

    items = find_conditions(o.folder, o.split)
    return look_at_conditions(items, label_set_of(items, o.folder, o.label_set), seen)


def _look_at_captions(o: Check, seen: Progress) -> CaptionReport:
    from pinxit.data.caption_files import check_captions, scan_captioned

    return check_captions(scan_captioned(o.folder, o.split), seen)


def _look_at_sides(o: Check, seen: Progress) -> PairReport:
    from pinxit.data.pairs import check_pairs, scan_pairs

    sides, alone = scan_pairs(o.folder, o.a, o.b, o.split, not o.unpaired)
    return check_pairs(sides, paired=not o.unpaired, alone=alone, progress=seen)


def _look_at_labels(o: Check, seen: Progress) -> Report:
    from pinxit.data.check import check, check_folder
    from pinxit.data.folders import label_set_for, scan_pair

    labels = label_set_for(o.folder, o.label_set)
    if o.folder is not None:
        return check_folder(o.folder, labels, o.split, photos_required=o.split != "test", progress=seen)
    assert o.maps is not None
    found = scan_pair(o.maps, o.photos, o.instance_maps)
    return check(found.items, labels, unpaired=found.unpaired, progress=seen)
