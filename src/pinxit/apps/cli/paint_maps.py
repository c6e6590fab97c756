"""What all commands that paint label maps share: a look at the maps before the first is painted, and the painting."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from pinxit.apps.cli import pictures
from pinxit.errors import expected

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from pinxit.data.labels import LabelSet

MOST_SEEDS = 1 << 32
"""Far more than anyone tries, and safe to add variations to."""

Maps = Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MAP ...")]
Files = Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE ...")]
Device = Literal["auto", "cpu", "cuda", "mps"]


def require_one_each(option: str, files: Sequence[Path], maps: Sequence[Path]) -> None:
    """Raises `PinxitError` where files are given, but not one for each map."""
    if files and len(files) != len(maps):
        got = pictures.counted(len(files), "file")
        raise expected(option, got, f"{len(maps)}, one for each map", "add or remove some")


def look_at(file: Path, instances: Path | None, labels: LabelSet, unknown: bool) -> None:
    """Raises `PinxitError` for a map that a model of these labels cannot paint, or an instance map of another size."""
    from pinxit.data.images import read_instances, read_map, require_size

    map = read_map(file, labels)
    if instances is not None:
        require_size(instances, read_instances(instances).shape, file, map.shape)
    if not unknown and (map == len(labels.labels)).any():
        want = "labels only, as this model has no 'unknown'"
        raise expected(f"label map '{file}'", "with 'unknown' pixels", want, "paint a label there")


def outputs_in(out: Path, files: Sequence[Path], each: int) -> list[list[Path]]:
    """The pictures of each map, named after it; numbered where there are several."""
    return [
        [out / (f"{file.stem}.png" if each == 1 else f"{file.stem}_{number:03d}.png") for number in range(each)]
        for file in files
    ]


def paint_all(
    files: Sequence[Path],
    instance_files: Sequence[Path],
    outputs: Sequence[Sequence[Path]],
    labels: LabelSet,
    paint: Callable[[int, int, np.ndarray, np.ndarray | None], Image.Image],
    out: Path,
) -> None:
    """Write `paint(place, number, map, instances)` for each output, `place` being the map's and `number` the picture's
    among those of the map; then say so, after what the painting warned of."""
    from rich.console import Console
    from rich.progress import track

    from pinxit.data.images import read_instances, read_map
    from pinxit.modelfile import replacing

    total = sum(map(len, outputs))
    console = Console(stderr=True)
    quiet = not console.is_terminal or total < 2
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        for place in track(range(len(files)), "painting", console=console, transient=True, disable=quiet):
            label_map = read_map(files[place], labels)
            ids = read_instances(instance_files[place]) if instance_files else None
            for number, output in enumerate(outputs[place]):
                with replacing(output) as temporary:
                    paint(place, number, label_map, ids).save(temporary, format="PNG")
    for text in dict.fromkeys(str(w.message) for w in warned):
        pictures.note(text)
    print(f"painted {pictures.counted(total, 'picture')}: {out.resolve()}")


def note_unused_instances(instance_files: Sequence[Path], model: Path, used: Any) -> None:
    if instance_files and not used:
        pictures.note(f"--instances has no effect: model '{model}' was trained without instance maps")
