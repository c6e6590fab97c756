"""`pinxit reconstruct MODEL`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.apps.cli import singan

if TYPE_CHECKING:
    from pinxit.models.singan.generate import Model


@dataclass(frozen=True)
class Reconstruct:
    """The photo as the model gives it back, and how far off that is: a check of what it has learnt."""

    model: singan.ModelPath
    out: Path = Path("reconstructed")
    """Folder for the picture, named after the model; or a file."""
    device: singan.Device = "auto"


def main(arguments: list[str]) -> None:
    singan.run("reconstruct", Reconstruct, reconstruct, arguments)


def reconstruct(o: Reconstruct, model: Model) -> str:
    import numpy as np

    from pinxit.data.images import to_image

    picture, photo = model.reconstruct(), to_image(model.photo[0])
    done = singan.write([picture], singan.outputs_in(o.out, [singan.name_of(o.model)]), o.out)
    error = np.sqrt(np.mean((np.asarray(picture, np.float64) - np.asarray(photo, np.float64)) ** 2))
    return f"reconstructed {done}\nRMSE against the photo: {error:.2f} of 255 levels"
