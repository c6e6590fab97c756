"""What `pinxit harmonize` and `pinxit edit` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pinxit.apps.cli import pictures, singan
from pinxit.errors import expected

if TYPE_CHECKING:
    from PIL import Image

    from pinxit.models.singan.generate import Model


Out = Annotated[Path, tyro.conf.arg(help="Folder for the pictures, named PICTURE_scaleN.png; or a file for one.")]
StartScale = Annotated[
    int | None,
    tyro.conf.arg(
        help="Scale at which the picture is put in, 1 or more: the lower, the more freely the change is repainted. "
        "Which is best depends on the picture; so by default one is written for each from 1 on but the finest, to "
        "choose from. Look at the middle ones and those above them first.",
        help_behavior_hint="(default: each but the finest)",
    ),
]


@dataclass(frozen=True, kw_only=True)
class Blend:
    """The options of both."""

    model: singan.ModelPath
    picture: tyro.conf.Positional[Path]
    """The photo that the model was trained on, with the change made roughly."""
    mask: Path
    """Picture of the same size, white where the change is and black elsewhere, where the photo is kept."""
    out: Out
    start_scale: StartScale = None
    seed: singan.Seed = 0
    device: singan.Device = "auto"


def blend(o: Blend, model: Model, verb: Callable[[Image.Image, Image.Image, int, int], Image.Image]) -> str:
    """Apply a verb of the model's at each scale; returns what to print. Raises `PinxitError` before any is written."""
    from pinxit.data.images import read_photo

    singan.require_seed(o.seed)
    scales = singan.scales_from(o.start_scale, model, model.finest - 1)
    outputs = singan.outputs_in(o.out, [f"{o.picture.stem}_scale{scale}" for scale in scales])
    pictures.require_free(o.out, (o.picture, o.mask), ((o.picture, output) for output in outputs))
    picture, mask = read_photo(o.picture), read_photo(o.mask)
    if mask.size != picture.size:
        want = f"{picture.width}x{picture.height} (width x height), as '{o.picture}' has"
        remedy = "draw the mask over that picture, or resize it"
        raise expected(f"size of --mask '{o.mask}'", f"{mask.width}x{mask.height}", want, remedy)
    done = singan.write((verb(picture, mask, scale, o.seed) for scale in scales), outputs, o.out)
    singan.remark(o.picture, o.mask)
    singan.remark_size(o.picture, picture.size, model)
    return done
