"""What the commands of StyleGAN2 share: options, and opening the model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pinxit.apps.cli import pictures
from pinxit.errors import expected

if TYPE_CHECKING:
    from pinxit.models.stylegan2.generate import Model

ModelPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="Model folder or file, of StyleGAN2.")]
Truncation = Annotated[
    float,
    tyro.conf.arg(help="1 takes latents as they come; the nearer to 0, the more common and the better the pictures."),
]


def open_model(command: str, path: Path, device: str) -> Model:
    """The model at `path`. Raises `PinxitError` for one of another method."""
    method = pictures.method_of(path)
    if method not in (None, "stylegan2"):
        got, want = f"of method {method}", f"stylegan2, which has `{command}`"
        raise expected(f"model '{path}'", got, want, "train or import one")
    return pictures.open_model(path, device)
