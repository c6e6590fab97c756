"""`pinxit translate MODEL INPUT…`: pictures to pictures, of any size, with a model of any method that does so."""

from __future__ import annotations

import glob
import importlib
import math
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from pinxit.apps.cli import pictures
from pinxit.data.kinds import FULL
from pinxit.errors import PinxitError, expected, unknown_name

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from pinxit.data.rasters import Info, Kind, RegionReader
    from pinxit.nn.tiling import Tiling

WHOLE, TILES = 1 << 22, (1024, 2048)
"""Pixels of a picture (2048 x 2048) beyond which it is translated in windows, where --tile says nothing; the least and
the most that is then their side."""

SMALLEST = 64
"""Side of the smallest window, for models that are content with less."""

OTHERS = {
    "spade": "pinxit paint",
    "singan": "pinxit paint, or pinxit sample",
    "deeplabv3": "pinxit segment",
    "stylegan2": "pinxit sample",
    "stackgan": "pinxit sample",
    "ganintcls": "pinxit sample",
    "gawwn": "pinxit sample",
    "charcnnrnn": "pinxit train stackgan --text-encoder char-cnn-rnn:MODEL",
    "poegan": "pinxit paint",
}
"""Methods whose models translate no pictures, and what is meant for them."""

MOST_SEEDS = 1 << 32

Direction = Annotated[
    Literal["AtoB", "BtoA"] | None,
    tyro.conf.arg(
        help="For models that know both ways (CycleGAN): from side A to side B, or back.",
        help_behavior_hint="(default: AtoB, or the one there is)",
    ),
]
Tile = Annotated[
    int | None,
    tyro.conf.arg(
        help="Side of the windows in pixels; the larger, the less is computed twice. 0: take each picture whole.",
        help_behavior_hint=f"(default: {TILES[0]} to {TILES[1]} by model for pictures over 2048x2048, else 0)",
    ),
]
Overlap = Annotated[
    int | None,
    tyro.conf.arg(
        help="Pixels that neighbouring windows have in common; more than the default are spent on fading.",
        help_behavior_hint="(default: what the model sees, at most half the window)",
    ),
]
Norm = Annotated[
    Literal["picture", "running"] | None,
    tyro.conf.arg(
        help="What batch norm goes by: the statistics of the picture itself (the authors' test script) or those "
        "gathered in training.",
        help_behavior_hint="(default: as the model file says)",
    ),
]


@dataclass(frozen=True)
class Translate:
    """Translate pictures with a model: drawings to photos, day to night, stain to stain.

    Any size; channels and values as the model was trained on (pinxit info MODEL). Large pictures are translated in
    windows, and TIFF and .npy are then read and written piece by piece, so that they may be larger than memory.

    A window sees more than it gives, so that the result is the whole picture's. Where a model sees farther than windows
    have in common (a U-Net, some hundred pixels), they are blended, and the result differs; a note then says so.

    Most models normalise by means and deviations over the whole picture, and a window has others: --statistics says
    where they come from. `sampled`: from small windows all over the picture, in one pass; no seams, and colours near
    those of the whole. `exact`: from all of it, in a pass for each layer that needs them, so that 24 such layers take
    12 times as long; the result is that of the whole picture. `tile`: each window's own, which shows; for comparison.
    """

    model: tyro.conf.Positional[Path]
    """Model folder or file; `fruits`: the embedded one, which paints outlines of fruits."""
    inputs: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="INPUT ...")]
    """Pictures, folders of them, or patterns such as 'scans/*.tif'."""
    out: Path = Path("translated")
    """Folder for the pictures, named after the inputs and of their format, PNG for JPEG; or a file for one picture."""
    direction: Direction = None
    tile: Tile = None
    overlap: Overlap = None
    statistics: Literal["sampled", "exact", "tile"] = "sampled"
    """Where the norm layers' statistics come from in windows."""
    dropout: bool = False
    """Leave the dropout of the model on, as noise, also where its file does not say so; --seed decides it."""
    norm: Norm = None
    seed: int = 0
    """Seed of the noise."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute."""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """bf16 is quicker where the machine has quick instructions for it, and rounds to about 3 digits; auto: bf16 there,
    fp32 elsewhere."""


def main(arguments: list[str]) -> None:
    translate(tyro.cli(Translate, args=arguments, prog="pinxit translate", config=pictures.STYLE))


