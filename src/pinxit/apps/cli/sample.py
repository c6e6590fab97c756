"""`pinxit sample MODEL`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.apps.cli import sentences, singan
from pinxit.apps.cli.pictures import method_given
from pinxit.errors import expected

if TYPE_CHECKING:
    from PIL import Image

    from pinxit.models.singan.generate import Model

ON_SHEET, THUMBNAIL = 64, 256
"""Most pictures on a contact sheet, and the longer side of each in pixels."""


@dataclass(frozen=True)
class Sample:
    """Random variations of the photo that the model was trained on.

    Models of StyleGAN2, and of StackGAN and others that paint sentences, have other options: `pinxit sample MODEL
    --help`.
    """

    model: singan.ModelPath
    out: Path = Path("samples")
    """Folder for the pictures, named after the model, and for a contact sheet, sheet.png; or a file for one picture."""
    n: int = 8
    """How many pictures; each has a seed of its own, --seed and those that follow."""
    start_scale: int = 0
    """What is coarser than this scale stays as in the photo: 0 varies its layout, the higher the finer the details."""
    size: singan.Size = None
    seed: singan.Seed = 0
    device: singan.Device = "auto"


def main(arguments: list[str]) -> None:
    """Of some methods there are other options. MODEL is the first argument that is one."""
    method = method_given(arguments)
    # tyro's help leaves out a MODEL that is given
    rest = ["--help"] if {"-h", "--help"} & set(arguments) else arguments
    if method == "stylegan2":
        from pinxit.apps.cli import sample_stylegan2

        sample_stylegan2.main(rest)
    elif method in sentences.PAINTERS:
        from pinxit.apps.cli import sample_stackgan

        sample_stackgan.main(rest)
    else:
        singan.run("sample", Sample, sample, arguments)


def sample(o: Sample, model: Model) -> str:
    """Write the pictures one by one, then the sheet."""
    from pinxit.modelfile import replacing

    singan.require_seed(o.seed)
    if o.n < 1:
        raise expected("--n", o.n, "1 or more", "enlarge it, or leave it out")
    outputs = singan.outputs_in(o.out, [f"{singan.name_of(o.model)}_{i:03d}" for i in range(o.n)])
    shown: list[Image.Image] = []

    def made() -> Iterator[Image.Image]:
        for i in range(o.n):
            (picture,) = model.sample(1, o.start_scale, o.size, o.seed + i)
            if i < ON_SHEET:
                shown.append(thumbnail(picture))
            yield picture

    done = singan.write(made(), outputs, o.out)
    if o.n > 1:
        with replacing(o.out / "sheet.png") as temporary:
            sheet(shown).save(temporary, format="PNG")
    return f"sampled {done}"


def thumbnail(picture: Image.Image) -> Image.Image:
    small = picture.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return small


def sheet(shown: Sequence[Image.Image]) -> Image.Image:
    """The pictures in rows, about as many as there are columns."""
    import torch

    from pinxit.data.images import to_tensor
    from pinxit.data.sheet import grid

    columns = math.ceil(math.sqrt(len(shown)))
    rows = math.ceil(len(shown) / columns)
    page = torch.ones(rows * columns, 3, shown[0].height, shown[0].width)  # white where there is none
    page[: len(shown)] = torch.stack([to_tensor(picture) for picture in shown])
    return grid(page.view(rows, columns, *page.shape[1:]))
