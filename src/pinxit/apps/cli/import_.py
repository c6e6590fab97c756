"""`pinxit import METHOD FOLDER`."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from pinxit.apps.cli.methods import NAMES, take_method
from pinxit.apps.cli.pictures import STYLE
from pinxit.errors import expected
from pinxit.models import METHODS


@dataclass(frozen=True)
class Import:
    """What every import is told."""

    source: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER|FILE ...")]
    """The folder the authors' code wrote (spade, pix2pixhd: with latest_net_G.pth, and latest_net_E.pth where the model
    has styles; pix2pix, photosketch: with latest_net_G.pth; cyclegan: with latest_net_G_A.pth and latest_net_G_B.pth,
    or latest_net_G.pth; singan: TrainedModels/PHOTO/scale_factor=..., with Gs.pth), or the .pth files themselves; for
    stylegan2, a .pt with g_ema; for stackgan, netG_epoch_N.pth; for charcnnrnn, a .t7 with protos.enc_doc; for
    deeplabv3, a .pth of torchvision's form."""
    out: Path
    """Folder for the model."""


def main(arguments: list[str]) -> None:
    """METHOD comes first, as each has releases of its own."""
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return
    method, rest = take_method(arguments, "import")
    release = importlib.import_module(f"{METHODS[method]}.config").Release
    command = make_dataclass("Command", [("what", Import), ("release", release, field(default_factory=release))])
    o = tyro.cli(
        command,
        args=rest,
        prog=f"pinxit import {method}",
        description="Read weights that the authors' code (or torchvision) wrote, and keep them as a model of Pinxit's. "
        "Nothing in them is executed.",
        config=(tyro.conf.OmitArgPrefixes, *STYLE),
    )
    import_(method, o.what, vars(o.release))


def import_(method: str, o: Import, release: dict[str, Any]) -> None:
    """Read, then write the model; where anything is wrong nothing is written."""
    from pinxit.modelfile import NAME

    if not o.source:
        raise expected("FOLDER", "missing", "the folder the authors' code wrote", "name it before the options")
    if (o.out / NAME).exists():
        raise expected(f"folder '{o.out}'", "a model already", "a new folder", "name another with --out, or remove it")
    weights = importlib.import_module(f"{METHODS[method]}.weights")
    file = weights.import_release(o.source, **release)
    print(f"imported {file.method}: {file.save(o.out).resolve()}")


def usage() -> str:
    return f"""usage: pinxit import METHOD FOLDER --out MODEL [options]

METHOD is one of {NAMES}.
FOLDER is what the authors' code wrote. Of it is read, for
  pix2pix            latest_net_G.pth
  photosketch        latest_net_G.pth
  cyclegan           latest_net_G_A.pth and latest_net_G_B.pth; or, as released, latest_net_G.pth
  pix2pixhd, spade   latest_net_G.pth, and latest_net_E.pth where the model has styles
  singan             Gs.pth and what is beside it, in TrainedModels/PHOTO/scale_factor=...
  sketching          N_net_G.pth of the iterate that best_iter.txt names, and N_net_D_image.pth where it is there
  stackgan           netG_epoch_N.pth of StackGAN-Pytorch, of either stage, or the folder it is in
  charcnnrnn         a .t7 of reedscot/cvpr2016 or icml2016, with protos.enc_doc
  stylegan2          a .pt with g_ema (rosinality/stylegan2-pytorch), or a generator's .pth
  deeplabv3          one .pth of torchvision's form, such as deeplabv3_resnet50_coco-....pth
The .pth files themselves may be named instead (of SinGAN the folder alone). Nothing in them is executed. Of poegan
nothing was released, and what was of ganintcls and gawwn is not read.

pinxit import METHOD --help tells its options."""