def translate(o: Translate) -> None:
    """Translate all, after a look at all that is read: a mistake is told before the first file is written."""
    import torch

    from pinxit.data.rasters import open_regions, read_raster

    require_sensible(o)
    model = open_model(o)
    files = found(o.inputs)
    outputs = outputs_of(o.out, files, model.output)
    pictures.require_free(o.out, files, zip(files, outputs, strict=True), "picture")
    jobs = [Job(o, model, file, output) for file, output in zip(files, outputs, strict=True)]
    for job in jobs:
        if job.tiling is None:
            read_raster(job.file)
        else:
            open_regions(job.file).close()
    remark(o, model, jobs)

    on = next(model.network.parameters()).device
    device, precision = on.type, pictures.precision_of(o.precision, on)
    half = torch.autocast(device, torch.bfloat16) if precision == "bf16" else nullcontext()
    with progress(sum(job.work for job in jobs), quiet=len(jobs) < 2 and jobs[0].tiling is None) as advance, half:
        for job in jobs:
            try:
                job.run(advance)
            except torch.OutOfMemoryError as error:
                got, want = f"not enough for '{job.file}'", "room for a window of it"
                raise expected(f"memory of {device}", got, want, "lower --tile, or take --device cpu") from error
    for job in jobs:
        if job.beyond:
            pictures.note(job.beyond)
    print(f"translated {pictures.counted(len(files), 'picture')}: {o.out.resolve()}")


class Job:
    """One picture to translate: `tiling` None takes it whole."""

    def __init__(self, o: Translate, model: Any, file: Path, output: Path) -> None:
        """Raises `PinxitError` for a picture that the model does not take."""
        from pinxit.data.rasters import open_regions, raster_info, require_kind
        from pinxit.nn.tiling import plan, work

        self.options, self.model, self.file, self.output = o, model, file, output
        info = raster_info(file)
        self.height, self.width = info.height, info.width
        self.adapted = adapted(info, model.input)
        if self.adapted is None:
            require_kind(file, info, model.input)
        self.flat = False
        if file.suffix.lower() == ".npy":
            with open_regions(file) as reader:
                self.flat = reader.flat
        self.tiling: Tiling | None = None
        self.norms = model.norms()
        self.work = self.height * self.width / 1e6
        self.low, self.high = math.inf, -math.inf
        whole = o.tile == 0 or (o.tile is None and self.height * self.width <= WHOLE)
        if whole or max(self.height, self.width) <= (tile := side_of(o.tile, model)):
            return
        self.tiling = plan(
            model.padded(self.height),
            model.padded(self.width),
            tile=tile,
            multiple=model.multiple,
            margin=model.margin,
            overlap=o.overlap,
            fade=is_noisy(model) or (o.statistics == "tile" and len(self.norms) > 0),
        )
        self.window = self.tiling.rows.size * self.tiling.columns.size / 1e6
        self.work = work(self.tiling, self.norms, o.statistics) * self.window

    def run(self, advance: Callable[[float], None]) -> None:
        """Translate and write it. `advance` is told of the work done, in megapixels."""
        from pinxit.data.rasters import from_unit, open_regions, read_raster, write_raster, write_regions
        from pinxit.nn.tiling import translate as translate_windows

        if self.tiling is None:
            made = self.model.translate(self.seen(read_raster(self.file)), seed=self.options.seed)
            write_raster(self.output, made, flat=self.flat)
            advance(self.work)
            return
        kind: Kind = self.model.output
        with (
            open_regions(self.file) as source,
            write_regions(self.output, self.height, self.width, kind.channels, kind.dtype, flat=self.flat) as target,
        ):
            left = self.height

            def write(rows: Tensor) -> None:
                nonlocal left
                # In small steps, as number types of the result are wider on the way.
                for part in rows[:, : max(0, left), : self.width].split(64, dim=1):
                    target.write_rows(from_unit(part.numpy(), kind))
                left -= rows.shape[1]

            translate_windows(
                self.model.network,
                lambda y0, y1, x0, x1: self.read(source, y0, y1, x0, x1),
                write,
                self.tiling,
                norms=self.norms,
                statistics=self.options.statistics,
                seed=self.options.seed,
                advance=lambda windows: advance(windows * self.window),
            )

    def read(self, source: RegionReader, y0: int, y1: int, x0: int, x1: int) -> Tensor:
        """A window of the picture, which goes on by reflection to the multiples that the network needs."""
        import numpy as np
        import torch

        from pinxit.data.rasters import to_unit
        from pinxit.nn.tiling import reflected

        y, x = reflected(y0, y1, self.height), reflected(x0, x1, self.width)
        array = self.seen(source.read(y.min(), y.max() + 1, x.min(), x.max() + 1))
        if y1 > self.height or x1 > self.width:
            array = array[np.ix_(y - y.min(), x - x.min())]
        return torch.from_numpy(to_unit(array, self.model.input))

    def seen(self, array: np.ndarray) -> np.ndarray:
        """As the model takes it; notes the values, where its range is not that of the number type."""
        kind: Kind = self.model.input
        if FULL.get(kind.dtype) != (kind.low, kind.high):
            self.low, self.high = min(self.low, float(array.min())), max(self.high, float(array.max()))
        return array if self.adapted is None else self.adapted(array)

    @property
    def beyond(self) -> str | None:
        """A remark where there were values that the model does not know."""
        kind: Kind = self.model.input
        if self.low >= kind.low and self.high <= kind.high:
            return None
        known = f"the {kind.low:g}..{kind.high:g} that the model was made for"
        return f"'{self.file}' has values {self.low:g}..{self.high:g}, beyond {known}; they are clipped"


