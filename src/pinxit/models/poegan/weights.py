"""Official releases of PoE-GAN: there are none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from pinxit.errors import expected


def import_release(source: Path | Sequence[Path]) -> NoReturn:
    """Raises `PinxitError`: neither code nor weights of PoE-GAN, or of GauGAN2, were ever released."""
    named = source if isinstance(source, Path) else ", ".join(map(str, source))
    want, remedy = "nothing: its authors released no weights", "train one: pinxit train poegan"
    raise expected("the release of poegan", f"'{named}'", want, remedy)
