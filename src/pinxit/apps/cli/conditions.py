"""`pinxit data conditions PHOTOS`: a folder for `pinxit train poegan`, what the photos lack made from them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from pinxit.apps.cli import pictures
from pinxit.errors import expected

if TYPE_CHECKING:
    from PIL import Image

    from pinxit.data.conditions import Conditioned
    from pinxit.data.labels import LabelSet

EDGES = "edges"
"""The sketcher that needs no model."""


@dataclass(frozen=True)
class Prepare:
    """Give photos what they lack: maps by a segmenter, sketches by PhotoSketch or an edge detector, composed captions.

    Reads a data set of photos and maps, a folder with photos/ and any of maps/, sketches/ and captions.jsonl, or a
    plain folder of photos. What is there is kept, and what is not asked for stays missing.
    """

    data: tyro.conf.Positional[Path]
    """Folder of the photos, in one of these forms."""
    out: Path = Path("conditions")
    """Folder that is written: OUT/SPLIT with photos/, maps/, sketches/ and captions.jsonl."""
    split: str = "train"
    """Which split is read and written."""
    maps: Path | None = None
    """Folder of label maps, named after their photos."""
    sketches: Path | None = None
    """Folder of sketches, named after their photos."""
    captions: Path | None = None
    """A .jsonl file with lines {"image": "NAME", "captions": ["…"]}, or a folder of NAME.txt with a caption a line."""
    label_set: str | None = None
    """Label set of the maps that are there: a name, a .json file, or a number of plain ids; by default the data
    set's own."""
    segmenter: Path | None = None
    """Model of deeplabv3 that makes the maps that are missing."""
    sketcher: str | None = None
    """What draws the sketches that are missing: `edges`, a detector of edges, or a model of photosketch."""
    compose: bool = False
    """Compose the captions that are missing, from what the map says is where, and how bright the photo is."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""


def main(arguments: list[str]) -> None:
    print(prepare(tyro.cli(Prepare, args=arguments, prog="pinxit data conditions", config=pictures.STYLE)))


def prepare(o: Prepare) -> str:
    """Write the folder, after a look at all that is read."""
    from rich.console import Console
    from rich.progress import track

    from pinxit.data.conditions import LABEL_SET, check_conditions, counted, find_conditions
    from pinxit.data.images import read_photo
    from pinxit.modelfile import replacing

    home = o.out / o.split
    if home.exists():
        raise expected(f"--out '{o.out}'", f"with '{o.split}' in it", "without", "name another, or remove it")
    items = found(o)
    labels, segment = maps_of(o, items)
    draw = sketcher_of(o)
    if o.compose and labels is None:
        raise expected("--compose", "given", "nothing: there are no maps to compose of", "add --maps or --segmenter")
    check_conditions(items, labels)

    console = Console(stderr=True)
    captions = []
    for item in track(items, "preparing", console=console, transient=True, disable=not console.is_terminal):
        kept(item.photo, home / "photos")
        photo = read_photo(item.photo)
        map = home / "maps" / f"{item.name}.png"
        if item.label is not None:
            map = kept(item.label, home / "maps")
        elif segment is not None:
            saved(segment(photo), map)
        if item.sketch is not None:
            kept(item.sketch, home / "sketches")
        elif draw is not None and not blank(drawing := draw(photo)):
            saved(drawing, home / "sketches" / f"{item.name}.png")
        sentences = item.captions
        if not sentences and o.compose and labels is not None and map.is_file():
            sentences = composed(map, labels, photo)
        if sentences:
            captions.append({"image": item.photo.name, "captions": list(sentences)})
    if captions:
        with replacing(home / "captions.jsonl") as temporary:
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in captions]
            temporary.write_text("".join(lines), encoding="utf-8")
    if labels is not None:
        with replacing(o.out / LABEL_SET) as temporary:
            temporary.write_text(json.dumps(labels.to_json(), indent=1) + "\n", encoding="utf-8")
    return f"{counted(find_conditions(o.out, o.split))}: {home.resolve()}"


def found(o: Prepare) -> list[Conditioned]:
    """The photos with what they have. A plain folder of photos is one, too."""
    from pinxit.data.conditions import find_conditions
    from pinxit.data.images import SUFFIXES

    plain = o.data.is_dir() and any(path.suffix.lower() in SUFFIXES for path in o.data.iterdir())
    data, photos = (None, o.data) if plain else (o.data, None)
    return find_conditions(data, o.split, photos=photos, maps=o.maps, sketches=o.sketches, captions=o.captions)


def maps_of(
    o: Prepare, items: list[Conditioned]
) -> tuple[LabelSet | None, Callable[[Image.Image], Image.Image] | None]:
    """The label set of the maps, those that are there and those to come, and what makes the latter.

    Raises `PinxitError` where the two do not have the same.
    """
    from pinxit import modelfile
    from pinxit.apps.cli.segment import id_picture
    from pinxit.data.conditions import label_set_of
    from pinxit.models.deeplabv3.generate import load
    from pinxit.training.distributed import pick_device

    labels = label_set_of(items, o.data, o.label_set)
    if o.segmenter is None:
        return labels, None
    require_method(o.segmenter, "deeplabv3", "--segmenter")
    model = load(modelfile.read(o.segmenter), pick_device(o.device))
    if labels is not None and [label.name for label in labels.labels] != list(model.names):
        want = f"{labels.name}, as the maps that are there"
        raise expected(f"label set of segmenter '{o.segmenter}'", model.label_set.name, want, "take another segmenter")
    labels = labels or model.label_set
    return labels, lambda photo: id_picture(labels.ids_of(model.segment(photo)))


def sketcher_of(o: Prepare) -> Callable[[Image.Image], Image.Image] | None:
    """What draws a photo's sketch. Raises `PinxitError` for what does not."""
    if o.sketcher is None:
        return None
    if o.sketcher == EDGES:
        from pinxit.data.edges import edges_of

        return edges_of
    from pinxit import modelfile
    from pinxit.models.photosketch.generate import load
    from pinxit.training.distributed import pick_device

    path = Path(o.sketcher)
    if not path.exists():
        raise expected("--sketcher", repr(o.sketcher), f"{EDGES}, or a model of photosketch", "choose one")
    require_method(path, "photosketch", "--sketcher")
    return load(modelfile.read(path), pick_device(o.device)).draw


def require_method(path: Path, method: str, option: str) -> None:
    if (got := pictures.method_of(path)) not in (None, method):
        raise expected(f"{option} '{path}'", f"of method {got}", f"one of {method}", "train or import one")


def composed(map: Path, labels: LabelSet, photo: Image.Image) -> tuple[str, ...]:
    from pinxit.data.images import read_map
    from pinxit.data.scene_captions import caption_of

    return caption_of(read_map(map, labels), [label.name for label in labels.labels], photo)


def blank(drawing: Image.Image) -> bool:
    """Whether a sketch has no line that could be told from its paper (see `sketches.LEAST_STEP`)."""
    from pinxit.data.sketches import LEAST_STEP

    low, high = drawing.convert("L").getextrema()
    assert isinstance(low, int | float)
    assert isinstance(high, int | float)
    return high - low < LEAST_STEP


def kept(file: Path, folder: Path) -> Path:
    """A copy of a file in `folder`, under its name."""
    from pinxit.modelfile import replacing

    with replacing(folder / file.name) as temporary:
        shutil.copyfile(file, temporary)
    return folder / file.name


def saved(picture: Image.Image, file: Path) -> None:
    from pinxit.modelfile import replacing

    with replacing(file) as temporary:
        picture.save(temporary, format="PNG")
