"""`pinxit import METHOD FOLDER`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import tyro

from pinxit.errors import unknown_name
from pinxit.models import METHODS


@dataclass(frozen=True)
class Import:
    """Read weights that the authors' code wrote, and keep them as a model of Pinxit's. Nothing in them is executed."""

    source: tyro.conf.Positional[tuple[Path, ...]]
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
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"usage: pinxit import METHOD FOLDER --out MODEL [options]\n\nMETHOD is one of {', '.join(METHODS)}.")
        return
    method, *rest = arguments
    if method not in METHODS:
        raise unknown_name("method", method, METHODS)
    o = tyro.cli(Import, args=rest, prog=f"pinxit import {method}", config=(tyro.conf.FlagCreatePairsOff,))
    weights = importlib.import_module(f"{METHODS[method]}.weights")
    file = weights.import_release(o.source, o.preset, label_set=o.label_set, epoch=o.epoch)
    print(f"imported {file.method}: {file.save(o.out)}")
