"""What the commands of SinGAN share: options, opening the model, where pictures go, and writing them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, Protocol, TypeVar

import tyro

from pinxit.apps.cli import pictures
from pinxit.errors import PinxitError, expected

if TYPE_CHECKING:
    from PIL import Image

    from pinxit.models.singan.generate import Model

ModelPath = Annotated[Path, tyro.conf.Positional, tyro.conf.arg(help="Model folder or file, of SinGAN.")]
Seed = Annotated[int, tyro.conf.arg(help="Seed of the noise.")]
Device = Annotated[Literal["auto", "cpu", "cuda", "mps"], tyro.conf.arg(help="Where to compute.")]
Size = Annotated[
    tuple[int, int] | None,
    tyro.conf.arg(
        metavar="H W", help="Height and width in pixels, of any aspect.", help_behavior_hint="(default: the photo's)"
    ),
]

MOST_SEEDS = 1 << 32
"""Far more than anyone tries, and safe to add the number of a picture to."""

ARGUMENTS = ("start scale", "size", "factor", "alpha", "beta", "frames", "fps", "mask", "stage")
"""What the verbs call that which is an option here."""


class Form(Protocol):
    """What the options of all these commands have."""

    @property
    def model(self) -> Path: ...
    @property
    def device(self) -> Literal["auto", "cpu", "cuda", "mps"]: ...


F = TypeVar("F", bound=Form)


def run(command: str, form: type[F], do: Callable[[F, Model], str], arguments: list[str]) -> None:
    """Parse the options, open the model, `do` it, and print what that returns: what was made, and where it is."""
    o = tyro.cli(form, args=arguments, prog=f"pinxit {command}", config=pictures.STYLE)
    method = pictures.method_of(o.model)
    if method not in (None, "singan"):
        got, want = f"of method {method}", f"singan, which has `{command}`"
        raise expected(f"model '{o.model}'", got, want, "make one of a photo with pinxit train singan")
    with told_as_options():
        print(do(o, pictures.open_model(o.model, o.device)))


@contextmanager
def told_as_options() -> Iterator[None]:
    """A verb tells of its arguments, which are options here: `start scale is 12` becomes `--start-scale is 12`."""
    try:
        yield
    except PinxitError as error:
        thing, verb, rest = str(error).partition(" is ")
        if thing not in ARGUMENTS:
            raise
        raise PinxitError(f"--{thing.replace(' ', '-')}{verb}{rest}") from error


def require_seed(seed: int) -> None:
    """Raises `PinxitError` for a seed that the generators of noise do not take."""
    if not 0 <= seed < MOST_SEEDS:
        raise expected("--seed", seed, f"0..{MOST_SEEDS - 1}", "choose another")


def scales_from(start_scale: int | None, model: Model, last: int) -> Sequence[int]:
    """The scale that is named; or, where none is, those from 1 to `last` (1 at least), for the eye to choose from."""
    return range(1, max(1, last) + 1) if start_scale is None else [start_scale]


def name_of(model: Path) -> str:
    """What to name pictures after that are made of the model alone: its folder, or a file of another name."""
    path = model.resolve()
    path = path.parent if path.name == "model.safetensors" else path
    return path.name if path.is_dir() else path.stem


def outputs_in(out: Path, names: Sequence[str]) -> list[Path]:
    """NAME.png in the folder `out`; or `out` itself where it is named as a picture.

    Raises `PinxitError` where it is so named and there are several.
    """
    from pinxit.data.images import SUFFIXES

    if out.suffix.lower() not in SUFFIXES or out.is_dir():
        return [out / f"{name}.png" for name in names]
    if len(names) > 1:
        raise expected(
            f"--out '{out}'", "one file", f"a folder for {len(names)} pictures", "name one, or ask for one picture"
        )
    return [out]


def write(made: Iterable[Image.Image], outputs: Sequence[Path], out: Path) -> str:
    """Write pictures as they are made, with a bar on a terminal where there are several; returns what to print."""
    from PIL import Image
    from rich.console import Console
    from rich.progress import track

    from pinxit.modelfile import replacing

    console, formats = Console(stderr=True), Image.registered_extensions()
    quiet = not console.is_terminal or len(outputs) < 2
    # One is made before the next file is begun: nothing is written where the first cannot be made.
    pairs = zip(made, outputs, strict=True)
    for picture, output in track(pairs, "painting", total=len(outputs), console=console, transient=True, disable=quiet):
        with replacing(output) as temporary:
            picture.save(temporary, format=formats[output.suffix.lower()], quality=95)
    return f"{pictures.counted(len(outputs), 'picture')}: {out.resolve()}"


def remark(*files: Path) -> None:
    """Notes on what was read in an unusual way."""
    from pinxit.data.images import remarks

    for file in files:
        for text in remarks(file):
            pictures.note(text)


def remark_size(file: Path, size: tuple[int, int], model: Model) -> None:
    """A note on a picture (width, height) that is not of the model's size."""
    (width, height), (model_height, model_width) = size, model.sizes[-1]
    if size != (model_width, model_height):
        off = abs(height * model_width / width - model_height)
        how = "scaled" if off < 2 else "stretched"  # a pixel or so is lost to rounding
        want = f"the {model_width}x{model_height} of the model's photo"
        pictures.note(f"'{file}' is {width}x{height} (width x height); it is {how} to {want}")
