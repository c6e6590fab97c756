"""`pinxit super-resolve MODEL`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.apps.cli import singan

if TYPE_CHECKING:
    from PIL import Image

    from pinxit.models.singan.generate import Model


@dataclass(frozen=True)
class SuperResolve:
    """The photo that the model was trained on, enlarged, with details that the model adds.

    Best with a model made by pinxit train singan --task super_resolution.
    """

    model: singan.ModelPath
    out: Path = Path("enlarged")
    """Folder for the picture, named after the model; or a file."""
    factor: float = 4.0
    """How many times as high and wide as the model's photo: above 1, at most 16."""
    seed: singan.Seed = 0
    device: singan.Device = "auto"


def main(arguments: list[str]) -> None:
    singan.run("super-resolve", SuperResolve, super_resolve, arguments)


def super_resolve(o: SuperResolve, model: Model) -> str:
    singan.require_seed(o.seed)
    outputs = singan.outputs_in(o.out, [f"{singan.name_of(o.model)}_x{o.factor:g}"])

    def made() -> Iterator[Image.Image]:
        yield model.super_resolve(o.factor, o.seed)

    return f"enlarged {singan.write(made(), outputs, o.out)}"