def require_sensible(o: Translate) -> None:
    """Raises `PinxitError` for what no model takes."""
    if not o.inputs:
        raise expected("the list of pictures", "empty", "one picture or more", "name some before the options")
    if o.tile is not None and o.tile < 0:
        raise expected("--tile", o.tile, "a window's side in pixels, or 0", "enlarge it, or leave it out")
    if o.overlap is not None and o.overlap < 0:
        raise expected("--overlap", o.overlap, "0 or more pixels", "enlarge it, or leave it out")
    if not 0 <= o.seed < MOST_SEEDS:
        raise expected("--seed", o.seed, f"0..{MOST_SEEDS - 1}", "choose another")


def open_model(o: Translate) -> Any:
    """The model, in the direction and with the semantics that are asked for. Raises `PinxitError`."""
    from pinxit import modelfile
    from pinxit.models import METHODS
    from pinxit.training.distributed import pick_device

    method = pictures.method_of(o.model)
    if method in OTHERS:
        want = "one that makes pictures of pictures"
        raise expected(f"model '{o.model}'", f"of method {method}", want, f"use {OTHERS[method]}")
    file = modelfile.read(pictures.found_model(o.model))
    if file.method not in METHODS:
        raise unknown_name(f"method of model '{o.model}'", file.method, METHODS)
    for option, given, name, what, has in (
        ("--norm", o.norm, "test_norm", "batch norm", file.config.get("norm", "batch") == "batch"),
        ("--dropout", o.dropout or None, "test_dropout", "dropout", file.config.get("dropout", True)),
    ):
        if given is None:
            continue
        if name not in file.config or not has:
            raise expected(option, "given", f"a model with {what}, which '{o.model}' is not", "leave it out")
        file = replace(file, config={**file.config, name: given})
    if file.config.get("source") == "labels":
        got = f"a {file.method} of label maps"
        raise expected(f"model '{o.model}'", got, "one that makes pictures of pictures", "use pinxit paint")
    model = importlib.import_module(f"{METHODS[file.method]}.generate").load(file, str(pick_device(o.device)))
    if o.dropout and not is_noisy(model):  # a U-Net that is not deep enough for any
        raise expected("--dropout", "given", f"a model with dropout, which '{o.model}' is not", "leave it out")
    if o.direction is not None:
        if not hasattr(model, "towards"):
            want = f"nothing: model '{o.model}' knows one way, the one it was trained for"
            raise expected("--direction", o.direction, want, "leave it out")
        try:
            model = model.towards(o.direction)
        except PinxitError as error:  # it tells of its argument, which is an option here
            raise PinxitError(re.sub("^direction ", "--direction ", str(error))) from error
    require_windows(o, model)
    return model


def is_noisy(model: Any) -> bool:
    """Whether its pictures hang on the seed: by --dropout, or by the model's own test_dropout."""
    from pinxit.nn.dropout import Dropout

    return any(isinstance(module, Dropout) and module.at_test for module in model.network.modules())


def require_windows(o: Translate, model: Any) -> None:
    """Raises `PinxitError` for windows that the model cannot do with."""
    smallest = max(SMALLEST, 2 * model.multiple)
    if o.tile and o.tile < smallest:
        raise expected("--tile", o.tile, f"{smallest} or more, for this model", "enlarge it, or leave it out")
    side = side_of(o.tile, model)
    if o.overlap is not None and o.overlap > side - model.multiple:
        want = f"0..{side - model.multiple} in windows of {side}"
        raise expected("--overlap", o.overlap, want, "lower it, or enlarge --tile")


def side_of(tile: int | None, model: Any) -> int:
    """The side of the windows: --tile's next multiple, or what suffices for the model within TILES."""
    from pinxit.nn.tiling import smallest_exact_tile

    enough = min(max(TILES[0], smallest_exact_tile(model.multiple, model.margin)), TILES[1])
    return up(tile or enough, model.multiple)


