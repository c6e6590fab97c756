"""`pinxit paint MODEL --map … --sketch … --text … --style …` with a model of PoE-GAN."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from pinxit.apps.cli import pictures, sentences, singan
from pinxit.errors import PinxitError, expected

if TYPE_CHECKING:
    from PIL import Image

    from pinxit.models.poegan.generate import Canvas, Model

MOST_ROWS = 16
"""Pictures of a condition that a sheet of subsets shows."""

File = Annotated[Path | None, tyro.conf.arg(metavar="FILE", help_behavior_hint="(optional)")]
Sentence = Annotated[str | None, tyro.conf.arg(metavar="SENTENCE", help_behavior_hint="(optional)")]


@dataclass(frozen=True)
class Paint:
    """Pictures by a label map, a sketch, a sentence and a style picture: by any of them, or by none."""

    model: Annotated[
        Path, tyro.conf.Positional, tyro.conf.arg(help="Model folder or file, of poegan; `mixed`: the embedded one.")
    ]
    map: File = None
    """Label map: ids or colours of the model's label set."""
    sketch: File = None
    """Sketch: dark lines on white, of the map's size; a picture or an SVG."""
    text: Sentence = None
    """What is to be seen."""
    style: File = None
    """Picture whose colours and light to take; without it each seed has its own."""
    out: Path = Path("painted")
    """Folder for the pictures, named after the map, the sketch, the style or the model; or a file for one picture."""
    n: int = 1
    """How many pictures; each has a seed of its own, --seed and those that follow."""
    seed: singan.Seed = 0
    interpolate: int = 0
    """Pictures in equal steps to what --to-map, --to-sketch, --to-text, --to-style and --to-seed say, each of which is
    that of the start where it is not given."""
    to_map: File = None
    """Label map at the end of an interpolation."""
    to_sketch: File = None
    """Sketch at its end."""
    to_text: Sentence = None
    """Sentence at its end."""
    to_style: File = None
    """Style picture at its end."""
    to_seed: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: that of the start)")] = None
    """Seed at its end."""
    film: File = None
    """File for the interpolation as a film too: .gif; .png; .mp4 or .webm, which need pip install "pinxit[video]"."""
    fps: float = 15.0
    """Frames a second; a .gif or .png has at most 50."""
    subsets: bool = False
    """Write a sheet instead, subsets.png: a row for each subset of what is given, from nothing to all of it, --n
    pictures each."""
    text_encoder: sentences.TextEncoder = None
    device: singan.Device = "auto"


def main(arguments: list[str]) -> None:
    o = tyro.cli(Paint, args=arguments, prog="pinxit paint", config=pictures.STYLE)
    with told_as_notes():
        print(paint(o))


def paint(o: Paint) -> str:
    """Paint, after a look at all that is read: a mistake is told before the first file is written."""
    from pinxit.data.video import require_writable, write_animation

    require_sensible(o)
    if o.film is not None:
        require_writable(o.film, o.fps, o.interpolate)
    method = pictures.method_of(o.model)
    if method not in (None, "poegan"):
        raise expected(f"model '{o.model}'", f"of method {method}", "one of poegan", "train one")
    named = next((path for path in (o.map, o.sketch, o.style) if path is not None), None)
    name = singan.name_of(o.model) if named is None else named.stem
    count = o.interpolate or o.n
    names = ["subsets"] if o.subsets else [name] if count == 1 else [f"{name}_{i:03d}" for i in range(count)]
    outputs = singan.outputs_in(o.out, names)
    read = [path for path in (o.map, o.sketch, o.style, o.to_map, o.to_sketch, o.to_style) if path is not None]
    pictures.require_free(o.out, read, ((file, output) for output in outputs for file in [output]))

    model = opened(o.model, o.device, o.text_encoder)
    canvas = canvas_of(model, o.map, o.sketch, o.text, o.style)
    if o.subsets:
        return f"painted {singan.write([sheet(model, canvas, o.n, o.seed, o.text)], outputs, o.out)}"
    if not o.interpolate:
        return f"painted {singan.write(one_by_one(model, canvas, o.n, o.seed), outputs, o.out)}"
    # A map and a sketch of the end are looked at beside that of the start, which they may go with.
    changed = canvas_of(model, o.to_map, o.to_sketch, o.to_text, o.to_style)
    for part in changed.inputs:
        if part not in canvas.inputs:
            raise expected(f"--{part}", "missing", f"one to begin with, as --to-{part} is given", "name it")
    last = canvas.with_(changed)
    frames = model.interpolate(canvas, last, o.interpolate, seed=o.seed, last_seed=o.to_seed)
    done = f"painted {singan.write(frames, outputs, o.out)}"
    if o.film is None:
        return done
    write_animation(frames, o.film, o.fps)
    return f"{done}\nfilm of {len(frames)} frames: {o.film.resolve()}"


