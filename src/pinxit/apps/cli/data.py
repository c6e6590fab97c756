"""`pinxit data check FOLDER`."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import tyro

from pinxit.apps.cli.pictures import STYLE
from pinxit.errors import expected


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


def main(arguments: list[str]) -> None:
    if not arguments or arguments[0] in ("-h", "--help"):
        print("usage: pinxit data check FOLDER [options]\n\npinxit data check --help tells the options.")
        return
    if arguments[0] != "check":
        raise expected("data command", repr(arguments[0]), "check", "write pinxit data check FOLDER")
    o = tyro.cli(Check, args=arguments[1:], prog="pinxit data check", config=STYLE)
    sys.exit(0 if look_through(o) else 2)


def look_through(o: Check) -> bool:
    """Print the report; -> whether all is well."""
    from rich.console import Console
    from rich.progress import Progress

    from pinxit.data.check import check, check_folder
    from pinxit.data.folders import label_set_for, scan_pair

    if o.folder is None and (o.maps is None or o.photos is None):
        raise expected("FOLDER", "missing", "a data set's folder, or --maps and --photos", "say what to look through")
    if o.folder is not None and (o.maps is not None or o.photos is not None):
        raise expected("FOLDER", "given with --maps or --photos", "one of the two", "leave one out")
    labels = label_set_for(o.folder, o.label_set)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=None)

        def seen(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total)

        if o.folder is not None:
            report = check_folder(o.folder, labels, o.split, photos_required=o.split != "test", progress=seen)
        else:
            assert o.maps is not None
            found = scan_pair(o.maps, o.photos, o.instance_maps)
            report = check(found.items, labels, unpaired=found.unpaired, progress=seen)
    print(report.table())
    return not report.problems
