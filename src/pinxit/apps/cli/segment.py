"""`pinxit segment MODEL PHOTO…`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from pinxit.apps.cli import pictures
from pinxit.errors import expected

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

    from pinxit.models.deeplabv3.generate import Segmenter


@dataclass(frozen=True)
class Segment:
    """Photos to label maps: what is where, in the ids of the model's label set."""

    model: tyro.conf.Positional[Path]
    """Model folder or file of deeplabv3."""
    photos: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="PHOTO ...")]
    """Photos, or folders of them, of any size."""
    out: Path = Path("segmented")
    """Folder for the maps: PNGs of ids, named after their photos and as large."""
    colors: bool = False
    """Write each map in the colours of its labels too, as NAME_colors.png."""
    overlay: bool = False
    """Write each photo with these colours laid over it too, as NAME_overlay.png."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """bf16 is quicker where the machine has quick instructions for it, and some pixels near edges get another label;
    auto: bf16 there, fp32 elsewhere."""


def main(arguments: list[str]) -> None:
    segment(tyro.cli(Segment, args=arguments, prog="pinxit segment", config=pictures.STYLE))


def segment(o: Segment) -> None:
    """Segment all photos, after a look at all that is read: a mistake is told before the first file is written."""
    from rich.console import Console
    from rich.progress import track

    from pinxit.data.images import read_photo
    from pinxit.modelfile import replacing

    if (method := pictures.method_of(o.model)) not in (None, "deeplabv3"):
        raise expected(f"model '{o.model}'", f"of method {method}", "one of deeplabv3", "train or import one")
    files = pictures.listed(o.photos, "photo")
    forms = ["", *["_colors"] * o.colors, *["_overlay"] * o.overlay]
    outputs = [[o.out / f"{file.stem}{form}.png" for form in forms] for file in files]
    written = [(file, output) for file, names in zip(files, outputs, strict=True) for output in names]
    pictures.require_free(o.out, files, written, "photo")
    model = opened(o)
    for file in files:
        read_photo(file)

    console = Console(stderr=True)
    quiet = not console.is_terminal or len(files) < 2
    for place in track(range(len(files)), "segmenting", console=console, transient=True, disable=quiet):
        photo = read_photo(files[place])
        for output, picture in zip(outputs[place], forms_of(model, photo, o), strict=True):
            with replacing(output) as temporary:
                picture.save(temporary, format="PNG")
    print(f"segmented {pictures.counted(len(files), 'photo')}: {o.out.resolve()}")


def opened(o: Segment) -> Segmenter:
    """The model. Raises `PinxitError` where there is none that can be read."""
    from pinxit import modelfile
    from pinxit.models.deeplabv3.generate import load
    from pinxit.training.distributed import pick_device

    device = pick_device(o.device)
    precision = pictures.precision_of(o.precision, device)
    return load(modelfile.read(o.model), device, precision=precision)


def forms_of(model: Segmenter, photo: Image.Image, o: Segment) -> Iterator[Image.Image]:
    """The map as ids and, as asked for, in colours and over the photo."""
    from PIL import Image

    index = model.segment(photo)
    yield id_picture(model.label_set.ids_of(index))
    if o.colors or o.overlay:
        colors = Image.fromarray(model.label_set.colorize(index))
        if o.colors:
            yield colors
        if o.overlay:
            yield Image.blend(photo, colors, 0.5)


def id_picture(ids: np.ndarray) -> Image.Image:
    """File ids [H, W] as a picture of one channel: 8 bit where they fit, else 16."""
    import numpy as np
    from PIL import Image

    return Image.fromarray(ids.astype(np.uint8 if ids.max() < 256 else np.uint16))
