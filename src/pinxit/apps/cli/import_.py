"""`pinxit import METHOD FOLDER`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from pinxit.apps.cli.methods import NAMES, take_method
from pinxit.apps.cli.pictures import STYLE
from pinxit.errors import expected
from pinxit.models import METHODS


@dataclass(frozen=True)
class Import:
    """Read weights that the authors' code wrote, and keep them as a model of Pinxit's. Nothing in them is executed."""

    source: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER|FILE ...")]
    """Folder with latest_net_G.pth (and latest_net_E.pth where the model has styles), or these files themselves."""
    out: Path
    """Folder for the model."""
    preset: str | None = None
    """Which release it is: coco, ade20k or cityscapes. Without it the options are read from the opt.txt beside them."""
    label_set: str | None = None
    """Label set: a name, a .json file, or a number of plain ids; by default the release's own."""
    epoch: str = "latest"
    """Which of several checkpoints: the part of the file name before _net_G.pth."""


def main(arguments: list[str]) -> None:
    """METHOD comes first, as each has releases of its own."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    method, rest = take_method(arguments, "import")
    import_(method, tyro.cli(Import, args=rest, prog=f"pinxit import {method}", config=STYLE))


def import_(method: str, o: Import) -> None:
    """Read, then write the model; where anything is wrong nothing is written."""
    from pinxit.modelfile import NAME

    if (o.out / NAME).exists():
        raise expected(f"folder '{o.out}'", "a model already", "a new folder", "name another with --out, or remove it")
    weights = importlib.import_module(f"{METHODS[method]}.weights")
    file = weights.import_release(o.source, o.preset, label_set=o.label_set, epoch=o.epoch)
    print(f"imported {file.method}: {file.save(o.out).resolve()}")


def usage() -> str:
    return f"""usage: pinxit import METHOD FOLDER --out MODEL [options]

METHOD is one of {NAMES}.
pinxit import METHOD --help tells its options."""
