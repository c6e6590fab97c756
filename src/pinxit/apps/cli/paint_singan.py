"""`pinxit paint MODEL PAINTING…` with a model of SinGAN."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pinxit.apps.cli import pictures, singan

if TYPE_CHECKING:
    from pinxit.models.singan.generate import Model


StartScale = Annotated[
    int | None,
    tyro.conf.arg(
        help="Scale at which the painting is put in, 1 or more: the lower, the more freely it is repainted; the "
        "authors take 1 or 2. Which is best depends on the painting; so by default one is written for each from 1 to "
        "the middle one, to choose from. A model with a scale retrained for paintings takes that one by default.",
        help_behavior_hint="(default: the coarser half)",
    ),
]


@dataclass(frozen=True)
class Paint:
    """Flat paintings as photos, with the textures of the photo that the model was trained on."""

    model: singan.ModelPath
    paintings: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PAINTING ...")]
    """Paintings, or folders of them, best in the photo's colours and of its aspect."""
    out: Path = Path("painted")
    """Folder for the pictures, named PAINTING_scaleN.png; or a file for one."""
    start_scale: StartScale = None
    seed: singan.Seed = 0
    device: singan.Device = "auto"


def main(arguments: list[str]) -> None:
    singan.run("paint", Paint, paint, arguments)


def paint(o: Paint, model: Model) -> str:
    """Paint all, after a look at all that is read: a mistake is told before the first file is written."""
    from pinxit.data.images import read_photo

    singan.require_seed(o.seed)
    files = pictures.listed(o.paintings, "painting")
    start = model.palette_scale if o.start_scale is None else o.start_scale
    jobs = [(file, scale) for file in files for scale in singan.scales_from(start, model, model.finest // 2)]
    outputs = singan.outputs_in(o.out, [f"{file.stem}_scale{scale}" for file, scale in jobs])
    written = zip((file for file, _ in jobs), outputs, strict=True)
    pictures.require_free(o.out, files, written, "painting")
    sizes = [(file, read_photo(file).size) for file in files]
    done = singan.write((model.paint(read_photo(file), scale, o.seed) for file, scale in jobs), outputs, o.out)
    singan.remark(*files)
    for file, size in sizes:
        singan.remark_size(file, size, model)
    return f"painted {done}"
