"""`pinxit paint MODEL MAP…`."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from pinxit.apps.cli import pictures
from pinxit.errors import expected


@dataclass(frozen=True)
class Paint:
    """Paint label maps with a model. A map needs no photo beside it."""

    model: tyro.conf.Positional[Path]
    """Model folder or file; `demo`: the embedded one."""
    maps: tyro.conf.Positional[tuple[Path, ...]]
    """Label maps, or folders of them: ids or colours of the model's label set."""
    out: Path = Path("painted")
    """Folder for the pictures, named after their maps."""
    style: tuple[str, ...] = ("seed:0",)
    """One style or several: seed:N, a picture whose style to take, or a .npy with a z."""
    variations: int = 1
    """Pictures of each map, in the styles of so many seeds from that of --style on."""
    frames: int = 0
    """Pictures in equal steps from the first --style to the second."""
    instances: tuple[Path, ...] = field(default=())
    """Instance maps, one for each map; by default each label's region is one instance."""
    save_style: Path | None = None
    """Write the z of --style to this .npy."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def main(arguments: list[str]) -> None:
    paint(tyro.cli(Paint, args=arguments, prog="pinxit paint", config=(tyro.conf.FlagCreatePairsOff,)))


def paint(o: Paint) -> None:
    import numpy as np

    from pinxit.data.images import read_instances, read_map
    from pinxit.modelfile import replacing
    from pinxit.models.spade.generate import Style, read_style

    files = pictures.listed(o.maps)
    if o.instances and len(o.instances) != len(files):
        raise expected(
            "--instances", f"{len(o.instances)} files", f"{len(files)}, one for each map", "add or remove some"
        )
    if o.frames and len(o.style) != 2:
        raise expected("--style", f"{len(o.style)} styles", "two for --frames", "give the first and the last")
    if o.frames == 1 or o.frames < 0 or o.variations < 1:
        raise expected(
            "--frames or --variations", f"{o.frames}, {o.variations}", "at least 2, at least 1", "enlarge it"
        )
    model = pictures.open_model(o.model, o.device)
    styles: list[Style] = [read_style(text) for text in o.style] if model.network.vae else [0]
    if o.frames:
        styles = list(model.between(styles[0], styles[1], o.frames))
    elif o.variations > 1:
        if not model.network.vae:
            raise expected("--variations", o.variations, "1 for a model without styles", "leave it out")
        if not isinstance(styles[0], int):
            raise expected("--style", repr(o.style[0]), "seed:N with --variations", "give a seed, or leave it out")
        styles = [styles[0] + i for i in range(o.variations)]
    if o.save_style is not None:
        with replacing(o.save_style) as temporary, temporary.open("wb") as f:
            np.save(f, model.style(styles[0]), allow_pickle=False)

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        for place, file in enumerate(files):
            map = read_map(file, model.label_set)
            ids = read_instances(o.instances[place]) if o.instances else None
            for number, style in enumerate(styles):
                name = f"{file.stem}.png" if len(styles) == 1 else f"{file.stem}_{number:03d}.png"
                with replacing(o.out / name) as temporary:
                    model.paint(map, style, ids).save(temporary, format="PNG")
    for text in dict.fromkeys(str(w.message) for w in warned):
        pictures.note(text)
    print(f"{len(files) * len(styles)} pictures in {o.out}")
