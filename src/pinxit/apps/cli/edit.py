"""`pinxit edit MODEL PICTURE`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pinxit.apps.cli import blend, singan

if TYPE_CHECKING:
    from pinxit.models.singan.generate import Model


@dataclass(frozen=True, kw_only=True)
class Edit(blend.Blend):
    """The photo with parts of it moved or copied, made seamless."""

    out: blend.Out = Path("edited")


def main(arguments: list[str]) -> None:
    singan.run("edit", Edit, edit, arguments)


def edit(o: Edit, model: Model) -> str:
    return f"edited {blend.blend(o, model, model.edit)}"
