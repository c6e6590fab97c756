"""`pinxit paint MODEL MAP…` with a model of SPADE."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from pinxit.apps.cli import paint_maps, pictures
from pinxit.apps.cli.paint_maps import MOST_SEEDS
from pinxit.apps.cli.translate import OTHERS
from pinxit.errors import expected

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Paint:
    """Paint label maps with a model. A map needs no photo beside it.

    Models of pix2pixHD, SinGAN and PoE-GAN have options of their own: pinxit paint MODEL --help.
    """

    model: tyro.conf.Positional[Path]
    """Model folder or file; `demo`: the embedded one (that of PoE-GAN is `mixed`)."""
    maps: paint_maps.Maps
    """Label maps, or folders of them: ids or colours of the model's label set."""
    out: Path = Path("painted")
    """Folder for the pictures, named after their maps."""
    style: Annotated[tuple[str, ...], tyro.conf.arg(metavar="STYLE ...")] = ("seed:0",)
    """One style or several: seed:N, a picture whose style to take, or a .npy with a z."""
    variations: int = 1
    """Pictures of each map, in the styles of so many seeds from that of --style on."""
    frames: int = 0
    """Pictures in equal steps from the first --style to the second."""
    instances: paint_maps.Files = ()
    """Instance maps, or folders of them, one for each map in the same order; by default each label's region is one
    instance."""
    save_style: Path | None = None
    """Write the z of the first --style to this .npy."""
    device: paint_maps.Device = "auto"
    """Where to compute."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """bf16 is quicker where the machine has quick instructions for it, and differs by some thousandths of a picture's
    range; auto: bf16 there, fp32 elsewhere."""


def main(arguments: list[str]) -> None:
    paint(tyro.cli(Paint, args=arguments, prog="pinxit paint", config=pictures.STYLE))


def paint(o: Paint) -> None:
    """Paint all maps, after a look at all that is read: a mistake is told before the first file is written."""
    import numpy as np

    from pinxit.modelfile import replacing

    files, instance_files = pictures.listed(o.maps), pictures.listed(o.instances) if o.instances else []
    require_sensible(o, files, instance_files)
    if (method := pictures.method_of(o.model)) not in (None, "spade"):
        got, want = f"of method {method}", "one that paints label maps"
        raise expected(f"model '{o.model}'", got, want, f"use {OTHERS.get(str(method), 'pinxit translate')}")
    model = opened(o)
    styles = styles_of(o, model)
    outputs = paint_maps.outputs_in(o.out, files, len(styles))
    pictures.require_free(
        o.out,
        (*files, *instance_files, *(Path(text) for text in o.style if seed_of(text) is None)),
        ((file, output) for file, names in zip(files, outputs, strict=True) for output in names),
    )
    for place, file in enumerate(files):
        instances = instance_files[place] if instance_files else None
        paint_maps.look_at(file, instances, model.label_set, model.network.unknown)

    paint_maps.note_unused_instances(instance_files, o.model, model.network.instances)
    if o.save_style is not None:
        with replacing(o.save_style) as temporary, temporary.open("wb") as f:
            np.save(f, styles[0], allow_pickle=False)

    from pinxit.models.spade.generate import MOST_KEPT

    canvases: dict[int, Any] = {}  # of the map at hand: its pictures are painted one after the other

    def one(place: int, number: int, map: np.ndarray, ids: np.ndarray | None) -> Any:
        if len(styles) == 1:
            return model.paint(map, styles[0], ids)
        if place not in canvases:
            canvases.clear()
            model.warn_of_size(*map.shape)
            canvases[place] = model.prepared(model.canvas(map, ids), most=MOST_KEPT)
        return model.paint_on(canvases[place], styles[number])

    paint_maps.paint_all(files, instance_files, outputs, model.label_set, one, o.out)


def opened(o: Paint) -> Any:
    """The model. Raises `PinxitError` where there is none that can be read."""
    from pinxit import modelfile
    from pinxit.models.spade.generate import load
    from pinxit.training.distributed import pick_device

    device = pick_device(o.device)
    precision = pictures.precision_of(o.precision, device)
    return load(modelfile.read(pictures.found_model(o.model)), device, precision=precision)


def require_sensible(o: Paint, files: Sequence[Path], instance_files: Sequence[Path]) -> None:
    """Raises `PinxitError` for options that do not go together."""
    paint_maps.require_one_each("--instances", instance_files, files)
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
