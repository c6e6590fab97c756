"""`pinxit harmonize MODEL PICTURE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.apps.cli import blend, singan

if TYPE_CHECKING:
    from pinxit.models.singan.generate import Model


@dataclass(frozen=True, kw_only=True)
class Harmonize(blend.Blend):
    """What was pasted into the photo, made to look as if it belonged there."""

    out: blend.Out = Path("harmonized")


def main(arguments: list[str]) -> None:
    singan.run("harmonize", Harmonize, harmonize, arguments)


def harmonize(o: Harmonize, model: Model) -> str:
    return f"harmonized {blend.blend(o, model, model.harmonize)}"
