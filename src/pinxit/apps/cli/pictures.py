"""What several commands share: finding files, opening models, telling notes."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.resources import files
from pathlib import Path
from typing import Any

import tyro

from pinxit.errors import expected

STYLE = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)
"""How all commands show their options."""

EMBEDDED = "camvid_spade"
"""The model that comes with the package, in `pinxit/embedded`."""


def embedded_model() -> Path:
    return Path(str(files("pinxit.embedded").joinpath(EMBEDDED)))


def open_model(path: Path, device: str = "cpu") -> Any:
    """The model at `path`, or the embedded one for `demo`, on `device`. Raises `PinxitError`."""
    import pinxit
    from pinxit.training.distributed import pick_device

    return pinxit.load(embedded_model() if str(path) == "demo" else path, str(pick_device(device)))


def listed(paths: Iterable[Path]) -> list[Path]:
    """Pictures as they are, and those in folders, sorted by name. Raises `PinxitError` where there are none."""
    from pinxit.data.images import SUFFIXES  # brings torch, which --help must not wait for

    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
            if not inside:
                raise expected(f"folder '{path}'", "without pictures", "one picture or more", "check the path")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise expected(f"'{path}'", "not there", "a picture or a folder of them", "check the path")
    if not found:
        raise expected("the list of maps", "empty", "one picture or more", "name some before the options")
    return found


def counted(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def note(text: str) -> None:
    """A remark beside the result, on stderr."""
    print(f"note: {text}", file=sys.stderr)
