"""`pinxit sample MODEL`, of StyleGAN2."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from pinxit.apps.cli import pictures, singan, stylegan2
from pinxit.apps.cli.sample import ON_SHEET, sheet, thumbnail
from pinxit.errors import expected

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True)
class Sample:
    """New pictures, of the kind that the model was trained on."""

    model: stylegan2.ModelPath
    out: Path = Path("samples")
    """Folder for the pictures, named after the model, and for a contact sheet, sheet.png; or a file for one picture."""
    n: int = 8
    """How many pictures; each has a seed of its own, --seed and those that follow."""
    truncation: stylegan2.Truncation = 0.7
    seed: singan.Seed = 0
    device: singan.Device = "auto"


def main(arguments: list[str]) -> None:
    print(sample(tyro.cli(Sample, args=arguments, prog="pinxit sample", config=pictures.STYLE)))


def sample(o: Sample) -> str:
    """Write the pictures one by one, then the sheet."""
    from pinxit.modelfile import replacing

    singan.require_seed(o.seed)
    if o.n < 1:
        raise expected("--n", o.n, "1 or more", "enlarge it, or leave it out")
    outputs = singan.outputs_in(o.out, [f"{singan.name_of(o.model)}_{i:03d}" for i in range(o.n)])
    model = stylegan2.open_model("sample", o.model, o.device)
    shown: list[Image.Image] = []

    def made() -> Iterator[Image.Image]:
        for picture in model.pictures([model.w(o.seed + i, o.truncation) for i in range(o.n)]):
            if len(shown) < ON_SHEET:
                shown.append(thumbnail(picture))
            yield picture

    done = singan.write(made(), outputs, o.out)
    if o.n > 1:
        with replacing(o.out / "sheet.png") as temporary:
            sheet(shown).save(temporary, format="PNG")
    return f"sampled {done}"