def require_sensible(o: Paint) -> None:
    """Raises `PinxitError` for options that do not go together."""
    singan.require_seed(o.seed)
    if o.to_seed is not None:
        singan.require_seed(o.to_seed)
    if o.n < 1:
        raise expected("--n", o.n, "1 or more", "enlarge it, or leave it out")
    if o.interpolate < 0 or o.interpolate == 1:
        raise expected("--interpolate", o.interpolate, "2 or more", "enlarge it, or leave it out")
    to = {
        "--to-map": o.to_map, "--to-sketch": o.to_sketch, "--to-text": o.to_text, "--to-style": o.to_style,
        "--to-seed": o.to_seed,
    }  # fmt: skip
    ends = [option for option, given in to.items() if given is not None]
    if o.interpolate and not ends:
        raise expected("--interpolate", "given", f"with one of {', '.join(to)}", "say where it is to end")
    if not o.interpolate and (ends or o.film is not None):
        raise expected((ends or ["--film"])[0], "given without --interpolate", "both", "say how many pictures")
    if o.interpolate and (o.n > 1 or o.subsets):
        raise expected("--interpolate", "given with --n or --subsets", "one of them", "leave one out")
    if o.subsets and o.n > MOST_ROWS:
        raise expected("--n", o.n, f"at most {MOST_ROWS} with --subsets", "lower it")


def opened(path: Path, device: str, text_encoder: str | None) -> Model:
    from pinxit import modelfile
    from pinxit.models.poegan.generate import load
    from pinxit.training.distributed import pick_device

    return load(modelfile.read(pictures.found_model(path)), pick_device(device), text_encoder)


def canvas_of(model: Model, map: Path | None, sketch: Path | None, text: str | None, style: Path | None) -> Canvas:
    """What is in the files, as the model takes it. Raises `PinxitError`."""
    from pinxit.data.images import read_map, read_photo

    ids = None
    if map is not None:
        model.require_input("map")
        assert model.label_set is not None
        ids = read_map(map, model.label_set)
    lines = None if sketch is None else read_lines(sketch, None if ids is None else ids.shape)
    words = None if text is None else sentences.cleaned(text, "--text")
    try:
        return model.canvas(ids, lines, words, None if style is None else read_photo(style))
    except PinxitError as error:
        # The verb knows no files.
        renamed = str(error)
        for thing, file in (("size of the sketch", sketch), ("the sketch", sketch), ("label map", map)):
            if file is not None and renamed.startswith(f"{thing} is "):
                raise PinxitError(f"{thing} '{file}'{renamed.removeprefix(thing)}") from error
        raise


def read_lines(file: Path, size: tuple[int, ...] | None) -> Image.Image:
    """The sketch in a file as a picture; an SVG, which has no size of its own, is drawn at `size` (height, width)."""
    from pinxit.data.images import decoded, read_photo
    from pinxit.data.sketches import SAME_ASPECT, WORKING
    from pinxit.data.svg import draw_svg

    if file.suffix.lower() != ".svg":
        image = decoded(file, "sketch")
        return image.convert("RGBA") if image.has_transparency_data else read_photo(file)
    page = draw_svg(file, WORKING if size is None else max(size))
    if size is not None and abs(math.log(page.width / page.height * size[0] / size[1])) <= SAME_ASPECT:
        page = page.resize((size[1], size[0]))
    return page


def one_by_one(model: Model, canvas: Canvas, n: int, seed: int) -> Iterator[Image.Image]:
    """Some at a time, which is quicker, and few in memory."""
    from pinxit.models.poegan.generate import AT_ONCE

    for start in range(0, n, AT_ONCE):
        yield from model.paint_on(canvas, n=min(AT_ONCE, n - start), seed=seed + start)


def sheet(model: Model, canvas: Canvas, n: int, seed: int, text: str | None = None) -> Image.Image:
    """A row for each input as the model sees it; then one for each subset of them, a column for each seed.

    `text`: the sentence of the canvas.
    """
    from itertools import combinations

    from pinxit.apps.cli.figure import figure

    names = tuple(canvas.inputs)
    some: Sequence[tuple[str, ...]] = [s for count in range(len(names) + 1) for s in combinations(names, count)]
    rows = [[model.seen(canvas, name)] for name in names if name != "text"]
    beside = [f"the {name}" for name in names if name != "text"]
    rows += [model.paint_on(canvas.only(*subset), n=n, seed=seed) for subset in some]
    beside += [" + ".join(subset) or "nothing" for subset in some]
    return figure(rows, beside=beside, above=[f"the text: {text}"] if text else [])


@contextmanager
def told_as_notes() -> Iterator[None]:
    """What a model remarks is told on stderr, each once."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        yield
    for text in dict.fromkeys(str(w.message) for w in warned):
        pictures.note(text)