def found(inputs: Iterable[Path]) -> list[Path]:
    """Files as they are, pictures in folders and what patterns match, sorted by name. Raises `PinxitError`."""
    from pinxit.data.rasters import SUFFIXES

    files: list[Path] = []
    for path in inputs:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
            if not inside:
                raise expected(f"folder '{path}'", "without pictures", "one picture or more", "check the path")
            files += inside
        elif path.is_file():
            files.append(path)
        elif glob.has_magic(str(path)):
            matched = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())  # noqa: PTH207 - absolute ones too
            if not matched:
                raise expected(f"pattern '{path}'", "without a match", "one picture or more", "check it")
            files += matched
        else:
            raise expected(f"'{path}'", "not there", "a picture, a folder or a pattern", "check the path")
    return list({file.absolute(): file for file in reversed(files)}.values())[::-1]


def outputs_of(out: Path, files: Sequence[Path], kind: Kind) -> list[Path]:
    """A file in the folder `out` for each, in its format where that can hold a picture of `kind`; or `out` itself.

    Raises `PinxitError` where `out` is named as a file and there are several.
    """
    from pinxit.data.rasters import SUFFIXES

    if out.suffix.lower() not in SUFFIXES or out.is_dir():
        return [out / f"{file.stem}{suffix_of(file, kind)}" for file in files]
    if len(files) > 1:
        raise expected(f"--out '{out}'", "one file", f"a folder for {len(files)} pictures", "name one")
    return [out]


def suffix_of(file: Path, kind: Kind) -> str:
    """That of the file, where it keeps each value of a picture of `kind`; else PNG's or, last, TIFF's."""
    if file.suffix.lower() in (".tif", ".tiff", ".npy"):
        return file.suffix
    return ".png" if kind.channels in (1, 3, 4) and kind.dtype != "float32" else ".tif"


def adapted(info: Info, kind: Kind) -> Callable[[np.ndarray], np.ndarray] | None:
    """How an 8-bit picture becomes RGB, where that is wanted and takes no choice; None: not at all."""
    if (info.dtype, kind.dtype, kind.channels) != ("uint8", "uint8", 3):
        return None
    return {1: of_grey, 4: of_alpha}.get(info.channels)


def of_grey(array: np.ndarray) -> np.ndarray:
    return array.repeat(3, axis=2)


def of_alpha(array: np.ndarray) -> np.ndarray:
    """RGB with alpha, over white."""
    import numpy as np

    color, alpha = array[..., :3].astype(np.uint16), array[..., 3:].astype(np.uint16)
    return ((color * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def remark(o: Translate, model: Any, jobs: Sequence[Job]) -> None:
    """Notes on what is done otherwise than one may expect, before it is."""
    from pinxit.nn.tiling import smallest_exact_tile

    for what, how in (
        ("is grey; its channel is repeated", of_grey),
        ("has an alpha channel; it is shown over white", of_alpha),
    ):
        of_kind = [job.file for job in jobs if job.adapted is how]
        for file in of_kind[:1]:
            more = f", and so are {len(of_kind) - 1} more" if len(of_kind) > 1 else ""
            pictures.note(f"'{file}' {what}{more}")
    tiled = [(job, job.tiling) for job in jobs if job.tiling is not None]
    if not tiled:
        return
    side = side_of(o.tile, model)
    if o.tile is None:
        (job, _), n = tiled[0], len(tiled) - 1
        more = f", and so are {n} more" if n else ""
        size = f"{job.width}x{job.height} (width x height)"
        pictures.note(f"'{job.file}' is {size}; it is translated in windows of {side} (see --tile){more}")
    elif side != o.tile:
        pictures.note(f"--tile is {side}, the next multiple of the {model.multiple} that the model needs")
    if not all(tiling.exact for _, tiling in tiled):
        enough = smallest_exact_tile(model.multiple, model.margin)
        remedy = f"--tile {enough} would not differ" if o.overlap is None else f"--overlap {2 * model.margin} would do"
        pictures.note(
            f"the model sees {model.margin} pixels around each, more than windows of {side} have in common: they are "
            f"blended, and the result differs from that of the whole picture; {remedy}"
        )


def up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


@contextmanager
def progress(total: float, *, quiet: bool) -> Iterator[Callable[[float], None]]:
    """A bar with rate and time left, on a terminal; yields what to tell of work done, in megapixels."""
    from rich import progress as bars
    from rich.console import Console
    from rich.text import Text

    class Rate(bars.ProgressColumn):
        def render(self, task: bars.Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{speed:.3g} Mpx/s")

    console = Console(stderr=True)
    columns = (bars.TextColumn("translating"), bars.BarColumn(), bars.TaskProgressColumn(), Rate())
    bar = bars.Progress(
        *columns, bars.TimeRemainingColumn(), console=console, transient=True, disable=quiet or not console.is_terminal
    )
    with bar:
        task = bar.add_task("", total=total)
        yield lambda megapixels: bar.advance(task, megapixels)
