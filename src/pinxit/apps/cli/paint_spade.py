"""`pinxit paint MODEL MAP…` with a model of SPADE."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from pinxit.apps.cli import pictures
from pinxit.errors import expected

if TYPE_CHECKING:
    import numpy as np

MOST_SEEDS = 1 << 32
"""Far more than anyone tries, and safe to add variations to."""


@dataclass(frozen=True)
class Paint:
    """Paint label maps with a model. A map needs no photo beside it.

    A model of SinGAN turns paintings into photos and has options of its own: pinxit paint MODEL --help.
    """

    model: tyro.conf.Positional[Path]
    """Model folder or file; `demo`: the embedded one."""
    maps: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="MAP ...")]
    """Label maps, or folders of them: ids or colours of the model's label set."""
    out: Path = Path("painted")
    """Folder for the pictures, named after their maps."""
    style: Annotated[tuple[str, ...], tyro.conf.arg(metavar="STYLE ...")] = ("seed:0",)
    """One style or several: seed:N, a picture whose style to take, or a .npy with a z."""
    variations: int = 1
    """Pictures of each map, in the styles of so many seeds from that of --style on."""
    frames: int = 0
    """Pictures in equal steps from the first --style to the second."""
    instances: Annotated[tuple[Path, ...], tyro.conf.arg(metavar="FILE ...")] = ()
    """Instance maps, or folders of them, one for each map in the same order; by default each label's region is one
    instance."""
    save_style: Path | None = None
    """Write the z of the first --style to this .npy."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def main(arguments: list[str]) -> None:
    paint(tyro.cli(Paint, args=arguments, prog="pinxit paint", config=pictures.STYLE))


def paint(o: Paint) -> None:
    """Paint all maps, after a look at all that is read: a mistake is told before the first file is written."""
    import numpy as np
    from rich.console import Console
    from rich.progress import track

    from pinxit.data.images import read_instances, read_map
    from pinxit.modelfile import replacing

    files, instance_files = pictures.listed(o.maps), pictures.listed(o.instances) if o.instances else []
    require_sensible(o, files, instance_files)
    model = pictures.open_model(o.model, o.device)
    styles = styles_of(o, model)
    outputs = [[o.out / name_of(file, number, len(styles)) for number in range(len(styles))] for file in files]
    pictures.require_free(
        o.out,
        (*files, *instance_files, *(Path(text) for text in o.style if seed_of(text) is None)),
        ((file, output) for file, names in zip(files, outputs, strict=True) for output in names),
    )
    for place, file in enumerate(files):
        look_at(file, instance_files[place] if instance_files else None, model)

    if instance_files and not model.network.instances:
        pictures.note(f"--instances has no effect: model '{o.model}' was trained without instance maps")
    if o.save_style is not None:
        with replacing(o.save_style) as temporary, temporary.open("wb") as f:
            np.save(f, styles[0], allow_pickle=False)
    console = Console(stderr=True)
    quiet = not console.is_terminal or len(files) * len(styles) < 2
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        for place in track(range(len(files)), "painting", console=console, transient=True, disable=quiet):
            map = read_map(files[place], model.label_set)
            ids = read_instances(instance_files[place]) if instance_files else None
            for style, output in zip(styles, outputs[place], strict=True):
                with replacing(output) as temporary:
                    model.paint(map, style, ids).save(temporary, format="PNG")
    for text in dict.fromkeys(str(w.message) for w in warned):
        pictures.note(text)
    print(f"painted {pictures.counted(len(files) * len(styles), 'picture')}: {o.out.resolve()}")


def require_sensible(o: Paint, files: Sequence[Path], instance_files: Sequence[Path]) -> None:
    """Raises `PinxitError` for options that do not go together."""
    if instance_files and len(instance_files) != len(files):
        got = pictures.counted(len(instance_files), "file")
        raise expected("--instances", got, f"{len(files)}, one for each map", "add or remove some")
    if not o.style:
        raise expected("--style", "without a style", "seed:N, a picture or a .npy", "name one, or leave --style out")
    if o.variations < 1:
        raise expected("--variations", o.variations, "1 or more", "enlarge it, or leave it out")
    if o.frames < 0 or o.frames == 1:
        raise expected("--frames", o.frames, "2 or more", "enlarge it, or leave it out")
    if o.frames and o.variations > 1:
        raise expected("--frames", f"given with --variations {o.variations}", "one of the two", "leave one out")
    if o.frames and len(o.style) != 2:
        got = pictures.counted(len(o.style), "style")
        raise expected("--style", got, "two with --frames", "give the first and the last")
    if o.variations > 1 and len(o.style) > 1:
        raise expected("--style", f"{len(o.style)} styles", "one with --variations", "leave --variations out")
    if o.save_style is not None and o.save_style.suffix != ".npy":
        raise expected("--save-style", repr(str(o.save_style)), "a name ending in .npy", "name it so")


def styles_of(o: Paint, model: Any) -> Sequence[np.ndarray | int]:
    """The z of each picture of a map; for a model without styles one 0, which it does not look at.

    Raises `PinxitError` for a style that the model cannot take.
    """
    if not model.network.vae:
        for option, given in (
            ("--style", o.style != ("seed:0",)),
            ("--variations", o.variations > 1),
            ("--frames", o.frames > 0),
            ("--save-style", o.save_style is not None),
        ):
            if given:
                want = f"nothing: the pictures of model '{o.model}' hang on the map alone"
                raise expected(option, "given", want, "leave it out, or take a model with styles")
        return [0]
    if o.variations > 1:
        if (first := seed_of(o.style[0])) is None:
            raise expected("--style", repr(o.style[0]), "seed:N with --variations", "give a seed, or leave it out")
        return [model.style(first + i) for i in range(o.variations)]
    vectors = [style_of(text, model, o.model) for text in o.style]
    return model.between(vectors[0], vectors[1], o.frames) if o.frames else vectors


def seed_of(text: str) -> int | None:
    """The seed that `text` means; None where it means a file. Raises `PinxitError` for one that is too large."""
    number = text.removeprefix("seed:")
    if not number.isdecimal():
        return None
    if (seed := int(number)) >= MOST_SEEDS:
        raise expected("--style", repr(text), f"a seed below {MOST_SEEDS}", "choose a smaller one")
    return seed


def style_of(text: str, model: Any, where: Path) -> np.ndarray:
    """The z that `text` means to the model at `where`. Raises `PinxitError`."""
    import numpy as np
    from PIL import Image

    from pinxit.models.spade.generate import read_style

    if (seed := seed_of(text)) is not None:
        return model.style(seed)
    style = read_style(text)
    if isinstance(style, Image.Image) and model.E is None:
        want = f"seed:N or a .npy, as model '{where}' comes without its encoder"
        raise expected("--style", f"the picture '{text}'", want, "give one of these")
    if isinstance(style, np.ndarray):
        finite = style.dtype.kind in "fiu" and bool(np.isfinite(style).all())
        if not finite or style.shape != (model.network.z_dim,):
            got = f"{style.dtype} of shape {style.shape}" + ("" if finite else ", not all of it finite numbers")
            remedy = f"make it with --save-style and model '{where}'"
            raise expected(f"style z '{text}'", got, f"{model.network.z_dim} finite numbers", remedy)
    return model.style(style)


def name_of(file: Path, number: int, styles: int) -> str:
    return f"{file.stem}.png" if styles == 1 else f"{file.stem}_{number:03d}.png"


def look_at(file: Path, instances: Path | None, model: Any) -> None:
    """Raises `PinxitError` for a map that the model cannot paint, or an instance map of another size."""
    from pinxit.data.images import read_instances, read_map, require_size

    map = read_map(file, model.label_set)
    if instances is not None:
        require_size(instances, read_instances(instances).shape, file, map.shape)
    if not model.network.unknown and (map == model.network.labels).any():
        want = "labels only, as this model has no 'unknown'"
        raise expected(f"label map '{file}'", "with 'unknown' pixels", want, "paint a label there")
