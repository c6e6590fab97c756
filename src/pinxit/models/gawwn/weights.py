"""Nothing is imported: the authors' weights are whole objects of Lua Torch (.t7), and have no other form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pinxit.errors import expected
from pinxit.modelfile import ModelFile


def import_release(source: Path | Sequence[Path]) -> ModelFile:
    """Raises `PinxitError`, whatever is named."""
    path = source if isinstance(source, Path) else source[0]
    want = "nothing: the authors' .t7 files hold whole objects of Lua Torch, which are not read for this method"
    raise expected("the release", f"'{path}'", want, "train: pinxit train gawwn --preset paper_box")
