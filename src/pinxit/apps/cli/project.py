"""`pinxit project MODEL PICTURE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from pinxit.apps.cli import pictures, singan, stylegan2


@dataclass(frozen=True)
class Project:
    """The picture of the model's that comes nearest to yours, and its latent."""

    model: stylegan2.ModelPath
    picture: tyro.conf.Positional[Path]
    """A picture, of the kind that the model was trained on; the square in its middle is taken."""
    out: Path = Path("projection.png")
    """File for the picture; the latent is written beside it, as .npy."""
    steps: int = 400
    """Steps of the search."""
    plus: bool = False
    """Search a w for each layer: nearer, but less fit to be edited."""
    vgg: Path | None = None
    """vgg19-dcbb9e9d.pth, to compare by what VGG-19 sees; by default pixels and their slopes are compared, of several
    sizes."""
    seed: singan.Seed = 0
    device: singan.Device = "auto"


def main(arguments: list[str]) -> None:
    print(project(tyro.cli(Project, args=arguments, prog="pinxit project", config=pictures.STYLE)))


def project(o: Project) -> str:
    import io

    import numpy as np
    from rich.console import Console

    from pinxit.data.images import read_photo
    from pinxit.modelfile import replacing
    from pinxit.nn.vgg import load_perceptual

    singan.require_seed(o.seed)
    (output,) = singan.outputs_in(o.out, ["projection"])
    picture = read_photo(o.picture)
    model = stylegan2.open_model("project", o.model, o.device)
    distance = load_perceptual(o.vgg).to(model.device) if o.vgg else None
    with Console(stderr=True).status("searching") as status:
        found = model.project(
            picture,
            o.steps,
            o.seed,
            plus=o.plus,
            distance=distance,
            progress=lambda step: status.update(f"searching, step {step} of {o.steps}"),
        )
    latent = io.BytesIO()
    np.save(latent, found.w.cpu().numpy(), allow_pickle=False)
    with replacing(output) as temporary:
        found.picture.save(temporary, format="PNG" if output.suffix.lower() == ".png" else None)
    with replacing(output.with_suffix(".npy")) as temporary:
        temporary.write_bytes(latent.getvalue())
    return f"projected, at a distance of {found.distance:.4f}: {output.resolve()}"
