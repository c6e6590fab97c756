"""What several commands share: finding files, opening models, telling notes."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import tyro

from pinxit.errors import expected

STYLE = (tyro.conf.FlagCreatePairsOff, tyro.conf.DisallowNone, tyro.conf.PositionalMetavarFromFieldName)
"""How all commands show their options."""

EMBEDDED = {"demo": "camvid_spade", "fruits": "edges2fruits_pix2pix", "mixed": "camvid_poegan"}
"""The models that come with the package: their names, given in place of a path -> folders in `pinxit/embedded`."""

FIRST_STYLES = {"demo": 19}  # from here on its styles go from sun over haze to dusk
"""The seed to begin with, of embedded models whose style 0 is not the one to be met with."""

MOST_HEADER = 100_000_000
"""Bytes, as safetensors itself has it: what else a file begins with is no reason to read all of it."""


def embedded_model(name: str = "demo") -> Path:
    return Path(str(files("pinxit.embedded").joinpath(EMBEDDED[name])))


def found_model(path: Path) -> Path:
    """The embedded model of that name, unless something of one's own lies at `path`; else `path`."""
    return embedded_model(str(path)) if str(path) in EMBEDDED and not path.exists() else path


def open_model(path: Path, device: str = "cpu") -> Any:
    """The model at `path`, or the embedded one of that name, on `device`. Raises `PinxitError`."""
    import pinxit
    from pinxit.training.distributed import pick_device

    return pinxit.load(found_model(path), str(pick_device(device)))


def method_of(path: Path) -> str | None:
    """The method of a model file, read from its first bytes without torch; None where there is no model of Pinxit's.

    What is wrong then is told by `open_model`.
    """
    path = found_model(path)
    try:
        with (path / "model.safetensors" if path.is_dir() else path).open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length)) if length <= MOST_HEADER else {}
        return header["__metadata__"]["method"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def method_given(arguments: Sequence[str]) -> str | None:
    """The method of the first argument that is a model; None where none is.

    What other options there are hangs on it. So where the first argument should be a model and is nothing at all, this
    is said ahead of any complaint about options: raises `PinxitError`.
    """
    found = (method_of(Path(argument)) for argument in arguments if not argument.startswith("-"))
    method = next((m for m in found if m is not None), None)
    if method is None and arguments and not arguments[0].startswith("-") and not {"-h", "--help"} & set(arguments):
        path = found_model(Path(arguments[0]))
        if not path.exists():
            want = "a model folder or file"
            raise expected(f"model '{path}'", "not there", want, "train or import one, or mend the path")
    return method


def listed(paths: Iterable[Path], thing: str = "map") -> list[Path]:
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
        raise expected(f"the list of {thing}s", "empty", "one picture or more", "name some before the options")
    return found


def require_free(out: Path, read: Iterable[Path], written: Iterable[tuple[Path, Path]], thing: str = "map") -> None:
    """Raises `PinxitError` where a picture would replace a file that is read, or the picture of another `thing`.

    `written`: pairs of a file and a picture made from it.
    """
    inputs = {file.resolve() for file in read}
    made: dict[Path, Path] = {}
    for file, output in written:
        if output.resolve() in inputs:
            want = "a folder without the files that are read" if output != out else "a file that is not read"
            raise expected(f"--out '{out}'", f"where '{output.name}' would be painted over", want, "name another")
        if (other := made.setdefault(output, file)) is not file:
            want = f"one {thing} of each name"
            raise expected(f"name of '{file}'", f"that of '{other}'", want, "paint them with an --out each")


def counted(n: int, thing: str) -> str:
    return f"{n} {thing}" if n == 1 else f"{n} {thing}s"


def note(text: str) -> None:
    """A remark beside the result, on stderr."""
    print(f"note: {text}", file=sys.stderr)


def precision_of(asked: str, device: Any) -> Literal["fp32", "bf16"]:
    """What to compute in on a `torch.device`, where the user asked for `auto`, `fp32` or `bf16`."""
    from pinxit.training.distributed import precision_on

    remark_slow_bf16(asked, device)
    return precision_on(device, asked)


def remark_slow_bf16(asked: str, device: Any) -> None:
    """Say so where bf16 was asked for on a processor that is slower at it: few would want that."""
    from pinxit.training.distributed import quick_at_bf16

    if asked == "bf16" and device.type == "cpu" and not quick_at_bf16(device):
        note("this processor has no quick bf16, so fp32 may be faster; --precision auto takes what suits it")
